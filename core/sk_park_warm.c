/*
 * sk_park_warm.c - parked states that keep what they have at hand a moment.
 *
 * Layer: with sk_park.
 *
 * A server that starts a thread for each request would give the chunks of
 * every thread back and take them again, two or three of each under the
 * region's lock: 420 times for 10 000 allocations of threads that make a
 * hundred.  And each of their hundred would go into a depot and out again.  So
 * a few states keep their chunks and bins for whoever adopts them, and are
 * adopted first; at the next tick of any thread all of that goes home.
 */
#include "sk_park_parts.h"

#define WARM 4

static _Atomic uint32_t warm_ids[WARM]; /* 0: none */

/* The caller is about to park the state. */
bool sk_park_keep_warm(const struct sk_state *state)
{
    for (uint32_t i = 0; i < WARM; i++) {
        uint32_t none = 0;

        if (atomic_compare_exchange_strong(&warm_ids[i], &none, state->id))
            return true;
    }
    return false;
}

/* Malloc's, if what they may hold is little.  Not a library's heap's: in each
 * is a part of what the heap may hand out, and a thread that finds none left
 * would have to stop all others to look for it. */
uint32_t sk_park_warm_bins(const struct sk_state *state)
{
    return sk_config.purge_delay && state->magazine_bytes <= SK_CACHE_BYTES
               ? SK_CLASSES
               : 0;
}

bool sk_park_is_warm(uint32_t id)
{
    for (uint32_t i = 0; i < WARM; i++)
        if (atomic_load_explicit(&warm_ids[i], memory_order_relaxed) == id)
            return true;
    return false;
}

/* It was adopted. */
void sk_park_forget_warm(const struct sk_state *state)
{
    for (uint32_t i = 0; i < WARM; i++) {
        uint32_t id = state->id;

        if (atomic_load_explicit(&warm_ids[i], memory_order_relaxed) == id)
            atomic_compare_exchange_strong(&warm_ids[i], &id, 0);
    }
}

/* One that is being adopted, or filed, just now stays for the next time. */
void sk_park_cool(void)
{
    for (uint32_t i = 0; i < WARM; i++) {
        uint32_t id = atomic_load_explicit(&warm_ids[i], memory_order_relaxed);
        struct sk_state *state = id ? sk_state_at(id) : NULL;

        if (!state || !sk_state_seize_parked(state))
            continue;
        sk_park_forget_warm(state);
        sk_state_flush_bins(state, 0, SK_HOME);
        sk_state_flush_batches(state);
        sk_state_drop_carving(state);
        sk_state_drop_idle(state);
        sk_state_let_parked_go(state);
    }
}

void sk_park_warm_after_fork(void)
{
    for (uint32_t i = 0; i < WARM; i++)
        atomic_store_explicit(&warm_ids[i], 0, memory_order_relaxed);
}
