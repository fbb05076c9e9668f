// realloc from every edge to every edge: between size classes, into them and
// out of them, and of blocks of libc's own.  The content stays, up to the
// smaller size, and neighbours stay as they are.
#include "expect.h"

extern void *__libc_malloc(size_t size);

static const size_t edges[] = {
    1,    15,   16,    17,    24,    40,    1023,  1024,   1025,   1279,
    1281, 2047, 2048,  2049,  4096,  16384, 28672, 28673,  32767,  32768,
    32769, 33000, 70000, 131072, 140000, 300000};
enum { EDGES = sizeof edges / sizeof *edges };

static void *made_by_malloc(size_t size)
{
    return malloc(size);
}

static void *made_by_calloc(size_t size)
{
    return calloc(1, size);
}

static void *made_by_memalign(size_t size)
{
    return memalign(256, size);
}

static void *made_by_realloc(size_t size)
{
    return realloc(malloc(size + 100), size);
}

// A pointer made before interposition, or by who bypasses it.
static void *made_by_libc(size_t size)
{
    return __libc_malloc(size);
}

static void move(void *(*make)(size_t), size_t from, size_t to)
{
    void *p = make(from);
    void *neighbour = block(from);
    void *q;

    EXPECT(p, "no block of %zu bytes", from);
    fill(p, from, 5);
    fill(neighbour, from, 6);
    EXPECT(malloc_usable_size(p) >= from, "usable size %zu below %zu",
           malloc_usable_size(p), from);
    q = realloc(p, to);
    EXPECT(q, "realloc from %zu to %zu gave NULL", from, to);
    EXPECT((uintptr_t)q % 16 == 0, "realloc from %zu to %zu gave %p", from,
           to, q);
    EXPECT_FILLED(q, from < to ? from : to, 5);
    EXPECT(malloc_usable_size(q) >= to, "usable size %zu below %zu",
           malloc_usable_size(q), to);
    fill(q, to, 7);
    EXPECT_FILLED(neighbour, from, 6);
    free(neighbour);
    EXPECT_FILLED(q, to, 7);
    free(q);
}

// All that a block has is had where it is; and a smaller one does not keep what
// it had.  A block of ours stays from 32 KiB on, glibc's of 128 KiB in its pages.
static void take_their_size(size_t from, size_t to)
{
    void *p = realloc(malloc(16), from), *q;
    size_t usable = malloc_usable_size(p);

    q = realloc(p, usable);
    EXPECT(q == p, "%zu bytes moved from %p to %p", usable, p, q);
    if (to < from && to <= MAX_SMALL && from < 131072) {
        q = realloc(q, to);
        usable = malloc_usable_size(q);
        EXPECT(usable <= 2 * to + 64, "usable %zu, realloc from %zu to %zu",
               usable, from, to);
    }
    free(q);
}

int main(void)
{
    void *(*const makers[])(size_t) = {made_by_malloc, made_by_calloc,
                                       made_by_memalign, made_by_realloc,
                                       made_by_libc};

    for (size_t m = 0; m < sizeof makers / sizeof *makers; m++)
        for (size_t from = 0; from < EDGES; from++)
            for (size_t to = 0; to < EDGES; to++)
                move(makers[m], edges[from], edges[to]);
    for (size_t from = 0; from < EDGES; from++)
        for (size_t to = 0; to < EDGES; to++)
            take_their_size(edges[from], edges[to]);
    return ok();
}
