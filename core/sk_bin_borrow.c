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
 *
 * Among very many threads magazines hold a unit or two of each class, and a
 * bin that needs one more meets depots each time, for units that another
 * thread's processor has in its cache.  There the bins of neighbouring classes
 * are as one: what they hold is at hand, and each can do with less.  A
 * size that is used all the time must have units of its own, or it has no hit:
 * its bin is refilled if it borrowed too often since the last tick.
 */
#include "sk_state_parts.h"

/* For so many hits one unit; and what a class starts with and may save. */
#define PRICE       128
#define CREDIT      (4 * PRICE)
#define CREDIT_MOST (32 * PRICE)

/* Of a magazine: one that holds more is refilled seldom. */
#define NEAR_UNITS 4
#define NEAR_MOST  UINT8_MAX /* between two ticks */

void sk_bin_earn(struct sk_rack *rack, uint64_t hits)
{
    uint64_t credit = rack->credit + hits;

    if (rack->magazine_units == 0) /* the first time */
        credit = CREDIT;
    rack->credit = (uint16_t)(credit < CREDIT_MOST ? credit : CREDIT_MOST);
}

/* A unit of the next classes, a quarter larger at most. */
static void *take_larger(struct sk_state *self, const struct sk_heap *heap,
                         bool is_refilling)
{
    uint32_t most = heap->unit_bytes + heap->unit_bytes / 4;

    for (uint32_t i = heap->slot / SK_BIN_BYTES + 1;
         i < SK_CLASSES && sk_class_heaps[i].unit_bytes <= most; i++)
        if (self->bins[i].head ||
            (is_refilling && sk_bin_refill_near(self, &sk_class_heaps[i])))
            return sk_bin_pop(&self->bins[i]);
    return NULL;
}

void *sk_bin_borrow(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);

    if (heap->hooks || rack->credit < PRICE)
        return NULL;
    rack->credit -= PRICE;
    return take_larger(self, heap, true);
}

void *sk_bin_borrow_near(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    void *unit;

    /* A bin that is new has no size yet. */
    if (heap->hooks || rack->second || rack->stack ||
        rack->magazine_units - 1 >= NEAR_UNITS ||
        rack->near_borrows == NEAR_MOST)
        return NULL;
    unit = take_larger(self, heap, false);
    rack->near_borrows += unit != NULL;
    return unit;
}
