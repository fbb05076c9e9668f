/*
 * sk_take.c - units by hand, for the library's heaps.
 *
 * Layer: with sk_state.
 */
#include "sk_state_parts.h"

static uint32_t detach(void **from, uint32_t units, void **list)
{
    *list = sk_list_cut(from, units, *list);
    return units;
}

static uint32_t take_from_partial(struct sk_state *self,
                                  const struct sk_heap *heap, uint32_t units,
                                  void **list)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    struct sk_chunk *chunk = sk_chunk_at(rack->partial - 1);
    uint32_t at_hand = sk_chunk_at_hand(chunk);
    void *taken;

    units = units < at_hand ? units : at_hand;
    if (!sk_owner_take_out(self, chunk, units))
        return 0;
    taken = sk_chunk_take(chunk, units);
    detach(&taken, units, list);
    if (!sk_chunk_has_free(chunk))
        sk_owner_unlist(self, chunk);
    return units;
}

static uint32_t take_by_carving(struct sk_state *self,
                                const struct sk_heap *heap, uint32_t units,
                                void **list)
{
    void *fresh;
    uint32_t carved = sk_bin_carve(self, heap, units, &fresh);

    return carved > 0 ? detach(&fresh, carved, list) : 0;
}

uint32_t sk_state_take(struct sk_state *self, const struct sk_heap *heap,
                       uint32_t units, void **list)
{
    struct sk_rack *rack = sk_state_rack(self, heap);
    uint32_t taken = 0, more = 1;

    *list = NULL;
    sk_bin_mark_used(self, heap);
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
    sk_bin_flush_list(self, heap, list);
}

uint32_t sk_state_flush_bin(struct sk_state *self, const struct sk_heap *heap,
                            bool is_second_too)
{
    struct sk_bin *bin = sk_state_bin(self, heap->slot);
    struct sk_rack *rack = sk_state_rack(self, heap);
    void *head = bin->head, *second = rack->second;
    uint32_t flushed;

    bin->head = NULL;
    flushed = sk_bin_flush_list(self, heap, head);
    sk_bin_settle_meter(bin, rack, flushed, true);
    rack->limit = 0;
    bin->meter = 0;
    if (is_second_too && second) {
        rack->second = NULL;
        rack->second_units = 0;
        sk_bin_flush_list(self, heap, second);
    }
    return flushed;
}

static void leave_if_free(struct sk_state *self, uint32_t name, uint32_t *list)
{
    struct sk_chunk *chunk = sk_chunk_at(name - 1);

    if (!sk_chunk_is_free(chunk))
        return;
    sk_owner_leave(self, chunk);
    chunk->next = *list;
    *list = name;
}

void sk_state_trim_heap(struct sk_state *self, const struct sk_heap *heap,
                        uint32_t *list)
{
    struct sk_rack *rack = sk_state_rack(self, heap);

    for (uint32_t i = 0; i < SK_BATCHES; i++)
        if (self->batches[i].units > 0 &&
            sk_mail_heap_of(&self->batches[i]) == heap)
            sk_mail_send_batch(self, heap, &self->batches[i]);
    sk_state_read_mail(self);
    for (uint32_t name = rack->partial; name;) {
        uint32_t next = sk_chunk_at(name - 1)->next;

        leave_if_free(self, name, list);
        name = next;
    }
    if (rack->carving)
        leave_if_free(self, rack->carving, list);
}

void sk_state_forget(struct sk_state *self, const struct sk_heap *heap,
                     bool is_broken)
{
    uint32_t bin = heap->slot / SK_BIN_BYTES;
    struct sk_rack *rack = &self->racks[bin];

    if (!is_broken)
        sk_state_read_mail(self);
    sk_bin_forget_carved(self, heap, rack->carved_units);
    self->magazine_bytes -= sk_bin_magazine_bytes(heap, rack->magazine_units);
    for (uint32_t i = 0; i < SK_BATCHES; i++) {
        struct sk_batch *batch = &self->batches[i];

        if (batch->units == 0 || sk_mail_heap_of(batch) != heap)
            continue;
        self->batched_units -= batch->units;
        self->batched_bytes -= (size_t)batch->units * heap->unit_bytes;
        batch->units = 0;
    }
    for (uint32_t name = self->idle_oldest; name;) {
        struct sk_chunk *chunk = sk_chunk_at(name - 1);

        name = chunk->idle_next;
        if (chunk->heap == heap)
            sk_owner_forget_idle(self, chunk);
    }
    self->bins[bin] = (struct sk_bin){0};
    *rack = (struct sk_rack){0};
    self->used_bins[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}
