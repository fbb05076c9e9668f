/*
 * sk_bin_stack.c - full magazines that a thread keeps for itself.
 *
 * Layer: with sk_state.
 *
 * A loop that takes five hundred units and gives them back needs more than
 * two magazines each time around.  Were the others handed to the depot, such
 * loops in two threads would swap their units for ever, each of which lies in
 * the other processor's cache.  So a thread keeps back as many units as it
 * lately fetched from elsewhere: one that only frees keeps none.  Nor does the
 * only thread of a process, which has no depot: what it sends home is looked
 * at there, for units freed twice.
 */
#include "sk_depot.h"
#include "sk_state_parts.h"

#define LENT_MOST UINT16_MAX

/* Of what a thread may cache, so much is kept; with a half of it 1000 threads
 * needed 17 % more memory, and four no less time. */
#define KEPT_PART 8

static size_t bytes_of(const struct sk_heap *heap,
                       const struct sk_magazine *magazine)
{
    return (size_t)magazine->units * heap->unit_bytes;
}

/* An entry of the pool that is in no stack, by its number plus one; 0 when
 * there is none. */
static uint32_t take_entry(struct sk_state *self)
{
    uint32_t name = self->stack_spare;

    if (name)
        self->stack_spare = self->stacked[name - 1].below;
    else if (self->stack_used < SK_STACKED)
        name = ++self->stack_used;
    return name;
}

void sk_bin_lend(struct sk_rack *rack, uint32_t units)
{
    units += rack->lent;
    rack->lent = units < LENT_MOST ? (uint16_t)units : LENT_MOST;
}

bool sk_bin_stack(struct sk_state *self, const struct sk_heap *heap,
                  const struct sk_magazine *magazine)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    size_t bytes = bytes_of(heap, magazine);
    uint32_t name;

    if (rack->lent < magazine->units || !sk_heap_is_common(heap) ||
        sk_config.purge_delay == 0 ||
        self->stack_bytes + bytes > sk_cache_most(self) / KEPT_PART)
        return false;
    name = take_entry(self);
    if (name == 0)
        return false;
    self->stacked[name - 1] =
        (struct sk_stacked){magazine->list, magazine->units, rack->stack};
    rack->stack = (uint16_t)name;
    rack->lent -= (uint16_t)magazine->units;
    self->stack_bytes += bytes;
    return true;
}

bool sk_bin_unstack_slow(struct sk_state *self, const struct sk_heap *heap,
                         struct sk_magazine *magazine)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    uint32_t name = rack->stack;
    struct sk_stacked *top = &self->stacked[name - 1];

    *magazine = (struct sk_magazine){top->list, top->units};
    rack->stack = (uint16_t)top->below;
    top->below = self->stack_spare;
    self->stack_spare = name;
    self->stack_bytes -= bytes_of(heap, magazine);
    return true;
}

__attribute__((no_sanitize("thread"))) uint32_t
sk_bin_stacked_units(struct sk_state *state, uint32_t bin)
{
    uint32_t name = *(volatile uint16_t *)&state->racks[bin].stack;
    uint32_t units = 0;

    for (int i = 0; name && i < SK_STACKED; i++) {
        const volatile struct sk_stacked *at = &state->stacked[name - 1];

        units += at->units;
        name = at->below;
    }
    return units;
}
