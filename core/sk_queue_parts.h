/*
 * sk_queue_parts.h - what the files of sk_queue share and nobody else sees.
 *
 * Layer: with sk_queue.
 *
 * Entries are numbered; they stand in segments, units of the queue's heap:
 *
 *   read                                       write
 *    |                                          |
 *   |. . . g e e e e|next-> |e e e e e e e e|next-> |e e e p . . . .|
 *          '- gets                                         '- puts
 *
 * Producers write at `puts` under their lock, getters read at `gets` under
 * theirs; each side looks at the other's number only when the one it saw last
 * does not do, so the sides meet once per batch.  The segment that getters
 * leave becomes the spare, which is the next one that producers enter.
 *
 *   gets <= puts <= gets + maximum (if there is one)
 *   an entry's segment is the one with end - SK_SEGMENT_ENTRIES <= number < end
 *
 * Waiting needs no barrier of its own: who is about to sleep has put itself
 * on the gate's count, and looks again under the lock of the other side.  So
 * either it sees the change, or who makes the change next sees the count, or
 * sees that it was taken off for a wake on its way.
 *
 * A put or get is over when its number is stored, the last of its stores but
 * where a get of many goes on in the next segment, which it enters after it
 * has stored the number of those before.  So a child of fork finds each entry
 * put and not got, or not put, and `gets` not beyond read's end, nor before
 * its beginning.
 */
#ifndef SK_QUEUE_PARTS_H
#define SK_QUEUE_PARTS_H

#include "sk_queue.h"
#include "sk_heap_parts.h"

#define SK_SEGMENT_ENTRIES 124

struct sk_segment {
    struct sk_segment *next;
    uint64_t end; /* the number of the first entry that is not in it */
    void *entries[SK_SEGMENT_ENTRIES];
};

_Static_assert(sizeof(struct sk_segment) + SK_HEADER_BYTES == 1024,
               "four to a page");

/*
 * Where threads sleep until something happens.  Who enters notes the event,
 * then adds itself to the count; a waker takes one off the count, raises the
 * event, and wakes one.  So each sleep costs one wake at most, and
 *
 *   who sleeps or will sleep <= sleepers + wakes on their way
 *
 * unless somebody is about to wake all.  The count may be too high (for who
 * saw the event before it slept), which costs a wake for nobody.
 */
struct sk_gate {
    _Atomic uint32_t event, sleepers;
    _Atomic uint64_t sleeps;
};

/* No deadline. */
#define SK_GATE_FOREVER UINT64_MAX

/* The deadline in so many milliseconds.  Asked only by who is to sleep, for the
 * time has its price. */
uint64_t sk_gate_deadline(uint64_t milliseconds);

/* On the count; returns the event.  Then the caller sleeps until the next
 * event, a wake or the deadline, false when that has passed; or leaves. */
uint32_t sk_gate_enter(struct sk_gate *gate);
bool sk_gate_sleep(struct sk_gate *gate, uint32_t event, uint64_t deadline);
void sk_gate_leave(struct sk_gate *gate, uint32_t event);

/* Wakes all. */
void sk_gate_open(struct sk_gate *gate);

/* True when there was a sleeper. */
bool sk_gate_wake_one_slow(struct sk_gate *gate);
static inline bool sk_gate_wake_one(struct sk_gate *gate)
{
    return SK_UNLIKELY(atomic_load(&gate->sleepers) != 0) &&
           sk_gate_wake_one_slow(gate);
}

struct sk_queue {
    /* Set once. */
    sk_heap *heap;
    size_t maximum; /* 0: unlimited */
    uint64_t long_entries; /* a backlog that producers yield at */
    struct sk_queue *_Atomic next; /* in the list of all; under its lock */
    /* Producers, under their lock; the atomic ones are read without. */
    struct sk_brief put_lock __attribute__((aligned(SK_LINE_BYTES)));
    _Atomic uint64_t puts;
    uint64_t gets_seen;
    struct sk_segment *write;
    /* Getters, under their lock. */
    struct sk_brief get_lock __attribute__((aligned(SK_LINE_BYTES)));
    _Atomic uint64_t gets;
    uint64_t puts_seen;
    struct sk_segment *read;
    struct sk_segment *_Atomic spare; /* both sides */
    /* Seldom written, and read by all. */
    struct sk_gate getters __attribute__((aligned(SK_LINE_BYTES)));
    struct sk_gate putters;
    _Atomic bool is_closed; /* under put_lock */
};

/* Limits and first segment; false when there is no memory. */
bool sk_queue_begin(struct sk_queue *queue, size_t maximum);

#endif
