/*
 * sk_heap_chunks.c - the chunks of the library's heaps: accounts of them, the
 * hooks that keep these, and trimming.
 *
 * Layer: with sk_heap.
 */
#include "sk_heap_lead.h"

#include <errno.h>

/* --- growth, on paper ----------------------------------------------------- */

/* Memory comes in chunks of the region whatever the heap asked for; what the
 * options say is kept as an account of it. */
static void grow(struct sk_library *lib)
{
    uint64_t step = atomic_load(&lib->next_growth);

    if (lib->options & SK_HEAP_GROW_EXPONENTIALLY && step < UINT64_C(1) << 62)
        atomic_compare_exchange_strong(&lib->next_growth, &step, step * 2);
    atomic_fetch_add(&lib->grown_units, step);
    atomic_fetch_add(&lib->growths, 1);
}

void sk_library_carved(const struct sk_heap *heap, uint32_t units)
{
    struct sk_library *lib = heap->library;
    uint64_t carved = atomic_fetch_add(&lib->carved_units, units) + units;

    while (carved > atomic_load(&lib->grown_units))
        grow(lib);
}

static void destruct_units(const struct sk_library *lib,
                           struct sk_chunk *chunk)
{
    char *unit = sk_chunk_start(chunk) + chunk->heap->lead_bytes;

    for (uint32_t i = 0; i < chunk->carved_units; i++) {
        struct sk_header *header = (struct sk_header *)unit;

        if (header->own & SK_HEADER_CONSTRUCTED) {
            header->own &= ~SK_HEADER_CONSTRUCTED;
            lib->destruct(header + 1, lib->context);
        }
        unit += chunk->heap->unit_bytes;
    }
}

void sk_library_drop(struct sk_chunk *chunk)
{
    struct sk_library *lib = chunk->heap->library;
    uint64_t units = chunk->carved_units;

    if (lib->destruct)
        destruct_units(lib, chunk);
    atomic_fetch_sub(&lib->carved_units, units);
    units = atomic_load(&lib->grown_units) < units
                ? atomic_load(&lib->grown_units)
                : units;
    atomic_fetch_sub(&lib->grown_units, units);
}

static void flushed(const struct sk_heap *heap, uint32_t units)
{
    if (sk_library_is_bounded(heap->library))
        atomic_fetch_add(&heap->library->left, units);
}

static void made(struct sk_chunk *chunk)
{
    if (chunk->heap->library->is_populated)
        sk_chunk_populate(chunk);
}

const struct sk_heap_hooks sk_library_hooks = {made, sk_library_carved,
                                               flushed, sk_library_drop};

/* --- one after the other -------------------------------------------------- */

uint32_t sk_library_chunk(const struct sk_heap *heap, size_t granule)
{
    size_t run = (size_t)1 << heap->order, carved = sk_region_carved();

    for (granule = (granule + run - 1) & ~(run - 1); granule < carved;
         granule += run)
        if ((sk_region_word(granule) & SK_SLOT_MASK) == heap->slot)
            return (uint32_t)granule;
    return SK_NONE;
}

/* --- mail that is still to come ------------------------------------------- */

/* Beyond that the sender is none of this process: a handler forked. */
#define AWAIT_MS 1000

static void read_mail(struct sk_state *state, bool is_broken, void *unused)
{
    (void)unused;
    if (!is_broken)
        sk_state_read_mail(state);
}

/* Nobody will ever read a broken state's, and meanwhile the owner may give the
 * chunk up. */
static bool has_reader(uint32_t owner)
{
    return owner != 0 && owner <= sk_state_count() &&
           atomic_load(&sk_state_at(owner)->status) != SK_BROKEN;
}

static bool is_mail_awaited(const struct sk_heap *heap)
{
    for (uint32_t first = sk_library_chunk(heap, 0); first != SK_NONE;
         first = sk_library_chunk(heap, first + 1))
        if (sk_post_list(atomic_load(&sk_chunk_at(first)->post)) != 0 &&
            has_reader(sk_region_word(first) >> SK_OWNER_SHIFT))
            return true;
    return false;
}

static bool is_awaited(const struct sk_heap *heap)
{
    struct sk_state *self = sk_state_hide();
    bool is = is_mail_awaited(heap);

    sk_state_show(self);
    return is;
}

void sk_library_await_mail(const struct sk_heap *heap)
{
    for (int ms = 0; ms < AWAIT_MS && is_awaited(heap); ms++) {
        if (ms > 0)
            sk_os_nap_ms(1);
        if (!sk_state_visit(read_mail, NULL))
            return;
    }
}

/* --- trim ----------------------------------------------------------------- */

struct trimming {
    const struct sk_heap *heap;
    const struct sk_state *self;
    uint32_t free; /* wholly free chunks, by their names */
};

/* The bins of running threads are their own, but those of bounded heaps: who is
 * at one is in a slow path. */
static void trim_state(struct sk_state *state, bool is_broken, void *with)
{
    struct trimming *trimming = with;
    uint32_t units;

    if (is_broken)
        return;
    if (state == trimming->self ||
        sk_library_is_bounded(trimming->heap->library)) {
        units = sk_state_flush_bin(state, trimming->heap, true);
        flushed(trimming->heap, units);
    }
    sk_state_trim_heap(state, trimming->heap, &trimming->free);
}

/* After the visit: a destructor may wait for somebody who is in a slow path of
 * malloc's, which a visitor would keep there. */
static void trim_all(struct trimming *trimming)
{
    struct sk_state *self;

    sk_state_visit(trim_state, trimming);
    self = sk_state_hide();
    while (trimming->free) {
        struct sk_chunk *chunk = sk_chunk_at(trimming->free - 1);

        trimming->free = chunk->next;
        sk_chunk_give(chunk, false);
    }
    sk_state_show(self);
}

void sk_library_trim(const struct sk_heap *heap)
{
    struct trimming trimming = {heap, sk_self, 0};

    trim_all(&trimming);
    /* Once more for what other threads' batches brought home. */
    trim_all(&trimming);
}

static size_t used_bytes(void)
{
    struct sk_state *self = sk_state_hide();
    struct sk_region_figures figures;

    sk_region_read_figures(&figures);
    sk_state_show(self);
    return figures.used_bytes;
}

static void purge(void)
{
    struct sk_state *self = sk_state_hide();

    sk_region_purge(true);
    sk_state_show(self);
}

size_t sk_heap_trim(sk_heap *heap)
{
    size_t before, after;

    if (SK_UNLIKELY(sk_heap_lead()))
        return sk_heap_lead()->trim(heap);
    if (!heap) {
        errno = EINVAL;
        return 0;
    }
    if (heap->library->is_more) {
        after = sk_more_trim(heap->library);
        purge();
        return after;
    }
    before = used_bytes();
    sk_library_trim(heap);
    after = used_bytes();
    purge();
    return before > after ? before - after : 0;
}

SK_LEAD_CALL(sk_heap_trim);
