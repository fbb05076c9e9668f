// Exact numbers in classes that nothing else uses, so that the report can be
// held to them: 1792 bytes: 1000 allocated, 400 freed here, 300 by another
// thread; 3584 bytes: 10 by an ended thread, 3 of them freed; 20 KiB: 7
// callocs, 7 reallocs to the same class, 7 frees; libc: 5 of 100 000 bytes, and
// another 5 of 200 000 by the other ways.
#include <pthread.h>
#include "expect.h"

static void *blocks[1000];

static void *frees_300(void *arg)
{
    for (int i = 400; i < 700; i++)
        free(blocks[i]);
    return arg;
}

static void *allocates_10(void *arg)
{
    for (int i = 0; i < 10; i++) {
        void *p = block(3500);

        if (i < 3)
            free(p);
    }
    return arg;
}

static void in_thread(void *(*work)(void *))
{
    pthread_t thread;

    EXPECT(!pthread_create(&thread, NULL, work, NULL), "no thread");
    EXPECT(!pthread_join(thread, NULL), "no join");
}

static void for_libc(void)
{
    void *p;

    free(realloc(block(200000), 200001));
    free(calloc(2, 100000));
    free(memalign(64, 200000));
    EXPECT(!posix_memalign(&p, 64, 200000), "posix_memalign");
    free(p);
}

int main(void)
{
    for (int i = 0; i < 1000; i++)
        blocks[i] = block(1700);
    for (int i = 0; i < 400; i++)
        free(blocks[i]);
    in_thread(frees_300);
    in_thread(allocates_10);
    for (int i = 0; i < 7; i++)
        free(realloc(calloc(1, 20000), 20480));
    for (int i = 0; i < 5; i++)
        free(block(100000));
    for_libc();
    return ok();
}
