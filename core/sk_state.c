/*
 * sk_state.c - the doors to a thread's slow paths, and what tests look at.
 *
 * Layer: above sk_class; sk_park.c has the life and death of states.
 *
 * Every slow path runs between enter() and leave(): sk_self is
 * sk_state_nested then, so a signal handler that allocates goes to libc, and
 * one that frees sends its unit home by the atomic post; neither touches
 * what is being changed here.
 */
#include "sk_state_parts.h"

__thread struct sk_state *sk_self __attribute__((tls_model("initial-exec"))) =
    &sk_state_none;
__thread struct sk_state *sk_attached
    __attribute__((tls_model("initial-exec")));
SK_LARGE struct sk_state sk_state_none, sk_state_dead, sk_state_nested;

_Atomic uint64_t sk_stray_calls, sk_stray_bytes;
SK_LARGE _Atomic uint64_t sk_stray_frees[SK_BINS];

/* --- the doors ------------------------------------------------------------ */

static void *alloc_unit(size_t slot, bool is_exact);

/* With another state.  Apart, so that the slow path is no loop. */
static SK_COLD void *alloc_again(size_t slot, bool is_exact)
{
    return alloc_unit(slot, is_exact);
}

static SK_COLD void free_again(void *unit)
{
    sk_state_free_unit(unit);
}

/* A unit of the heap, or for malloc one that is a little larger. */
static void *alloc_unit(size_t slot, bool is_exact)
{
    const struct sk_heap *heap = sk_heap_of_slot((uint32_t)slot);
    struct sk_state *self = sk_self;
    struct sk_bin *bin;
    void *unit = NULL;

    if (self == &sk_state_none) {
        if (!sk_state_attach(slot))
            return NULL;
        self = sk_self;
    }
    if (self->id == 0)
        return NULL;
    bin = sk_state_bin(self, slot);
    if (!sk_state_enter(self))
        return alloc_again(slot, is_exact);
    /* malloc(0) may find some. */
    if (!is_exact && SK_UNLIKELY(sk_is_crowded()) && !bin->head)
        unit = sk_bin_borrow_near(self, heap);
    if (!unit && !bin->head && !sk_bin_refill(self, heap)) {
        if (!is_exact)
            unit = sk_bin_borrow(self, heap);
        if (!unit)
            sk_bin_refill_new(self, heap);
    }
    if (!unit)
        unit = sk_bin_pop(bin);
    sk_state_leave(self);
    return unit;
}

void *sk_state_alloc_slow(size_t bytes)
{
    return alloc_unit(sk_class_slot(bytes ? bytes : 1), false);
}

void *sk_state_alloc_unit(size_t slot)
{
    return alloc_unit(slot, true);
}

/* The heap of an address in the region, by its granule's map word. */
static const struct sk_heap *heap_of(const void *p, uint32_t word,
                                     const char *caller)
{
    if (SK_UNLIKELY(!sk_word_is_chunk(word)))
        sk_die("%s: %p was never handed out", caller, p);
    if (SK_UNLIKELY((word & SK_SLOT_MASK) >= SK_CLASS_SLOT(SK_CLASSES)))
        sk_die("%s: %p is a unit of heap '%s', freed by "
               "sk_heap_unit_unref() alone",
               caller, p, sk_heap_label(word & SK_SLOT_MASK));
    return &sk_class_heaps[(word & SK_SLOT_MASK) / SK_BIN_BYTES];
}

void sk_state_free_slow(void *unit)
{
    heap_of(unit, sk_region_word(sk_region_granule(unit)), "free()");
    sk_state_free_unit(unit);
}

/* A unit that is another thread's, too small to rest here.  False when enough
 * of them are together.  Unlike the hit path this can afford to be closed to
 * signal handlers. */
static bool collect(struct sk_state *self, const struct sk_heap *heap,
                    void *unit)
{
    uint32_t bin = heap->slot / SK_BIN_BYTES;
    bool has_room;

    sk_state_hide();
    sk_state_rack(self, heap)->remote_frees++;
    has_room = self->outgoing[bin].units < SK_OUTGOING_UNITS;
    if (has_room) {
        if (self->outgoing[bin].units++ == 0)
            sk_bin_mark_used(self, heap);
        *(void **)unit = self->outgoing[bin].list;
        self->outgoing[bin].list = unit;
    }
    sk_state_show(self);
    return has_room;
}

/* By a thread that has no state, or is in the middle of a slow path. */
static void free_stray(const struct sk_heap *heap, struct sk_chunk *chunk,
                       void *unit)
{
    struct sk_state *self;

    atomic_fetch_add_explicit(&sk_stray_frees[heap->slot / SK_BIN_BYTES], 1,
                              memory_order_relaxed);
    self = sk_state_hide();
    sk_mail_send_stray(chunk, unit, self != &sk_state_nested);
    sk_state_show(self);
}

/* What the hit path took off the bin of an empty state. */
__attribute__((no_sanitize("thread"))) static void
restore_room(struct sk_state *self, const struct sk_heap *heap)
{
    *(volatile int64_t *)&sk_state_bin(self, heap->slot)->meter = 0;
}

void sk_state_free_unit(void *unit)
{
    uint32_t word = sk_region_word(sk_region_granule(unit));
    const struct sk_heap *heap = sk_heap_of_slot(word & SK_SLOT_MASK);
    struct sk_chunk *chunk = sk_bin_chunk_of(heap, unit);
    struct sk_state *self = sk_self;
    bool is_small;

    if (self->id == 0)
        restore_room(self, heap);
    if (self == &sk_state_none && sk_state_attach(heap->slot)) {
        /* The look-up of the key may have filled the new bins. */
        if (sk_state_free_hit(unit) == SK_FREED)
            return;
        self = sk_self;
    }
    if (SK_UNLIKELY(self->id == 0)) {
        free_stray(heap, chunk, unit);
        return;
    }
    is_small = heap->slot < SK_GUEST_SLOT && word >> SK_OWNER_SHIFT != self->id;
    if (is_small && collect(self, heap, unit))
        return;
    if (!sk_state_enter(self)) {
        free_again(unit);
        return;
    }
    if (is_small) {
        sk_bin_flush_outgoing(self, heap->slot / SK_BIN_BYTES);
        sk_mail_batch(self, heap, chunk, unit, unit, 1);
    } else {
        sk_bin_flush(self, heap, unit);
    }
    sk_state_tick(self); /* after what the hit path took off the meter */
    sk_state_leave(self);
}

size_t sk_state_usable(const void *p)
{
    const struct sk_heap *heap;
    uint32_t word;

    if (!sk_region_has(p))
        return 0;
    word = sk_region_word(sk_region_granule(p));
    heap = heap_of(p, word, "realloc() or malloc_usable_size()");
    sk_bin_chunk_of(heap, p);
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

/* A thread whose accounts are wrong would cache nothing any more, or without
 * end. */
static bool is_account_sound(struct sk_state *state)
{
    size_t magazines = 0, carved = 0, stacked = 0, batched = 0;
    uint32_t units = 0;

    for (uint32_t bin = 1; bin < SK_BINS; bin++) {
        const struct sk_rack *rack = &state->racks[bin];
        const struct sk_heap *heap = sk_heap_of_bin(bin);

        magazines += sk_bin_magazine_bytes(heap, rack->magazine_units);
        carved += (size_t)rack->carved_units * heap->unit_bytes;
        stacked +=
            (size_t)sk_bin_stacked_units(state, bin) * heap->unit_bytes;
    }
    for (uint32_t i = 0; i < SK_BATCHES; i++) {
        const struct sk_batch *batch = &state->batches[i];

        units += batch->units;
        if (batch->units > 0)
            batched +=
                (size_t)batch->units * sk_mail_heap_of(batch)->unit_bytes;
    }
    return magazines == state->magazine_bytes &&
           carved == state->carved_bytes && stacked == state->stack_bytes &&
           batched == state->batched_bytes && units == state->batched_units;
}

bool sk_state_is_sound(struct sk_state *state)
{
    for
        SK_EACH_USED_BIN(state, bin)
    if (!is_rack_sound(state, bin))
        return false;
    return is_account_sound(state);
}
