/*
 * sk_bin_borrow.c - a unit of a larger class, before memory grows.
 *
 * Layer: with sk_state.
 *
 * Sixty classes have sixty peaks, each at another moment, and memory for all
 * of them is up to twice what a program ever has at once.  So a thread that
 * finds none of a size free hands out a unit of the next sizes, if it has one:
 * it belongs to its own class as before, and goes back there when it is freed.
 * Each costs a slow path, so they are for the peaks alone: a class earns
 * them by allocations that were hits, and one that is in want for longer gets
 * its own memory.
 */
#include "sk_state_parts.h"

/* For so many hits one unit; and what a class starts with and may save. */
#define PRICE       128
#define CREDIT      (4 * PRICE)
#define CREDIT_MOST (32 * PRICE)

void sk_bin_earn(struct sk_rack *rack, uint64_t hits)
{
    uint64_t credit = rack->credit + hits;

    if (rack->magazine_units == 0) /* the first time */
        credit = CREDIT;
    rack->credit = (uint16_t)(credit < CREDIT_MOST ? credit : CREDIT_MOST);
}

void *sk_bin_borrow(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    uint32_t most = heap->unit_bytes + heap->unit_bytes / 4;

    if (heap->hooks || rack->credit < PRICE)
        return NULL;
    rack->credit -= PRICE;
    for (uint32_t i = heap->slot / SK_BIN_BYTES + 1;
         i < SK_CLASSES && sk_class_heaps[i].unit_bytes <= most; i++)
        if (self->bins[i].head ||
            sk_bin_refill_near(self, &sk_class_heaps[i]))
            return sk_bin_pop(&self->bins[i]);
    return NULL;
}
