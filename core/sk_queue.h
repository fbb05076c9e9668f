/*
 * sk_queue.h - labelled queues for many producers and many consumers.
 *
 * Layer: the public contract of libskheap, above sk_heap.h.  C and C++.
 *
 * A queue carries pointers, which must not be NULL.  Its entries come from a
 * heap of its own under its label, so two producers contend only when they
 * meet on one queue.  What one producer puts is got in that order.
 *
 * A unit of a heap that is put into several queues needs one reference for
 * each: ref it, put it, and let each consumer unref it.
 *
 * Errors: -1, or NULL, or 0 entries, with errno
 *   EPIPE      the queue is closed; for a getter: and empty
 *   EAGAIN     would have to wait (try)
 *   ETIMEDOUT  the time is over (within)
 *   ENOMEM     no memory for an entry
 *   EINVAL     wrong arguments
 *
 * Threads: any call from any thread; destroying a queue is its last use.  Who
 * waits spins and yields shortly, then sleeps in the kernel; who puts onto a
 * long backlog yields now and then.  No call is a cancellation point: closing
 * the queue ends a wait.  Not from signal handlers.
 */
#ifndef SK_QUEUE_H
#define SK_QUEUE_H

#include "sk_heap.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sk_queue sk_queue;

/* maximum_entries is exact; 0: as many as there is memory for. */
SK_HEAP_API sk_queue *sk_queue_new(const char *label, size_t maximum_entries);

/* 0 or -1.  A full queue is waited for, refused, or waited for a while. */
SK_HEAP_API int sk_queue_put(sk_queue *queue, void *entry);
SK_HEAP_API int sk_queue_try_put(sk_queue *queue, void *entry);
SK_HEAP_API int sk_queue_put_within(sk_queue *queue, void *entry,
                                    unsigned milliseconds);

/* The oldest entry. */
SK_HEAP_API void *sk_queue_get(sk_queue *queue);
SK_HEAP_API void *sk_queue_try_get(sk_queue *queue);
SK_HEAP_API void *sk_queue_get_within(sk_queue *queue, unsigned milliseconds);

/* Up to `most` of the oldest entries; waits for the first one.  How many. */
SK_HEAP_API size_t sk_queue_get_many(sk_queue *queue, void **into,
                                     size_t most);

/* No put succeeds any more; getters get what is left, then EPIPE. */
SK_HEAP_API void sk_queue_close(sk_queue *queue);

/* 0; or the entries still in it, and then the queue lives on.  -1 with errno:
 * EINVAL for no queue; EBUSY from a visit of sk_queue_each or sk_heap_each or a
 * unit's destructor, and nothing has changed. */
SK_HEAP_API long sk_queue_destroy(sk_queue *queue);

SK_HEAP_API size_t sk_queue_length(sk_queue *queue);

struct sk_queue_info {
    const char *label;
    size_t maximum_entries; /* 0: unlimited */
    uint64_t length;
    uint64_t gets;   /* entries got so far; puts == gets + length */
    uint64_t sleeps; /* times that a getter or putter slept */
    int is_closed;
};

SK_HEAP_API int sk_queue_read(sk_queue *queue, struct sk_queue_info *info);

/* As sk_heap_each, with EBUSY for a visit that makes or destroys, and
 * sk_heap_report; JSON has the schema skqueue-report/1.  A visit may call
 * sk_heap_each and sk_heap_report; but a visit of sk_heap_each, or a unit's
 * destructor, that walks along the queues gets -1 and EBUSY from both. */
SK_HEAP_API int sk_queue_each(int (*visit)(sk_queue *queue, void *context),
                              void *context);
SK_HEAP_API int sk_queue_report(sk_queue *queue, int fd,
                                enum sk_heap_format format);

#ifdef __cplusplus
}
#endif

#endif
