// The process ends while threads still allocate, and destructors and exit
// functions free what is left.
#include <pthread.h>
#include "expect.h"

static void *kept[1000];

static void *never_stops(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;
    void *mine[32] = {NULL};

    for (;;) {
        unsigned i = next_random(&state) % 32;

        free(mine[i]);
        mine[i] = malloc(next_random(&state) % 5000);
    }
    return NULL;
}

static void frees_the_rest(void)
{
    for (int i = 0; i < 1000; i++)
        free(kept[i]);
    free(block(500));
}

__attribute__((destructor)) static void last(void)
{
    free(block(600));
}

int main(void)
{
    pthread_t thread;

    atexit(frees_the_rest);
    for (uintptr_t i = 1; i <= 3; i++)
        EXPECT(!pthread_create(&thread, NULL, never_stops, (void *)i),
               "no thread");
    for (int i = 0; i < 1000; i++)
        kept[i] = block((size_t)i * 3);
    exit(ok());
}
