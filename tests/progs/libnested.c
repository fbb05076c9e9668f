// BUILD: -ldl
// Interposes dlsym itself and allocates in it: those blocks are asked for in
// the middle of the shim's own look-ups.  nested.c uses them afterwards.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8, SIZE = 100 };

void *nested_block(int i);

static void *blocks[MOST];
static int used;

void *nested_block(int i)
{
    return i < used ? blocks[i] : NULL;
}

void *dlsym(void *handle, const char *name)
{
    static void *(*real)(void *, const char *);

    if (!real)
        *(void **)&real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    // A malloc, a calloc and a realloc in turn; all filled with their number.
    if (used < MOST) {
        void *p = used % 3 == 0 ? malloc(SIZE) : calloc(SIZE, 1);

        if (used % 3 == 2)
            p = realloc(p, 2 * SIZE);
        if (p)
            memset(p, ++used, SIZE);
        blocks[used - 1] = p;
    }
    return real(handle, name);
}
