/*
 * sk_queue.c - put and get.
 *
 * Layer: above sk_heap.
 */
#define SK_HEAP_NO_INLINE
#include "sk_queue_parts.h"

#include <errno.h>
#include <sched.h>

#define SPINS   60 /* about a quarter of a microsecond */
#define YIELDS  2  /* lets producers fill a batch, where a sleep would cost a
                    * wake for every entry */

/* For how many milliseconds a call waits, if not for so many. */
#define FOREVER SK_GATE_FOREVER
#define AT_ONCE (FOREVER - 1)

/* With so many entries waiting, or half of the maximum, every so many puts
 * yield once: where threads outnumber processors, getters then take what is
 * still in the cache, a backlog needs no memory that was never touched, and
 * producers do not run into the maximum to sleep there. */
#define LONG_ENTRIES 512
#define YIELD_PUTS   256

/* --- before sleeping ------------------------------------------------------ */

static bool is_closed(struct sk_queue *queue)
{
    return atomic_load_explicit(&queue->is_closed, memory_order_acquire);
}

static uint64_t length_of(struct sk_queue *queue)
{
    uint64_t gets = atomic_load_explicit(&queue->gets, memory_order_acquire);

    return atomic_load_explicit(&queue->puts, memory_order_acquire) - gets;
}

static bool has_any(struct sk_queue *queue)
{
    return length_of(queue) > 0;
}

static bool has_room(struct sk_queue *queue)
{
    return length_of(queue) < queue->maximum;
}

static void spin(struct sk_queue *queue, bool (*is_over)(struct sk_queue *))
{
    for (int i = 0; i < SPINS; i++)
        if (is_over(queue))
            return;
    for (int i = 0; i < YIELDS; i++) {
        sched_yield();
        if (is_over(queue))
            return;
    }
}

/* Spins, then sleeps until it may be over; false when the deadline passed.
 * `other`: the lock of who could end it. */
static bool wait(struct sk_queue *queue, bool (*is_over)(struct sk_queue *),
                 struct sk_gate *gate, struct sk_brief *other,
                 uint64_t deadline)
{
    uint32_t event;
    bool is_done;

    spin(queue, is_over);
    if (is_over(queue))
        return true;
    event = sk_gate_enter(gate);
    sk_brief_lock(other);
    is_done = is_over(queue) || is_closed(queue);
    sk_brief_unlock(other);
    if (!is_done)
        return sk_gate_sleep(gate, event, deadline);
    sk_gate_leave(gate, event);
    return true;
}

/* --- put ------------------------------------------------------------------ */

static struct sk_segment *new_segment(struct sk_queue *queue, uint64_t end)
{
    struct sk_segment *segment = atomic_load_explicit(&queue->spare,
                                                      memory_order_relaxed);

    if (segment)
        segment = atomic_exchange_explicit(&queue->spare, NULL,
                                           memory_order_acquire);
    if (!segment)
        segment = sk_heap_unit_allocate(queue->heap);
    if (segment) {
        segment->next = NULL;
        segment->end = end;
    }
    return segment;
}

bool sk_queue_begin(struct sk_queue *queue, size_t maximum)
{
    bool is_short = maximum > 0 && maximum / 2 < LONG_ENTRIES;

    queue->maximum = maximum;
    queue->long_entries = is_short ? maximum / 2 : LONG_ENTRIES;
    queue->write = queue->read = new_segment(queue, SK_SEGMENT_ENTRIES);
    return queue->write != NULL;
}

static bool append_locked(struct sk_queue *queue)
{
    struct sk_segment *segment =
        new_segment(queue, queue->write->end + SK_SEGMENT_ENTRIES);

    if (!segment)
        return false;
    queue->write->next = segment;
    /* For the child of a fork: a segment in `write` has its number. */
    atomic_signal_fence(memory_order_release);
    queue->write = segment;
    return true;
}

static uint64_t backlog_locked(struct sk_queue *queue, uint64_t puts)
{
    queue->gets_seen = atomic_load_explicit(&queue->gets,
                                            memory_order_acquire);
    return puts - queue->gets_seen;
}

/* 0, or why not. */
static int put_locked(struct sk_queue *queue, void *payload)
{
    uint64_t puts = atomic_load_explicit(&queue->puts, memory_order_relaxed);
    struct sk_segment *segment;

    if (SK_UNLIKELY(
            atomic_load_explicit(&queue->is_closed, memory_order_relaxed)))
        return EPIPE;
    if (queue->maximum > 0 && puts - queue->gets_seen >= queue->maximum &&
        backlog_locked(queue, puts) >= queue->maximum)
        return EAGAIN;
    if (puts == queue->write->end && SK_UNLIKELY(!append_locked(queue)))
        return ENOMEM;
    segment = queue->write;
    segment->entries[puts - (segment->end - SK_SEGMENT_ENTRIES)] = payload;
    atomic_store_explicit(&queue->puts, puts + 1, memory_order_release);
    return 0;
}

static bool is_time_to_yield_locked(struct sk_queue *queue)
{
    uint64_t puts = atomic_load_explicit(&queue->puts, memory_order_relaxed);

    return puts % YIELD_PUTS == 0 &&
           backlog_locked(queue, puts) >= queue->long_entries;
}

static int try_put(struct sk_queue *queue, void *payload)
{
    bool is_time;
    int error;

    sk_brief_lock(&queue->put_lock);
    error = put_locked(queue, payload);
    is_time = is_time_to_yield_locked(queue);
    sk_brief_unlock(&queue->put_lock);
    if (SK_UNLIKELY(error))
        return error;
    sk_gate_wake_one(&queue->getters);
    if (SK_UNLIKELY(is_time))
        sched_yield();
    return 0;
}

/* Who was woken for the room there is and cannot use it passes the wake on; who
 * ran out of time had none, or looked in vain after it. */
static int wait_and_put(struct sk_queue *queue, void *payload,
                        uint64_t milliseconds)
{
    uint64_t deadline = sk_gate_deadline(milliseconds);
    int error;

    do
        error = wait(queue, has_room, &queue->putters, &queue->get_lock,
                     deadline)
                    ? try_put(queue, payload)
                    : ETIMEDOUT;
    while (error == EAGAIN);
    if (error && error != ETIMEDOUT)
        sk_gate_wake_one(&queue->putters);
    return error;
}

static int put(struct sk_queue *queue, void *payload, uint64_t milliseconds)
{
    int error = EINVAL;

    if (SK_LIKELY(queue && payload))
        error = try_put(queue, payload);
    if (SK_UNLIKELY(error == EAGAIN) && milliseconds != AT_ONCE)
        error = wait_and_put(queue, payload, milliseconds);
    if (SK_LIKELY(error == 0))
        return 0;
    errno = error;
    return -1;
}

int sk_queue_put(sk_queue *queue, void *entry)
{
    return put(queue, entry, FOREVER);
}

int sk_queue_try_put(sk_queue *queue, void *entry)
{
    return put(queue, entry, AT_ONCE);
}

int sk_queue_put_within(sk_queue *queue, void *entry, unsigned milliseconds)
{
    return put(queue, entry, milliseconds);
}

/* --- get ------------------------------------------------------------------ */

static void leave_segment_locked(struct sk_queue *queue)
{
    struct sk_segment *left = queue->read;

    queue->read = left->next;
    if (atomic_load_explicit(&queue->spare, memory_order_relaxed))
        sk_heap_unit_unref(left);
    else
        atomic_store_explicit(&queue->spare, left, memory_order_release);
}

static size_t take_locked(struct sk_queue *queue, void **into, size_t most)
{
    uint64_t gets = atomic_load_explicit(&queue->gets, memory_order_relaxed);
    size_t taken;

    if (queue->puts_seen - gets < most)
        queue->puts_seen = atomic_load_explicit(&queue->puts,
                                                memory_order_acquire);
    if (most > queue->puts_seen - gets)
        most = queue->puts_seen - gets;
    for (taken = 0; taken < most; taken++, gets++) {
        struct sk_segment *segment = queue->read;

        if (gets == segment->end) {
            /* For the child of a fork: what is left has been got. */
            atomic_store_explicit(&queue->gets, gets, memory_order_release);
            atomic_signal_fence(memory_order_release);
            leave_segment_locked(queue);
            segment = queue->read;
        }
        into[taken] = segment->entries[gets -
                                       (segment->end - SK_SEGMENT_ENTRIES)];
    }
    atomic_store_explicit(&queue->gets, gets, memory_order_release);
    return taken;
}

static size_t take(struct sk_queue *queue, void **into, size_t most)
{
    size_t taken;

    sk_brief_lock(&queue->get_lock);
    taken = take_locked(queue, into, most);
    sk_brief_unlock(&queue->get_lock);
    if (queue->maximum > 0)
        for (size_t i = 0; i < taken; i++)
            if (!sk_gate_wake_one(&queue->putters))
                break;
    return taken;
}

static size_t get(struct sk_queue *queue, void **into, size_t most,
                  uint64_t milliseconds)
{
    uint64_t deadline = 0;

    for (;;) {
        /* Nothing is put after this, if so. */
        bool was_closed = is_closed(queue);
        size_t taken = take(queue, into, most);

        if (SK_LIKELY(taken > 0))
            return taken;
        if (was_closed || milliseconds == AT_ONCE) {
            errno = was_closed ? EPIPE : EAGAIN;
            return 0;
        }
        if (deadline == 0)
            deadline = sk_gate_deadline(milliseconds);
        if (!wait(queue, has_any, &queue->getters, &queue->put_lock,
                  deadline)) {
            errno = ETIMEDOUT;
            return 0;
        }
    }
}

static void *get_one(struct sk_queue *queue, uint64_t milliseconds)
{
    void *payload = NULL;

    if (!queue)
        errno = EINVAL;
    else
        get(queue, &payload, 1, milliseconds);
    return payload;
}

void *sk_queue_get(sk_queue *queue)
{
    return get_one(queue, FOREVER);
}

void *sk_queue_try_get(sk_queue *queue)
{
    return get_one(queue, AT_ONCE);
}

void *sk_queue_get_within(sk_queue *queue, unsigned milliseconds)
{
    return get_one(queue, milliseconds);
}

size_t sk_queue_get_many(sk_queue *queue, void **into, size_t most)
{
    if (!queue || !into || most == 0) {
        errno = EINVAL;
        return 0;
    }
    return get(queue, into, most, FOREVER);
}

/* --- close ---------------------------------------------------------------- */

void sk_queue_close(sk_queue *queue)
{
    if (!queue)
        return;
    sk_brief_lock(&queue->put_lock);
    atomic_store_explicit(&queue->is_closed, true, memory_order_release);
    sk_brief_unlock(&queue->put_lock);
    sk_gate_open(&queue->getters);
    sk_gate_open(&queue->putters);
}
