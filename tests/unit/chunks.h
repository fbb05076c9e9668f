/*
 * chunks.h - chunks of malloc's heaps, without bins.
 */
#ifndef CHUNKS_H
#define CHUNKS_H

#include "unit.h"

#include "sk_class.h"

#include <unistd.h>

static inline struct sk_chunk *new_chunk(const struct sk_heap *heap)
{
    struct sk_chunk *chunk = sk_chunk_new(heap, 7);

    assert_non_null(chunk);
    assert_true(sk_chunk_is_sound(chunk));
    /* Whoever was here before left none, used or not by this heap. */
    for (uint32_t i = 0; i < (uint32_t)SK_BITS_BYTES << heap->order; i++)
        assert_int_equal(
            sk_region.bits[sk_chunk_first(chunk) * SK_BITS_BYTES + i], 0);
    for (uint32_t i = 0; i < (uint32_t)SK_MANY_BYTES << heap->order; i++)
        assert_int_equal(
            sk_region.many[sk_chunk_first(chunk) * SK_MANY_BYTES + i], 0);
    return chunk;
}

static inline void give_chunk(struct sk_chunk *chunk)
{
    uint32_t first = sk_chunk_first(chunk);

    sk_chunk_give(chunk, false);
    assert_int_equal(sk_region_word(first) >> SK_OWNER_SHIFT, 0);
}

/* Carves units out, as a refill does. */
static inline uint32_t carve(struct sk_chunk *chunk, uint32_t units,
                             void **list)
{
    uint32_t carved;

    assert_true(sk_chunk_take_out(chunk, units));
    carved = sk_chunk_carve(chunk, units, list);
    sk_chunk_take_back(chunk, units - carved);
    return carved;
}

static inline uint32_t out_of(const struct sk_chunk *chunk)
{
    return sk_post_away(atomic_load(&chunk->post)) -
           atomic_load(&chunk->returned);
}

/* What a group sets up for its tests. */
static inline int open_region(void **state)
{
    (void)state;
    alarm(120); /* lost units would keep an owner waiting */
    return sk_region_open(64 << 20) ? 0 : -1;
}

#endif
