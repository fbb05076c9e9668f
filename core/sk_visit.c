/*
 * sk_visit.c - a look into every thread's state while its owner stands still.
 *
 * Layer: above sk_park.
 */
#include "sk_park_parts.h"

/* For a thread whose state is gone: a handler of its own forked while a visitor
 * was at that, and this is the child. */
static struct sk_state *instead(void)
{
    return sk_attached ? sk_attached : &sk_state_none;
}

/* Out of the slow path again while the visitor is at the state, so that it
 * never waits for somebody who waits for it. */
SK_COLD bool sk_state_stand(struct sk_state *self)
{
    for (;;) {
        uint32_t halted;

        atomic_thread_fence(memory_order_seq_cst);
        halted = atomic_load_explicit(&self->is_halted, memory_order_acquire);
        if (SK_UNLIKELY(halted & SK_GONE)) {
            sk_self = instead();
            return false;
        }
        if (!(halted & SK_HALTED))
            return true;
        atomic_store_explicit(&self->is_busy, 0, memory_order_release);
        sk_os_wait(&self->is_halted, halted);
        atomic_store_explicit(&self->is_busy, 1, memory_order_relaxed);
    }
}

/* Halts the owners of all states but `self`. */
static void halt_locked(const struct sk_state *self)
{
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        if (id != self->id)
            atomic_fetch_or(&sk_state_at(id)->is_halted, SK_HALTED);
    if (sk_parking.is_fenced || sk_os_barrier())
        return;
    /* From now on owners fence themselves; those on their way into a slow
     * path just now are waited for. */
    sk_parking.is_fenced = true;
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        atomic_fetch_or(&sk_state_at(id)->is_halted, SK_FENCED);
    sk_os_nap_ms(10);
}

static void go_on_locked(struct sk_state *state)
{
    atomic_fetch_and(&state->is_halted, ~SK_HALTED);
    sk_os_wake(&state->is_halted, INT32_MAX);
}

/* The state's status.  In the child of a handler that interrupted the visit,
 * those that did not come along stay as busy as they were. */
static uint32_t status_locked(struct sk_state *state)
{
    sk_parking_refresh_locked();
    return atomic_load(&state->status);
}

static bool is_lost(uint32_t status)
{
    return status == SK_BROKEN || status == SK_UNUSED;
}

/* In one order with the mark before it and the fence of an owner that did not
 * see that. */
static bool is_idle(const struct sk_state *state)
{
    return atomic_load_explicit(&state->is_busy, memory_order_seq_cst) == 0;
}

static void nap(int turn)
{
    if (turn > 100)
        sk_os_nap_ms(1);
}

/* All that are in a slow path leave it. */
static void wait_locked(void)
{
    for (uint32_t id = 1; id <= sk_state_count(); id++) {
        struct sk_state *state = sk_state_at(id);

        for (int turn = 0; !is_idle(state) && !is_lost(status_locked(state));
             turn++)
            nap(turn);
    }
}

/* Takes the state out of its owner's and all senders' hands; returns its
 * status. */
static uint32_t seize(struct sk_state *state)
{
    for (int turn = 0;; turn++) {
        uint32_t status = status_locked(state);

        if (is_lost(status) ||
            (status != SK_FILING && is_idle(state) &&
             sk_park_change(state, status, SK_FILING)))
            return status;
        nap(turn);
    }
}

static void visit_other_locked(struct sk_state *state,
                               void (*visit)(struct sk_state *, bool, void *),
                               void *with)
{
    uint32_t status = seize(state);

    if (status != SK_UNUSED) {
        sk_parking.visited = state->id;
        visit(state, status == SK_BROKEN, with);
        sk_parking.visited = 0;
        atomic_store(&state->status, status);
    }
    go_on_locked(state);
    /* Senders that met us at it left their mail. */
    sk_state_file_parked(state);
}

/* The caller's state; or another, if it waited for a visitor to whom that was
 * lost. */
static struct sk_state *not_gone(struct sk_state *self)
{
    return SK_UNLIKELY(atomic_load(&self->is_halted) & SK_GONE) ? instead()
                                                                : self;
}

bool sk_state_visit_hidden(struct sk_state *self,
                           void (*visit)(struct sk_state *, bool, void *),
                           void *with)
{
    if (!sk_parking.is_open)
        return false;
    sk_parking_lock();
    self = not_gone(self);
    halt_locked(self);
    wait_locked();
    if (self->id != 0) {
        atomic_store_explicit(&self->is_busy, 1, memory_order_relaxed);
        visit(self, false, with);
        atomic_store_explicit(&self->is_busy, 0, memory_order_release);
    }
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        if (id != self->id)
            visit_other_locked(sk_state_at(id), visit, with);
    sk_unlock(&sk_parking.lock);
    return true;
}

bool sk_state_visit(void (*visit)(struct sk_state *, bool, void *), void *with)
{
    struct sk_state *self = sk_state_hide();
    bool is_done = self != &sk_state_nested &&
                   sk_state_visit_hidden(self, visit, with);

    sk_state_show(not_gone(self));
    return is_done;
}
