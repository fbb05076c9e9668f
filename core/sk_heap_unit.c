/*
 * sk_heap_unit.c - units: allocate, ref, unref.
 *
 * Layer: with sk_heap.  The hit paths need the thread's bin and the unit's
 * header, and no frame: a pop, and a push.
 */
#define SK_HEAP_NO_INLINE
#include "sk_heap_lead.h"

#include <errno.h>
#include <string.h>

/* --- who is it? ----------------------------------------------------------- */

struct sk_heap *sk_library_of(const void *p)
{
    size_t granule = sk_region_granule(p);
    uint32_t word, slot;

    if (granule >= sk_region_granules)
        return NULL;
    word = sk_region_word(granule);
    slot = word & SK_SLOT_MASK;
    if (word >> SK_OWNER_SHIFT == 0 || slot < SK_CLASS_SLOT(SK_CLASSES))
        return NULL;
    if (slot < SK_MORE_SLOT)
        return &sk_binned_heaps[slot / SK_BIN_BYTES - SK_CLASSES];
    if (slot - SK_MORE_SLOT >= SK_MORE_HEAPS)
        return NULL;
    return atomic_load_explicit(&sk_more_heaps[slot - SK_MORE_SLOT],
                                memory_order_acquire);
}

static bool is_unit(const struct sk_heap *heap, const void *p)
{
    size_t granule = sk_region_granule(p);
    const struct sk_chunk *chunk = sk_chunk_of(heap, granule);
    size_t offset = (size_t)((const char *)p - SK_HEADER_BYTES -
                             heap->lead_bytes - sk_chunk_start(chunk));

    return offset % heap->unit_bytes == 0 &&
           offset / heap->unit_bytes < heap->chunk_units;
}

sk_heap *sk_heap_of_unit(const void *unit)
{
    struct sk_heap *heap;

    if (SK_UNLIKELY(sk_heap_lead()))
        return sk_heap_lead()->of_unit(unit);
    heap = sk_library_of(unit);
    if (!heap || !is_unit(heap, unit)) {
        errno = EINVAL;
        return NULL;
    }
    return heap;
}

SK_LEAD_CALL(sk_heap_of_unit);

/* Something is wrong with the pointer; says what. */
_Noreturn static SK_COLD void die(const char *caller, const void *p)
{
    struct sk_heap *heap = sk_library_of(p);
    uint64_t header;

    if (!heap)
        sk_die("%s: %p is no unit of any heap", caller, p);
    if (!is_unit(heap, p))
        sk_die("%s: %p is not the start of a unit (heap '%s')", caller, p,
               heap->label);
    header = atomic_load(&sk_header_of(p)->shared);
    if ((header & SK_HEADER_MAGIC_MASK) != SK_HEADER_MAGIC)
        sk_die("%s: %p lost its header, something wrote in front of it "
               "(heap '%s')",
               caller, p, heap->label);
    if (sk_header_count(header) == 0)
        sk_die("%s: %p is free (heap '%s')", caller, p, heap->label);
    sk_die("%s: %p has too many references (heap '%s')", caller, p,
           heap->label);
}

/* From the region's start to the end of the highest chunk that was met here:
 * below the end of what is committed, so that a header in it can be read.  It
 * only grows; who sees an older one asks once more. */
static uintptr_t near_bytes;

__attribute__((no_sanitize("thread"))) static inline bool
is_near(const void *p)
{
    return (uintptr_t)sk_header_of(p) - sk_region_base < near_bytes;
}

/* Is there a chunk?  Then its bytes are within the range.  The region's first
 * address is in it, but in front of that there is nothing to read. */
static uintptr_t reach(const void *p)
{
    size_t granule = sk_region_granule(p);

    if (granule >= sk_region_granules ||
        sk_region_granule(sk_header_of(p)) >= sk_region_granules ||
        sk_region_word(granule) >> SK_OWNER_SHIFT == 0)
        return 0;
    return (granule + 1) << SK_GRANULE_SHIFT;
}

static bool is_ours(const void *p)
{
    uintptr_t bytes = reach(p);

    if (__atomic_load_n(&near_bytes, __ATOMIC_RELAXED) < bytes)
        __atomic_store_n(&near_bytes, bytes, __ATOMIC_RELAXED);
    return bytes > 0;
}

/* --- allocate ------------------------------------------------------------- */

/* After the thread's own destructors of thread-specific data, or where it has
 * none: a state for this one unit. */
static void *allocate_dead(struct sk_library *lib, size_t slot)
{
    void *unit = NULL;

    if (sk_state_attach_briefly(slot)) {
        unit = sk_library_is_bounded(lib) ? sk_bounded_allocate(lib)
                                          : sk_state_alloc_unit(slot);
        sk_state_park();
    }
    return unit;
}

static void *allocate_plain(struct sk_heap *heap)
{
    struct sk_bin *bin = sk_state_bin(sk_self, heap->slot);
    void *unit = bin->head;

    if (SK_LIKELY(unit != NULL)) {
        bin->head = *(void **)unit;
        bin->meter += SK_ROOM_ONE + 1;
        return unit;
    }
    return sk_state_alloc_unit(heap->slot);
}

static void *allocate_any(struct sk_heap *heap)
{
    struct sk_library *lib = heap->library;
    void *unit = NULL;

    if (lib->is_more)
        return sk_more_allocate(lib);
    if (SK_LIKELY(sk_self != &sk_state_dead))
        unit = sk_library_is_bounded(lib) ? sk_bounded_allocate(lib)
                                          : allocate_plain(heap);
    /* Or it was found to be so only now. */
    if (SK_UNLIKELY(!unit && sk_self == &sk_state_dead))
        unit = allocate_dead(lib, heap->slot);
    return unit;
}

/* Everything but a pop. */
static __attribute__((noinline)) void *allocate_slow(struct sk_heap *heap)
{
    struct sk_header *unit;
    struct sk_library *lib;

    if (SK_UNLIKELY(sk_heap_lead()))
        return sk_heap_lead()->unit_allocate(heap);
    if (!heap || !heap->library) {
        errno = EINVAL;
        return NULL;
    }
    lib = heap->library;
    unit = allocate_any(heap);
    if (SK_UNLIKELY(!unit)) {
        atomic_fetch_add_explicit(&lib->refused, 1, memory_order_relaxed);
        errno = ENOMEM;
        return NULL;
    }
    unit->own |= SK_HEADER_LIVE;
    if ((lib->construct || lib->destruct) &&
        !(unit->own & SK_HEADER_CONSTRUCTED)) {
        if (lib->construct)
            lib->construct(unit + 1, lib->context);
        unit->own |= SK_HEADER_CONSTRUCTED;
    }
    if (lib->options & SK_HEAP_ZERO)
        memset(unit + 1, 0, lib->unit_size);
    return unit + 1;
}

void *sk_heap_unit_allocate(sk_heap *heap)
{
    struct sk_bin *bin;
    struct sk_header *unit;

    if (SK_UNLIKELY(!heap))
        return allocate_slow(heap);
    bin = sk_state_bin(sk_self, heap->hit_slot);
    unit = bin->head;
    if (SK_UNLIKELY(!unit))
        return allocate_slow(heap);
    bin->head = unit->link;
    bin->meter += SK_ROOM_ONE + 1;
    unit->own |= SK_HEADER_LIVE;
    return unit + 1;
}

SK_LEAD_CALL(sk_heap_unit_allocate);

/* --- ref ------------------------------------------------------------------ */

static void *ref(void *p)
{
    uint64_t header, count;

    header = atomic_fetch_sub_explicit(&sk_header_of(p)->shared,
                                       SK_HEADER_ONE, memory_order_relaxed);
    count = sk_header_count(header);
    if (SK_UNLIKELY((header & SK_HEADER_MAGIC_MASK) != SK_HEADER_MAGIC ||
                    count - 1 >= SK_COUNT_MOST - 1)) {
        /* As it was, for the message. */
        atomic_fetch_add(&sk_header_of(p)->shared, SK_HEADER_ONE);
        die("sk_heap_unit_ref()", p);
    }
    return p;
}

void *sk_heap_unit_ref(void *p)
{
    struct sk_heap_range none = {0, 0};

    if (SK_UNLIKELY(!is_near(p))) {
        if (sk_heap_lead())
            return sk_heap_lead()->unit_ref_slow(p, &none);
        if (!is_ours(p))
            die("sk_heap_unit_ref()", p);
    }
    return ref(p);
}

void *sk_heap_unit_ref_slow(void *p, struct sk_heap_range *range)
{
    uintptr_t bytes;

    if (SK_UNLIKELY(sk_heap_lead()))
        return sk_heap_lead()->unit_ref_slow(p, range);
    bytes = reach(p);
    bytes -= bytes > 0 ? SK_HEADER_BYTES : 0;
    if (__atomic_load_n(&range->bytes, __ATOMIC_RELAXED) < bytes) {
        __atomic_store_n(&range->start, sk_region_base + SK_HEADER_BYTES,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&range->bytes, bytes, __ATOMIC_RELEASE);
    }
    return sk_heap_unit_ref(p);
}

SK_LEAD_CALL(sk_heap_unit_ref_slow);

/* --- unref ---------------------------------------------------------------- */

/* The unit is the caller's alone. */
static void free_unit(struct sk_header *unit)
{
    struct sk_heap *heap = sk_library_of(unit + 1);
    struct sk_library *lib;
    struct sk_bin *bin;

    if (SK_UNLIKELY(!heap || !is_unit(heap, unit + 1)))
        die("sk_heap_unit_unref()", unit + 1);
    lib = heap->library;
    unit->own &= ~SK_HEADER_LIVE;
    if (lib->is_more) {
        sk_more_free(lib, unit);
        return;
    }
    if (sk_library_is_bounded(lib)) {
        sk_bounded_free(lib, unit);
        return;
    }
    bin = sk_state_bin(sk_self, heap->slot);
    if (SK_LIKELY(sk_self->id != 0) && bin->meter >= SK_ROOM_ONE) {
        bin->meter -= SK_ROOM_ONE;
        unit->link = bin->head;
        bin->head = unit;
        return;
    }
    sk_state_free_unit(unit);
}

/* The count was above 1 just now.  True when that was all that was to do.
 * Checked in the value that the subtraction found, so that nothing is read
 * between one atomic operation and the next. */
static inline bool unref_shared(struct sk_header *unit)
{
    uint64_t header = atomic_fetch_add_explicit(&unit->shared, SK_HEADER_ONE,
                                                memory_order_acq_rel);

    return (int64_t)header < SK_HEADER_SHARED &&
           (header & SK_HEADER_MAGIC_MASK) == SK_HEADER_MAGIC;
}

/* Neither a push on a bin nor a count that stays above 0.  `is_subtracted`:
 * unref_shared was there. */
static __attribute__((noinline)) void unref_slow(void *p, bool is_subtracted)
{
    struct sk_header *unit = sk_header_of(p);
    uint64_t header, count;

    /* Others let go in between, it was the last after all: one again.  Or it
     * was not a live unit at all: as it was, for the message. */
    if (is_subtracted)
        atomic_fetch_sub(&unit->shared, SK_HEADER_ONE);
    header = atomic_load_explicit(&unit->shared, memory_order_acquire);
    count = sk_header_count(header);
    if (SK_UNLIKELY((header & SK_HEADER_MAGIC_MASK) != SK_HEADER_MAGIC ||
                    count != 1))
        die("sk_heap_unit_unref()", p);
    free_unit(unit);
}

/* The header was not that of a unit of a bin with a single reference; `other`
 * is what it was instead.  On its own, so that the hit path needs no more
 * registers. */
static __attribute__((noinline)) void unref_other(void *p, uint64_t other)
{
    uint64_t header = other ^ (SK_HEADER_LIVE | SK_HEADER_MAGIC);
    bool is_shared = (int64_t)header < SK_HEADER_SHARED;

    if (!is_shared || SK_UNLIKELY(!unref_shared(sk_header_of(p))))
        unref_slow(p, is_shared);
}

static SK_COLD void unref_far(void *p)
{
    if (sk_heap_lead()) {
        sk_heap_lead()->unit_unref(p);
        return;
    }
    if (!is_ours(p))
        die("sk_heap_unit_unref()", p);
    sk_heap_unit_unref(p);
}

/* Whoever finds a count of 1 is the only holder: nobody else can add or take
 * one, so no atomic operation is needed.  The bin may be any thread's; units
 * go home when it is flushed. */
void sk_heap_unit_unref(void *p)
{
    struct sk_header *unit = sk_header_of(p);
    struct sk_bin *bin;
    uint64_t slot;

    if (SK_UNLIKELY(!is_near(p))) {
        unref_far(p);
        return;
    }
    slot = atomic_load_explicit(&unit->shared, memory_order_acquire) ^
           (SK_HEADER_LIVE | SK_HEADER_MAGIC);
    if (slot >= SK_MORE_SLOT) {
        unref_other(p, slot);
        return;
    }
    bin = sk_state_bin(sk_self, slot);
    if (SK_UNLIKELY(!sk_bin_take_room(bin))) {
        unref_slow(p, false);
        return;
    }
    unit->own &= ~SK_HEADER_LIVE;
    unit->link = bin->head;
    bin->head = unit;
}

SK_LEAD_CALL(sk_heap_unit_unref);
