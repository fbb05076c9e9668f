/*
 * sk_region.h - the one range of addresses that holds every chunk.
 *
 * Layer: above sk_config.  One reservation, cut like this (G granules):
 *
 *   map    many     bits     chunks   states     guard   units
 *   4 B*G  512 B*G  128 B*G  128 B*G  24 KiB*S   64 KiB  64 KiB*G
 *  |------|--------|--------|--------|----------|-------|-----------------|
 *   all    many, bits and chunks, and states,    ^base       ^watermark
 *   committed    committed up to a mark           '- committed -'- PROT_NONE
 *
 * An overrun in user data runs upwards, away from the map, the descriptors,
 * their bits and the thread states; an underrun meets the guard.
 *
 * Memory is handed out in runs of 2^order granules, aligned to their size
 * relative to base.  A run given back is dirty: its pages stay for the next
 * taker of that order, until there are too many of them or they are older
 * than option purge_delay; then they are purged and merged with their
 * neighbours.  Runs taken and dirty ones are, together, at most option limit.
 *
 * The granule map says whose a granule is, one word each:
 *   owner << 16 | slot    part of a chunk of thread state `owner`; slot is
 *                         the heap's (see sk_class.h), never 0
 *   (order + 1) << 16     first granule of a free, purged run
 *   0                     anything else
 * so the low half alone, which is all that most frees read, is 0 for what was
 * never handed out.
 *
 * Threads: sk_region_take and _give lock; everything else reads what is set
 * once, or atomics.  Nothing here fails but by returning it.
 */
#ifndef SK_REGION_H
#define SK_REGION_H

#include "sk_config.h"

#define SK_GRANULE_SHIFT 16
#define SK_GRANULE_BYTES ((size_t)1 << SK_GRANULE_SHIFT)
#define SK_ORDERS        25
#define SK_OWNER_SHIFT   16
#define SK_SLOT_MASK     0xffffu
#define SK_SLOT_BYTES    128 /* of a descriptor, see sk_chunk.h */
#define SK_BITS_BYTES    128 /* of a granule's units, see sk_chunk.h */
#define SK_MANY_BYTES    512 /* the same, where they are very many */
#define SK_STATE_BYTES   24576
#define SK_STATES_MAX    65000
#define SK_NONE          UINT32_MAX

/* What free() reads of every pointer: variables of their own, not a struct's
 * members, so that each is one instruction's operand.  Set by sk_region_open;
 * granules is lowered by sk_region_give_back alone, before any address of
 * what is given back can reach a caller again. */
extern SK_LOCAL uintptr_t sk_region_base;
extern SK_LOCAL size_t sk_region_granules; /* reserved */
extern SK_LOCAL size_t sk_region_bytes;    /* the same */
extern SK_LOCAL _Atomic uint32_t *sk_region_map;

/* Set once, but states_max, lowered likewise. */
struct sk_region {
    char *many, *bits; /* all 0 for whoever takes a run, who leaves them so */
    char *chunks;
    char *states;
    size_t states_max;
};

extern SK_LOCAL struct sk_region sk_region;

/* Figures for the report; a snapshot. */
struct sk_region_figures {
    size_t reserved_bytes, committed_bytes;
    size_t used_bytes;  /* in chunks */
    size_t dirty_bytes; /* touched, given back, not yet purged */
    uint64_t takes, locks;
    uint64_t refusals; /* takes that found the region full, or the limit met */
    uint64_t purges; /* of runs, those that the system refused not counted */
};

/* Reserves `bytes`, or half of it, and so on, down to 1 MiB.  False when
 * nothing is to be had: then no pointer is ours.  Called once. */
bool sk_region_open(uint64_t bytes);

/* Takes a run of 2^order granules, committed; SK_NONE when there is none, or
 * when the limit is met.  The run's map words are 0; the taker sets them.
 * The descriptor of its first granule is the taker's, but for the last word:
 * how many bytes from the start may have content, which the taker raises
 * before it gives the run back; 0 there means all. */
uint32_t sk_region_take(unsigned order);

/* Gives a run back, its map words already 0.  `is_purged`: its pages read as
 * zero and cost nothing. */
void sk_region_give(uint32_t first, unsigned order, bool is_purged);

/* Purges dirty runs: all of them, or those older than the purge delay.
 * Returns the bytes purged. */
size_t sk_region_purge(bool is_all);

/* At the last take: had the region seven eighths of the most that it had of
 * late?  Below that, a page given back by hand leaves the peak where it was. */
bool sk_region_is_near_peak(void);

/* Commits the descriptor of thread state `id`; false when refused. */
bool sk_region_commit_state(uint32_t id);

/* Gives the unused end of the reservation back to the system, for a program
 * that is about to lower its own address limit, or to lock its memory.  The
 * region still grows within what is left: nothing, or some megabytes. */
void sk_region_give_back(bool is_keeping_room);

/* Is all that is reserved a small part of an address limit, in bytes? */
bool sk_region_fits(size_t limit);

/* In the child of a fork: nobody else holds the lock any more; what another
 * thread was changing is put together again from the map.  `is_in_hand`: the
 * caller may have a run that the map does not tell from a free one, so these
 * stay unused then. */
void sk_region_after_fork(bool is_in_hand);

void sk_region_read_figures(struct sk_region_figures *figures);

/* Debug builds and tests: every free run is marked once and lies below the
 * watermark. */
bool sk_region_is_sound(void);

/* The granule of an address; at least sk_region_granules when it is not
 * ours.  Also right for NULL and before sk_region_open. */
static inline size_t sk_region_granule(const void *p)
{
    return ((uintptr_t)p - sk_region_base) >> SK_GRANULE_SHIFT;
}

static inline bool sk_region_has(const void *p)
{
    return sk_region_granule(p) < sk_region_granules;
}

static inline uint32_t sk_region_word(size_t granule)
{
    return atomic_load_explicit(&sk_region_map[granule],
                                memory_order_relaxed);
}

/* Is the granule part of a chunk? */
static inline bool sk_word_is_chunk(uint32_t word)
{
    return (word & SK_SLOT_MASK) != 0;
}

/* The low half of the word: one load that extends by itself, where the word
 * would need a mask. */
typedef _Atomic uint16_t __attribute__((may_alias)) sk_half;

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the low half comes first");

static inline uint32_t sk_region_slot(size_t granule)
{
    return atomic_load_explicit((sk_half *)&sk_region_map[granule],
                                memory_order_relaxed);
}

/* The granules that were ever taken: all above are untouched. */
size_t sk_region_carved(void);

static inline void *sk_region_address(size_t granule)
{
    return (void *)(sk_region_base + (granule << SK_GRANULE_SHIFT));
}

#endif
