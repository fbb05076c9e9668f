/*
 * sk_park_parts.h - what sk_park.c and sk_visit.c share and nobody else sees.
 *
 * Layer: with sk_park.
 */
#ifndef SK_PARK_PARTS_H
#define SK_PARK_PARTS_H

#include "sk_state_parts.h"

#include <pthread.h>

struct sk_parking {
    struct sk_lock lock;
    uint32_t head; /* ids of parked states, linked by next_parked */
    _Atomic uint32_t count;
    bool is_stale;          /* a fork's child has not yet rebuilt the list */
    uint32_t forker;        /* the state that came along, 0 for none */
    uint32_t visited;       /* the state a visitor is at, 0 for none */
    bool is_fenced;         /* there is no membarrier */
    bool is_open;
    pthread_key_t key;
    bool has_key;
};

extern SK_LOCAL struct sk_parking sk_parking;

/* A few states may be parked with their wholly free chunks, and with what is in
 * their bins below the one that sk_park_warm_bins tells, until somebody adopts
 * them or ticks.  In a fork's child those that are stay so until adopted. */
bool sk_park_keep_warm(const struct sk_state *state);
uint32_t sk_park_warm_bins(const struct sk_state *state);
bool sk_park_is_warm(uint32_t id);
void sk_park_forget_warm(const struct sk_state *state);
void sk_park_warm_after_fork(void);

/* Locks, and makes the list anew if a fork left it stale.  Who holds the lock
 * may be the child itself, if a handler forked. */
void sk_parking_lock(void);
void sk_parking_refresh_locked(void);

static inline bool sk_park_change(struct sk_state *state, uint32_t from,
                                  uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(
        &state->status, &from, to, memory_order_seq_cst, memory_order_seq_cst);
}

#endif
