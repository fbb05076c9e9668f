/*
 * sk_bin.c - a bin's slow paths: flush, magazines, refill.
 *
 * Layer: with sk_state.
 */
#include "sk_state_parts.h"

/* A bin's magazine starts with these many bytes, but some units at least. */
#define MAGAZINE_LEAST_BYTES 2048
#define MAGAZINE_LEAST_UNITS 4

/* --- flush: units back to their chunks ------------------------------------ */

_Noreturn SK_COLD void sk_bin_die(const struct sk_heap *heap, const void *unit,
                                  const char *what)
{
    sk_die("free(): %s %p (heap %s)", what, unit, heap->label);
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
        sk_bin_die(chunk->heap, first, freed_twice);
    sk_owner_settle(self, chunk);
}

/* Hands runs of units of the same chunk back with one splice each.  Returns
 * how many units the list had. */
uint32_t sk_bin_flush_list(struct sk_state *self, const struct sk_heap *heap,
                           void *list)
{
    uint32_t flushed = 0;

    while (list) {
        struct sk_chunk *chunk = sk_bin_chunk_of(heap, list);
        void *first = list, *last = list;
        uint32_t units = 1;

        while ((list = *(void **)last) &&
               sk_bin_chunk_of(heap, list) == chunk) {
            last = list;
            /* A unit freed twice makes its list a ring. */
            if (SK_UNLIKELY(++units > heap->chunk_units))
                sk_bin_die(heap, first, freed_twice);
        }
        if (is_own(self, chunk))
            put_units(self, chunk, first, last, units);
        else
            sk_mail_batch(self, heap, chunk, first, last, units);
        flushed += units;
    }
    return flushed;
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
    self->magazine_bytes -= magazine_bytes(heap, rack->magazine_units - units);
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

void sk_bin_flush_outgoing(struct sk_state *self, uint32_t bin)
{
    void *list = self->outgoing[bin].list;

    self->outgoing[bin].list = NULL;
    self->outgoing[bin].units = 0;
    sk_bin_flush_list(self, &sk_heaps[bin], list);
}

void sk_state_flush_bins(struct sk_state *self, bool is_counting)
{
    for (uint32_t bin = 1; bin < SK_SMALL_GUESTS; bin++)
        sk_bin_flush_outgoing(self, bin);
    for
        SK_EACH_USED_BIN(self, i)
        {
            struct sk_bin *bin = &self->bins[i];
            struct sk_rack *rack = &self->racks[i];
            struct sk_heap *heap = &sk_heaps[i];
            void *head = bin->head, *second = rack->second;
            uint32_t flushed;

            if (rack->limit == 0 && !second)
                continue;
            bin->head = rack->second = NULL;
            flushed = sk_bin_flush_list(self, heap, head);
            sk_bin_settle_meter(bin, rack, flushed, is_counting);
            /* What is over or under in the other one was counted wrong when its
             * bin was full: the same spill. */
            if (second)
                rack->allocations +=
                    (uint64_t)(int64_t)(int32_t)(sk_bin_flush_list(self, heap,
                                                                   second) -
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
void sk_bin_flush(struct sk_state *self, const struct sk_heap *heap, void *unit)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);
    void *older = rack->second;
    uint32_t older_units = rack->second_units;

    sk_bin_mark_used(self, heap);
    bin->meter += SK_ROOM_ONE; /* what free() took off */
    rack->second = bin->head;
    rack->second_units = rack->limit;
    rack->allocations += (uint64_t)bin->meter & (SK_ROOM_ONE - 1);
    *(void **)unit = NULL;
    grow_magazine(self, heap);
    fill_bin(self, heap, unit, 1);
    if (older)
        rack->allocations +=
            (uint64_t)(int64_t)(int32_t)(sk_bin_flush_list(self, heap, older) -
                                         older_units)
            << SK_ROOM_SHIFT;
}

/* --- refill --------------------------------------------------------------- */

static bool fill_from_second(struct sk_state *self, const struct sk_heap *heap,
                             struct sk_rack *rack)
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
static bool fill_from_partial(struct sk_state *self, const struct sk_heap *heap,
                              struct sk_rack *rack)
{
    while (rack->partial) {
        struct sk_chunk *chunk = sk_chunk_at(rack->partial - 1);
        void **list = chunk->free ? &chunk->free : &chunk->home;
        uint32_t *units = chunk->free ? &chunk->free_units : &chunk->home_units;
        void *taken = *list;

        if (!sk_chunk_take_out(chunk, *units)) {
            /* Purged under our hands: its mail brings it back. */
            sk_owner_forget_idle(self, chunk);
            sk_owner_unlist(self, chunk);
            if (rack->carving == sk_chunk_first(chunk) + 1)
                rack->carving = 0;
            continue;
        }
        sk_owner_forget_idle(self, chunk);
        *list = NULL;
        fill_bin(self, heap, taken, *units);
        *units = 0;
        if (!sk_chunk_has_free(chunk))
            sk_owner_unlist(self, chunk);
        return true;
    }
    return false;
}

/* The chunk that fresh units come from: with some left, and not purged. */
struct sk_chunk *sk_bin_carving_chunk(struct sk_state *self,
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
    struct sk_chunk *chunk = sk_bin_carving_chunk(self, heap, rack, units);
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

static bool fill_from_commons(struct sk_state *self, const struct sk_heap *heap)
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

    sk_bin_mark_used(self, heap);
    sk_bin_settle_meter(bin, rack, 0, true);
    bin->meter = 0;
    rack->limit = 0;
    if (fill_from_second(self, heap, rack))
        return true;
    sk_state_read_mail(self);
    return fill_from_partial(self, heap, rack) ||
           fill_from_commons(self, heap) || fill_by_carving(self, heap, rack);
}
