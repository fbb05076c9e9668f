/*
 * The queues of skserver: many threads put, one takes.
 *
 * A put pushes a whole string of entries with one atomic operation and makes
 * a system call only when the taker sleeps; a take empties the queue with one
 * exchange and gets everything that came, oldest first.  So what is left to
 * measure is where the entries come from: malloc.
 */
#ifndef SKQUEUE_H
#define SKQUEUE_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct message;

/* One malloc'ed entry carries one message to one queue. */
struct entry {
    struct entry *next;
    struct message *message;
    void *reply_to;
    uint64_t put_ns;
};

/* Entries in the order they will be put, newest first, as the queue has
 * them; private to one thread. */
struct string {
    struct entry *newest, *oldest;
};

struct queue {
    _Alignas(64) _Atomic(struct entry *) newest;
    _Atomic uint32_t asleep;
};

static inline void string_add(struct string *s, struct entry *e)
{
    e->next = s->newest;
    s->newest = e;
    if (!s->oldest)
        s->oldest = e;
}

static inline void queue_wake(struct queue *q)
{
    if (atomic_load(&q->asleep) && atomic_exchange(&q->asleep, 0))
        syscall(SYS_futex, &q->asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static inline void queue_put(struct queue *q, struct string *s)
{
    struct entry *top = atomic_load_explicit(&q->newest, memory_order_relaxed);
    if (!s->newest)
        return;
    do
        s->oldest->next = top;
    while (!atomic_compare_exchange_weak(&q->newest, &top, s->newest));
    s->newest = s->oldest = NULL;
    queue_wake(q);
}

/* All entries, oldest first, or NULL at once. */
static inline struct entry *queue_take(struct queue *q)
{
    struct entry *e = NULL, *next, *oldest = NULL;
    if (atomic_load_explicit(&q->newest, memory_order_relaxed))
        e = atomic_exchange(&q->newest, NULL);
    for (; e; e = next) {
        next = e->next;
        e->next = oldest;
        oldest = e;
    }
    return oldest;
}

/* Sleeps until something was put or queue_wake was called.  `asleep` is set
 * before the last look and read by the putter after its push, so one of the
 * two sees the other. */
static inline void queue_sleep(struct queue *q)
{
    atomic_store(&q->asleep, 1);
    if (!atomic_load(&q->newest))
        syscall(SYS_futex, &q->asleep, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    atomic_store(&q->asleep, 0);
}

#endif
