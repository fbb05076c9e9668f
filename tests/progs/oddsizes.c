// malloc, calloc, realloc and reallocarray at the edges of what can be asked
// for, printed as a table that must be the same on the shim as on glibc.
#include "expect.h"

static const size_t sizes[] = {
    0, 1, 15, 16, 17, 24, 1024, 1025, 32768, 32769, 1u << 20, PTRDIFF_MAX,
    (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX - 15, SIZE_MAX - 8,
    SIZE_MAX};
static const size_t counts[] = {0, 1, 2, 3, 16, (size_t)1 << 60, SIZE_MAX};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void show(const char *call, size_t a, size_t b, void *p)
{
    printf("%s %zu %zu: %s %d\n", call, a, b, p ? "block" : "NULL", errno);
}

static void *fresh(size_t size)
{
    void *p = malloc(size);

    EXPECT(p, "malloc(%zu) gave NULL", size);
    fill(p, size, 3);
    errno = 0;
    return p;
}

static void zeroed(size_t count, size_t size)
{
    char *p;

    errno = 0;
    p = calloc(count, size);
    show("calloc", count, size, p);
    for (size_t i = 0; p && i < count * size; i++)
        EXPECT(!p[i], "calloc(%zu, %zu): byte %zu is %d", count, size, i,
               p[i]);
    free(p);
}

static void resized(size_t old, size_t size)
{
    void *p = fresh(old);
    void *q = realloc(p, size);

    show("realloc", old, size, q);
    if (q)
        EXPECT_FILLED(q, old < size ? old : size, 3);
    if (!q && size) { // the old block must still be there
        EXPECT_FILLED(p, old, 3);
        free(p);
    }
    free(q);
}

static void array(size_t count, size_t size)
{
    void *p = fresh(24);
    void *q = reallocarray(p, count, size);

    show("reallocarray", count, size, q);
    if (!q && count && size)
        free(p);
    free(q);
    errno = 0;
    q = reallocarray(NULL, count, size);
    show("reallocarray of NULL", count, size, q);
    free(q);
}

int main(void)
{
    for (volatile int i = 0; i < SIZES; i++) {
        void *p;

        errno = 0;
        p = malloc(sizes[i]);
        show("malloc", sizes[i], 0, p);
        free(p);
        errno = 0;
        p = realloc(NULL, sizes[i]);
        show("realloc of NULL", sizes[i], 0, p);
        free(p);
        resized(24, sizes[i]);
        resized(40000, sizes[i]);
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            zeroed(counts[c], sizes[i]);
            array(counts[c], sizes[i]);
        }
    }
    fflush(stdout);
    return ok();
}
