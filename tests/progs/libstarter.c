// A constructor starts a thread that allocates, and waits for it; meanwhile
// the loader's lock is held.  libstarter.so is opened by starter.c.
#include <pthread.h>
#include <stdlib.h>

static void *allocates(void *arg)
{
    for (int i = 0; i < 10000; i++)
        free(malloc((size_t)(i * 7)));
    return arg;
}

__attribute__((constructor)) static void start(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, allocates, NULL))
        abort();
    pthread_join(thread, NULL);
}
