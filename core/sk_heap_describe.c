/*
 * sk_heap_describe.c - what a heap is, out of what was asked for.
 *
 * Layer: with sk_heap.
 */
#include "sk_heap_parts.h"

#define CHUNK_UNITS  8 /* at least, as a rule */
#define BINNED_ORDER 4 /* at most: sk_chunk_has_unit's arithmetic */
#define ALL_OPTIONS  15u

bool sk_library_is_sensible(const struct sk_heap_attributes *how)
{
    return how && how->label && how->label[0] && how->unit_size > 0 &&
           how->unit_size <= SK_HEAP_UNIT_MOST &&
           how->alignment <= SK_HEAP_ALIGNMENT_MOST &&
           (how->alignment & (how->alignment - 1)) == 0 &&
           (unsigned)how->source <= SK_HEAP_POPULATED &&
           how->units_per_chunk > 0 && (how->options & ~ALL_OPTIONS) == 0 &&
           (how->maximum_units > 0 || how->options & SK_HEAP_UNLIMITED);
}

/* Labels go into reports as they are. */
static void set_label(char *into, const char *label)
{
    struct sk_text text = {into, 0, SK_HEAP_LABEL_BYTES - 1};

    sk_text_add_name(&text, label);
    into[text.used] = '\0';
}

static size_t stride_of(const struct sk_library *lib)
{
    return (SK_HEADER_BYTES + lib->unit_size + lib->alignment - 1) &
           ~(lib->alignment - 1);
}

static void set_sizes(struct sk_library *lib)
{
    struct sk_heap *heap = lib->heap;
    size_t stride = stride_of(lib), wanted = lib->units_per_chunk;
    uint32_t lead = (uint32_t)lib->alignment - SK_HEADER_BYTES, order = 0;

    if (wanted > (SK_GRANULE_BYTES << BINNED_ORDER) / stride)
        wanted = (SK_GRANULE_BYTES << BINNED_ORDER) / stride;
    if (wanted < CHUNK_UNITS - 1)
        wanted = CHUNK_UNITS - 1;
    while ((SK_GRANULE_BYTES << order) < lead + wanted * stride &&
           (lib->is_more || order < BINNED_ORDER))
        order++;
    sk_heap_set_sizes(heap, (uint32_t)stride, order);
    heap->lead_bytes = lead;
    heap->chunk_units =
        (uint32_t)(((SK_GRANULE_BYTES << order) - lead) / stride);
}

/* What engine and hit paths go by. */
static void set_heap(struct sk_library *lib, uint32_t slot)
{
    struct sk_heap *heap = lib->heap;
    bool is_special = lib->is_more || sk_library_is_bounded(lib);
    bool is_more_than_a_pop = is_special || lib->construct || lib->destruct ||
                              lib->options & SK_HEAP_ZERO;

    set_sizes(lib);
    heap->slot = slot;
    /* What shrinks is purged by whoever frees the last unit, and what was
     * constructed there would be gone. */
    heap->is_kept = !(lib->options & SK_HEAP_SHRINK) || lib->destruct;
    heap->header = SK_HEADER_MAGIC | (lib->is_more ? 0 : slot) |
                   (is_special ? SK_HEADER_SPECIAL : 0);
    heap->hit_slot = is_more_than_a_pop ? 0 : slot;
    heap->library = lib;
    heap->hooks = &sk_library_hooks;
}

static void set_attributes(struct sk_library *lib, struct sk_heap *heap,
                           const struct sk_heap_attributes *how)
{
    *lib = (struct sk_library){
        .heap = heap,
        .unit_size = how->unit_size,
        .alignment = how->alignment < 16 ? 16 : how->alignment,
        .units_per_chunk = how->units_per_chunk,
        .maximum = how->options & SK_HEAP_UNLIMITED ? SIZE_MAX
                                                    : how->maximum_units,
        .options = how->options,
        .construct = how->construct,
        .destruct = how->destruct,
        .context = how->context,
        .is_populated = how->source == SK_HEAP_POPULATED,
        .is_more = heap == &lib->more,
        .next_growth = how->units_per_chunk,
    };
    if (lib->maximum > INT64_MAX)
        lib->maximum = INT64_MAX;
    if (how->options & SK_HEAP_UNLIMITED)
        lib->maximum = SIZE_MAX;
    atomic_store(&lib->left,
                 lib->maximum == SIZE_MAX ? 0 : (int64_t)lib->maximum);
}

void sk_library_describe(struct sk_library *lib, struct sk_heap *heap,
                         uint32_t slot, const struct sk_heap_attributes *how)
{
    set_attributes(lib, heap, how);
    set_heap(lib, slot);
    set_label(heap->label, how->label);
}
