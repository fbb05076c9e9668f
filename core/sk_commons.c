/*
 * sk_commons.c - chunks that threads share until they are worth their own.
 *
 * Layer: with sk_state.
 *
 * A chunk of its own for every size that a thread uses is right for sizes
 * that it uses much.  But sixty sizes a little, in each of many threads, would
 * be a page or more for each pair, and as many different peaks.  So the first
 * units of a size come out of the chunks of one state that belongs to no
 * thread, the commons, until the thread has made the commons grow by some
 * chunks of that size.  The commons is parked for ever: whoever sends units
 * home to it files them; to take from it is to hold its status, which nobody
 * waits for long.
 *
 * Units below a cache line are not shared so, for two threads would write to
 * the same line.
 */
#include "sk_depot.h"
#include "sk_state_parts.h"

#include <sched.h>

#define GROWTHS_MOST 2 /* of one thread and size */
#define TRIES        64
#define YIELDS       3

static _Atomic uint32_t commons_id; /* 0: none yet */

bool sk_commons_is(uint32_t id)
{
    return id == atomic_load_explicit(&commons_id, memory_order_relaxed);
}

/* A child that found the commons in somebody's hands makes a new one. */
void sk_commons_after_fork(void)
{
    uint32_t id = atomic_load_explicit(&commons_id, memory_order_relaxed);

    if (id && atomic_load(&sk_state_at(id)->status) == SK_FILING)
        atomic_store(&commons_id, 0);
}

/* A new state, held by the caller; NULL when another thread was first. */
static struct sk_state *make_commons(void)
{
    struct sk_state *commons = sk_state_make();
    uint32_t none = 0;

    if (!commons)
        return NULL;
    atomic_store(&commons->status, SK_FILING);
    if (atomic_compare_exchange_strong(&commons_id, &none, commons->id))
        return commons;
    sk_state_push_parked(commons);
    return NULL;
}

static struct sk_state *hold_commons(void)
{
    uint32_t id = atomic_load_explicit(&commons_id, memory_order_acquire);

    if (!id)
        return make_commons();
    for (int i = 0; i < TRIES + YIELDS; i++) {
        if (atomic_load_explicit(&sk_state_at(id)->status,
                                 memory_order_relaxed) == SK_PARKED &&
            sk_state_seize_parked(sk_state_at(id)))
            return sk_state_at(id);
        if (i >= TRIES)
            sched_yield();
    }
    return NULL;
}

/* Cuts up to `most` units off a bin that no thread pops. */
static void cut_units(struct sk_state *commons, const struct sk_heap *heap,
                      uint32_t most, struct sk_magazine *magazine)
{
    struct sk_bin *bin = sk_state_bin(commons, heap->slot);
    struct sk_rack *rack = sk_state_rack(commons, heap);
    struct sk_magazine rest = {
        bin->head, rack->limit - (uint32_t)(bin->meter >> SK_ROOM_SHIFT)};

    *magazine =
        sk_magazine_cut(&rest, rest.units < most ? rest.units : most);
    bin->head = rest.list;
    rack->limit -= magazine->units;
}

bool sk_commons_take(struct sk_state *self, const struct sk_heap *heap,
                     uint32_t most, struct sk_magazine *magazine)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_state *commons;
    size_t bytes;
    bool has;

    if (sk_state_count() < 2 || heap->slot < SK_GUEST_SLOT || heap->hooks ||
        rack->common_growths >= GROWTHS_MOST)
        return false;
    commons = hold_commons();
    if (!commons)
        return false;
    self->commons_holds++;
    bytes = commons->chunk_bytes;
    has = sk_state_bin(commons, heap->slot)->head ||
          sk_state_refill_own(commons, heap);
    if (has)
        cut_units(commons, heap, most, magazine);
    rack->common_growths += commons->chunk_bytes > bytes;
    sk_state_let_parked_go(commons);
    return has;
}
