/*
 * sk_heap.h - heaps of units of one size, with labels, limits and counts.
 *
 * Layer: the public contract of libskheap; the shim exports the same names,
 * and when both are in a process the shim's win.  C and C++.
 *
 * Units: sizes are bytes, numbers are units.  A unit is born with a count of
 * 1; sk_heap_unit_ref adds one, sk_heap_unit_unref takes one away, and the
 * last one frees it.  There is no other free: free() and realloc() of a unit
 * end the program when the shim is there to see it.
 *
 * Options: the shim's; without it, the first heap reads them (sk_heap(3)).
 *
 * Errors: out of memory, or out of units, is NULL with errno ENOMEM; a wrong
 * argument is NULL with errno EINVAL.  A broken program (a unit freed twice,
 * a pointer that is no unit) gets one line on standard error that names the
 * heap and the pointer, and SIGABRT.
 *
 * Threads: every call may come from any thread, with the heap or the unit
 * alone, at the same time as any other; but destroying a heap is its last
 * use.  A signal handler may not allocate.  It may unref a unit of a heap with
 * a maximum; of one without, if what it interrupts uses other heaps, or a unit
 * may be lost.  The child of a fork has all heaps with all their units; but
 * what a thread that does not come along had in reserve, if it was in the
 * middle of a call, counts as live there: of each heap with a maximum, up to 33
 * units.  A heap that another thread was destroying is gone there, without a
 * call of its destructor.
 */
#ifndef SK_HEAP_H
#define SK_HEAP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SK_HEAP_API __attribute__((visibility("default")))

typedef struct sk_heap sk_heap;

enum sk_heap_option {
    /* Each growth is twice the one before, beginning with units_per_chunk. */
    SK_HEAP_GROW_EXPONENTIALLY = 1,
    /* maximum_units is ignored. */
    SK_HEAP_UNLIMITED = 2,
    /* Memory that is wholly free goes back to the system.  Without it, or with
     * a destructor, it is kept for the heap's next units, until sk_heap_trim.
     */
    SK_HEAP_SHRINK = 4,
    /* A unit's bytes are zero when it is handed out. */
    SK_HEAP_ZERO = 8
};

#define SK_HEAP_UNIT_MOST      ((size_t)1 << 20)
#define SK_HEAP_ALIGNMENT_MOST ((size_t)4096)
/* Longer labels are cut, between two characters of UTF-8.  Bytes that are no
 * UTF-8, control characters, quotes and backslashes become _. */
#define SK_HEAP_LABEL_BYTES 32

/* When the memory of a chunk is had from the system: page by page as units
 * are first used, or at once as the heap grows, so that no allocation but the
 * one that grows meets a page fault. */
enum sk_heap_source { SK_HEAP_ON_DEMAND, SK_HEAP_POPULATED };

struct sk_heap_attributes {
    const char *label;
    size_t unit_size; /* 1 byte to 1 MiB */
    size_t alignment; /* a power of two up to 4096; 0 means 16 */
    size_t units_per_chunk;
    size_t maximum_units;
    unsigned options;
    /* Called when a unit's memory is first used, and before it is given up;
     * between two lives of the unit its bytes stay as they are, which is the
     * point.  construct runs in the allocating thread, before the unit is
     * handed out; destruct may run in any thread, in the middle of any call
     * of this library: it may unref and free, but not allocate units, and read
     * a heap, but make, destroy or visit none (EBUSY).  Both have to return:
     * no exception, no jump, no end of the thread.  NULL: nothing is called. */
    void (*construct)(void *unit, void *context);
    void (*destruct)(void *unit, void *context);
    void *context;
    enum sk_heap_source source;
};

/* A new heap.  maximum_units are exact: that many can be live, never more,
 * and fewer are never refused because of what other threads hold in reserve.
 */
SK_HEAP_API sk_heap *sk_heap_new(const char *label, size_t unit_size,
                                 size_t units_per_chunk, size_t maximum_units,
                                 unsigned options);
SK_HEAP_API sk_heap *sk_heap_new_with(const struct sk_heap_attributes *how);

/* A unit with a count of 1. */
SK_HEAP_API void *sk_heap_unit_allocate(sk_heap *heap);

/* Returns its argument.  Where the compiler optimizes, only a ref that fails
 * is a call: see sk_heap_inline.h. */
SK_HEAP_API void *sk_heap_unit_ref(void *unit);
SK_HEAP_API void sk_heap_unit_unref(void *unit);

/* The heap of a unit; NULL and EINVAL when the pointer is none. */
SK_HEAP_API sk_heap *sk_heap_of_unit(const void *unit);

/* Gives all of a heap's memory back and ends it; returns 0.  While units are
 * out it is refused, and their number returned, unless `is_forced`: then they
 * are gone with it.  -1 with errno: EINVAL for no heap, EBUSY from a
 * destructor or a visit of sk_heap_each. */
SK_HEAP_API long sk_heap_destroy(sk_heap *heap, int is_forced);

/* Gives what is wholly free back to the system; returns the bytes. */
SK_HEAP_API size_t sk_heap_trim(sk_heap *heap);

/* Exact while no other thread uses the heap. */
struct sk_heap_info {
    const char *label;
    size_t unit_size, alignment, units_per_chunk;
    size_t maximum_units; /* SIZE_MAX: unlimited */
    unsigned options;
    uint64_t live_units;   /* in the program's hands */
    uint64_t cached_units; /* in threads' hands, to be used again */
    uint64_t grown_units;  /* by growths so far, less what was given back */
    uint64_t growths;
    uint64_t allocations; /* that succeeded */
    uint64_t refused;     /* allocations that did not */
    uint64_t chunk_bytes; /* of memory that the heap holds */
};

SK_HEAP_API int sk_heap_read(sk_heap *heap, struct sk_heap_info *info);

/* Calls visit(heap, context) for every heap, newest first, until it returns
 * something but 0, and returns that.  Heaps stay as long as that: other threads
 * wait to make or destroy one, and visit gets EBUSY if it tries, as from
 * sk_queue_each.  It may leave by an exception or by the end of its thread, but
 * not by a jump.  -1 and EBUSY from a destructor. */
SK_HEAP_API int sk_heap_each(int (*visit)(sk_heap *heap, void *context),
                             void *context);

enum sk_heap_format { SK_HEAP_TEXT, SK_HEAP_JSON };

/* Writes the figures of one heap, or with NULL of all, to a descriptor: a
 * table, or JSON (schema skheap-report/1).  0, or -1 when the descriptor
 * would not take it, or all were asked for by a destructor. */
SK_HEAP_API int sk_heap_report(sk_heap *heap, int fd,
                               enum sk_heap_format format);

#include "sk_heap_inline.h"

#ifdef __cplusplus
}
#endif

#endif
