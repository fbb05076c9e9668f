/*
 * runs.h - runs of granules, taken and given back as a chunk does.
 */
#ifndef RUNS_H
#define RUNS_H

#include "child.h"
#include "figures.h"

#include <string.h>

/* Takes a run and marks its granules as somebody's, as a chunk does. */
static inline uint32_t take(unsigned order, uint32_t owner)
{
    uint32_t first = sk_region_take(order);

    if (first == SK_NONE)
        return first;
    REQUIRE(first % (1u << order) == 0);
    for (uint32_t i = first; i < first + (1u << order); i++)
        REQUIRE(atomic_exchange(&sk_region_map[i],
                                owner << SK_OWNER_SHIFT | 16) == 0);
    /* The descriptor is the taker's too, but for its last word. */
    memset(sk_region.chunks + (size_t)first * SK_SLOT_BYTES, 0xa5,
           SK_SLOT_BYTES - 4);
    return first;
}

static inline void give(uint32_t first, unsigned order, uint32_t owner,
                        bool is_purged)
{
    for (uint32_t i = first; i < first + (1u << order); i++)
        REQUIRE(atomic_exchange(&sk_region_map[i], 0) ==
                (owner << SK_OWNER_SHIFT | 16));
    /* As a chunk of which everything was carved. */
    *(uint32_t *)(sk_region.chunks + (size_t)first * SK_SLOT_BYTES +
                  SK_SLOT_BYTES - 4) = 0;
    sk_region_give(first, order, is_purged);
}

#endif
