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

__thread struct sk_state *sk_self __attribute__((tls_model("initial-exec"))) =
    &sk_state_none;
struct sk_state sk_state_none, sk_state_dead, sk_state_nested;

_Atomic uint64_t sk_stray_calls, sk_stray_bytes;
_Atomic uint64_t sk_stray_frees[SK_BINS];

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

/* A state just adopted may have a bin with room: sk_bin_flush is for full
 * ones. */
static bool push_on_adopted(struct sk_state *self, const struct sk_heap *heap,
                            uint32_t word, void *unit)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);

    if (bin->meter < SK_ROOM_ONE || (word >> SK_OWNER_SHIFT != self->id &&
                                     heap->slot < SK_GUEST_SLOT))
        return false;
    bin->meter -= SK_ROOM_ONE;
    *(void **)unit = bin->head;
    bin->head = unit;
    return true;
}

void sk_state_free_unit(void *unit)
{
    uint32_t word = sk_region_word(sk_region_granule(unit));
    const struct sk_heap *heap = sk_heap_of_slot(word & SK_SLOT_MASK);
    struct sk_chunk *chunk = sk_bin_chunk_of(heap, unit);
    struct sk_state *self = sk_self;

    if (self == &sk_state_none && sk_state_attach()) {
        self = sk_self;
        if (push_on_adopted(self, heap, word, unit))
            return;
    }
    if (SK_UNLIKELY(self->id == 0)) {
        atomic_fetch_add_explicit(&sk_stray_frees[heap->slot / SK_BIN_BYTES], 1,
                                  memory_order_relaxed);
        self = sk_state_hide();
        sk_mail_send(chunk, unit, unit, 1, self != &sk_state_nested);
        sk_state_show(self);
        return;
    }
    sk_state_enter(self);
    if (word >> SK_OWNER_SHIFT == self->id) {
        sk_bin_flush(self, heap, unit);
    } else {
        sk_state_rack(self, heap)->remote_frees++;
        if (is_weary_of_commons(self, word)) {
            sk_mail_batch(self, heap, chunk, unit, unit, 1);
        } else if (heap->slot >= SK_GUEST_SLOT) {
            sk_bin_flush(self, heap, unit);
        } else {
            sk_bin_flush_outgoing(self, heap->slot / SK_BIN_BYTES);
            sk_mail_batch(self, heap, chunk, unit, unit, 1);
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
            sk_bin_mark_used(self, &sk_heaps[bin]);
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

bool sk_state_is_sound(struct sk_state *state)
{
    for
        SK_EACH_USED_BIN(state, bin)
    if (!is_rack_sound(state, bin))
        return false;
    return true;
}
