/*
 * sk_region_dirty.c - runs given back with their pages, and their purging.
 *
 * Layer: with sk_region.
 */
#include "sk_region_parts.h"

#define KEEP_WHOLE    ((size_t)64 << 20)
#define PURGE_AT_ONCE 64 /* runs taken out of the lists in one go */

static _Atomic bool is_near_peak;

/* --- in and out ---------------------------------------------------------- */

void sk_dirty_push(uint32_t first)
{
    struct sk_run *run = sk_run_at(first);

    sk_runs_push(&sk_pool.dirty[run->order], first);
    sk_pool.dirty_granules += (size_t)1 << run->order;
    sk_pool.dirty_bytes += sk_run_touched_bytes(run);
}

static void remove_dirty(uint32_t first)
{
    struct sk_run *run = sk_run_at(first);

    sk_runs_remove(&sk_pool.dirty[run->order], first);
    sk_pool.dirty_granules -= (size_t)1 << run->order;
    sk_pool.dirty_bytes -= sk_run_touched_bytes(run);
}

uint32_t sk_dirty_take(unsigned order)
{
    uint32_t first;

    if (order >= SK_DIRTY_ORDERS || sk_pool.dirty[order].head == SK_NONE)
        return SK_NONE;
    first = sk_pool.dirty[order].head;
    remove_dirty(first);
    return first;
}

/* --- purging ------------------------------------------------------------- */

/* The order whose oldest dirty run is the oldest of all, or was given after
 * `now_ms`; SK_DIRTY_ORDERS when there is none. */
static unsigned oldest_order(uint64_t now_ms)
{
    unsigned oldest = SK_DIRTY_ORDERS;
    uint64_t age_ms = 0;

    for (unsigned i = 0; i < SK_DIRTY_ORDERS; i++) {
        uint32_t tail = sk_pool.dirty[i].tail;

        if (tail == SK_NONE)
            continue;
        if (oldest == SK_DIRTY_ORDERS ||
            now_ms - sk_run_at(tail)->given_ms > age_ms) {
            oldest = i;
            age_ms = now_ms - sk_run_at(tail)->given_ms;
        }
    }
    return oldest;
}

/* Takes up to PURGE_AT_ONCE of the oldest dirty runs out of the lists: as
 * many as there are above keep_bytes, or are older than purge_delay. */
static int pick_dirty_locked(uint32_t *picked, size_t keep_bytes,
                             uint64_t now_ms)
{
    int n = 0;

    while (n < PURGE_AT_ONCE) {
        unsigned order = oldest_order(now_ms);
        uint32_t first;

        if (order == SK_DIRTY_ORDERS)
            break;
        first = sk_pool.dirty[order].tail;
        if (sk_pool.dirty_bytes <= keep_bytes &&
            sk_os_ms_since(sk_run_at(first)->given_ms, now_ms) <=
                sk_config.purge_delay)
            break;
        remove_dirty(first);
        picked[n++] = first;
    }
    return n;
}

static void sort(uint32_t *firsts, int n)
{
    for (int i = 1; i < n; i++) {
        uint32_t first = firsts[i];
        int k = i;

        for (; k > 0 && firsts[k - 1] > first; k--)
            firsts[k] = firsts[k - 1];
        firsts[k] = first;
    }
}

/* Purges runs, neighbours in one call: what a call costs is mostly that other
 * processors must hear of it.  Returns the bytes that went back, and counts
 * their runs. */
static size_t purge_runs(uint32_t *firsts, int n, uint64_t *runs)
{
    size_t purged = 0;

    sort(firsts, n);
    for (int i = 0, next; i < n; i = next) {
        char *start = sk_region_address(firsts[i]);
        char *end = start;
        size_t bytes = 0;

        for (next = i; next < n; next++) {
            struct sk_run *run = sk_run_at(firsts[next]);

            if (next > i && (char *)sk_region_address(firsts[next - 1]) +
                                    (SK_GRANULE_BYTES
                                     << sk_run_at(firsts[next - 1])->order) !=
                                (char *)sk_region_address(firsts[next]))
                break;
            end = (char *)sk_region_address(firsts[next]) +
                  sk_run_touched_bytes(run);
            bytes += sk_run_touched_bytes(run);
        }
        if (sk_os_purge(start, (size_t)(end - start))) {
            purged += bytes;
            *runs += (uint64_t)(next - i);
        }
    }
    return purged;
}

static void insert_clean_locked(const uint32_t *firsts, int n)
{
    for (int i = 0; i < n; i++)
        sk_runs_insert_clean(firsts[i], sk_run_at(firsts[i])->order);
}

/* Purges with the lock released: madvise may take long.  Where there is too
 * much, down to half of what may be kept, so that calls are few. */
static size_t purge_down_locked(size_t keep_bytes, uint64_t now_ms)
{
    uint32_t picked[PURGE_AT_ONCE];
    size_t purged = 0;
    uint64_t runs = 0;
    int n;

    if (sk_pool.dirty_bytes > keep_bytes)
        keep_bytes /= 2;
    while ((n = pick_dirty_locked(picked, keep_bytes, now_ms)) > 0) {
        uint32_t rebuilds = sk_pool.rebuilds;

        if (sk_pool.purging++ == 0)
            sk_pool.purger = sk_os_thread();
        sk_pool_unlock();
        purged += purge_runs(picked, n, &runs);
        sk_pool_lock();
        /* Or a signal handler forked, and this is the child. */
        if (SK_LIKELY(rebuilds == sk_pool.rebuilds)) {
            insert_clean_locked(picked, n);
            sk_pool.purging--;
            if (sk_pool.purger == sk_os_thread())
                sk_pool.purger = NULL;
        }
    }
    sk_pool.purges += runs;
    sk_pool.purged_lately_bytes += purged;
    return purged;
}

/* Without a delay nothing waits. */
static size_t keep_bytes_locked(void)
{
    return sk_config.purge_delay > 0 ? sk_pool.keep_bytes : 0;
}

size_t sk_dirty_purge_old(uint64_t now_ms)
{
    return purge_down_locked(keep_bytes_locked(), now_ms);
}

/* The bits of free runs are 0 and may lose their memory, where they fill a
 * page.  Only when asked, for it is a small part of what they stand for. */
static void purge_bits_locked(char *bits, size_t bytes)
{
    unsigned order = 0;

    while (bytes << order < sk_os_page_bytes())
        order++;
    for (; order < SK_ORDERS; order++)
        for (uint32_t first = sk_pool.clean[order].head; first != SK_NONE;
             first = sk_run_at(first)->next)
            sk_os_purge(bits + first * bytes, bytes << order);
}

size_t sk_region_purge(bool is_all)
{
    uint64_t now_ms = sk_os_now_ms();
    size_t purged;

    sk_pool_lock();
    sk_dirty_tick(now_ms);
    purged = purge_down_locked(is_all ? 0 : keep_bytes_locked(), now_ms);
    if (is_all) {
        purge_bits_locked(sk_region.bits, SK_BITS_BYTES);
        purge_bits_locked(sk_region.many, SK_MANY_BYTES);
        sk_pool.purged_lately_bytes = 0; /* as asked: nothing to regret */
    }
    sk_pool_unlock();
    return purged;
}

/* --- how much may wait --------------------------------------------------- */

/* What the region has of the system's memory, at most. */
static size_t level_locked(void)
{
    return (sk_pool.used_granules << SK_GRANULE_SHIFT) + sk_pool.dirty_bytes;
}

bool sk_region_is_near_peak(void)
{
    return atomic_load_explicit(&is_near_peak, memory_order_relaxed);
}

void sk_dirty_note_level(void)
{
    size_t level = level_locked();

    if (level > sk_pool.peak_bytes)
        sk_pool.peak_bytes = level;
    atomic_store_explicit(&is_near_peak,
                          level >= sk_pool.peak_bytes - sk_pool.peak_bytes / 8,
                          memory_order_relaxed);
}

void sk_dirty_tick(uint64_t now_ms)
{
    if (sk_os_ms_since(sk_pool.ticked_ms, now_ms) < 1000)
        return;
    sk_pool.ticked_ms = now_ms;
    sk_pool.purged_lately_bytes = 0;
    if (sk_pool.peak_bytes > level_locked())
        sk_pool.peak_bytes -= (sk_pool.peak_bytes - level_locked()) / 8;
    sk_pool.keep_bytes -= sk_pool.keep_bytes / 8;
    if (sk_pool.keep_bytes < SK_KEEP_LEAST)
        sk_pool.keep_bytes = SK_KEEP_LEAST;
}

/* A program may breathe all that it has, many times a second.  But half of it
 * is enough where that is much, for whoever has freed it may sleep then. */
static size_t keep_most_locked(void)
{
    size_t most = sk_pool.most_used_granules << SK_GRANULE_SHIFT;

    if (most <= KEEP_WHOLE)
        return most;
    return most / 2 < KEEP_WHOLE ? KEEP_WHOLE : most / 2;
}

void sk_dirty_regret(unsigned order)
{
    size_t bytes = SK_GRANULE_BYTES << order;
    size_t most = keep_most_locked();

    if (bytes > sk_pool.purged_lately_bytes)
        bytes = sk_pool.purged_lately_bytes;
    sk_pool.purged_lately_bytes -= bytes;
    sk_pool.keep_bytes += bytes;
    if (sk_pool.keep_bytes > most)
        sk_pool.keep_bytes = most;
    if (sk_pool.keep_bytes < SK_KEEP_LEAST)
        sk_pool.keep_bytes = SK_KEEP_LEAST;
}

bool sk_dirty_make_way(unsigned order)
{
    size_t size = SK_GRANULE_BYTES << order;
    size_t used = (sk_pool.used_granules << SK_GRANULE_SHIFT) + size;

    if (SK_LIKELY(used + sk_pool.dirty_bytes <= sk_config.limit))
        return true;
    purge_down_locked(used < sk_config.limit ? sk_config.limit - used : 0,
                      sk_os_now_ms());
    return (sk_pool.used_granules << SK_GRANULE_SHIFT) + size <=
           sk_config.limit;
}
