// BUILD: -ldl
// Blocks that were handed out while the shim looked up libc's functions are
// blocks like any other: libnested.so made them, this program uses them.
#include <dlfcn.h>
#include "expect.h"

int main(void)
{
    void *(*nested_block)(int);
    int i;

    *(void **)&nested_block = dlsym(RTLD_DEFAULT, "nested_block");
    EXPECT(nested_block, "libnested.so is not preloaded");
    free(block(64));
    for (i = 0; nested_block(i); i++) {
        unsigned char *p = nested_block(i);
        size_t usable = malloc_usable_size(p);

        EXPECT((uintptr_t)p % 16 == 0, "block %d is %p", i, (void *)p);
        EXPECT(usable >= 100, "block %d has usable size %zu", i, usable);
        EXPECT(p[0] == i + 1 && p[99] == i + 1, "block %d holds %d", i, *p);
        memset(p, i + 1, usable);
        if (i % 2)
            p = realloc(p, 50000);
        EXPECT(p && p[99] == i + 1, "block %d was lost in realloc", i);
        free(p);
    }
    EXPECT(i >= 1, "no block was asked for during a look-up");
    // Who wraps dlsym must not make us take ourselves for libc.
    free(block(2000000));
    return ok();
}
