// Threads are created and joined, with one malloc each: after the first few
// thousand the resident set stays where it is.  Argument: threads.
#include <pthread.h>
#include "expect.h"

static void *allocates_once(void *arg)
{
    void *p = block((uintptr_t)arg % 1000 + 1);

    *(volatile char *)p = 1;
    // Every second block is freed by who joins.
    if ((uintptr_t)arg % 2)
        return p;
    free(p);
    return NULL;
}

static void churn(uintptr_t n)
{
    for (uintptr_t i = 0; i < n; i++) {
        pthread_t thread;
        void *p;

        EXPECT(!pthread_create(&thread, NULL, allocates_once, (void *)i),
               "no thread");
        EXPECT(!pthread_join(thread, &p), "no join");
        free(p);
    }
}

int main(int argc, char **argv)
{
    uintptr_t threads = argc > 1 ? strtoul(argv[1], NULL, 0) : 100000;
    long before;

    churn(threads / 10);
    before = rss_kib();
    churn(threads);
    EXPECT(rss_kib() < before + 2048, "RSS went from %ld to %ld KiB", before,
           rss_kib());
    return ok();
}
