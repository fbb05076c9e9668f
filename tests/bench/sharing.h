/*
 * Small objects written many times: slow when an allocator puts the objects
 * of two threads on one cache line.
 */
#ifndef SHARING_H
#define SHARING_H

#include "bench.h"

enum { OBJECT_BYTES = 8, WRITES = 1000 };

/* Counts up in the object itself, in memory, WRITES times. */
static inline void object_work(void *object)
{
    volatile uint64_t *counter = (volatile uint64_t *)object;
    long i;
    *counter = 0;
    for (i = 0; i < WRITES; i++)
        *counter = *counter + 1;
}

static inline void object_free(void *object)
{
    if (*(volatile uint64_t *)object != WRITES)
        bench_die(1, "object %p lost its count", object);
    free(object);
}

static inline void *object_new(void)
{
    void *object = malloc(OBJECT_BYTES);
    if (!object)
        bench_die(1, "no memory for an object");
    return object;
}

static inline void objects_turn_over(long count)
{
    long i;
    for (i = 0; i < count; i++) {
        void *object = object_new();
        object_work(object);
        object_free(object);
    }
}

#endif
