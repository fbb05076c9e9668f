/*
 * sk_bin.c - a bin's slow paths: flush, magazines.
 *
 * Layer: with sk_state.
 */
#include "sk_depot.h"
#include "sk_state_parts.h"

#define OWN_SAMPLE 4

/* --- flush: units back to their chunks ------------------------------------ */

static bool is_own(const struct sk_state *self, const struct sk_chunk *chunk)
{
    return sk_region_word(sk_chunk_first(chunk)) >> SK_OWNER_SHIFT == self->id;
}

/* Units that lie in a chunk of the thread's own, which heads the list. */
static uint32_t put_units(struct sk_state *self, struct sk_chunk *chunk,
                          void **list)
{
    const void *first = *list;
    uint32_t units = sk_chunk_put(chunk, list);

    if (SK_UNLIKELY(units == 0)) /* of another heap, or never handed out */
        sk_chunk_die(chunk->heap, first, "not the start of a unit:");
    if (SK_UNLIKELY(sk_chunk_free_units(chunk) > chunk->carved_units))
        sk_chunk_die(chunk->heap, first, sk_chunk_freed_twice);
    sk_owner_settle(self, chunk);
    return units;
}

/* Of the list's first units, those in one chunk of another thread's. */
static uint32_t batch_units(struct sk_state *self, const struct sk_heap *heap,
                            struct sk_chunk *chunk, void **list)
{
    struct sk_units all = sk_chunk_units(heap, chunk);
    void *first = *list, *last = first, *next;
    uint32_t units = 1;

    for (; sk_units_have(&all, next = *(void **)last); last = next)
        /* A unit freed twice makes its list a ring. */
        if (SK_UNLIKELY(++units > heap->chunk_units))
            sk_chunk_die(heap, last, sk_chunk_freed_twice);
    *list = next;
    sk_mail_batch(self, heap, chunk, first, last, units);
    return units;
}

/* Hands runs of units of the same chunk back together.  Returns how many units
 * the list had. */
uint32_t sk_bin_flush_list(struct sk_state *self, const struct sk_heap *heap,
                           void *list)
{
    uint32_t flushed = 0;

    while (list) {
        struct sk_chunk *chunk = sk_bin_chunk_of(heap, list);

        flushed += is_own(self, chunk)
                       ? put_units(self, chunk, &list)
                       : batch_units(self, heap, chunk, &list);
    }
    return flushed;
}

/* --- magazines ------------------------------------------------------------ */

void sk_bin_flush_outgoing(struct sk_state *self, uint32_t bin)
{
    void *list = self->outgoing[bin].list;

    self->outgoing[bin].list = NULL;
    self->outgoing[bin].units = 0;
    sk_bin_flush_list(self, sk_heap_of_bin(bin), list);
}

/* Of a magazine that leaves its bin: one unit speaks for all of them. */
static void count_remote(struct sk_state *self, struct sk_rack *rack,
                         const void *list, uint32_t units)
{
    uint32_t word = sk_region_word(sk_region_granule(list));

    if (word >> SK_OWNER_SHIFT != self->id)
        rack->remote_frees += units;
}

/* Sends a magazine's units home.  What is over or under in it was counted
 * wrong while its bin was in use: the same spill. */
static void send_home(struct sk_state *self, const struct sk_heap *heap,
                      const struct sk_magazine *magazine)
{
    uint32_t flushed = sk_bin_flush_list(self, heap, magazine->list);

    sk_state_rack(self, heap)->allocations +=
        (uint64_t)(int64_t)(int32_t)(flushed - magazine->units)
        << SK_ROOM_SHIFT;
}

/* To the depot, if the magazine may take a part of its places, or home. */
static void give_away(struct sk_state *self, const struct sk_heap *heap,
                      void *list, uint32_t units, uint32_t part)
{
    struct sk_magazine magazine = {list, units};

    if (part > 0)
        sk_depot_put(heap, &magazine, part);
    if (magazine.list)
        send_home(self, heap, &magazine);
    else
        self->magazine_moves++;
}

/* The units of a list: so many as expected, unless that can't be. */
static uint32_t list_units(const struct sk_heap *heap, void *list,
                           int64_t expected)
{
    uint32_t units = 0;

    if (expected > 0)
        return (uint32_t)expected;
    if (list)
        sk_list_end(heap, list, &units);
    return units;
}

void sk_bin_empty(struct sk_state *self, const struct sk_heap *heap,
                  enum sk_flush how)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_magazine second = {rack->second, rack->second_units};
    void *head = bin->head;
    uint32_t units = 0;

    bin->head = rack->second = NULL;
    rack->second_units = 0;
    if (head) {
        units = list_units(heap, head,
                           rack->limit - (bin->meter >> SK_ROOM_SHIFT));
        count_remote(self, rack, head, units);
        /* A library's heap has no depot, and wants its units counted. */
        if (how == SK_DEPOSIT && !heap->hooks)
            give_away(self, heap, head, units, 1);
        else
            units = sk_bin_flush_list(self, heap, head);
    }
    sk_bin_settle_meter(bin, rack, units, how != SK_UNCOUNTED);
    rack->limit = 0;
    bin->meter = 0;
    if (second.list)
        give_away(self, heap, second.list, second.units, how == SK_DEPOSIT);
    while (sk_bin_unstack(self, heap, &second))
        give_away(self, heap, second.list, second.units, how == SK_DEPOSIT);
    rack->lent = 0;
    if (heap->hooks)
        heap->hooks->flushed(heap, units);
}

void sk_state_flush_bins(struct sk_state *self, uint32_t from,
                         enum sk_flush how)
{
    for (uint32_t bin = 1; bin < SK_SMALL_GUESTS; bin++)
        sk_bin_flush_outgoing(self, bin);
    for SK_EACH_USED_BIN(self, bin)
        if (bin >= from && sk_rack_has_units(&self->racks[bin]))
            sk_bin_empty(self, sk_heap_of_bin(bin), how);
}

void sk_state_flush_depots(struct sk_state *self, bool is_all)
{
    struct sk_magazine magazine;

    for (uint32_t class = SK_SMALL_GUESTS; class < SK_CLASSES; class++)
        for (uint32_t at = 0;
             sk_depot_reap(sk_heap_of_bin(class), is_all, &at, &magazine);) {
            sk_bin_mark_used(self, sk_heap_of_bin(class));
            send_home(self, sk_heap_of_bin(class), &magazine);
        }
}

/* Of units of its own, to judge by a few, that the thread fetched and will
 * fetch again: they are nearer in their chunks than in a depot, where another
 * thread takes them and leaves its own. */
static bool will_fetch_again(const struct sk_state *self,
                             const struct sk_heap *heap,
                             const struct sk_magazine *magazine)
{
    void *unit = magazine->list;

    if (self->racks[heap->slot / SK_BIN_BYTES].lent < magazine->units)
        return false;
    for (int i = 0; unit && i < OWN_SAMPLE; i++, unit = *(void **)unit)
        if (!is_own(self, sk_bin_chunk_of(heap, unit)))
            return false;
    return true;
}

/* A thread that allocates none of what it frees needs no second magazine: a
 * bin of twice the size takes as much memory, and what it holds is handed on
 * half as often. */
static void hand_on_second(struct sk_state *self, const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_magazine second = {rack->second, rack->second_units};

    rack->second = NULL;
    rack->second_units = 0;
    rack->limit += rack->magazine_units;
    sk_state_bin(self, heap->slot)->meter +=
        (int64_t)rack->magazine_units << SK_ROOM_SHIFT;
    if (second.list)
        give_away(self, heap, second.list, second.units, 2);
}

/* free() found no room: the full bin becomes the second magazine, and the
 * older one is kept, or goes to the depot or home. */
void sk_bin_flush(struct sk_state *self, const struct sk_heap *heap, void *unit)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_magazine older = {rack->second, rack->second_units};
    uint64_t allocations = (uint64_t)bin->meter & (SK_ROOM_ONE - 1);

    sk_bin_mark_used(self, heap);
    bin->meter += SK_ROOM_ONE; /* what free() took off */
    rack->second = bin->head;
    /* Full, or a signal handler was here after that: then the room says
     * nothing. */
    rack->second_units = list_units(
        heap, bin->head, bin->meter >> SK_ROOM_SHIFT == 0 ? rack->limit : 0);
    rack->allocations += allocations;
    if (rack->second)
        count_remote(self, rack, rack->second, rack->second_units);
    *(void **)unit = NULL;
    sk_bin_grow(self, heap);
    sk_bin_fill(self, heap, unit, 1);
    if (older.list && !sk_bin_stack(self, heap, &older))
        give_away(self, heap, older.list, older.units,
                  !will_fetch_again(self, heap, &older));
    if (rack->lent == 0 && allocations == 0 && !heap->hooks)
        hand_on_second(self, heap);
}
