// 64 MiB of small blocks, more than a test lets the heaps hold: which of them
// come from where changes as they come and go, and what is in them does not.
#include "expect.h"

enum { BLOCKS = 200000, MOST = 670, ROUNDS = 4 };

static struct {
    unsigned char *at;
    size_t size;
} blocks[BLOCKS];

static void put(unsigned i, unsigned *state)
{
    blocks[i].size = next_random(state) % MOST + 1;
    fill(blocks[i].at = block(blocks[i].size), blocks[i].size, i);
}

static void drop(unsigned i)
{
    EXPECT_FILLED(blocks[i].at, blocks[i].size, i);
    free(blocks[i].at);
    blocks[i].at = NULL;
}

int main(void)
{
    unsigned state = 7;

    for (unsigned i = 0; i < BLOCKS; i++)
        put(i, &state);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < BLOCKS; i++)
            if (blocks[i].at && next_random(&state) % 3)
                drop(i);
        for (unsigned i = 0; i < BLOCKS; i++)
            if (!blocks[i].at)
                put(i, &state);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        drop(i);
    return ok();
}
