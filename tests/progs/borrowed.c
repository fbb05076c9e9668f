// A size whose blocks are all in use may be served by a block of the next
// sizes: calloc clears all that malloc_usable_size tells of it, aligned
// requests are aligned, and it goes back to where it came from.  Says how many
// blocks of more than a step more there were, which on glibc are none.
#include "expect.h"

enum { BLOCKS = 600, ROUNDS = 60, STEP = 16 };

static unsigned char *blocks[BLOCKS];
static unsigned larger;

static size_t random_below(size_t limit)
{
    static unsigned seed = 1;

    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % limit;
}

// Not by memalign: the compiler knows how its result is aligned.
static unsigned char *aligned_block(size_t size)
{
    void *p = NULL;

    EXPECT(posix_memalign(&p, 64, size) == 0, "%zu bytes are refused", size);
    EXPECT((uintptr_t)p % 64 == 0, "posix_memalign(64, %zu): %p", size, p);
    return p;
}

static void renew(int i)
{
    size_t size = 128 + random_below(800), usable;

    free(blocks[i]);
    if (i % 2 == 0) {
        blocks[i] = aligned_block(size);
    } else {
        blocks[i] = calloc(1, size);
    }
    EXPECT(blocks[i], "%zu bytes are refused", size);
    usable = malloc_usable_size(blocks[i]);
    if (i % 2 != 0) {
        larger += usable >= size + 2 * STEP;
        for (size_t b = 0; b < usable; b++)
            EXPECT(!blocks[i][b], "calloc(1, %zu), usable %zu: byte %zu is %d",
                   size, usable, b, blocks[i][b]);
    }
    memset(blocks[i], 0xff, usable);
}

// Free ones of the next size there are, and none of this one.
static void aligned_in_want(size_t size)
{
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = block(size + STEP);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = aligned_block(size);
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

int main(void)
{
    aligned_in_want(192);
    aligned_in_want(320);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < BLOCKS; i++)
            renew(random_below(2) ? i : (int)random_below(BLOCKS));
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    printf("%u larger\nok\n", larger);
    return 0;
}
