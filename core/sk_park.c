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
#include "sk_grown.h"
#include "sk_park_parts.h"

struct sk_parking sk_parking;

struct sk_state *sk_state_at(uint32_t id)
{
    return (struct sk_state *)(sk_region.states +
                               (size_t)(id - 1) * SK_STATE_BYTES);
}

uint32_t sk_state_count(void)
{
    return atomic_load_explicit(&sk_parking.count, memory_order_acquire);
}

static void at_thread_end(void *state)
{
    if (sk_self == state)
        sk_state_park();
}

void sk_state_open(uint64_t reserve_bytes)
{
    if (!sk_region_open(reserve_bytes))
        return;
    sk_parking.has_key =
        pthread_key_create(&sk_parking.key, at_thread_end) == 0;
    sk_parking.is_open = true;
}

static void insert_parked_locked(uint32_t *link, struct sk_state *state)
{
    state->next_parked = *link;
    *link = state->id;
}

/* The last one parked is the first one adopted, but a warm one before all
 * others. */
static void push_parked_locked(struct sk_state *state)
{
    uint32_t *link = &sk_parking.head;

    if (!sk_park_is_warm(state->id))
        while (*link && sk_park_is_warm(*link))
            link = &sk_state_at(*link)->next_parked;
    insert_parked_locked(link, state);
}

/* --- after fork ----------------------------------------------------------- */

void sk_state_after_fork(void)
{
    struct sk_state *self = sk_self;
    bool is_nested = self == &sk_state_nested;

    /* From a handler that interrupted a slow path, which goes on. */
    if (is_nested)
        self = sk_attached ? sk_attached : &sk_state_none;
    atomic_store_explicit(&sk_parking.lock.word, 0, memory_order_relaxed);
    sk_region_after_fork(is_nested);
    sk_state_forget_purges();
    sk_mail_after_fork(self, is_nested);
    sk_commons_after_fork();
    sk_park_warm_after_fork();
    sk_grown_after_fork();
    sk_parking.head = 0;
    sk_parking.is_stale = true;
    /* A visitor was at our own state when we forked: its lists mean nothing. */
    if (self->id != 0 && sk_parking.visited == self->id) {
        atomic_store(&self->status, SK_BROKEN);
        atomic_fetch_or(&self->is_halted, SK_GONE);
        sk_self = self = &sk_state_none;
        sk_attached = NULL;
    }
    sk_parking.visited = 0;
    if (self->id != 0) {
        atomic_store(&self->status, SK_LIVE);
        atomic_fetch_and(&self->is_halted, ~SK_HALTED);
    }
    sk_parking.forker = self->id;
}

/* Left until a thread attaches: a child that starts none touches no state
 * but its own, and copies no page for it. */
static void rebuild_locked(void)
{
    sk_parking.is_stale = false;
    sk_parking.head = 0;
    for (uint32_t id = 1; id <= sk_state_count(); id++) {
        struct sk_state *state = sk_state_at(id);
        uint32_t status = atomic_load(&state->status);
        bool was_busy = atomic_load(&state->is_busy) || status == SK_FILING;

        atomic_fetch_and(&state->is_halted, ~SK_HALTED);
        if ((status == SK_LIVE && id == sk_parking.forker) || sk_commons_is(id))
            continue;
        if (status == SK_LIVE || status == SK_FILING)
            atomic_store(&state->status, was_busy ? SK_BROKEN : SK_ORPHAN);
        if (atomic_load(&state->status) == SK_PARKED ||
            atomic_load(&state->status) == SK_ORPHAN)
            push_parked_locked(state);
    }
}

/* --- attach --------------------------------------------------------------- */

/* So many parked states are looked at for one whose chunks fit. */
#define LOOKS 8

/* Only a hint: a sender may be filing there. */
__attribute__((no_sanitize("thread"))) static bool fits(struct sk_state *state,
                                                        size_t slot)
{
    return *(volatile uint32_t *)&state->racks[slot / SK_BIN_BYTES].partial ||
           *(void *volatile *)&sk_state_bin(state, slot)->head;
}

/* To the head of the list: the state that was parked last and has units for
 * the slot.  As a rule it is the first: threads do what others did before. */
static void prefer_locked(size_t slot)
{
    uint32_t *link = &sk_parking.head;

    for (int i = 0; *link && i < LOOKS; i++) {
        struct sk_state *state = sk_state_at(*link);

        if (fits(state, slot)) {
            *link = state->next_parked;
            insert_parked_locked(&sk_parking.head, state);
            return;
        }
        link = &state->next_parked;
    }
}

/* A parked state that is now live, or NULL.  Those whose mail is being filed
 * just now are passed over. */
static struct sk_state *adopt_locked(void)
{
    struct sk_state *adopted = NULL;
    uint32_t passed = 0;

    while (!adopted && sk_parking.head) {
        struct sk_state *state = sk_state_at(sk_parking.head);

        sk_parking.head = state->next_parked;
        if (sk_park_change(state, SK_PARKED, SK_LIVE)) {
            adopted = state;
        } else if (sk_park_change(state, SK_ORPHAN, SK_LIVE)) {
            /* A child's child must not take it for whole meanwhile. */
            atomic_store(&state->is_busy, 1);
            sk_state_flush_bins(state, 0, SK_UNCOUNTED);
            atomic_store(&state->is_busy, 0);
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
    atomic_store(&state->slack_bytes, sk_slack_least());
    atomic_store(&state->is_halted, sk_parking.is_fenced ? SK_FENCED : 0);
    atomic_store(&state->status, SK_LIVE);
    atomic_store_explicit(&sk_parking.count, id, memory_order_release);
    return state;
}

void sk_parking_refresh_locked(void)
{
    if (SK_UNLIKELY(sk_parking.is_stale))
        rebuild_locked();
}

void sk_parking_lock(void)
{
    sk_lock(&sk_parking.lock);
    sk_parking_refresh_locked();
}

/* `is_brief`: the caller parks the state. */
static bool attach(size_t slot, bool is_brief)
{
    struct sk_state *state = sk_state_hide();

    /* A signal handler was here before. */
    if (SK_UNLIKELY(state != &sk_state_none)) {
        sk_state_show(state);
        return state->id != 0;
    }
    sk_parking_lock();
    prefer_locked(slot);
    state = adopt_locked();
    if (!state)
        state = make_locked();
    sk_attached = state;
    /* A handler forked meanwhile, and this is the child. */
    if (SK_UNLIKELY(sk_parking.is_stale))
        sk_parking.forker = state ? state->id : 0;
    sk_unlock(&sk_parking.lock);
    if (state)
        sk_park_forget_warm(state);
    sk_state_show(state ? state : &sk_state_none);
    /* May allocate: that is served already. */
    if (state && !is_brief)
        pthread_setspecific(sk_parking.key, state);
    return state != NULL;
}

/* The program had taken all keys: a thread whose end nobody will tell us of
 * would leave its state for good. */
bool sk_state_attach(size_t slot)
{
    if (!sk_parking.is_open)
        return false;
    if (SK_UNLIKELY(!sk_parking.has_key)) {
        sk_self = &sk_state_dead;
        return false;
    }
    return attach(slot, false);
}

bool sk_state_attach_briefly(size_t slot)
{
    sk_self = &sk_state_none;
    if (sk_parking.is_open && attach(slot, true))
        return true;
    sk_self = &sk_state_dead;
    return false;
}

/* --- park ----------------------------------------------------------------- */

bool sk_state_seize_parked(struct sk_state *state)
{
    return sk_park_change(state, SK_PARKED, SK_FILING);
}

void sk_state_let_parked_go(struct sk_state *state)
{
    atomic_store_explicit(&state->status, SK_PARKED, memory_order_seq_cst);
    sk_state_file_parked(state);
}

struct sk_state *sk_state_make_once(_Atomic uint32_t *id)
{
    struct sk_state *state = NULL;

    if (!sk_lock_try(&sk_parking.lock))
        return NULL;
    if (atomic_load_explicit(id, memory_order_relaxed) == 0)
        state = make_locked();
    if (state) {
        atomic_store(&state->status, SK_FILING);
        atomic_store_explicit(id, state->id, memory_order_release);
    }
    sk_unlock(&sk_parking.lock);
    return state;
}

/* Reads the mail of a parked state, and leaves no empty chunk there; in the
 * commons, which will want it again, only until the next tick.  False when
 * somebody else is at it, or something is left for whoever purges. */
static bool tidy_parked(struct sk_state *state, bool is_trimming)
{
    bool is_all;

    if (!sk_state_seize_parked(state))
        return false;
    if (is_trimming) { /* those of the commons */
        sk_state_flush_bins(state, 0, SK_UNCOUNTED);
        sk_state_flush_batches(state);
    }
    is_all = sk_state_read_mail(state);
    if (is_trimming || !sk_commons_is(state->id))
        sk_state_drop_idle(state);
    if (is_trimming) {
        sk_state_drop_carving(state);
        sk_owner_purge_all_pages(state);
    }
    atomic_store_explicit(&state->status, SK_PARKED, memory_order_seq_cst);
    return is_all;
}

void sk_state_file_parked(struct sk_state *state)
{
    while (atomic_load_explicit(&state->mail, memory_order_seq_cst) &&
           tidy_parked(state, false))
        ;
}

void sk_state_park(void)
{
    struct sk_state *self = sk_self;
    bool is_warm;

    if (self->id == 0)
        return;
    if (!sk_state_enter(self)) {
        sk_state_park(); /* what it has instead */
        sk_self = &sk_state_dead;
        return;
    }
    is_warm = sk_park_keep_warm(self);
    sk_state_flush_bins(self, is_warm ? sk_park_warm_bins(self) : 0,
                        SK_DEPOSIT);
    sk_state_flush_batches(self);
    sk_state_read_mail(self);
    if (!is_warm) {
        sk_state_drop_carving(self);
        sk_state_drop_idle(self);
    }
    atomic_store_explicit(&self->is_busy, 0, memory_order_release);
    /* From here on a fork is not by this state's thread. */
    sk_attached = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    /* Under the lock that a visitor holds, and in one with the list: whoever
     * makes that list anew finds the state there or live, never both. */
    sk_lock(&sk_parking.lock);
    atomic_store_explicit(&self->status, SK_PARKED, memory_order_seq_cst);
    if (!sk_parking.is_stale)
        push_parked_locked(self);
    sk_unlock(&sk_parking.lock);
    /* From here on the state may be another thread's.  A sender that saw us
     * live just before left its mail to us. */
    sk_state_file_parked(self);
    sk_self = &sk_state_dead;
}

/* --- trim ----------------------------------------------------------------- */

bool sk_state_trim(void)
{
    struct sk_state *self = sk_self;
    bool is_purged;

    if (!sk_parking.is_open || self == &sk_state_nested)
        return false;
    self = sk_state_hide();
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        if (tidy_parked(sk_state_at(id), true))
            sk_state_file_parked(sk_state_at(id));
    sk_state_show(self);
    /* After the parked ones, which may have had units of ours. */
    if (self->id != 0 && sk_state_enter(self)) {
        sk_state_flush_bins(self, 0, SK_HOME);
        sk_state_flush_depots(self, true);
        sk_state_flush_batches(self);
        sk_state_read_mail(self);
        sk_state_drop_carving(self);
        sk_state_drop_idle(self);
        sk_owner_purge_all_pages(self);
        sk_state_leave(self);
    }
    self = sk_state_hide();
    sk_commons_tidy(); /* it has units of ours again */
    is_purged = sk_region_purge(true) > 0;
    sk_state_show(self);
    return is_purged;
}
