/*
 * Is libc's malloc ready for threads?  Main allocates nothing that is libc's;
 * then threads that have waited for each other make libc's first call
 * together, and end.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4 };

static pthread_barrier_t barrier;

static void *body(void *arg)
{
    pthread_barrier_wait(&barrier);
    free(malloc(100000));
    return arg;
}

int main(void)
{
    pthread_t ids[THREADS];

    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&ids[i], NULL, body, NULL))
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    puts("ok");
    return 0;
}
