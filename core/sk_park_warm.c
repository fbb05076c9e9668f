/*
 * sk_park_warm.c - parked states that keep their wholly free chunks a moment.
 *
 * Layer: with sk_park.
 *
 * A server that starts a thread for each request would give the chunks of
 * every thread back and take them again, two or three of each under the
 * region's lock: 420 times for 10 000 allocations of threads that make a
 * hundred.  So a few states, those parked last, keep them for whoever adopts
 * them; at the next tick of any thread they go.
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
