/*
 * sk_region.c - runs of granules: taken, given back, merged.
 *
 * Layer: above sk_config.
 *
 * Free runs are buddies: a run of 2^k granules starts at a multiple of 2^k,
 * so its neighbour to merge with is one exclusive-or away, and one map word
 * tells whether that is free.
 */
#include "sk_region_parts.h"

struct sk_pool sk_pool;

/* --- free runs ----------------------------------------------------------- */

void sk_runs_clear_all(void)
{
    for (unsigned i = 0; i < SK_ORDERS; i++)
        sk_pool.clean[i] = (struct sk_runs){SK_NONE, SK_NONE};
    for (unsigned i = 0; i < SK_DIRTY_ORDERS; i++)
        sk_pool.dirty[i] = (struct sk_runs){SK_NONE, SK_NONE};
    sk_pool.dirty_granules = sk_pool.dirty_bytes = 0;
}

void sk_runs_insert_clean(uint32_t first, unsigned order)
{
    for (; order + 1 < SK_ORDERS; order++) {
        size_t buddy = first ^ ((size_t)1 << order);

        if (buddy + ((size_t)1 << order) > sk_pool.carved ||
            sk_region_word(buddy) != sk_run_clean_word(order))
            break;
        sk_runs_remove(&sk_pool.clean[order], (uint32_t)buddy);
        sk_run_set_word(buddy, 0);
        first = buddy < first ? (uint32_t)buddy : first;
    }
    sk_run_at(first)->order = order;
    sk_run_set_word(first, sk_run_clean_word(order));
    sk_runs_push(&sk_pool.clean[order], first);
}

/* Takes a purged run, and puts back what a larger one has too much. */
static uint32_t take_clean(unsigned order)
{
    unsigned larger = order;
    uint32_t first;

    while (larger < SK_ORDERS && sk_pool.clean[larger].head == SK_NONE)
        larger++;
    if (larger == SK_ORDERS)
        return SK_NONE;
    first = sk_pool.clean[larger].head;
    sk_runs_remove(&sk_pool.clean[larger], first);
    sk_run_set_word(first, 0);
    while (larger > order) {
        larger--;
        sk_runs_insert_clean(first + (1u << larger), larger);
    }
    return first;
}

/* Moves the watermark up to the end of a new run; the gap that alignment
 * leaves below it is free. */
static uint32_t take_untouched(unsigned order)
{
    size_t size = (size_t)1 << order;
    size_t first = sk_pool_round_up(sk_pool.carved, size);

    if (first + size > sk_region_granules ||
        !sk_pool_commit_units(first + size))
        return SK_NONE;
    while (sk_pool.carved < first) {
        unsigned gap = (unsigned)__builtin_ctzl(sk_pool.carved);
        uint32_t at = (uint32_t)sk_pool.carved;

        sk_pool.carved += (size_t)1 << gap;
        sk_runs_insert_clean(at, gap);
    }
    sk_pool.carved = first + size;
    sk_pool_show_carved();
    return (uint32_t)first;
}

/* --- take and give ------------------------------------------------------- */

uint32_t sk_region_take(unsigned order)
{
    uint64_t now_ms = sk_os_now_ms();
    uint32_t first;

    if (order >= SK_ORDERS)
        return SK_NONE;
    sk_pool_lock();
    sk_pool.takes++;
    first = sk_dirty_take(order);
    if (first == SK_NONE && sk_dirty_make_way(order)) {
        sk_dirty_regret(order);
        first = take_clean(order);
        if (first == SK_NONE)
            first = take_untouched(order);
        if (first != SK_NONE)
            sk_run_at(first)->touched_bytes = 0;
    }
    if (first != SK_NONE) {
        sk_pool.used_granules += (size_t)1 << order;
        if (sk_pool.used_granules > sk_pool.most_used_granules)
            sk_pool.most_used_granules = sk_pool.used_granules;
        sk_dirty_note_level();
    } else {
        sk_pool.refusals++;
    }
    /* Afterwards, so that an old run of this order is used, not purged. */
    sk_dirty_purge_old(now_ms);
    sk_pool_unlock();
    return first;
}

void sk_region_give(uint32_t first, unsigned order, bool is_purged)
{
    uint64_t now_ms = sk_os_now_ms();
    struct sk_run *run = sk_run_at(first);

    sk_pool_lock();
    sk_pool.used_granules -= (size_t)1 << order;
    run->order = order;
    if (is_purged) {
        sk_runs_insert_clean(first, order);
    } else if (order < SK_DIRTY_ORDERS) {
        run->given_ms = now_ms;
        sk_dirty_push(first);
    } else {
        sk_os_purge(sk_region_address(first), SK_GRANULE_BYTES << order);
        sk_runs_insert_clean(first, order);
    }
    sk_dirty_tick(now_ms);
    sk_dirty_purge_old(now_ms);
    sk_pool_unlock();
}

/* --- after fork ---------------------------------------------------------- */

/* Another thread has runs in hand to purge. */
static bool is_purging(void)
{
    return sk_pool.purging > 1 ||
           (sk_pool.purging == 1 && sk_pool.purger != sk_os_thread());
}

void sk_region_after_fork(bool is_in_hand)
{
    if (sk_guard_is_mine(&sk_pool.guard))
        return;
    if (!sk_guard_after_fork(&sk_pool.guard) && !is_purging())
        return;
    sk_pool.purger = NULL;
    sk_pool.purging = 0;
    sk_pool.rebuilds++;
    sk_pool_show_carved(); /* the watermark may have moved without it */
    sk_runs_clear_all();
    sk_pool.used_granules = 0;
    for (size_t i = 0; i < sk_pool.carved; i++)
        if (sk_word_is_chunk(sk_region_word(i)))
            sk_pool.used_granules++;
        else
            sk_run_set_word(i, 0);
    for (size_t i = 0; i < sk_pool.carved && !is_in_hand; i++)
        if (sk_region_word(i) == 0)
            sk_runs_insert_clean((uint32_t)i, 0);
}

/* --- figures ------------------------------------------------------------- */

size_t sk_region_carved(void)
{
    bool is_locked = sk_lock_to_look(&sk_pool.guard.lock);
    size_t carved = sk_pool.carved;

    if (is_locked)
        sk_unlock(&sk_pool.guard.lock);
    return carved;
}

void sk_region_read_figures(struct sk_region_figures *figures)
{
    bool is_locked = sk_lock_to_look(&sk_pool.guard.lock);

    *figures = (struct sk_region_figures){
        .reserved_bytes = sk_region_granules << SK_GRANULE_SHIFT,
        .committed_bytes = sk_pool.committed << SK_GRANULE_SHIFT,
        .used_bytes = sk_pool.used_granules << SK_GRANULE_SHIFT,
        .dirty_bytes = sk_pool.dirty_bytes,
        .takes = sk_pool.takes,
        .locks = sk_pool.locks,
        .refusals = sk_pool.refusals,
        .purges = sk_pool.purges,
    };
    if (is_locked)
        sk_unlock(&sk_pool.guard.lock);
}

bool sk_region_is_sound(void)
{
    size_t listed = 0, marked = 0;
    bool sound;

    sk_lock(&sk_pool.guard.lock);
    for (unsigned order = 0; order < SK_ORDERS; order++)
        for (uint32_t at = sk_pool.clean[order].head; at != SK_NONE;
             at = sk_run_at(at)->next)
            listed += sk_region_word(at) == sk_run_clean_word(order) &&
                      at + ((size_t)1 << order) <= sk_pool.carved;
    for (size_t i = 0; i < sk_pool.carved; i++)
        marked += !sk_word_is_chunk(sk_region_word(i)) &&
                  sk_region_word(i) != 0;
    sound = listed == marked && sk_pool.carved <= sk_pool.shown &&
            sk_pool.shown <= sk_pool.committed &&
            sk_pool.dirty_granules + sk_pool.used_granules <= sk_pool.carved;
    sk_unlock(&sk_pool.guard.lock);
    return sound;
}
