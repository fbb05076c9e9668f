// BUILD: -ldl
// A library whose imports are unversioned mixes the aligned family with free
// and realloc, and with blocks of ours.  Argument: the library.
#include <dlfcn.h>
#include "expect.h"

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    void *(*aligned)(size_t, size_t);
    void *(*resize)(void *, size_t);
    void (*release)(void *);

    EXPECT(library, "dlopen: %s", dlerror());
    *(void **)&aligned = dlsym(library, "unbound_aligned");
    *(void **)&resize = dlsym(library, "unbound_realloc");
    *(void **)&release = dlsym(library, "unbound_free");
    EXPECT(aligned && resize && release, "dlsym: %s", dlerror());
    for (size_t size = 64; size < 200000; size *= 2) {
        void *p = aligned(64, size);

        EXPECT(p && (uintptr_t)p % 64 == 0, "aligned: %p", p);
        fill(p, size, 1);
        p = resize(p, size * 2);
        EXPECT_FILLED(p, size, 1);
        release(p);
        free(aligned(64, size));
        release(block(size));
    }
    return ok();
}
