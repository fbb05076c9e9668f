/*
 * sk_grown_sums.c - the sums over all blocks that grew: in a fork's child, for
 * reports, and whether they are right.
 *
 * Layer: with sk_grown.
 */
#include "sk_grown_parts.h"

/* --- after fork ------------------------------------------------------------
 */

struct totals {
    size_t in_use, used_bytes, spare_bytes, residue_bytes;
};

static void total(struct totals *totals, const struct sk_grown *block)
{
    totals->in_use++;
    totals->used_bytes += block->usable_bytes;
    totals->spare_bytes += sk_grown_run_bytes(block) - block->usable_bytes;
    totals->residue_bytes += sk_grown_residue(block);
}

/* Of the blocks that the map has, and of those freed late. */
static struct totals read_totals(void)
{
    struct totals totals = {0};
    size_t carved = sk_region_carved();

    for (size_t i = 0; i < carved; i++)
        if (sk_region_word(i) == SK_GROWN_FIRST)
            total(&totals, sk_grown_at(i));
    for (uint32_t name = atomic_load(&sk_grown_sums.late); name;
         name = sk_grown_at(name - 1)->late_next)
        total(&totals, sk_grown_at(name - 1));
    return totals;
}

void sk_grown_after_fork(void)
{
    struct totals totals;

    if (!sk_guard_after_fork(&sk_grown_sums.guard))
        return;
    totals = read_totals();
    sk_grown_sums.in_use = totals.in_use;
    atomic_store(&sk_grown_sums.used_bytes, totals.used_bytes);
    atomic_store(&sk_grown_sums.spare_bytes, totals.spare_bytes);
    atomic_store(&sk_grown_sums.residue_bytes, totals.residue_bytes);
}

/* --- figures ----------------------------------------------------------------
 */


void sk_grown_read_figures(struct sk_grown_figures *figures)
{
    bool is_locked = sk_lock_to_look(&sk_grown_sums.guard.lock);

    *figures = (struct sk_grown_figures){
        .allocations = sk_grown_sums.allocations,
        .bytes = sk_grown_sums.bytes,
        .in_use = sk_grown_sums.in_use,
        .in_use_bytes = sk_grown_sum(&sk_grown_sums.used_bytes),
        .spare_bytes = sk_grown_sum(&sk_grown_sums.spare_bytes),
        .residue_bytes = sk_grown_sum(&sk_grown_sums.residue_bytes),
    };
    if (is_locked)
        sk_unlock(&sk_grown_sums.guard.lock);
}

bool sk_grown_is_sound(void)
{
    struct sk_state *self = sk_state_hide();
    struct totals totals;
    bool sound;

    sk_lock(&sk_grown_sums.guard.lock);
    totals = read_totals();
    sound = !sk_grown_sums.guard.changer &&
            totals.in_use == sk_grown_sums.in_use &&
            totals.used_bytes == sk_grown_sum(&sk_grown_sums.used_bytes) &&
            totals.spare_bytes == sk_grown_sum(&sk_grown_sums.spare_bytes) &&
            totals.residue_bytes == sk_grown_sum(&sk_grown_sums.residue_bytes);
    sk_unlock(&sk_grown_sums.guard.lock);
    sk_state_show(self);
    return sound;
}
