/*
 * sk_grown_parts.h - what sk_grown.c and sk_grown_sums.c share and nobody else
 * sees.
 *
 * Layer: with sk_grown.
 */
#ifndef SK_GROWN_PARTS_H
#define SK_GROWN_PARTS_H

#include "sk_grown.h"

/* The descriptor of a block's first granule.  Written under the lock, by who
 * holds the block. */
struct sk_grown {
    uint32_t usable_bytes;
    uint32_t order;
    uint64_t changed_ms;
    uint32_t late_next;
    /* FREED_MARK: was a block, for the last words.  Not in struct sk_run's. */
    _Atomic uint32_t mark;
    uint32_t unused[SK_SLOT_BYTES / 4 - 7];
    uint32_t touched_bytes; /* the region's, see struct sk_run; 0: none */
};

_Static_assert(sizeof(struct sk_grown) == SK_SLOT_BYTES,
               "the slot's last word");

/* Blocks named by their first granule plus one.  Written under the lock; the
 * atomic ones are read without it. */
struct sk_grown_sums {
    struct sk_guard guard;
    _Atomic size_t used_bytes, spare_bytes, residue_bytes;
    uint64_t allocations, bytes, in_use;
    uint64_t swept_ms;
    /* Freed by signal handlers that interrupted a slow path. */
    _Atomic uint32_t late;
};

extern SK_LOCAL struct sk_grown_sums sk_grown_sums;

static inline struct sk_grown *sk_grown_at(size_t first)
{
    return (struct sk_grown *)(sk_region.chunks + first * SK_SLOT_BYTES);
}

static inline size_t sk_grown_run_bytes(const struct sk_grown *block)
{
    return SK_GRANULE_BYTES << block->order;
}

static inline void sk_grown_add(_Atomic size_t *sum, size_t bytes)
{
    atomic_store_explicit(
        sum, atomic_load_explicit(sum, memory_order_relaxed) + bytes,
        memory_order_relaxed);
}

static inline size_t sk_grown_sum(const _Atomic size_t *sum)
{
    return atomic_load_explicit(sum, memory_order_relaxed);
}

static inline size_t sk_grown_residue(const struct sk_grown *block)
{
    return block->touched_bytes > block->usable_bytes
               ? block->touched_bytes - block->usable_bytes
               : 0;
}

#endif
