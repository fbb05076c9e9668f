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
 *
 * A holder may lose its processor, and among a thousand threads it is long
 * until it gets one again.  So where there are many there is more than one
 * commons, each behind the others: the second is for those that find the
 * first one held.
 */
#include "sk_depot.h"
#include "sk_state_parts.h"

#define GROWTHS_MOST 1 /* of one thread and size */
#define TRIES        64
#define NAPS         3

#define COMMONS      8
#define THREADS_EACH 16

static _Atomic uint32_t commons_ids[COMMONS]; /* 0: none yet */

static uint32_t id_at(uint32_t i)
{
    return atomic_load_explicit(&commons_ids[i], memory_order_acquire);
}

bool sk_commons_is(uint32_t id)
{
    for (uint32_t i = 0; i < COMMONS; i++)
        if (id_at(i) == id)
            return true;
    return false;
}

/* A child that found one in somebody's hands makes a new one. */
void sk_commons_after_fork(void)
{
    for (uint32_t i = 0; i < COMMONS; i++)
        if (id_at(i) &&
            atomic_load(&sk_state_at(id_at(i))->status) == SK_FILING)
            atomic_store(&commons_ids[i], 0);
}

static struct sk_state *hold(uint32_t i)
{
    struct sk_state *commons = sk_state_at(id_at(i));

    if (atomic_load_explicit(&commons->status, memory_order_relaxed) ==
            SK_PARKED &&
        sk_state_seize_parked(commons))
        return commons;
    return NULL;
}

/* Gives the processor to whoever may hold the commons: by a system call that a
 * sandbox knows from locks. */
static void nap(struct sk_state *commons)
{
    sk_os_wait_ms(&commons->status, SK_FILING, 1);
}

/* Where there is no memory for another one it is not asked for twice. */
static struct sk_state *hold_any(void)
{
    uint32_t most = 1 + sk_state_count() / THREADS_EACH;
    struct sk_state *commons = NULL;

    if (!id_at(0))
        return sk_state_make_once(&commons_ids[0]);
    for (uint32_t i = 0; !commons && i < TRIES; i++)
        commons = hold(0);
    for (uint32_t i = 1; !commons && i < most && i < COMMONS; i++) {
        if (!id_at(i))
            return sk_state_make_once(&commons_ids[i]);
        commons = hold(i);
    }
    for (uint32_t i = 0; !commons && i < NAPS; i++) {
        nap(sk_state_at(id_at(0)));
        commons = hold(0);
    }
    return commons;
}

void sk_commons_tidy(void)
{
    for (uint32_t i = 0; i < COMMONS; i++) {
        struct sk_state *commons = id_at(i) ? hold(i) : NULL;

        if (!commons)
            continue;
        sk_state_drop_idle(commons);
        sk_state_let_parked_go(commons);
    }
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
    uint32_t carving;
    bool has;

    if (heap->slot < SK_GUEST_SLOT || !sk_heap_is_common(heap) ||
        rack->common_growths >= GROWTHS_MOST)
        return false;
    commons = hold_any();
    if (!commons)
        return false;
    self->commons_holds++;
    carving = sk_state_rack(commons, heap)->carving;
    has = sk_state_bin(commons, heap->slot)->head ||
          sk_state_refill_own(commons, heap);
    if (has)
        cut_units(commons, heap, most, magazine);
    if (sk_state_rack(commons, heap)->carving != carving)
        rack->common_growths++;
    sk_state_let_parked_go(commons);
    return has;
}
