/*
 * sk_queue_parts.h - what the files of sk_queue share and nobody else sees.
 *
 * Layer: with sk_queue.
 *
 *   producers --push--> incoming   newest first; one exchange by compare
 *                          |
 *                   taken as a whole, reversed, by the getter who finds
 *                          v       ready empty
 *   consumers <--pop--- ready      oldest first; under the getters' lock
 *
 * So a put never waits for a lock, and getters touch what producers write
 * once per batch.  A closed queue's incoming holds a mark for ever.
 *
 *   room == maximum - entries in the queue - puts under way, if bounded
 */
#ifndef SK_QUEUE_PARTS_H
#define SK_QUEUE_PARTS_H

#include "sk_queue.h"
#include "sk_heap_parts.h"

struct sk_entry {
    struct sk_entry *next;
    void *payload;
};

/* Where threads sleep until something happens.  A waker takes a sleeper off
 * the count before it wakes one, so each sleep costs one wake at most. */
struct sk_gate {
    _Atomic uint32_t event, sleepers;
    _Atomic uint64_t sleeps;
};

struct sk_queue {
    /* Set once. */
    sk_heap *heap;
    size_t maximum; /* 0: unlimited */
    struct sk_queue *_Atomic next; /* in the list of all; under its lock */
    /* Producers. */
    struct sk_entry *_Atomic incoming __attribute__((aligned(SK_LINE_BYTES)));
    _Atomic int64_t room;
    struct sk_gate putters;
    /* Getters, under the lock; `gets` is read without. */
    struct sk_lock lock __attribute__((aligned(SK_LINE_BYTES)));
    struct sk_entry *ready;
    _Atomic uint64_t gets;
    struct sk_gate getters;
};

/* Moves incoming behind what is ready; true when something is ready. */
bool sk_queue_fetch_locked(struct sk_queue *queue);

bool sk_queue_is_closed(struct sk_queue *queue);

#endif
