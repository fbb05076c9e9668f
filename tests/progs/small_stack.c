// The functions that tell figures, on the smallest stack a thread may have.
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include "expect.h"

static void *tell(void *unused)
{
    free(block(100));
    EXPECT(mallinfo2().uordblks < 1 << 30, "too much");
    malloc_stats();
    malloc_info(0, stdout);
    malloc_trim(0);
    return unused;
}

int main(void)
{
    pthread_attr_t small;
    pthread_t thread;

    pthread_attr_init(&small);
    EXPECT(!pthread_attr_setstacksize(&small, 16384), "no such stack");
    EXPECT(!pthread_create(&thread, &small, tell, NULL), "no thread");
    EXPECT(!pthread_join(thread, NULL), "no thread to join");
    return ok();
}
