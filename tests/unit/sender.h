/*
 * sender.h - a thread that sends a unit home, as far as a fork may find it.
 */
#ifndef SENDER_H
#define SENDER_H

#include "getput.h"
#include "stats.h"

#include "sk_state_parts.h"

static inline struct sk_state *owner_of(const void *unit)
{
    return sk_state_at(sk_region_word(sk_region_granule(unit)) >>
                       SK_OWNER_SHIFT);
}

/* The chunk of a unit of 4 KiB has it back, and is not in its owner's mail. */
static inline bool post_and_stop(void *unit)
{
    const struct sk_heap *heap = &sk_class_heaps[class_of(4096)];
    struct sk_chunk *chunk = sk_chunk_of(heap, sk_region_granule(unit));
    bool is_free;

    put(get(16));
    sk_self->posting = sk_chunk_first(chunk) + 1;
    return sk_chunk_post(chunk, unit, unit, 1, false, &is_free) == 0;
}

#endif
