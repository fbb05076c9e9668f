/*
 * sk_bin_size.c - how many units a bin's magazines have.
 *
 * Layer: with sk_state.
 */
#include "sk_state_parts.h"

/* A bin's magazine starts with these many bytes, but a unit at least; where it
 * is crowded two of these many bytes, for neighbouring classes share them. */
#define MAGAZINE_LEAST_BYTES 1024

/* So many wishes for a larger magazine go unheard after one in vain. */
#define GROW_PAUSE 8

static uint32_t least_magazine(const struct sk_heap *heap)
{
    uint32_t units = MAGAZINE_LEAST_BYTES / heap->unit_bytes;

    if (units == 1 && sk_is_crowded())
        units = 2;
    units = units < 1 ? 1 : units;
    return units < heap->room_units ? units : heap->room_units;
}

SK_COLD void sk_bin_set_size(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);

    rack->magazine_units = least_magazine(heap);
    self->magazine_bytes += sk_bin_magazine_bytes(heap, rack->magazine_units);
}

/* Halves the magazines of the next bin on the clock. */
static void shrink_another(struct sk_state *self)
{
    uint32_t bin = sk_state_next_used(self, self->clock + 1);
    const struct sk_heap *heap;
    struct sk_rack *rack;
    uint32_t units;

    if (bin == SK_BINS)
        bin = sk_state_next_used(self, 0);
    self->clock = bin;
    heap = sk_heap_of_bin(bin);
    rack = &self->racks[bin];
    units = rack->magazine_units / 2;
    if (units < least_magazine(heap))
        return;
    self->magazine_bytes -=
        sk_bin_magazine_bytes(heap, rack->magazine_units - units);
    rack->magazine_units = units;
}

void sk_bin_grow_slow(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    uint32_t units = sk_bin_size(self, heap) * 2;
    size_t most, more;

    units = units < heap->room_units ? units : heap->room_units;
    if (units == rack->magazine_units)
        return;
    if (self->grow_pause > 0) {
        self->grow_pause--;
        return;
    }
    most = sk_cache_most(self);
    more = sk_bin_magazine_bytes(heap, units - rack->magazine_units);
    for (int i = 0; i < 2 && self->magazine_bytes + more > most; i++)
        shrink_another(self);
    if (self->magazine_bytes + more > most) {
        self->grow_pause = GROW_PAUSE;
        return;
    }
    /* The clock may have stood here. */
    more = sk_bin_magazine_bytes(heap, units - rack->magazine_units);
    rack->magazine_units = units;
    self->magazine_bytes += more;
}
