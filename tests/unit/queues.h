/*
 * queues.h - the queue that a test opens, uses and closes.
 */
#ifndef QUEUES_H
#define QUEUES_H

#include "heaps.h"

#include "sk_queue_parts.h"

static sk_queue *queue;

/* An entry. */
static inline void *number(uintptr_t n)
{
    return (void *)(n + 1);
}

static inline void open_queue(size_t maximum)
{
    queue = sk_queue_new("tested", maximum);
    assert_non_null(queue);
}

static inline void close_queue(void)
{
    /* The segment at hand, and the spare. */
    assert_in_range(info_of(queue->heap).live_units, 1, 2);
    assert_int_equal(sk_queue_destroy(queue), 0);
}

#endif
