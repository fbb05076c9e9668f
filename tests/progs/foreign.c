// Pointers that are not the heaps': of libc's own malloc, of mmap, of the
// stack.  Arguments: "libc" uses all that libc itself could have made;
// "stack", "mmap" or "text" frees such a pointer, which libc must judge.
#include <sys/mman.h>
#include "expect.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void of_libc(void)
{
    for (size_t size = 1; size < 1000000; size = size * 2 + 1) {
        void *p = __libc_malloc(size);
        void *q = __libc_calloc(1, size);
        void *r = __libc_memalign(4096, size);

        fill(p, size, 1);
        EXPECT(malloc_usable_size(p) >= size, "usable size %zu",
               malloc_usable_size(p));
        p = realloc(p, size + 100);
        EXPECT_FILLED(p, size, 1);
        p = realloc(p, size / 2 + 1);
        EXPECT_FILLED(p, size / 2 + 1, 1);
        free(p);
        free(q);
        free(realloc(r, size * 2));
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "libc";
    static char text[256] __attribute__((aligned(64)));
    char *volatile stack = (char *)__builtin_alloca(256);
    char *volatile map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *volatile statics = text;

    memset(stack, 0, 256);
    if (!strcmp(what, "stack"))
        free(stack + 64);
    else if (!strcmp(what, "mmap"))
        free(map + 4096);
    else if (!strcmp(what, "static"))
        free(statics + 64);
    else
        of_libc();
    return ok();
}
