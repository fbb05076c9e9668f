// A thread that is to be cancelled, and calls the family on the smallest stack
// there is: none of them is a point where that happens, nor does exit() need
// much of the stack, though it may write a report.
#include "smallest.h"

enum { DEPTH = 7000, BLOCKS = 3000 };

static void use_family(void)
{
    static void *blocks[BLOCKS];

    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = realloc(block(i), i * 3 + 1);
    for (unsigned i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    malloc_trim(0);
    malloc_stats();
}

static __attribute__((noinline)) void end_deep(void)
{
    volatile char deep[DEPTH];

    for (int i = 0; i < DEPTH; i++)
        deep[i] = 0;
    exit(deep[DEPTH - 1]);
}

static void *go_on(void *unused)
{
    pthread_cancel(pthread_self());
    use_family();
    end_deep();
    return unused;
}

int main(void)
{
    run_smallest(go_on);
    EXPECT(0, "the thread was cancelled");
    return 1;
}
