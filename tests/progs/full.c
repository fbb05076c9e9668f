// 64 MiB of small blocks, more than a test lets the heaps hold: which of them
// come from where changes as they come and go, and what is in them does not.
// With the argument wait it says "ready" before it frees the last of them, and
// goes on at SIGUSR1.
#include <signal.h>
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

static void wait_for_signal(void)
{
    sigset_t usr1;
    int number;

    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    EXPECT(write(1, "ready\n", 6) == 6, "errno %d", errno);
    EXPECT(!sigwait(&usr1, &number), "no signal");
}

int main(int argc, char **argv)
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
    if (argc > 1 && !strcmp(argv[1], "wait"))
        wait_for_signal();
    for (unsigned i = 0; i < BLOCKS; i++)
        drop(i);
    return ok();
}
