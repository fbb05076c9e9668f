// BUILD: -ldl -Wl,-rpath,'$ORIGIN'
// A program without C++ opens a plugin that has it, for the plugin alone, as
// an interpreter does.
#include <dlfcn.h>
#include "expect.h"

int main(void)
{
    void *plugin = dlopen("libthrows.so", RTLD_NOW | RTLD_LOCAL);
    int (*fails)(void);
    int line;

    EXPECT(plugin, "dlopen: %s", dlerror());
    *(void **)&fails = dlsym(plugin, "plugin_fails");
    EXPECT(fails, "dlsym: %s", dlerror());
    line = fails();
    EXPECT(line == 0, "libthrows.cc:%d: not so", line);
    return ok();
}
