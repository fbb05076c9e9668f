/*
 * sk_state.c - the slow paths of a thread: refill, flush, batches.
 *
 * Layer: above sk_class; sk_park.c has the life and death of states.
 *
 * Every slow path runs between enter() and leave(): sk_self is
 * sk_state_nested then, so a signal handler that allocates goes to libc, and
 * one that frees sends its unit home by the atomic post; neither touches
 * what is being changed here.
 */
#include "sk_state_parts.h"

/* A bin's magazine starts with these many bytes, but some units at least. */
#define MAGAZINE_LEAST_BYTES 2048
#define MAGAZINE_LEAST_UNITS 4

__thread struct sk_state *sk_self
    __attribute__((tls_model("initial-exec"))) = &sk_state_none;
struct sk_state sk_state_none, sk_state_dead, sk_state_nested;

_Atomic uint64_t sk_stray_calls, sk_stray_bytes;
_Atomic uint64_t sk_stray_frees[SK_BINS];

/* --- an owner's lists of chunks ----------------------------------------- */

static void list_chunk(struct sk_state *self, struct sk_chunk *chunk)
{
    struct sk_rack *rack = sk_state_rack(self, chunk->heap);
    uint32_t name = sk_chunk_first(chunk) + 1;

    if (chunk->is_listed)
        return;
    chunk->is_listed = 1;
    chunk->prev = 0;
    chunk->next = rack->partial;
    if (rack->partial)
        sk_chunk_at(rack->partial - 1)->prev = name;
    rack->partial = name;
}

static void unlist_chunk(struct sk_state *self, struct sk_chunk *chunk)
{
    struct sk_rack *rack = sk_state_rack(self, chunk->heap);

    if (!chunk->is_listed)
        return;
    chunk->is_listed = 0;
    if (chunk->prev)
        sk_chunk_at(chunk->prev - 1)->next = chunk->next;
    else
        rack->partial = chunk->next;
    if (chunk->next)
        sk_chunk_at(chunk->next - 1)->prev = chunk->prev;
}

/* --- idle chunks: wholly free, kept a while ------------------------------ */

static void forget_idle(struct sk_state *self, struct sk_chunk *chunk)
{
    uint32_t name = sk_chunk_first(chunk) + 1;
    uint32_t kept = 0;

    if (!chunk->is_idle)
        return;
    chunk->is_idle = 0;
    self->idle_bytes -= SK_GRANULE_BYTES << chunk->heap->order;
    for (uint32_t i = 0; i < SK_IDLE_CHUNKS; i++)
        if (self->idle[i] && self->idle[i] != name)
            self->idle[kept++] = self->idle[i];
    while (kept < SK_IDLE_CHUNKS)
        self->idle[kept++] = 0;
}

/* Gives up a chunk that holds all its units. */
static void drop_chunk(struct sk_state *self, struct sk_chunk *chunk,
                       bool is_purged)
{
    struct sk_rack *rack = sk_state_rack(self, chunk->heap);

    forget_idle(self, chunk);
    unlist_chunk(self, chunk);
    if (rack->carving == sk_chunk_first(chunk) + 1)
        rack->carving = 0;
    self->chunk_bytes -= SK_GRANULE_BYTES << chunk->heap->order;
    sk_chunk_give(chunk, is_purged);
}

void sk_state_drop_idle(struct sk_state *self, size_t keep_bytes)
{
    while (self->idle[0] && self->idle_bytes > keep_bytes)
        drop_chunk(self, sk_chunk_at(self->idle[0] - 1), false);
}

/* A loop at a chunk's edge must not go to the region every time around. */
static void keep_idle(struct sk_state *self, struct sk_chunk *chunk)
{
    uint32_t i = 0;

    if (chunk->is_idle)
        return;
    if (self->idle[SK_IDLE_CHUNKS - 1])
        drop_chunk(self, sk_chunk_at(self->idle[0] - 1), false);
    while (self->idle[i])
        i++;
    self->idle[i] = sk_chunk_first(chunk) + 1;
    self->idle_bytes += SK_GRANULE_BYTES << chunk->heap->order;
    chunk->is_idle = 1;
    sk_state_drop_idle(self, SK_IDLE_BYTES);
}

/* After units came back to a chunk: the next refill finds them; if it is
 * wholly free, the oldest such chunk is given up. */
static void settle_chunk(struct sk_state *self, struct sk_chunk *chunk)
{
    list_chunk(self, chunk);
    if (sk_chunk_is_free(chunk) && !chunk->heap->is_kept)
        keep_idle(self, chunk);
}

void sk_state_drop_carving(struct sk_state *self)
{
    for SK_EACH_USED_BIN(self, i) {
        uint32_t name = self->racks[i].carving;

        if (name && !sk_heaps[i].is_kept &&
            sk_chunk_is_free(sk_chunk_at(name - 1)))
            drop_chunk(self, sk_chunk_at(name - 1), false);
    }
}

/* --- mail: chunks whose units came home ---------------------------------- */

static void mail_chunk(struct sk_state *owner, struct sk_chunk *chunk)
{
    uint32_t name = sk_chunk_first(chunk) + 1;
    uint32_t head = atomic_load_explicit(&owner->mail, memory_order_relaxed);

    do
        atomic_store_explicit(&chunk->mail_next, head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&owner->mail, &head, name,
                                                  memory_order_seq_cst,
                                                  memory_order_relaxed));
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
        atomic_store_explicit(&self->slack_bytes, slack,
                              memory_order_relaxed);
}

/* Purges under way in this process.  In a fork's child those of the parent's
 * other threads never end; when there are none, a sealed chunk's purger is
 * gone, and the owner finishes its work. */
static _Atomic uint32_t purges_under_way;

static void purge_sealed(const struct sk_heap *heap, struct sk_chunk *chunk)
{
    sk_chunk_purge_sealed(heap, chunk);
    atomic_fetch_sub_explicit(&purges_under_way, 1, memory_order_release);
}

void sk_state_forget_purges(void)
{
    atomic_store_explicit(&purges_under_way, 0, memory_order_relaxed);
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
        drop_chunk(self, chunk, true);
    else
        settle_chunk(self, chunk);
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
static void send(struct sk_chunk *chunk, void *first, void *last,
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
    uint32_t before;

    if (is_sealing)
        atomic_fetch_add_explicit(&purges_under_way, 1, memory_order_acquire);
    before = sk_chunk_post(chunk, first, last, units, is_sealing, &is_free);
    if (is_sealing && is_free)
        purge_sealed(heap, chunk);
    else if (is_sealing)
        atomic_fetch_sub_explicit(&purges_under_way, 1, memory_order_release);
    else if (is_free && !heap->is_kept)
        atomic_fetch_add_explicit(&owner->home_free_bytes,
                                  SK_GRANULE_BYTES << heap->order,
                                  memory_order_relaxed);
    if (before == 0)
        mail_chunk(owner, chunk);
    if (may_file && (before == 0 || is_sealing))
        sk_state_file_parked(owner);
}

static void send_batch(struct sk_state *self, const struct sk_heap *heap,
                       struct sk_batch *batch)
{
    self->batched_units -= batch->units;
    self->batched_bytes -= (size_t)batch->units * heap->unit_bytes;
    send(sk_chunk_at(batch->chunk), batch->first, batch->last, batch->units,
         true);
    batch->units = 0;
}

static const struct sk_heap *heap_of_batch(const struct sk_batch *batch)
{
    return sk_heap_of_slot(sk_region_word(batch->chunk) & SK_SLOT_MASK);
}

void sk_state_flush_batches(struct sk_state *self)
{
    for (uint32_t i = 0; i < SK_BATCHES && self->batched_units > 0; i++)
        if (self->batches[i].units > 0)
            send_batch(self, heap_of_batch(&self->batches[i]),
                       &self->batches[i]);
}

/* Adds a list of units of one chunk to its batch. */
static void batch_units(struct sk_state *self, const struct sk_heap *heap,
                        struct sk_chunk *chunk, void *first, void *last,
                        uint32_t units)
{
    uint32_t name = sk_chunk_first(chunk);
    struct sk_batch *batch =
        &self->batches[(name >> heap->order) % SK_BATCHES];

    if (batch->units > 0 && batch->chunk != name)
        send_batch(self, heap_of_batch(batch), batch);
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
        send_batch(self, heap, batch);
    else if (self->batched_bytes > SK_BATCHED_BYTES)
        sk_state_flush_batches(self);
}

/* --- flush: units back to their chunks ------------------------------------ */

_Noreturn static SK_COLD void die_bad_free(const struct sk_heap *heap,
                                           const void *unit, const char *what)
{
    sk_die("free(): %s %p (heap %s)", what, unit, heap->label);
}

static struct sk_chunk *chunk_of_unit(const struct sk_heap *heap,
                                      const void *unit)
{
    struct sk_chunk *chunk = sk_chunk_of(heap, sk_region_granule(unit));

    if (SK_UNLIKELY(!sk_chunk_has_unit(heap, chunk, unit)))
        die_bad_free(heap, unit, "not the start of a unit:");
    return chunk;
}

static const char freed_twice[] = "freed twice, or near one that was:";

static bool is_own(const struct sk_state *self, const struct sk_chunk *chunk)
{
    return sk_region_word(sk_chunk_first(chunk)) >> SK_OWNER_SHIFT == self->id;
}

static void put_units(struct sk_state *self, struct sk_chunk *chunk,
                      void *first, void *last, uint32_t units)
{
    sk_chunk_put(chunk, first, last, units);
    if (SK_UNLIKELY(chunk->free_units + chunk->home_units >
                    chunk->carved_units))
        die_bad_free(chunk->heap, first, freed_twice);
    settle_chunk(self, chunk);
}

/* Hands runs of units of the same chunk back with one splice each.  Returns
 * how many units the list had. */
static uint32_t flush_list(struct sk_state *self, const struct sk_heap *heap,
                           void *list)
{
    uint32_t flushed = 0;

    while (list) {
        struct sk_chunk *chunk = chunk_of_unit(heap, list);
        void *first = list, *last = list;
        uint32_t units = 1;

        while ((list = *(void **)last) && chunk_of_unit(heap, list) == chunk) {
            last = list;
            /* A unit freed twice makes its list a ring. */
            if (SK_UNLIKELY(++units > heap->chunk_units))
                die_bad_free(heap, first, freed_twice);
        }
        if (is_own(self, chunk))
            put_units(self, chunk, first, last, units);
        else
            batch_units(self, heap, chunk, first, last, units);
        flushed += units;
    }
    return flushed;
}

/* Moves the meter's allocations to the rack, and finds those that spilled
 * into room: the bin holds `units`. */
static void settle_meter(struct sk_bin *bin, struct sk_rack *rack,
                         uint32_t units, bool is_counting)
{
    int64_t room = bin->meter >> SK_ROOM_SHIFT;
    int64_t spilled = room + units - rack->limit;

    rack->allocations += (uint64_t)bin->meter & (SK_ROOM_ONE - 1);
    if (is_counting)
        rack->allocations += (uint64_t)spilled << SK_ROOM_SHIFT;
}

static void mark_used(struct sk_state *self, const struct sk_heap *heap)
{
    uint32_t bin = heap->slot / SK_BIN_BYTES;

    self->used_bins[bin / 64] |= UINT64_C(1) << bin % 64;
}

/* --- magazines ------------------------------------------------------------ */

static uint32_t least_magazine(const struct sk_heap *heap)
{
    uint32_t units = MAGAZINE_LEAST_BYTES / heap->unit_bytes;

    units = units < MAGAZINE_LEAST_UNITS ? MAGAZINE_LEAST_UNITS : units;
    return units < heap->room_units ? units : heap->room_units;
}

/* Two magazines of so many units. */
static size_t magazine_bytes(const struct sk_heap *heap, uint32_t units)
{
    return (size_t)units * heap->unit_bytes * 2;
}

static uint32_t magazine_units(struct sk_state *self,
                               const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);

    if (SK_UNLIKELY(rack->magazine_units == 0)) {
        rack->magazine_units = least_magazine(heap);
        self->magazine_bytes += magazine_bytes(heap, rack->magazine_units);
    }
    return rack->magazine_units;
}

/* Halves the magazines of the next bin on the clock. */
static void shrink_another(struct sk_state *self)
{
    uint32_t bin = sk_state_next_used(self, self->clock + 1);
    const struct sk_heap *heap;
    struct sk_rack *rack;
    uint32_t units;

    if (bin == SK_BINS)
        bin = sk_state_next_used(self, 0);
    self->clock = bin;
    heap = &sk_heaps[bin];
    rack = &self->racks[bin];
    units = rack->magazine_units / 2;
    if (units < least_magazine(heap))
        return;
    self->magazine_bytes -=
        magazine_bytes(heap, rack->magazine_units - units);
    rack->magazine_units = units;
}

/* A full magazine asks for a larger one.  All of a thread's share what it may
 * cache, so that the sizes it uses most get the room, and a thread that uses
 * sixty sizes a little keeps little. */
static void grow_magazine(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    uint32_t units = magazine_units(self, heap) * 2;
    size_t most = self->chunk_bytes / SK_CACHE_PART;
    size_t more;

    units = units < heap->room_units ? units : heap->room_units;
    more = magazine_bytes(heap, units - rack->magazine_units);
    most = most < SK_CACHE_BYTES ? SK_CACHE_BYTES : most;
    for (int i = 0; i < 2 && self->magazine_bytes + more > most; i++)
        shrink_another(self);
    if (self->magazine_bytes + more > most)
        return;
    /* The clock may have stood here. */
    more = magazine_bytes(heap, units - rack->magazine_units);
    rack->magazine_units = units;
    self->magazine_bytes += more;
}

/* Starts the bin with a list of `units`. */
static void fill_bin(struct sk_state *self, const struct sk_heap *heap,
                     void *list, uint32_t units)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);
    uint32_t room = magazine_units(self, heap);

    /* A chunk's whole list may be more than a magazine: leave some room. */
    room = units + room / 2 < room ? room - units : room / 2;
    rack->limit = room + units;
    bin->head = list;
    bin->meter = (int64_t)room << SK_ROOM_SHIFT;
}

static void flush_outgoing(struct sk_state *self, uint32_t bin)
{
    void *list = self->outgoing[bin].list;

    self->outgoing[bin].list = NULL;
    self->outgoing[bin].units = 0;
    flush_list(self, &sk_heaps[bin], list);
}

void sk_state_flush_bins(struct sk_state *self, bool is_counting)
{
    for (uint32_t bin = 1; bin < SK_SMALL_GUESTS; bin++)
        flush_outgoing(self, bin);
    for SK_EACH_USED_BIN(self, i) {
        struct sk_bin *bin = &self->bins[i];
        struct sk_rack *rack = &self->racks[i];
        struct sk_heap *heap = &sk_heaps[i];
        void *head = bin->head, *second = rack->second;
        uint32_t flushed;

        if (rack->limit == 0 && !second)
            continue;
        bin->head = rack->second = NULL;
        flushed = flush_list(self, heap, head);
        settle_meter(bin, rack, flushed, is_counting);
        /* What is over or under in the other one was counted wrong when its
         * bin was full: the same spill. */
        if (second)
            rack->allocations += (uint64_t)(int64_t)(int32_t)(
                                     flush_list(self, heap, second) -
                                     rack->second_units)
                                 << SK_ROOM_SHIFT;
        rack->second_units = 0;
        rack->limit = 0;
        bin->meter = 0;
        if (heap->hooks)
            heap->hooks->flushed(heap, flushed);
    }
}

/* free() of an own unit found no room: the full bin becomes the second
 * magazine, and the older one goes back to its chunks. */
static void flush_bin(struct sk_state *self, const struct sk_heap *heap,
                      void *unit)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);
    void *older = rack->second;
    uint32_t older_units = rack->second_units;

    mark_used(self, heap);
    bin->meter += SK_ROOM_ONE; /* what free() took off */
    rack->second = bin->head;
    rack->second_units = rack->limit;
    rack->allocations += (uint64_t)bin->meter & (SK_ROOM_ONE - 1);
    *(void **)unit = NULL;
    grow_magazine(self, heap);
    fill_bin(self, heap, unit, 1);
    if (older)
        rack->allocations +=
            (uint64_t)(int64_t)(int32_t)(flush_list(self, heap, older) -
                                         older_units)
            << SK_ROOM_SHIFT;
}

/* --- refill --------------------------------------------------------------- */

static bool fill_from_second(struct sk_state *self,
                             const struct sk_heap *heap, struct sk_rack *rack)
{
    void *list = rack->second;
    uint32_t units = rack->second_units;

    if (!list)
        return false;
    rack->second = NULL;
    rack->second_units = 0;
    fill_bin(self, heap, list, units);
    return true;
}

/* Takes the whole list of the first chunk that has one. */
static bool fill_from_partial(struct sk_state *self,
                              const struct sk_heap *heap,
                              struct sk_rack *rack)
{
    while (rack->partial) {
        struct sk_chunk *chunk = sk_chunk_at(rack->partial - 1);
        void **list = chunk->free ? &chunk->free : &chunk->home;
        uint32_t *units =
            chunk->free ? &chunk->free_units : &chunk->home_units;
        void *taken = *list;

        if (!sk_chunk_take_out(chunk, *units)) {
            /* Purged under our hands: its mail brings it back. */
            forget_idle(self, chunk);
            unlist_chunk(self, chunk);
            if (rack->carving == sk_chunk_first(chunk) + 1)
                rack->carving = 0;
            continue;
        }
        forget_idle(self, chunk);
        *list = NULL;
        fill_bin(self, heap, taken, *units);
        *units = 0;
        if (!sk_chunk_has_free(chunk))
            unlist_chunk(self, chunk);
        return true;
    }
    return false;
}

/* The chunk that fresh units come from: with some left, and not purged. */
static struct sk_chunk *carving_chunk(struct sk_state *self,
                                      const struct sk_heap *heap,
                                      struct sk_rack *rack, uint32_t units)
{
    struct sk_chunk *chunk;

    if (rack->carving) {
        chunk = sk_chunk_at(rack->carving - 1);
        if (chunk->carved_units < heap->chunk_units &&
            sk_chunk_take_out(chunk, units))
            return chunk;
        rack->carving = 0;
    }
    chunk = sk_chunk_new(heap, self->id);
    if (chunk) {
        self->chunk_bytes += SK_GRANULE_BYTES << heap->order;
        sk_chunk_take_out(chunk, units);
        rack->carving = sk_chunk_first(chunk) + 1;
    }
    return chunk;
}

static bool fill_by_carving(struct sk_state *self, const struct sk_heap *heap,
                            struct sk_rack *rack)
{
    uint32_t units = heap->carve_units;
    struct sk_chunk *chunk = carving_chunk(self, heap, rack, units);
    uint32_t carved;
    void *list;

    if (!chunk)
        return false;
    carved = sk_chunk_carve(chunk, units, &list);
    if (heap->hooks)
        heap->hooks->carved(heap, carved);
    if (carved < units) /* the chunk's end: the rest was never out */
        sk_chunk_take_back(chunk, units - carved);
    fill_bin(self, heap, list, carved);
    return true;
}

static bool fill_from_commons(struct sk_state *self,
                              const struct sk_heap *heap)
{
    void *list;
    uint32_t units = sk_commons_take(self, heap, &list);

    if (units == 0)
        return false;
    fill_bin(self, heap, list, units);
    return true;
}

bool sk_state_refill(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);

    mark_used(self, heap);
    settle_meter(bin, rack, 0, true);
    bin->meter = 0;
    rack->limit = 0;
    if (fill_from_second(self, heap, rack))
        return true;
    sk_state_read_mail(self);
    return fill_from_partial(self, heap, rack) ||
           fill_from_commons(self, heap) || fill_by_carving(self, heap, rack);
}

/* --- for the library's heaps ---------------------------------------------- */

static uint32_t detach(void **from, uint32_t units, void **list)
{
    void *first = *from, *last = first;

    for (uint32_t i = 1; i < units; i++)
        last = *(void **)last;
    *from = *(void **)last;
    *(void **)last = *list;
    *list = first;
    return units;
}

static uint32_t take_from_partial(struct sk_state *self,
                                  const struct sk_heap *heap, uint32_t units,
                                  void **list)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_chunk *chunk = sk_chunk_at(rack->partial - 1);
    void **from = chunk->free ? &chunk->free : &chunk->home;
    uint32_t *left = chunk->free ? &chunk->free_units : &chunk->home_units;

    units = units < *left ? units : *left;
    forget_idle(self, chunk);
    if (!sk_chunk_take_out(chunk, units)) {
        unlist_chunk(self, chunk);
        if (rack->carving == sk_chunk_first(chunk) + 1)
            rack->carving = 0;
        return 0;
    }
    detach(from, units, list);
    *left -= units;
    if (!sk_chunk_has_free(chunk))
        unlist_chunk(self, chunk);
    return units;
}

static uint32_t take_by_carving(struct sk_state *self,
                                const struct sk_heap *heap, uint32_t units,
                                void **list)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_chunk *chunk = carving_chunk(self, heap, rack, units);
    uint32_t carved;
    void *fresh;

    if (!chunk)
        return 0;
    carved = sk_chunk_carve(chunk, units, &fresh);
    if (carved < units)
        sk_chunk_take_back(chunk, units - carved);
    heap->hooks->carved(heap, carved);
    return detach(&fresh, carved, list);
}

uint32_t sk_state_take(struct sk_state *self, const struct sk_heap *heap,
                       uint32_t units, void **list)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    uint32_t taken = 0, more = 1;

    *list = NULL;
    mark_used(self, heap);
    if (rack->second) {
        taken = units < rack->second_units ? units : rack->second_units;
        detach(&rack->second, taken, list);
        rack->second_units -= taken;
    }
    if (taken < units)
        sk_state_read_mail(self);
    while (taken < units && rack->partial)
        taken += take_from_partial(self, heap, units - taken, list);
    for (; taken < units && more > 0; taken += more)
        more = take_by_carving(self, heap, units - taken, list);
    return taken;
}

void sk_state_give(struct sk_state *self, const struct sk_heap *heap,
                   void *list)
{
    flush_list(self, heap, list);
}

uint32_t sk_state_flush_bin(struct sk_state *self, const struct sk_heap *heap,
                            bool is_second_too)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);
    void *head = bin->head, *second = rack->second;
    uint32_t flushed;

    bin->head = NULL;
    flushed = flush_list(self, heap, head);
    settle_meter(bin, rack, flushed, true);
    rack->limit = 0;
    bin->meter = 0;
    if (is_second_too && second) {
        rack->second = NULL;
        rack->second_units = 0;
        flush_list(self, heap, second);
    }
    return flushed;
}

static void drop_if_free(struct sk_state *self, uint32_t name)
{
    struct sk_chunk *chunk = sk_chunk_at(name - 1);

    if (sk_chunk_is_free(chunk))
        drop_chunk(self, chunk, false);
}

void sk_state_trim_heap(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);

    for (uint32_t i = 0; i < SK_BATCHES; i++)
        if (self->batches[i].units > 0 &&
            heap_of_batch(&self->batches[i]) == heap)
            send_batch(self, heap, &self->batches[i]);
    sk_state_read_mail(self);
    for (uint32_t name = rack->partial; name;) {
        uint32_t next = sk_chunk_at(name - 1)->next;

        drop_if_free(self, name);
        name = next;
    }
    if (rack->carving)
        drop_if_free(self, rack->carving);
}

void sk_state_forget(struct sk_state *self, const struct sk_heap *heap,
                     bool is_broken)
{
    uint32_t bin = heap->slot / SK_BIN_BYTES;

    if (!is_broken)
        sk_state_read_mail(self);
    for (uint32_t i = 0; i < SK_BATCHES; i++) {
        struct sk_batch *batch = &self->batches[i];

        if (batch->units == 0 || heap_of_batch(batch) != heap)
            continue;
        self->batched_units -= batch->units;
        self->batched_bytes -= (size_t)batch->units * heap->unit_bytes;
        batch->units = 0;
    }
    for (uint32_t i = 0; i < SK_IDLE_CHUNKS;) {
        uint32_t name = self->idle[i];

        if (name && sk_chunk_at(name - 1)->heap == heap)
            forget_idle(self, sk_chunk_at(name - 1));
        else
            i++;
    }
    self->bins[bin] = (struct sk_bin){0};
    self->racks[bin] = (struct sk_rack){0};
    self->used_bins[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}

/* --- the doors ------------------------------------------------------------ */

void *sk_state_alloc_slow(size_t bytes)
{
    return sk_state_alloc_unit(sk_class_slot(bytes ? bytes : 1));
}

void *sk_state_alloc_unit(size_t slot)
{
    struct sk_state *self = sk_self;
    struct sk_bin *bin;
    void *unit = NULL;

    if (self == &sk_state_none) {
        if (!sk_state_attach())
            return NULL;
        self = sk_self;
    }
    if (self->id == 0)
        return NULL;
    bin = sk_state_bin(self, slot);
    sk_state_enter(self);
    /* malloc(0), and an adopted bin, may have units. */
    if (bin->head || sk_state_refill(self, sk_heap_of_slot((uint32_t)slot)))
        unit = sk_bin_pop(bin);
    sk_state_leave(self);
    return unit;
}

/* The heap of an address in the region, by its granule's map word. */
static const struct sk_heap *heap_of(const void *p, uint32_t word,
                                     const char *caller)
{
    if (SK_UNLIKELY(word >> SK_OWNER_SHIFT == 0))
        sk_die("%s: %p was never handed out", caller, p);
    if (SK_UNLIKELY((word & SK_SLOT_MASK) >= SK_CLASS_SLOT(SK_CLASSES)))
        sk_die("%s: %p is a unit of heap '%s', freed by "
               "sk_heap_unit_unref() alone",
               caller, p, sk_heap_label(word & SK_SLOT_MASK));
    return sk_heap_of_slot(word & SK_SLOT_MASK);
}

/* A thread that lives longer gets units of its own, whose free is the hit
 * path: those of the commons go home one by one. */
static bool is_weary_of_commons(const struct sk_state *self, uint32_t word)
{
    return sk_commons_is(word >> SK_OWNER_SHIFT) &&
           sk_commons_is_enough(
               &self->racks[(word & SK_SLOT_MASK) / SK_BIN_BYTES]);
}

void sk_state_free_slow(void *unit)
{
    heap_of(unit, sk_region_word(sk_region_granule(unit)), "free()");
    sk_state_free_unit(unit);
}

void sk_state_free_unit(void *unit)
{
    uint32_t word = sk_region_word(sk_region_granule(unit));
    const struct sk_heap *heap = sk_heap_of_slot(word & SK_SLOT_MASK);
    struct sk_chunk *chunk = chunk_of_unit(heap, unit);
    struct sk_state *self = sk_self;

    if (self == &sk_state_none && sk_state_attach())
        self = sk_self;
    if (SK_UNLIKELY(self->id == 0)) {
        atomic_fetch_add_explicit(&sk_stray_frees[heap->slot / SK_BIN_BYTES],
                                  1, memory_order_relaxed);
        self = sk_state_hide();
        send(chunk, unit, unit, 1, self != &sk_state_nested);
        sk_state_show(self);
        return;
    }
    sk_state_enter(self);
    if (word >> SK_OWNER_SHIFT == self->id) {
        flush_bin(self, heap, unit);
    } else {
        sk_state_rack(self, heap)->remote_frees++;
        if (is_weary_of_commons(self, word)) {
            batch_units(self, heap, chunk, unit, unit, 1);
        } else if (heap->slot >= SK_GUEST_SLOT) {
            flush_bin(self, heap, unit);
        } else {
            flush_outgoing(self, heap->slot / SK_BIN_BYTES);
            batch_units(self, heap, chunk, unit, unit, 1);
        }
    }
    sk_state_leave(self);
}

bool sk_state_free_guest(void *unit)
{
    uint32_t word = sk_region_word(sk_region_granule(unit));
    uint32_t slot = word & SK_SLOT_MASK;
    uint32_t bin = slot / SK_BIN_BYTES;
    struct sk_state *self = sk_self;
    void **list;

    if (slot >= SK_CLASS_SLOT(SK_CLASSES) || bin == 0 ||
        word >> SK_OWNER_SHIFT == 0 || self->id == 0)
        return false;
    if (sk_commons_is(word >> SK_OWNER_SHIFT)) {
        self->racks[bin].common_frees++;
        if (is_weary_of_commons(self, word))
            return false;
    }
    if (slot >= SK_GUEST_SLOT) {
        if ((self->bins[bin].meter -= SK_ROOM_ONE) < 0)
            return false;
        list = &self->bins[bin].head;
    } else {
        if (self->outgoing[bin].units >= SK_OUTGOING_UNITS)
            return false;
        if (self->outgoing[bin].units++ == 0)
            mark_used(self, &sk_heaps[bin]);
        list = &self->outgoing[bin].list;
    }
    self->racks[bin].remote_frees++;
    *(void **)unit = *list;
    *list = unit;
    return true;
}

size_t sk_state_usable(const void *p)
{
    const struct sk_heap *heap;
    uint32_t word;

    if (!sk_region_has(p))
        return 0;
    word = sk_region_word(sk_region_granule(p));
    heap = heap_of(p, word, "realloc() or malloc_usable_size()");
    chunk_of_unit(heap, p);
    return heap->unit_bytes;
}

/* --- for reports and tests ------------------------------------------------ */

/* Reads a running thread's bin as it is: every link is looked at before it
 * is followed, and a changing list only makes the count inexact. */
__attribute__((no_sanitize("thread"))) uint32_t
sk_state_bin_units(struct sk_state *state, uint32_t bin)
{
    uint32_t slot = SK_CLASS_SLOT(bin);
    uint32_t most = state->racks[bin].limit + SK_CLASS_BYTES;
    uint32_t units = 0;

    for (void *unit = *(void *volatile *)&state->bins[bin].head;
         unit && units < most && sk_region_has(unit) &&
         (sk_region_word(sk_region_granule(unit)) & SK_SLOT_MASK) == slot;
         unit = *(void *volatile *)unit)
        units++;
    return units;
}

static bool is_rack_sound(struct sk_state *state, uint32_t bin)
{
    struct sk_rack *rack = &state->racks[bin];
    int64_t room = state->bins[bin].meter >> SK_ROOM_SHIFT;
    uint32_t before = 0;

    for (uint32_t name = rack->partial; name;) {
        struct sk_chunk *chunk = sk_chunk_at(name - 1);

        if (!sk_chunk_is_sound(chunk) || !chunk->is_listed ||
            chunk->prev != before || !sk_chunk_has_free(chunk))
            return false;
        before = name;
        name = chunk->next;
    }
    return (!rack->carving ||
            sk_chunk_is_sound(sk_chunk_at(rack->carving - 1))) &&
           room + sk_state_bin_units(state, bin) == rack->limit;
}

bool sk_state_is_sound(struct sk_state *state)
{
    for SK_EACH_USED_BIN(state, bin)
        if (!is_rack_sound(state, bin))
            return false;
    return true;
}
