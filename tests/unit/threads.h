/*
 * threads.h - runs a function in threads of its own.
 */
#ifndef THREADS_H
#define THREADS_H

#include "unit.h"

#include <pthread.h>

/* Each is given its number, from 1 on. */
static inline void start_threads(pthread_t *ids, int threads,
                                 void *(*body)(void *))
{
    for (int i = 0; i < threads; i++)
        assert_int_equal(
            pthread_create(&ids[i], NULL, body, (void *)(uintptr_t)(i + 1)), 0);
}

static inline void join_threads(const pthread_t *ids, int threads)
{
    for (int i = 0; i < threads; i++)
        assert_int_equal(pthread_join(ids[i], NULL), 0);
}

static inline void run_threads(void *(*body)(void *), int threads)
{
    pthread_t ids[64];

    assert_in_range(threads, 1, 64);
    start_threads(ids, threads, body);
    join_threads(ids, threads);
}

static inline void run(void *(*body)(void *), void *arg)
{
    pthread_t id;

    assert_int_equal(pthread_create(&id, NULL, body, arg), 0);
    join_threads(&id, 1);
}

#endif
