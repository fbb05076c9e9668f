// BUILD: -ldl -Wl,-rpath,'$ORIGIN'
// A host opens its plugin (libplugin.so, found by $ORIGIN) with and without
// RTLD_DEEPBIND, and they free and resize each other's blocks.
#define _GNU_SOURCE
#include <dlfcn.h>
#include "expect.h"

static void use(void *plugin)
{
    void (*release)(void *);
    void *(*grow)(void *, size_t);
    char *(*copy)(const char *);
    char *text;
    void *p;

    EXPECT(plugin, "dlopen: %s", dlerror());
    *(void **)&release = dlsym(plugin, "plugin_free");
    *(void **)&grow = dlsym(plugin, "plugin_grow");
    *(void **)&copy = dlsym(plugin, "plugin_copy");
    EXPECT(release && grow && copy, "dlsym: %s", dlerror());
    for (size_t size = 1; size < 100000; size = size * 3 + 1) {
        release(block(size));
        fill(p = block(size), size, 4);
        p = grow(p, size + 3000);
        EXPECT_FILLED(p, size, 4);
        free(p);
        text = copy("a string of the plugin's");
        text = realloc(text, 100);
        EXPECT(!strcmp(text, "a string of the plugin's"), "%s", text);
        free(text);
        release(strdup("a string of the host's"));
    }
}

int main(void)
{
    void *plugin = dlopen("libplugin.so", RTLD_NOW | RTLD_DEEPBIND);

    use(plugin);
    // Closed and opened again it is found again; one warning is enough.
    dlclose(plugin);
    use(dlopen("libplugin.so", RTLD_LAZY | RTLD_DEEPBIND));
    use(dlopen("libplugin.so", RTLD_NOW));
    use(dlmopen(LM_ID_BASE, "libplugin.so", RTLD_NOW | RTLD_DEEPBIND));
    EXPECT(!dlopen("libnowhere.so", RTLD_NOW | RTLD_DEEPBIND), "it is there");
    EXPECT(strstr(dlerror(), "libnowhere.so"), "no reason");
    EXPECT(dlopen(NULL, RTLD_NOW | RTLD_DEEPBIND), "dlopen(NULL)");
    return ok();
}
