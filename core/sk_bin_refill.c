/*
 * sk_bin_refill.c - where an empty bin gets units from.
 *
 * Layer: with sk_state.
 */
#include "sk_depot.h"
#include "sk_state_parts.h"

/* What a chunk has at hand is taken as a whole up to so many bytes. */
#define WHOLE_BYTES 32768

/* Of a heap's chunks, and at most, what is given memory ahead of its use. */
#define AHEAD_PART 32
#define AHEAD_MOST ((size_t)64 << 10)

void sk_bin_fill(struct sk_state *self, const struct sk_heap *heap, void *list,
                 uint32_t units)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);
    uint32_t room = sk_bin_size(self, heap);

    /* What a chunk had may be more than a magazine: leave some room. */
    room = units + room / 2 < room ? room - units : room / 2;
    rack->limit = room + units;
    bin->head = list;
    bin->meter = (int64_t)room << SK_ROOM_SHIFT;
}

static bool fill_from_second(struct sk_state *self, const struct sk_heap *heap,
                             struct sk_rack *rack)
{
    void *list = rack->second;
    uint32_t units = rack->second_units;

    if (!list)
        return false;
    rack->second = NULL;
    rack->second_units = 0;
    sk_bin_fill(self, heap, list, units);
    return true;
}

/* How many units to take out of a chunk: what it has at hand, or a part of
 * very much; or a page of hollow ones. */
static uint32_t units_to_take(const struct sk_chunk *chunk, uint32_t most)
{
    uint32_t carve = chunk->heap->carve_units;
    uint32_t units = sk_chunk_at_hand(chunk);

    if (chunk->free_units + chunk->home_units == 0)
        return units < carve ? units : carve;
    if (units > 2 * most &&
        (size_t)units * chunk->heap->unit_bytes > WHOLE_BYTES)
        return most;
    return units;
}

/* Takes what the first chunk has that has any, or a magazine off very much.
 * Not off all: a bin that once held all that a loop takes and gives
 * never needs a slow path again. */
static bool fill_from_partial(struct sk_state *self, const struct sk_heap *heap,
                              struct sk_rack *rack)
{
    uint32_t most = sk_bin_size(self, heap);

    while (rack->partial) {
        struct sk_chunk *chunk = sk_chunk_at(rack->partial - 1);
        uint32_t units = units_to_take(chunk, most);

        if (!sk_owner_take_out(self, chunk, units))
            continue;
        sk_bin_fill(self, heap, sk_chunk_take(chunk, units), units);
        if (!sk_chunk_has_free(chunk))
            sk_owner_unlist(self, chunk);
        return true;
    }
    return false;
}

/* A heap that has grown much will grow on: a part of what it has it
 * gets at once, for one call to the kernel costs a third of the page faults.
 * Not of units of several pages, which may be written in part. */
static void populate_ahead(const struct sk_rack *rack, struct sk_chunk *chunk)
{
    const struct sk_heap *heap = chunk->heap;
    size_t page = sk_os_page_bytes();
    size_t ahead = (size_t)rack->carved_units * heap->unit_bytes / AHEAD_PART;

    if (ahead >= 2 * page && heap->unit_bytes <= page)
        sk_chunk_populate_ahead(
            chunk, (ahead < AHEAD_MOST ? ahead : AHEAD_MOST) & -page);
}

/* NULL when the chunk being carved has no units left, or is purged. */
static struct sk_chunk *go_on_carving(const struct sk_heap *heap,
                                      struct sk_rack *rack, uint32_t units)
{
    struct sk_chunk *chunk;

    if (!rack->carving)
        return NULL;
    chunk = sk_chunk_at(rack->carving - 1);
    if (chunk->carved_units < heap->chunk_units &&
        sk_chunk_take_out(chunk, units))
        return chunk;
    rack->carving = 0;
    return NULL;
}

static struct sk_chunk *start_carving(struct sk_state *self,
                                      const struct sk_heap *heap,
                                      struct sk_rack *rack, uint32_t units)
{
    struct sk_chunk *chunk;

    sk_owner_purge_pages(self);
    sk_owner_make_way(self, heap);
    chunk = sk_chunk_new(heap, self->id);
    if (chunk) {
        sk_chunk_take_out(chunk, units);
        rack->carving = sk_chunk_first(chunk) + 1;
    }
    return chunk;
}

uint32_t sk_bin_carve(struct sk_state *self, const struct sk_heap *heap,
                      uint32_t units, void **list)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_chunk *chunk = go_on_carving(heap, rack, units);
    uint32_t carved;

    if (!chunk)
        chunk = start_carving(self, heap, rack, units);
    if (!chunk)
        return 0;
    populate_ahead(rack, chunk);
    carved = sk_chunk_carve(chunk, units, list);
    rack->carved_units += carved;
    self->carved_bytes += (size_t)carved * heap->unit_bytes;
    if (heap->hooks)
        heap->hooks->carved(heap, carved);
    if (carved < units) /* the chunk's end: the rest was never out */
        sk_chunk_take_back(chunk, units - carved);
    return carved;
}

static bool fill_by_carving(struct sk_state *self, const struct sk_heap *heap)
{
    void *list;
    uint32_t units = sk_bin_carve(self, heap, heap->carve_units, &list);

    if (units > 0)
        sk_bin_fill(self, heap, list, units);
    return units > 0;
}

static bool fill_from_stack(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_magazine magazine;

    if (!sk_bin_unstack(self, heap, &magazine))
        return false;
    sk_bin_fill(self, heap, magazine.list, magazine.units);
    return true;
}

static bool fill_from_depot(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_magazine magazine;

    /* Asked first, for a process of one thread. */
    if (!sk_heap_is_common(heap) ||
        !sk_depot_take(heap, sk_bin_size(self, heap), &magazine))
        return false;
    self->magazine_moves++;
    sk_bin_fill(self, heap, magazine.list, magazine.units);
    return true;
}

static bool fill_from_commons(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_magazine magazine;

    if (!sk_commons_take(self, heap, sk_bin_size(self, heap), &magazine))
        return false;
    sk_bin_fill(self, heap, magazine.list, magazine.units);
    return true;
}

bool sk_state_refill_own(struct sk_state *self, const struct sk_heap *heap)
{
    sk_bin_mark_used(self, heap);
    sk_state_read_mail(self);
    return fill_from_partial(self, heap, sk_state_rack(self, heap)) ||
           fill_by_carving(self, heap);
}

/* What the bin has now came from elsewhere. */
static bool lend(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);

    sk_bin_lend(rack, rack->limit - (uint32_t)(bin->meter >> SK_ROOM_SHIFT));
    return true;
}

static bool refill_from_elsewhere(struct sk_state *self,
                                  const struct sk_heap *heap,
                                  struct sk_rack *rack)
{
    if (rack->magazine_units)
        sk_bin_grow(self, heap);
    if (fill_from_depot(self, heap))
        return true;
    sk_state_read_mail(self);
    return fill_from_partial(self, heap, rack);
}

/* The bin is empty: what it counted goes to the rack. */
static void settle_empty(struct sk_bin *bin, struct sk_rack *rack)
{
    sk_bin_settle_meter(bin, rack, 0, true);
    bin->meter = 0;
    rack->limit = 0;
}

bool sk_bin_refill(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);

    sk_bin_mark_used(self, heap);
    sk_bin_earn(rack, (uint64_t)bin->meter & (SK_ROOM_ONE - 1));
    settle_empty(bin, rack);
    sk_state_tick(self);
    if (fill_from_second(self, heap, rack))
        return true;
    return (fill_from_stack(self, heap) ||
            refill_from_elsewhere(self, heap, rack)) &&
           lend(self, heap);
}

bool sk_bin_refill_near(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);

    if (!rack->second && !rack->partial)
        return false;
    settle_empty(sk_state_bin(self, heap->slot), rack);
    return fill_from_second(self, heap, rack) ||
           fill_from_partial(self, heap, rack);
}

bool sk_bin_refill_new(struct sk_state *self, const struct sk_heap *heap)
{
    return (fill_from_commons(self, heap) ||
            fill_by_carving(self, heap)) &&
           lend(self, heap);
}
