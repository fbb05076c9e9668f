/*
 * sk_heap_lead.h - several copies of this library in one process: one leads.
 *
 * Layer: with sk_heap.  A program that links libskheap.a, or opens the shared
 * library out of everybody's sight, has a copy of its own beside the shim's.
 * That copy follows: at its first call that makes or lists heaps it finds the
 * shim's table by name, and from then on hands every heap, unit and queue
 * over, so there is one region and one report.  Only the shim has the name, so
 * nobody follows in a circle; a table of another version is left alone.
 *
 * Hit paths know nothing of it: a follower has no thread state and no region,
 * so its bins are empty and no unit is near, and all its calls are slow ones.
 */
#ifndef SK_HEAP_LEAD_H
#define SK_HEAP_LEAD_H

#include "sk_heap_parts.h"

/* Functions under names that no other copy can take. */
#define SK_LEAD_CALL(name)                                                     \
    extern __typeof__(name) name##_here                                        \
        __attribute__((alias(#name), visibility("hidden")))

struct sk_heap_calls {
    const char *version; /* of all that is behind the pointers, too */
    __typeof__(sk_heap_new_with) *new_with;
    __typeof__(sk_heap_unit_allocate) *unit_allocate;
    __typeof__(sk_heap_unit_ref_slow) *unit_ref_slow;
    __typeof__(sk_heap_unit_unref) *unit_unref;
    __typeof__(sk_heap_of_unit) *of_unit;
    __typeof__(sk_heap_destroy) *destroy;
    __typeof__(sk_heap_trim) *trim;
    __typeof__(sk_heap_read) *read;
    __typeof__(sk_heap_each) *each;
    __typeof__(sk_heap_report) *report;
};

/* This copy's. */
extern const struct sk_heap_calls sk_heap_here SK_LOCAL;

/* The leader's; NULL: this copy leads, or did not ask yet. */
extern const struct sk_heap_calls *_Atomic sk_heap_leader SK_LOCAL;

static inline const struct sk_heap_calls *sk_heap_lead(void)
{
    return atomic_load_explicit(&sk_heap_leader, memory_order_acquire);
}

/* The shim's start, which reads options and opens the region; nothing where
 * there is no shim. */
void sk_heap_start(void) SK_LOCAL;

/* Asks, the first time. */
const struct sk_heap_calls *sk_heap_find_lead(void);

/* From the first call on no dlclose() unmaps this copy, for threads that have
 * units end in it.  Without a lock: another thread's dlopen() may wait for us.
 */
void sk_heap_stay(void);

/* What the shim has under a name, or NULL. */
const void *sk_heap_find_name(const char *name);

#endif
