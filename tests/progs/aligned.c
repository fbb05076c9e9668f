// The aligned family, printed as a table of alignments x sizes: pointers as
// "aligned", everything else (NULL, errno, return code) as it is.  The table
// on the shim must be the table on glibc.
#include "expect.h"

static const size_t alignments[] = {
    0, 1, 2, 3, 4, 8, 16, 24, 32, 64, 256, 1024, 4096, 8192, 2u << 20,
    (size_t)1 << 62, (size_t)1 << 63};
static const size_t sizes[] = {
    0, 1, 24, 100, 1000, 1024, 1025, 4000, 4096, 5000, 28672, 32767, 32768,
    32769, 100000, PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096,
    SIZE_MAX};

static void show(const char *call, size_t alignment, size_t size, void *p,
                 int code)
{
    size_t wanted = alignment < 16 ? 16 : alignment;

    printf("%s %zu %zu: ", call, alignment, size);
    if (!p) {
        printf("NULL %d\n", code);
        return;
    }
    // glibc's memalign takes the next power of two.
    while (wanted & (wanted - 1))
        wanted += wanted & -wanted;
    EXPECT((uintptr_t)p % wanted == 0, "%s(%zu, %zu) gave %p", call,
           alignment, size, p);
    EXPECT(malloc_usable_size(p) >= size, "usable size %zu below %zu",
           malloc_usable_size(p), size);
    fill(p, malloc_usable_size(p), 1);
    printf("aligned %d\n", code);
    // Whatever gave the block, realloc and free must know it.
    p = realloc(p, size + 5000);
    EXPECT(p, "realloc of an aligned block gave NULL");
    EXPECT_FILLED(p, size, 1);
    free(p);
}

// The first block of a run of memory is aligned to nearly everything: some
// more beside it.
static void some_more(size_t alignment, size_t size)
{
    void *blocks[4];

    if (alignment < 16 || alignment > 8192 || (alignment & (alignment - 1)) ||
        size > 100000)
        return;
    for (int i = 0; i < 4; i++) {
        blocks[i] = aligned_alloc(alignment, size);
        EXPECT(blocks[i] && (uintptr_t)blocks[i] % alignment == 0,
               "aligned_alloc(%zu, %zu) gave %p", alignment, size, blocks[i]);
    }
    for (int i = 0; i < 4; i++)
        free(blocks[i]);
}

static void one(size_t alignment, size_t size)
{
    void *untouched = &untouched;
    void *p = untouched;
    int code;

    errno = 0;
    code = posix_memalign(&p, alignment, size);
    if (code) {
        EXPECT(p == untouched, "failed, and changed the pointer to %p", p);
        p = NULL;
    }
    show("posix_memalign", alignment, size, p, code);
    errno = 0;
    p = memalign(alignment, size);
    show("memalign", alignment, size, p, errno);
    errno = 0;
    p = aligned_alloc(alignment, size);
    show("aligned_alloc", alignment, size, p, errno);
    some_more(alignment, size);
}

static void pages(size_t size)
{
    void *p;

    errno = 0;
    p = valloc(size);
    show("valloc", 4096, size, p, errno);
    errno = 0;
    p = pvalloc(size);
    show("pvalloc", 4096, size, p, errno);
}

int main(void)
{
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        volatile size_t size = sizes[s];

        for (size_t a = 0; a < sizeof alignments / sizeof *alignments; a++)
            one(alignments[a], size);
        pages(size);
    }
    fflush(stdout);
    return ok();
}
