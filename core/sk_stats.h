/*
 * sk_stats.h - what the heaps did, as figures.
 *
 * Layer: above sk_state.  Gathered when asked for, from counters that the
 * owners keep; any thread may ask at any time.  Exact when no other thread is
 * inside an allocation at that moment.
 */
#ifndef SK_STATS_H
#define SK_STATS_H

#include "sk_grown.h"

struct sk_heap_stats {
    uint64_t allocations;  /* units ever handed out */
    uint64_t remote_frees; /* units freed by another thread than took them */
    uint64_t in_use;       /* units in the program's hands */
    uint64_t cached;       /* in bins, magazines, depots and batches */
    uint64_t chunks;
};

struct sk_stats {
    struct sk_heap_stats heaps[SK_BINS];
    struct sk_grown_figures grown;
    struct sk_region_figures region;
    uint64_t libc_calls, libc_bytes;
    /* What threads did to words that others write too: exchanges with depots,
     * batches sent home, holds of the commons, locks of the region, and times
     * that any lock was found held. */
    uint64_t magazine_moves, batches_sent, commons_holds, lock_waits;
    /* Sums over heaps and grown blocks, in calls and in bytes of whole units
     * and usable bytes. */
    uint64_t calls, bytes, in_use_bytes, chunk_bytes;
};

void sk_stats_read(struct sk_stats *stats); /* 10 KiB */

/* Only the last two sums, for who may have little stack; 0 for a handler that
 * interrupted the very same. */
struct sk_stats_bytes {
    uint64_t in_use, chunks;
};
struct sk_stats_bytes sk_stats_read_bytes(void);

/* Allocations that a state's bin served so far, and the units in it. */
uint64_t sk_stats_bin_allocations(struct sk_state *state, uint32_t bin,
                                  uint32_t *units);

/* Writes the report as JSON (schema skpreload-stats/1) to a file named by a
 * template: %p is the process id, %e the program.  To a temporary name, then
 * renamed.  `mode` and `reason` are texts without quotes.  False when the
 * file could not be written; errno is kept. */
bool sk_stats_write(const char *name_template, const char *program,
                    const char *mode, const char *reason);

/* The heaps in use as lines for people, to a descriptor. */
void sk_stats_print(int fd);

/* In the child of a fork: nobody else is in the middle of that. */
void sk_stats_after_fork(void);

#endif
