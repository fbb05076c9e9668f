/*
 * sk_mail.c - units that other threads freed, on their way home.
 *
 * Layer: with sk_state.
 */
#include "sk_state_parts.h"

static void mail_chunk(struct sk_state *owner, struct sk_chunk *chunk)
{
    uint32_t name = sk_chunk_first(chunk) + 1;
    uint32_t head = atomic_load_explicit(&owner->mail, memory_order_relaxed);

    do
        atomic_store_explicit(&chunk->mail_next, head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &owner->mail, &head, name, memory_order_seq_cst, memory_order_relaxed));
}

/* A purged chunk means the owner was slower than the slack; if it comes for
 * its mail after all, more slack would have saved the faults.  What it does
 * not need it loses again, slowly. */
static void adjust_slack(struct sk_state *self, bool has_purged)
{
    uint64_t slack =
        atomic_load_explicit(&self->slack_bytes, memory_order_relaxed);

    slack = has_purged ? slack * 2 : slack - slack / 64;
    if (slack >= SK_SLACK_LEAST && slack <= SK_SLACK_MOST)
        atomic_store_explicit(&self->slack_bytes, slack, memory_order_relaxed);
}

/* Purges under way in this process.  In a fork's child those of the parent's
 * other threads never end; when there are none, a sealed chunk's purger is
 * gone, and the owner finishes its work. */
static _Atomic uint32_t purges_under_way;
static _Atomic uint32_t forks; /* that this process comes from */

/* Returns what the end is told. */
static uint32_t begin_purge(void)
{
    atomic_fetch_add_explicit(&purges_under_way, 1, memory_order_acquire);
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

/* Unless a signal handler forked meanwhile, and this is the child. */
static void end_purge(uint32_t forks_before)
{
    if (atomic_load_explicit(&forks, memory_order_relaxed) == forks_before)
        atomic_fetch_sub_explicit(&purges_under_way, 1, memory_order_release);
}

void sk_state_forget_purges(void)
{
    atomic_store_explicit(&purges_under_way, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

/* Returns the state of the chunk's post: 0 filed, SK_POST_PURGED given up,
 * SK_POST_SEALED being purged just now: look again later. */
static uint32_t file_chunk(struct sk_state *self, struct sk_chunk *chunk)
{
    uint32_t post = sk_chunk_collect(chunk);

    if (post == SK_POST_SEALED) {
        if (atomic_load_explicit(&purges_under_way, memory_order_acquire) > 0)
            return post;
        if (sk_chunk_collect(chunk) == SK_POST_SEALED)
            sk_chunk_purge_sealed(chunk->heap, chunk);
        post = SK_POST_PURGED;
    }
    if (post == SK_POST_PURGED)
        sk_owner_drop(self, chunk, true);
    else
        sk_owner_settle(self, chunk);
    return post;
}

bool sk_state_read_mail(struct sk_state *self)
{
    bool is_all = true, has_purged = false;
    uint32_t name;

    if (atomic_load_explicit(&self->mail, memory_order_relaxed) == 0)
        return true;
    atomic_store_explicit(&self->home_free_bytes, 0, memory_order_relaxed);
    name = atomic_exchange_explicit(&self->mail, 0, memory_order_seq_cst);
    while (name) {
        struct sk_chunk *chunk = sk_chunk_at(name - 1);

        /* Read first: once collected, the chunk may be mailed again. */
        name = atomic_load_explicit(&chunk->mail_next, memory_order_relaxed);
        switch (file_chunk(self, chunk)) {
        case SK_POST_SEALED:
            mail_chunk(self, chunk);
            is_all = false;
            break;
        case SK_POST_PURGED:
            has_purged = true;
        }
    }
    adjust_slack(self, has_purged);
    return is_all;
}

/* --- batches: other threads' units on their way home --------------------- */

/* `may_file`: not in a signal handler, which could wait for a lock that the
 * interrupted code holds. */
void sk_mail_send(struct sk_chunk *chunk, void *first, void *last,
                  uint32_t units, bool may_file)
{
    uint32_t word = sk_region_word(sk_chunk_first(chunk));
    struct sk_state *owner = sk_state_at(word >> SK_OWNER_SHIFT);
    const struct sk_heap *heap = sk_heap_of_slot(word & SK_SLOT_MASK);
    bool is_sealing =
        !heap->is_kept &&
        atomic_load_explicit(&owner->home_free_bytes, memory_order_relaxed) >=
            atomic_load_explicit(&owner->slack_bytes, memory_order_relaxed);
    bool is_free;
    uint32_t before, purge = is_sealing ? begin_purge() : 0;

    before = sk_chunk_post(chunk, first, last, units, is_sealing, &is_free);
    if (is_sealing && is_free)
        sk_chunk_purge_sealed(heap, chunk);
    if (is_sealing)
        end_purge(purge);
    else if (is_free && !heap->is_kept)
        atomic_fetch_add_explicit(&owner->home_free_bytes,
                                  SK_GRANULE_BYTES << heap->order,
                                  memory_order_relaxed);
    if (before == 0)
        mail_chunk(owner, chunk);
    if (may_file && (before == 0 || is_sealing))
        sk_state_file_parked(owner);
}

void sk_mail_send_batch(struct sk_state *self, const struct sk_heap *heap,
                        struct sk_batch *batch)
{
    self->batches_sent++;
    self->batched_units -= batch->units;
    self->batched_bytes -= (size_t)batch->units * heap->unit_bytes;
    self->posting = batch->chunk + 1;
    sk_mail_send(sk_chunk_at(batch->chunk), batch->first, batch->last,
                 batch->units, true);
    self->posting = 0;
    batch->units = 0;
}

/* The same for who has no state to note the chunk in, or only one that is in
 * the middle of something.  More than so many at a time go unnoted. */
#define STRAYS 8
static _Atomic uint32_t strays[STRAYS];

static _Atomic uint32_t *note_stray(uint32_t chunk)
{
    for (uint32_t i = 0; i < STRAYS; i++) {
        uint32_t none = 0;

        if (atomic_compare_exchange_strong(&strays[i], &none, chunk))
            return &strays[i];
    }
    return NULL;
}

void sk_mail_send_stray(struct sk_chunk *chunk, void *unit, bool may_file)
{
    _Atomic uint32_t *note = note_stray(sk_chunk_first(chunk) + 1);

    sk_mail_send(chunk, unit, unit, 1, may_file);
    if (note)
        atomic_store(note, 0);
}

static bool is_in_mail(const struct sk_state *owner, uint32_t chunk)
{
    uint32_t name = atomic_load(&owner->mail);

    while (name && name != chunk)
        name = atomic_load(&sk_chunk_at(name - 1)->mail_next);
    return name != 0;
}

/* A sender that did not come along had posted and not mailed.  By now the chunk
 * may be another one, or none: only that it has a post that nobody will look at
 * matters. */
static void mail_for_sender(uint32_t chunk)
{
    uint32_t word = sk_region_word(chunk - 1);

    if (sk_word_is_chunk(word) &&
        (word & SK_SLOT_MASK) < SK_CLASS_SLOT(SK_BINS) &&
        sk_post_list(atomic_load(&sk_chunk_at(chunk - 1)->post)) != 0 &&
        !is_in_mail(sk_state_at(word >> SK_OWNER_SHIFT), chunk))
        mail_chunk(sk_state_at(word >> SK_OWNER_SHIFT),
                   sk_chunk_at(chunk - 1));
}

void sk_mail_after_fork(const struct sk_state *forker, bool is_nested)
{
    for (uint32_t i = 0; i < STRAYS && !is_nested; i++) {
        uint32_t chunk = atomic_exchange(&strays[i], 0);

        if (chunk)
            mail_for_sender(chunk);
    }
    /* From a handler that interrupted a slow path: it may go on to mail it. */
    if (atomic_load(&forker->is_busy))
        return;
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        if (sk_state_at(id)->posting)
            mail_for_sender(sk_state_at(id)->posting);
}

void sk_state_flush_batches(struct sk_state *self)
{
    for (uint32_t i = 0; i < SK_BATCHES && self->batched_units > 0; i++)
        if (self->batches[i].units > 0)
            sk_mail_send_batch(self, sk_mail_heap_of(&self->batches[i]),
                               &self->batches[i]);
}

/* Adds a list of units of one chunk to its batch. */
void sk_mail_batch(struct sk_state *self, const struct sk_heap *heap,
                   struct sk_chunk *chunk, void *first, void *last,
                   uint32_t units)
{
    uint32_t name = sk_chunk_first(chunk);
    struct sk_batch *batch = &self->batches[(name >> heap->order) % SK_BATCHES];

    if (batch->units > 0 && batch->chunk != name)
        sk_mail_send_batch(self, sk_mail_heap_of(batch), batch);
    if (batch->units == 0) {
        batch->chunk = name;
        batch->last = last;
        batch->first = NULL;
    }
    *(void **)last = batch->first;
    batch->first = first;
    batch->units += units;
    self->batched_units += units;
    self->batched_bytes += (size_t)units * heap->unit_bytes;
    if (batch->units >= heap->batch_units)
        sk_mail_send_batch(self, heap, batch);
    else if (self->batched_bytes > SK_BATCHED_BYTES ||
             self->batched_bytes > sk_cache_most(self) / 2)
        sk_state_flush_batches(self);
}
