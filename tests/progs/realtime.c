// A real-time thread and a normal one on the same processor exchange blocks:
// nobody spins for a peer that cannot run.  Exits 77 where the process may
// not have a real-time thread.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include "expect.h"

enum { ROUNDS = 200, BATCH = 500 };

static void *blocks[2][BATCH];
static sem_t turn[2];

// Frees what the other one made, allocates for it, and allocates alone.
static void *exchanges(void *arg)
{
    uintptr_t me = (uintptr_t)arg;

    for (int round = 0; round < ROUNDS; round++) {
        sem_wait(&turn[me]);
        for (int i = 0; i < BATCH; i++) {
            free(blocks[me][i]);
            blocks[!me][i] = block((size_t)(round * i) % 3000 + 1);
        }
        sem_post(&turn[!me]);
        for (size_t i = 0; i < 5 * BATCH; i++)
            free(block(i));
    }
    return NULL;
}

int main(void)
{
    struct sched_param urgent = {.sched_priority = 50};
    pthread_attr_t attr;
    pthread_t threads[2];
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    EXPECT(!sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
    sem_init(&turn[0], 0, 1);
    sem_init(&turn[1], 0, 0);
    pthread_attr_init(&attr);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
    pthread_attr_setschedparam(&attr, &urgent);
    if (pthread_create(&threads[1], &attr, exchanges, (void *)1))
        return 77;
    EXPECT(!pthread_create(&threads[0], NULL, exchanges, NULL), "no thread");
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    return ok();
}
