/*
 * sk_commons.c - pages that many threads share.
 *
 * Layer: with sk_state.
 *
 * A thread's first unit of a size costs a page of its own.  That is right
 * for a few busy threads and wrong for a thousand that take a unit or two of
 * each of sixty sizes: so from SK_COMMONS_STATES states on, a thread's first
 * refills of a bin are a few units out of the chunks of one state that
 * belongs to no thread, the commons.  It is parked, so that whoever sends
 * units home to it files them; taking from it is to hold its status, which
 * nobody waits for.
 *
 * Units below a cache line are not shared so, for two threads would write to
 * the same line.
 */
#include "sk_state_parts.h"

#define UNIT_LEAST   64
#define UNIT_MOST    1024
#define UNITS_AT_ONCE 4

/* Of one thread and size, per SK_COMMONS_STATES threads there are. */
#define REFILLS_MOST 16
#define FREES_MOST   256

static _Atomic uint32_t commons_id; /* 0: none yet */

bool sk_commons_is(uint32_t id)
{
    return id == atomic_load_explicit(&commons_id, memory_order_relaxed);
}

bool sk_commons_is_enough(const struct sk_rack *rack)
{
    uint32_t most = sk_state_count() / SK_COMMONS_STATES;

    return rack->common_refills / REFILLS_MOST >= most ||
           rack->common_frees / FREES_MOST >= most;
}

/* A child that found the commons in somebody's hands makes a new one. */
void sk_commons_after_fork(void)
{
    uint32_t id = atomic_load_explicit(&commons_id, memory_order_relaxed);

    if (id && atomic_load(&sk_state_at(id)->status) == SK_FILING)
        atomic_store(&commons_id, 0);
}

/* The commons, held by the caller; NULL when somebody else has it. */
static struct sk_state *hold_commons(void)
{
    uint32_t id = atomic_load_explicit(&commons_id, memory_order_acquire);
    uint32_t none = 0;
    struct sk_state *commons;

    if (id) {
        commons = sk_state_at(id);
        return sk_state_seize_parked(commons) ? commons : NULL;
    }
    commons = sk_state_make();
    if (!commons)
        return NULL;
    atomic_store(&commons->status, SK_FILING);
    if (atomic_compare_exchange_strong(&commons_id, &none, commons->id))
        return commons;
    /* Another thread was first: this one waits for a thread. */
    sk_state_push_parked(commons);
    return NULL;
}

/* Cuts up to `most` units off the head of a bin that no thread pops. */
static uint32_t cut_units(struct sk_state *commons, const struct sk_heap *heap,
                          uint32_t most, void **list)
{
    struct sk_bin *bin = sk_state_bin(commons, heap->slot);
    void *last = bin->head;
    uint32_t units = 1;

    *list = last;
    while (units < most && *(void **)last) {
        last = *(void **)last;
        units++;
    }
    bin->head = *(void **)last;
    *(void **)last = NULL;
    sk_state_rack(commons, heap)->limit -= units;
    return units;
}

uint32_t sk_commons_take(struct sk_state *self, const struct sk_heap *heap,
                         void **list)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_state *commons;
    uint32_t units = 0;

    if (sk_state_count() < SK_COMMONS_STATES || heap->hooks ||
        sk_commons_is_enough(rack) ||
        heap->unit_bytes < UNIT_LEAST || heap->unit_bytes > UNIT_MOST)
        return 0;
    commons = hold_commons();
    if (!commons)
        return 0;
    if (sk_state_bin(commons, heap->slot)->head ||
        sk_state_refill(commons, heap))
        units = cut_units(commons, heap, UNITS_AT_ONCE, list);
    rack->common_refills++;
    sk_state_let_parked_go(commons);
    return units;
}
