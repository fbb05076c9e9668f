/*
 * sk_queue.c - put and get.
 *
 * Layer: above sk_heap.
 */
#include "sk_queue_parts.h"

#include <errno.h>
#include <sched.h>

#define SPINS   60 /* about a quarter of a microsecond */
#define YIELDS  2  /* lets producers fill a batch, where a sleep would cost a
                    * wake for every entry */
#define FOREVER UINT64_MAX

static struct sk_entry closed_mark;

/* --- gates ---------------------------------------------------------------- */

static uint32_t gate_enter(struct sk_gate *gate)
{
    uint32_t event = atomic_load(&gate->event);

    atomic_fetch_add(&gate->sleepers, 1);
    return event;
}

static bool take_sleeper(struct sk_gate *gate)
{
    uint32_t sleepers = atomic_load(&gate->sleepers);

    while (sleepers > 0)
        if (atomic_compare_exchange_weak(&gate->sleepers, &sleepers,
                                         sleepers - 1))
            return true;
    return false;
}

static void gate_open(struct sk_gate *gate)
{
    atomic_store(&gate->sleepers, 0);
    atomic_fetch_add(&gate->event, 1);
    sk_os_wake(&gate->event, INT32_MAX);
}

static inline void gate_wake_one(struct sk_gate *gate)
{
    if (SK_LIKELY(atomic_load(&gate->sleepers) == 0))
        return;
    /* The event first, see gate_leave. */
    atomic_fetch_add(&gate->event, 1);
    if (take_sleeper(gate))
        sk_os_wake(&gate->event, 1);
}

/* For who entered and will not sleep, or whom no waker took off the count.
 * If one did in between, then it was another sleeper who has just been taken
 * off, and all look again. */
static void gate_leave(struct sk_gate *gate, uint32_t event)
{
    take_sleeper(gate);
    if (atomic_load(&gate->event) != event)
        gate_open(gate);
}

/* Milliseconds left until a deadline. */
static uint64_t time_left(uint64_t deadline)
{
    uint64_t now = sk_os_now_ms();

    return now < deadline ? deadline - now : 0;
}

/* Sleeps until an event or the deadline; false when that has passed. */
static bool gate_sleep(struct sk_gate *gate, uint32_t event,
                       uint64_t deadline)
{
    uint64_t left;

    atomic_fetch_add_explicit(&gate->sleeps, 1, memory_order_relaxed);
    while (atomic_load(&gate->event) == event) {
        if (deadline == FOREVER) {
            sk_os_wait(&gate->event, event);
            continue;
        }
        left = time_left(deadline);
        if (left == 0) {
            gate_leave(gate, event);
            return false;
        }
        sk_os_wait_ms(&gate->event, event, left);
    }
    return true;
}

static uint64_t deadline_in(unsigned milliseconds)
{
    return sk_os_now_ms() + milliseconds + 1;
}

/* --- before sleeping ------------------------------------------------------ */

static bool has_incoming(struct sk_queue *queue)
{
    return atomic_load_explicit(&queue->incoming, memory_order_relaxed);
}

static bool has_room(struct sk_queue *queue)
{
    return atomic_load_explicit(&queue->room, memory_order_relaxed) > 0;
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

/* --- put ------------------------------------------------------------------ */

static bool take_room(struct sk_queue *queue)
{
    int64_t room = atomic_load(&queue->room);

    while (room > 0)
        if (atomic_compare_exchange_weak(&queue->room, &room, room - 1))
            return true;
    return false;
}

static void give_room(struct sk_queue *queue, size_t entries)
{
    if (queue->maximum == 0)
        return;
    atomic_fetch_add(&queue->room, (int64_t)entries);
    for (; entries > 0 && atomic_load(&queue->putters.sleepers) > 0; entries--)
        gate_wake_one(&queue->putters);
}

bool sk_queue_is_closed(struct sk_queue *queue)
{
    return atomic_load_explicit(&queue->incoming, memory_order_acquire) ==
           &closed_mark;
}

/* Room for one entry, or why not: 0, EPIPE, EAGAIN, ETIMEDOUT. */
static int wait_for_room(struct sk_queue *queue, uint64_t deadline)
{
    while (!take_room(queue)) {
        uint32_t event;

        if (sk_queue_is_closed(queue))
            return EPIPE;
        if (deadline == 0)
            return EAGAIN;
        spin(queue, has_room);
        if (has_room(queue))
            continue;
        event = gate_enter(&queue->putters);
        if (sk_queue_is_closed(queue) || atomic_load(&queue->room) > 0)
            gate_leave(&queue->putters, event);
        else if (!gate_sleep(&queue->putters, event, deadline))
            return ETIMEDOUT;
    }
    return 0;
}

static bool push(struct sk_queue *queue, struct sk_entry *entry)
{
    struct sk_entry *head =
        atomic_load_explicit(&queue->incoming, memory_order_relaxed);

    do {
        if (SK_UNLIKELY(head == &closed_mark))
            return false;
        entry->next = head;
    } while (!atomic_compare_exchange_weak_explicit(
        &queue->incoming, &head, entry, memory_order_seq_cst,
        memory_order_relaxed));
    return true;
}

static int put(struct sk_queue *queue, void *payload, uint64_t deadline)
{
    struct sk_entry *entry;
    int error = 0;

    if (SK_UNLIKELY(!queue || !payload)) {
        errno = EINVAL;
        return -1;
    }
    if (queue->maximum > 0)
        error = wait_for_room(queue, deadline);
    if (SK_UNLIKELY(error)) {
        errno = error;
        return -1;
    }
    entry = sk_heap_unit_allocate(queue->heap);
    if (SK_UNLIKELY(!entry)) {
        give_room(queue, 1);
        return -1;
    }
    entry->payload = payload;
    if (SK_UNLIKELY(!push(queue, entry))) {
        sk_heap_unit_unref(entry);
        give_room(queue, 1);
        errno = EPIPE;
        return -1;
    }
    gate_wake_one(&queue->getters);
    return 0;
}

int sk_queue_put(sk_queue *queue, void *entry)
{
    return put(queue, entry, FOREVER);
}

int sk_queue_try_put(sk_queue *queue, void *entry)
{
    return put(queue, entry, 0);
}

int sk_queue_put_within(sk_queue *queue, void *entry, unsigned milliseconds)
{
    return put(queue, entry, deadline_in(milliseconds));
}

/* --- get ------------------------------------------------------------------ */

bool sk_queue_fetch_locked(struct sk_queue *queue)
{
    struct sk_entry *newest = atomic_load_explicit(&queue->incoming,
                                                   memory_order_relaxed);
    struct sk_entry *oldest = NULL;

    if (queue->ready || !newest || newest == &closed_mark)
        return queue->ready != NULL;
    /* Only a close can put its mark there, and it has this lock. */
    newest = atomic_exchange_explicit(&queue->incoming, NULL,
                                      memory_order_acquire);
    while (newest) {
        struct sk_entry *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    queue->ready = oldest;
    return true;
}

/* Takes up to `most` entries; frees them outside of the lock. */
static size_t take(struct sk_queue *queue, void **into, size_t most)
{
    struct sk_entry *first, *entry;
    size_t taken = 0;

    sk_lock(&queue->lock);
    if (!sk_queue_fetch_locked(queue)) {
        sk_unlock(&queue->lock);
        return 0;
    }
    first = queue->ready;
    for (entry = first; entry && taken < most; entry = entry->next)
        into[taken++] = entry->payload;
    queue->ready = entry;
    atomic_store_explicit(&queue->gets,
                          atomic_load_explicit(&queue->gets,
                                               memory_order_relaxed) +
                              taken,
                          memory_order_relaxed);
    sk_unlock(&queue->lock);
    for (size_t i = 0; i < taken; i++) {
        entry = first->next;
        sk_heap_unit_unref(first);
        first = entry;
    }
    give_room(queue, taken);
    return taken;
}

/* Other getters may have left something in ready, which their lock guards. */
static bool has_any(struct sk_queue *queue)
{
    bool has;

    if (atomic_load(&queue->incoming))
        return true;
    sk_lock(&queue->lock);
    has = queue->ready != NULL;
    sk_unlock(&queue->lock);
    return has;
}

static size_t get(struct sk_queue *queue, void **into, size_t most,
                  uint64_t deadline)
{
    for (;;) {
        bool was_closed = sk_queue_is_closed(queue);
        size_t taken = take(queue, into, most);
        uint32_t event;

        if (SK_LIKELY(taken > 0))
            return taken;
        if (was_closed || deadline == 0) {
            errno = was_closed ? EPIPE : EAGAIN;
            return 0;
        }
        spin(queue, has_incoming);
        if (has_incoming(queue))
            continue;
        event = gate_enter(&queue->getters);
        if (has_any(queue)) {
            gate_leave(&queue->getters, event);
        } else if (!gate_sleep(&queue->getters, event, deadline)) {
            errno = ETIMEDOUT;
            return 0;
        }
    }
}

static void *get_one(struct sk_queue *queue, uint64_t deadline)
{
    void *payload = NULL;

    if (!queue)
        errno = EINVAL;
    else
        get(queue, &payload, 1, deadline);
    return payload;
}

void *sk_queue_get(sk_queue *queue)
{
    return get_one(queue, FOREVER);
}

void *sk_queue_try_get(sk_queue *queue)
{
    return get_one(queue, 0);
}

void *sk_queue_get_within(sk_queue *queue, unsigned milliseconds)
{
    return get_one(queue, deadline_in(milliseconds));
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
    struct sk_entry **end, *newest;

    if (!queue)
        return;
    sk_lock(&queue->lock);
    newest = atomic_exchange(&queue->incoming, &closed_mark);
    if (newest && newest != &closed_mark) {
        for (end = &queue->ready; *end;)
            end = &(*end)->next;
        while (newest) {
            struct sk_entry *next = newest->next;

            newest->next = *end;
            *end = newest;
            newest = next;
        }
    }
    sk_unlock(&queue->lock);
    gate_open(&queue->getters);
    gate_open(&queue->putters);
}
