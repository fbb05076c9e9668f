// malloc_trim gives back what is free of both worlds, and says so: prints its
// result for small blocks, for a block that grew and shrank, and for large ones.
#include "expect.h"

enum { SMALL = 16384, LARGE = 100, LARGE_BYTES = 100000 };

static void *blocks[SMALL];

static void make(int count, size_t size)
{
    for (int i = 0; i < count; i++)
        memset(blocks[i] = block(size), 1, size);
}

static void free_all(int count)
{
    for (int i = 0; i < count; i++)
        free(blocks[i]);
}

int main(void)
{
    void *grown = realloc(block(100), 1 << 20), *last;
    long before;
    int small, shrunk, large;

    EXPECT(grown, "realloc gave NULL");
    memset(grown, 1, 1 << 20);
    setvbuf(stdout, NULL, _IONBF, 0);
    malloc_trim(0);
    make(SMALL, 64);
    free_all(SMALL);
    small = malloc_trim(0);
    grown = realloc(grown, 40000);
    EXPECT(grown, "realloc gave NULL");
    shrunk = malloc_trim(0);
    make(LARGE, LARGE_BYTES);
    last = block(LARGE_BYTES);
    free_all(LARGE);
    before = rss_kib();
    large = malloc_trim(0);
    EXPECT(rss_kib() < before - LARGE * LARGE_BYTES / 2048,
           "%ld KiB, then %ld", before, rss_kib());
    printf("%d %d %d\n", small, shrunk, large);
    free(last);
    return grown == last;
}
