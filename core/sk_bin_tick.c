/*
 * sk_bin_tick.c - now and then: what lies idle in bins and depots goes home.
 *
 * Layer: with sk_state.
 */
#include "sk_state_parts.h"

static uint32_t mark_of(const struct sk_bin *bin)
{
    uint64_t meter = (uint64_t)bin->meter;

    return (uint32_t)(meter ^ meter >> (SK_ROOM_SHIFT - 1));
}

/* Allocations are counted elsewhere before they are so many that they spill
 * into room, which a bin without slow paths would keep. */
static void settle_many(struct sk_bin *bin, struct sk_rack *rack)
{
    int64_t allocations = bin->meter & (SK_ROOM_ONE - 1);

    if (SK_LIKELY(allocations < SK_ROOM_ONE / 2))
        return;
    sk_bin_earn(rack, (uint64_t)allocations);
    rack->allocations += (uint64_t)allocations;
    bin->meter -= allocations;
    rack->ticked_mark = mark_of(bin);
}

/* A few hundred units in a bin may be all that is out of as many chunks.
 * Those of a bin that nobody used since the last tick go home. */
static void flush_idle_bins(struct sk_state *self)
{
    for SK_EACH_USED_BIN(self, i) {
        struct sk_rack *rack = &self->racks[i];
        uint32_t mark = mark_of(&self->bins[i]);

        /* A library's heap keeps what it has. */
        if (i < SK_CLASSES && mark == rack->ticked_mark &&
            sk_rack_has_units(rack))
            sk_bin_empty(self, sk_heap_of_bin(i), SK_HOME);
        rack->ticked_mark = mark;
        rack->near_borrows = 0;
        settle_many(&self->bins[i], rack);
    }
}

SK_COLD void sk_state_tick_slow(struct sk_state *self)
{
    static _Atomic uint64_t depots_ticked_ms;
    uint64_t now_ms = sk_os_now_ms();
    uint64_t delay_ms = sk_config.purge_delay;
    uint64_t before_ms =
        atomic_load_explicit(&depots_ticked_ms, memory_order_relaxed);

    if (sk_os_ms_since(self->ticked_ms, now_ms) < delay_ms)
        return;
    self->ticked_ms = now_ms;
    flush_idle_bins(self);
    sk_state_drop_idle(self);
    if (sk_os_ms_since(before_ms, now_ms) >= delay_ms &&
        atomic_compare_exchange_strong_explicit(
            &depots_ticked_ms, &before_ms, now_ms, memory_order_relaxed,
            memory_order_relaxed)) {
        sk_state_flush_depots(self, false);
        sk_commons_tidy();
        sk_park_cool();
        sk_region_purge(false);
    }
}
