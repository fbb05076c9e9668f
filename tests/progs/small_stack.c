// The functions that tell figures, on the smallest stack a thread may have.
#include <limits.h>
#include <malloc.h>
#include "smallest.h"

// mallinfo2() deep down, where glibc's needs some hundred bytes.
static __attribute__((noinline)) size_t tell_deep(void)
{
    volatile char deep[8000];

    for (size_t i = 0; i < sizeof deep; i++)
        deep[i] = 0;
    return mallinfo2().uordblks + (size_t)deep[4000];
}

static void *tell(void *unused)
{
    free(block(100));
    EXPECT(tell_deep() < 1 << 30, "too much");
    malloc_stats();
    malloc_info(0, stdout);
    malloc_trim(0);
    return unused;
}

int main(void)
{
    run_smallest(tell);
    return ok();
}
