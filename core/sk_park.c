/*
 * sk_park.c - life and death of thread states: attach, park, adopt, fork.
 *
 * Layer: with sk_state.
 *
 * Status, and who may change it:
 *
 *   unused --attach--> live --park--> parked --adopt--> live
 *                       |              ^  |
 *                     fork           done file (a sender, one at a time)
 *                       v              |  v
 *              orphan or broken       filing
 *
 * No lock is held through fork.  A child finds the parking list as the
 * parent's other threads left it, so it throws the list away and makes a new
 * one from the statuses, when it first needs it.
 */
#include "sk_state_parts.h"

#include <pthread.h>

static struct {
    struct sk_lock lock;
    uint32_t head; /* ids of parked states, linked by next_parked */
    _Atomic uint32_t count;
    bool is_stale;   /* a fork's child has not yet rebuilt the list */
    uint32_t forker; /* the state that came along, 0 for none */
    bool is_open;
    pthread_key_t key;
    bool has_key;
} parking;

struct sk_state *sk_state_at(uint32_t id)
{
    return (struct sk_state *)(sk_region.states +
                               (size_t)(id - 1) * SK_STATE_BYTES);
}

uint32_t sk_state_count(void)
{
    return atomic_load_explicit(&parking.count, memory_order_acquire);
}

static void at_thread_end(void *state)
{
    if (sk_self == state)
        sk_state_park();
}

void sk_state_open(uint64_t reserve_bytes)
{
    sk_state_none.tag = sk_state_dead.tag = sk_state_nested.tag =
        SK_SLOT_MASK << SK_OWNER_SHIFT;
    sk_class_open();
    if (!sk_region_open(reserve_bytes))
        return;
    parking.has_key = pthread_key_create(&parking.key, at_thread_end) == 0;
    parking.is_open = true;
}

static bool change_status(struct sk_state *state, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(
        &state->status, &from, to, memory_order_seq_cst, memory_order_seq_cst);
}

static void push_parked_locked(struct sk_state *state)
{
    state->next_parked = parking.head;
    parking.head = state->id;
}

/* --- after fork ----------------------------------------------------------- */

void sk_state_after_fork(void)
{
    struct sk_state *self = sk_self;

    atomic_store_explicit(&parking.lock.word, 0, memory_order_relaxed);
    sk_region_after_fork();
    parking.head = 0;
    parking.is_stale = true;
    parking.forker = self->id;
}

/* Left until a thread attaches: a child that starts none touches no state
 * but its own, and copies no page for it. */
static void rebuild_locked(void)
{
    parking.is_stale = false;
    parking.head = 0;
    for (uint32_t id = 1; id <= sk_state_count(); id++) {
        struct sk_state *state = sk_state_at(id);
        uint32_t status = atomic_load(&state->status);
        bool was_busy = atomic_load(&state->is_busy) || status == SK_FILING;

        if (status == SK_LIVE && id == parking.forker)
            continue;
        if (status == SK_LIVE || status == SK_FILING)
            atomic_store(&state->status, was_busy ? SK_BROKEN : SK_ORPHAN);
        if (atomic_load(&state->status) == SK_PARKED ||
            atomic_load(&state->status) == SK_ORPHAN)
            push_parked_locked(state);
    }
}

/* --- attach --------------------------------------------------------------- */

/* A parked state that is now live, or NULL.  Those whose mail is being filed
 * just now are passed over. */
static struct sk_state *adopt_locked(void)
{
    struct sk_state *adopted = NULL;
    uint32_t passed = 0;

    while (!adopted && parking.head) {
        struct sk_state *state = sk_state_at(parking.head);

        parking.head = state->next_parked;
        if (change_status(state, SK_PARKED, SK_LIVE)) {
            adopted = state;
        } else if (change_status(state, SK_ORPHAN, SK_LIVE)) {
            sk_state_flush_bins(state, false);
            adopted = state;
        } else {
            state->next_parked = passed;
            passed = state->id;
        }
    }
    while (passed) {
        struct sk_state *state = sk_state_at(passed);

        passed = state->next_parked;
        push_parked_locked(state);
    }
    return adopted;
}

static struct sk_state *make_locked(void)
{
    uint32_t id = sk_state_count() + 1;
    struct sk_state *state;

    if (!sk_region_commit_state(id - 1))
        return NULL;
    state = sk_state_at(id);
    state->id = id;
    state->tag = id << SK_OWNER_SHIFT;
    atomic_store(&state->slack_bytes, SK_SLACK_LEAST);
    atomic_store(&state->status, SK_LIVE);
    atomic_store_explicit(&parking.count, id, memory_order_release);
    return state;
}

bool sk_state_attach(void)
{
    struct sk_state *state;

    if (!parking.is_open)
        return false;
    /* A signal handler must not come in while this thread holds the lock. */
    sk_self = &sk_state_nested;
    atomic_signal_fence(memory_order_seq_cst);
    sk_lock(&parking.lock);
    if (parking.is_stale)
        rebuild_locked();
    state = adopt_locked();
    if (!state)
        state = make_locked();
    sk_unlock(&parking.lock);
    atomic_signal_fence(memory_order_seq_cst);
    sk_self = state ? state : &sk_state_none;
    /* May allocate: that is served already. */
    if (state && parking.has_key)
        pthread_setspecific(parking.key, state);
    return state != NULL;
}

/* --- park ----------------------------------------------------------------- */

void sk_state_file_parked(struct sk_state *state)
{
    while (atomic_load_explicit(&state->mail, memory_order_seq_cst) &&
           change_status(state, SK_PARKED, SK_FILING)) {
        sk_state_read_mail(state);
        sk_state_drop_idle(state, 0);
        atomic_store_explicit(&state->status, SK_PARKED,
                              memory_order_seq_cst);
    }
}

void sk_state_park(void)
{
    struct sk_state *self = sk_self;

    if (self->id == 0)
        return;
    sk_state_enter(self);
    sk_state_flush_bins(self, true);
    sk_state_flush_batches(self);
    sk_state_read_mail(self);
    sk_state_drop_carving(self);
    sk_state_drop_idle(self, 0);
    atomic_store_explicit(&self->is_busy, 0, memory_order_relaxed);
    atomic_store_explicit(&self->status, SK_PARKED, memory_order_seq_cst);
    /* A sender that saw us live just before left its mail to us. */
    sk_state_file_parked(self);
    sk_lock(&parking.lock);
    if (!parking.is_stale)
        push_parked_locked(self);
    sk_unlock(&parking.lock);
    /* From here on the state may be another thread's. */
    atomic_signal_fence(memory_order_seq_cst);
    sk_self = &sk_state_dead;
}

/* --- trim ----------------------------------------------------------------- */

bool sk_state_trim(void)
{
    struct sk_state *self = sk_self;

    if (!parking.is_open || self == &sk_state_nested)
        return false;
    if (self->id != 0) {
        sk_state_enter(self);
        sk_state_flush_bins(self, true);
        sk_state_flush_batches(self);
        sk_state_read_mail(self);
        sk_state_drop_carving(self);
        sk_state_drop_idle(self, 0);
        sk_state_leave(self);
    }
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        sk_state_file_parked(sk_state_at(id));
    return sk_region_purge(true) > 0;
}
