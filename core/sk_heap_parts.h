/*
 * sk_heap_parts.h - what the files of sk_heap share and nobody else sees.
 *
 * Layer: with sk_heap.
 *
 * 171 heaps at a time have a bin in every thread state, like malloc's classes,
 * and take the same paths: those that found one free when they were made.  A
 * destroyed heap's is free again.  Other heaps, and those of which unit_size +
 * alignment is above 36880, have a lock each and no cache (sk_heap_more.c).
 *
 * A unit as the chunks see it, and what the program sees of it:
 *
 *   |link    |header  |the program's bytes ...      |
 *    '- chunk's unit   '- p, aligned as asked for
 *
 * The link is the list's of whatever bin or chunk the unit rests in, so the
 * program's bytes survive being freed.  The header is one word
 * (programs are compiled with a part of it, see sk_heap_inline.h):
 *
 *   63 .............. 31 30 ......... 14 13          12       11 ...... 0
 *   minus the count      magic           constructed special  slot
 *
 * A live unit with a count of 1 has all ones above bit 30, a free one all
 * zeros: `or` and `and` with one sign-extended 32-bit constant make one of
 * the other, and one exclusive-or leaves the slot alone if everything is as
 * it should be: magic, not special, one reference.  `special` units are freed
 * by more than a push on a bin.  Heaps beyond the bins have slot 0 here and
 * are named by the granule map.
 *
 * Locks, in this order: the heaps', then a heap's tighten, a heap's lock, the
 * region's.  None is held through fork: the child frees them all.
 */
#ifndef SK_HEAP_PARTS_H
#define SK_HEAP_PARTS_H

#include "sk_heap.h"
#include "sk_state_parts.h"

#define SK_HEADER_BYTES       16
#define SK_HEADER_LIVE        0xffffffff80000000u
#define SK_HEADER_MAGIC       SK_HEAP_WORD_MAGIC
#define SK_HEADER_MAGIC_MASK  SK_HEAP_WORD_MAGIC_MASK
#define SK_HEADER_CONSTRUCTED (UINT64_C(1) << 13)
#define SK_HEADER_SPECIAL     (UINT64_C(1) << 12)
#define SK_HEADER_COUNT_SHIFT 31
#define SK_HEADER_ONE         SK_HEAP_WORD_ONE
/* As a signed number, a header with a count above 1 is below this. */
#define SK_HEADER_SHARED      ((int64_t)SK_HEADER_LIVE)
#define SK_COUNT_MOST         SK_HEAP_COUNT_MOST

struct sk_header {
    void *link;
    union {
        _Atomic uint64_t shared; /* while others may have references */
        uint64_t own;            /* while nobody else can */
    };
};

_Static_assert(sizeof(struct sk_header) == SK_HEADER_BYTES, "see the drawing");
_Static_assert(SK_HEADER_ONE == UINT64_C(1) << SK_HEADER_COUNT_SHIFT,
               "programs are compiled with it");

static inline struct sk_header *sk_header_of(const void *p)
{
    return (struct sk_header *)((uintptr_t)p - SK_HEADER_BYTES);
}

static inline uint64_t sk_header_count(uint64_t header)
{
    return -(uint64_t)((int64_t)header >> SK_HEADER_COUNT_SHIFT);
}

/* Whether a bounded heap's threads may hold units, and with them the right
 * to hand them out, in their bins. */
enum sk_tightness {
    SK_LOOSE,
    SK_TIGHTENING, /* no longer, but some still do */
    SK_TIGHT,      /* no: every right is in `left` or is a live unit */
    /* Of the word: the times it got tight, times this, plus one of the above.
     * A divisor of 2^32, for the word wraps: at a maximum met 1000 times a
     * second after 12 days. */
    SK_TIGHTNESS_STEPS = 4
};

struct sk_library {
    /* Set once. */
    struct sk_heap *heap; /* one of sk_binned_heaps, or `more` */
    struct sk_heap more;
    size_t unit_size, alignment, units_per_chunk;
    size_t maximum; /* SIZE_MAX: unlimited */
    unsigned options;
    bool is_more;
    void (*construct)(void *, void *);
    void (*destruct)(void *, void *);
    void *context;
    bool is_populated;
    struct sk_library *_Atomic next; /* under their lock; NULL: the last */
    void *ender; /* the thread that destroys it; under the same lock */
    /* Any thread. */
    _Atomic uint64_t refused;
    _Atomic uint64_t carved_units, grown_units, growths;
    _Atomic uint64_t next_growth;
    /* A bounded heap with bins:
     * live + left + in bins == maximum
     * (in bins: those linked from a bin's head; its second magazine is
     * memory alone). */
    _Atomic int64_t left __attribute__((aligned(SK_LINE_BYTES)));
    _Atomic uint32_t tightness;
    struct sk_lock tighten;
    /* A heap beyond the bins; all under the lock but `posted`. */
    struct sk_guard guard __attribute__((aligned(SK_LINE_BYTES)));
    uint32_t partial; /* chunks with a unit to take: first granule + 1 */
    uint64_t live, allocations;
    void *_Atomic posted; /* freed by a signal handler */
};

static inline bool sk_library_is_bounded(const struct sk_library *lib)
{
    return lib->maximum != SIZE_MAX;
}

/* A visitor may leave by an exception, or by the end of its thread, so a walk
 * along a list ends where the variable that holds its guard does.  The
 * program's visitor may walk again, but not change the list: NULL, within
 * another walk.  Not hidden: it may allocate, and malloc needs no such lock. */
#define SK_WALKING                                                             \
    __attribute__((cleanup(sk_walk_end), unused)) struct sk_guard *

static inline struct sk_guard *sk_walk_begin(struct sk_guard *walk)
{
    if (sk_guard_is_mine(walk))
        return NULL;
    sk_guard_lock(walk);
    return walk;
}

static inline void sk_walk_end(struct sk_guard **begun)
{
    if (*begun)
        sk_guard_unlock(*begun);
}

/* Opens the region if nobody did; false when there is none to be had. */
bool sk_library_open(void);

/* Whether this thread is within a visit or a unit's destructor, and may make
 * and destroy no heap, nor begin a visit: the destructor's caller may hold the
 * lock of a heap, which comes after that of the list. */
bool sk_library_is_busy(void);

/* Whether a heap can be made of this; and the description of that heap. */
bool sk_library_is_sensible(const struct sk_heap_attributes *how);
void sk_library_describe(struct sk_library *lib, struct sk_heap *heap,
                         uint32_t slot, const struct sk_heap_attributes *how);

/* Accounts for fresh units: grows, on paper, by as much as it takes. */
void sk_library_carved(const struct sk_heap *heap, uint32_t units);
void sk_library_drop(struct sk_chunk *chunk);

/* These two among them: what the engine calls. */
extern SK_LOCAL const struct sk_heap_hooks sk_library_hooks;

/* Chunks of a heap, one after the other: the first at or after a granule;
 * SK_NONE when there is none. */
uint32_t sk_library_chunk(const struct sk_heap *heap, size_t granule);

/* Until every unit that is no more in use is at home or in a thread's hands.  A
 * thread without a state, which no visitor can wait for, posts the unit that it
 * frees and then puts its chunk into the owner's mail: not after the chunk is
 * given back. */
void sk_library_await_mail(const struct sk_heap *heap);

/* Units of bounded heaps. */
void *sk_bounded_allocate(struct sk_library *lib);
void sk_bounded_free(struct sk_library *lib, struct sk_header *unit);

/* Units of heaps beyond the bins. */
void *sk_more_allocate(struct sk_library *lib);
void sk_more_free(struct sk_library *lib, struct sk_header *unit);
size_t sk_more_trim(struct sk_library *lib);
void sk_more_read(struct sk_library *lib, struct sk_heap_info *info);
void sk_more_after_fork(struct sk_library *lib);

/* Units in the program's hands. */
uint64_t sk_library_live(struct sk_library *lib);

/* Sends home what may be touched of the units that threads have at hand, and
 * gives up what is wholly free then.  Not from within a slow path. */
void sk_library_trim(const struct sk_heap *heap);

/* The heap that owns an address, or NULL. */
struct sk_heap *sk_library_of(const void *p);

#endif
