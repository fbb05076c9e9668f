/*
 * sk_region_parts.h - what the files of sk_region share and nobody else sees.
 *
 * Layer: with sk_region.
 *
 * sk_region_open.c has the reservation and what of it is committed,
 * sk_region.c the runs, sk_region_dirty.c those that still have their pages.
 */
#ifndef SK_REGION_PARTS_H
#define SK_REGION_PARTS_H

#include "sk_region.h"

#define SK_DIRTY_ORDERS 8
#define SK_KEEP_LEAST   ((size_t)2 << 20)

/* What the descriptor of a free run's first granule holds. */
struct sk_run {
    uint32_t next, prev;
    uint64_t given_ms; /* when it became dirty */
    uint32_t order;
    uint32_t chunks_own[SK_SLOT_BYTES / 4 - 6];
    /* Pages up to here may have content: kept while the run is a chunk, which
     * raises it.  0 of a dirty run: not known, so all of it. */
    uint32_t touched_bytes;
};

_Static_assert(sizeof(struct sk_run) == SK_SLOT_BYTES, "the slot's last word");

struct sk_runs {
    uint32_t head, tail;
};

/* All under the lock.  On cache lines of its own: free() reads variables that
 * would lie next to it. */
struct sk_pool {
    struct sk_guard guard;
    /* For the child of a fork: purges that have runs in no list, and the first
     * one's thread; and how often a child put all free runs into lists anew,
     * which ends them.  Volatile, or the compiler may drop a store. */
    volatile uint32_t purging;
    void *volatile purger;
    uint32_t rebuilds;
    size_t committed; /* granules */
    size_t carved;    /* granules ever taken: all above are untouched */
    size_t shown;     /* granules that core dumps take in */
    size_t chunk_granules; /* descriptors and bits committed, in granules */
    size_t states;         /* descriptors committed, in states */
    struct sk_runs clean[SK_ORDERS];
    struct sk_runs dirty[SK_DIRTY_ORDERS];
    size_t used_granules, dirty_granules;
    size_t dirty_bytes; /* touched ones, of the dirty runs */
    /* The dirty bytes that may wait.  Grows by what had to be faulted in
     * again soon after it was purged, so that a program that breathes keeps
     * its breath, and one that had a single burst gives it back. */
    size_t keep_bytes, most_used_granules;
    size_t purged_lately_bytes;
    size_t peak_bytes; /* used and dirty, of late */
    uint64_t ticked_ms;
    uint64_t takes, refusals, purges, locks;
} __attribute__((aligned(SK_LINE_BYTES)));

extern SK_LOCAL struct sk_pool sk_pool;

static inline struct sk_run *sk_run_at(size_t granule)
{
    return (struct sk_run *)(sk_region.chunks + granule * SK_SLOT_BYTES);
}

/* The map word of a free, purged run. */
static inline uint32_t sk_run_clean_word(unsigned order)
{
    return (order + 1) << SK_OWNER_SHIFT;
}

static inline void sk_run_set_word(size_t granule, uint32_t word)
{
    atomic_store_explicit(&sk_region_map[granule], word,
                          memory_order_relaxed);
}

/* The bytes of a dirty run that a purge gives back. */
static inline size_t sk_run_touched_bytes(const struct sk_run *run)
{
    return run->touched_bytes ? run->touched_bytes
                              : SK_GRANULE_BYTES << run->order;
}

/* Counted, but for those who only look. */
static inline void sk_pool_lock(void)
{
    sk_guard_lock(&sk_pool.guard);
    sk_pool.locks++;
}

static inline void sk_pool_unlock(void)
{
    sk_guard_unlock(&sk_pool.guard);
}

static inline size_t sk_pool_round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

static inline void sk_runs_push(struct sk_runs *list, uint32_t first)
{
    struct sk_run *run = sk_run_at(first);

    run->next = list->head;
    run->prev = SK_NONE;
    if (list->head != SK_NONE)
        sk_run_at(list->head)->prev = first;
    else
        list->tail = first;
    list->head = first;
}

static inline void sk_runs_remove(struct sk_runs *list, uint32_t first)
{
    struct sk_run *run = sk_run_at(first);

    if (run->prev != SK_NONE)
        sk_run_at(run->prev)->next = run->next;
    else
        list->head = run->next;
    if (run->next != SK_NONE)
        sk_run_at(run->next)->prev = run->prev;
    else
        list->tail = run->prev;
}

/* --- sk_region_open.c: the reservation --------------------------------------
 */

/* Commits units up to `granules` at least; false when refused. */
bool sk_pool_commit_units(size_t granules);

/* After the watermark moved: core dumps take in what is below it. */
void sk_pool_show_carved(void);

/* --- sk_region.c: runs ------------------------------------------------------
 */

void sk_runs_clear_all(void);

/* Lists a purged run, merged with its neighbours. */
void sk_runs_insert_clean(uint32_t first, unsigned order);

/* --- sk_region_dirty.c: runs with their pages -------------------------------
 */

/* A run goes in, its order and the moment set; and comes out again, SK_NONE
 * when there is none of that order. */
void sk_dirty_push(uint32_t first);
uint32_t sk_dirty_take(unsigned order);

/* Purges what is too much or too old.  It may release the lock meanwhile.
 * Returns the bytes purged. */
size_t sk_dirty_purge_old(uint64_t now_ms);

/* Whether a run that is not a dirty one may be had under the soft limit: what
 * is dirty counts as held, and makes way first. */
bool sk_dirty_make_way(unsigned order);

/* A purged run is wanted again: had it been kept, no page would fault. */
void sk_dirty_regret(unsigned order);

/* After a take. */
void sk_dirty_note_level(void);

/* About once a second the memory of past regrets fades, and of past peaks. */
void sk_dirty_tick(uint64_t now_ms);

#endif
