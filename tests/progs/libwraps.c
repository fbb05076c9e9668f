// Wraps dlsym, which a shim's start calls, and asks for memory meanwhile: what,
// the variable WRAPS says.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static void *take(const char *what)
{
    void *p = NULL;

    if (!strcmp(what, "malloc"))
        p = malloc(40);
    else if (!strcmp(what, "large"))
        p = malloc(100000);
    else if (!strcmp(what, "realloc"))
        p = realloc(malloc(10), 70000);
    else if (!strcmp(what, "aligned"))
        p = memalign(64, 100);
    else if (!strcmp(what, "memalign"))
        p = memalign(8192, 100);
    else if (!strcmp(what, "aligned_alloc"))
        p = aligned_alloc(64, 100096);
    else if (!strcmp(what, "pvalloc"))
        p = pvalloc(100);
    else if (!strcmp(what, "posix_memalign"))
        (void)!posix_memalign(&p, 8192, 100);
    else if (!strcmp(what, "trim"))
        malloc_trim(0);
    else if (!strcmp(what, "mallopt"))
        mallopt(M_MMAP_THRESHOLD, 1 << 20);
    else if (!strcmp(what, "mallinfo2"))
        (void)mallinfo2();
    else if (!strcmp(what, "stats"))
        malloc_stats();
    return p;
}

void *dlsym(void *object, const char *name)
{
    static void *(*real)(void *, const char *);
    static int is_inside;
    const char *what = getenv("WRAPS");

    if (!real)
        *(void **)&real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    if (what && !is_inside) {
        is_inside = 1;
        free(take(what));
        is_inside = 0;
    }
    return real(object, name);
}
