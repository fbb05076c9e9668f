/*
 * sk_chunk.c - units in and out of one chunk.
 *
 * Layer: above sk_region.
 */
#include "sk_chunk.h"

struct sk_chunk *sk_chunk_new(const struct sk_heap *heap, uint32_t owner)
{
    uint32_t first = sk_region_take(heap->order);
    struct sk_chunk *chunk;

    if (first == SK_NONE)
        return NULL;
    chunk = sk_chunk_at(first);
    chunk->heap = heap;
    chunk->free = chunk->home = NULL;
    chunk->free_units = chunk->home_units = chunk->carved_units = 0;
    chunk->next = chunk->prev = SK_NONE;
    chunk->is_listed = chunk->is_idle = 0;
    chunk->looked_units = chunk->hollow_units = 0;
    for (int i = 0; i < SK_HOLLOW_WORDS; i++)
        chunk->hollow[i] = 0;
    atomic_store_explicit(&chunk->returned, 0, memory_order_relaxed);
    atomic_store_explicit(&chunk->post, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < 1u << heap->order; i++)
        atomic_store_explicit(&sk_region_map[first + i],
                              owner << SK_OWNER_SHIFT | heap->slot,
                              memory_order_release);
    if (SK_UNLIKELY(heap->hooks != NULL))
        heap->hooks->made(chunk);
    return chunk;
}

/* The end of the last page that a carved unit reaches into. */
static size_t carved_bytes(const struct sk_chunk *chunk)
{
    size_t page = sk_os_page_bytes();
    size_t bytes = chunk->heap->lead_bytes +
                   (size_t)chunk->carved_units * chunk->heap->unit_bytes;

    return (bytes + page - 1) & ~(page - 1);
}

/* A chunk of which one page was carved costs one page, not 64 KiB. */
static void raise_touched(struct sk_chunk *chunk, size_t bytes)
{
    if (bytes > chunk->touched_bytes && bytes <= UINT32_MAX)
        chunk->touched_bytes = (uint32_t)bytes;
}

void sk_chunk_give(struct sk_chunk *chunk, bool is_purged)
{
    uint32_t first = sk_chunk_first(chunk);
    unsigned order = chunk->heap->order;

    if (SK_UNLIKELY(chunk->heap->hooks != NULL))
        chunk->heap->hooks->drop(chunk);
    raise_touched(chunk, carved_bytes(chunk));
    for (uint32_t i = 0; i < 1u << order; i++)
        atomic_store_explicit(&sk_region_map[first + i], 0,
                              memory_order_relaxed);
    sk_region_give(first, order, is_purged);
}

/* Of fresh units: whatever was there before has no meaning. */
static void write_headers(const struct sk_chunk *chunk, void *list)
{
    uint64_t header = chunk->heap->header;

    for (; list; list = *(void **)list)
        ((uint64_t *)list)[1] = header;
}

static void populate(struct sk_chunk *chunk, size_t start, size_t bytes)
{
    sk_os_populate(sk_chunk_start(chunk) + start, bytes);
    raise_touched(chunk, start + bytes);
}

void sk_chunk_populate(struct sk_chunk *chunk)
{
    populate(chunk, 0, SK_GRANULE_BYTES << chunk->heap->order);
}

void sk_chunk_populate_ahead(struct sk_chunk *chunk, size_t bytes)
{
    size_t start = carved_bytes(chunk);
    size_t left = (SK_GRANULE_BYTES << chunk->heap->order) - start;

    if (start >= chunk->touched_bytes && left > 0)
        populate(chunk, start, bytes < left ? bytes : left);
}

uint32_t sk_chunk_carve(struct sk_chunk *chunk, uint32_t units, void **list)
{
    uint32_t left = chunk->heap->chunk_units - chunk->carved_units;
    size_t bytes = chunk->heap->unit_bytes;
    char *first = sk_chunk_start(chunk) + chunk->heap->lead_bytes +
                  chunk->carved_units * bytes;
    char *unit = first;

    units = units < left ? units : left;
    for (uint32_t i = 1; i < units; i++, unit += bytes)
        *(void **)unit = unit + bytes;
    *(void **)unit = NULL;
    chunk->carved_units += units;
    if (chunk->heap->header)
        write_headers(chunk, first);
    *list = first;
    return units;
}

void sk_chunk_take_back(struct sk_chunk *chunk, uint32_t units)
{
    atomic_fetch_sub_explicit(&chunk->post, (uint64_t)units << 32,
                              memory_order_relaxed);
}

bool sk_chunk_take_out(struct sk_chunk *chunk, uint32_t units)
{
    uint64_t post = atomic_fetch_add_explicit(
        &chunk->post, (uint64_t)units << 32, memory_order_acquire);

    if (SK_LIKELY(sk_post_list(post) < SK_POST_PURGED))
        return true;
    sk_chunk_take_back(chunk, units);
    return false;
}

void sk_chunk_put(struct sk_chunk *chunk, void *first, void *last,
                  uint32_t units)
{
    uint32_t returned =
        atomic_load_explicit(&chunk->returned, memory_order_relaxed);

    *(void **)last = chunk->free;
    chunk->free = first;
    chunk->free_units += units;
    /* Released, so that a sender who finds the chunk wholly free purges
     * after these writes. */
    atomic_store_explicit(&chunk->returned, returned + units,
                          memory_order_release);
}

uint32_t sk_chunk_post(struct sk_chunk *chunk, void *first, void *last,
                       uint32_t units, bool is_sealing, bool *is_free)
{
    char *start = sk_chunk_start(chunk);
    uint32_t link = (uint32_t)((size_t)((char *)first - start) >> 4) + 1;
    uint64_t old = atomic_load_explicit(&chunk->post, memory_order_acquire);
    uint64_t new;

    do {
        uint32_t list = sk_post_list(old);
        uint32_t away = sk_post_away(old) - units;

        *(void **)last =
            list ? start + ((size_t)(list - 1) << 4) : (char *)NULL;
        *is_free = away == atomic_load_explicit(&chunk->returned,
                                                memory_order_acquire);
        new = (uint64_t)away << 32 |
              (*is_free && is_sealing ? SK_POST_SEALED : link);
    } while (!atomic_compare_exchange_weak_explicit(&chunk->post, &old, new,
                                                    memory_order_acq_rel,
                                                    memory_order_acquire));
    return sk_post_list(old);
}

void sk_chunk_purge_sealed(const struct sk_heap *heap, struct sk_chunk *chunk)
{
    sk_os_purge(sk_chunk_start(chunk), SK_GRANULE_BYTES << heap->order);
    atomic_fetch_sub_explicit(&chunk->post, SK_POST_SEALED - SK_POST_PURGED,
                              memory_order_release);
}

void sk_chunk_merge_home(struct sk_chunk *chunk)
{
    void *last = chunk->home;

    if (!last)
        return;
    while (*(void **)last)
        last = *(void **)last;
    *(void **)last = chunk->free;
    chunk->free = chunk->home;
    chunk->free_units += chunk->home_units;
    chunk->home = NULL;
    chunk->home_units = 0;
}

uint32_t sk_chunk_collect(struct sk_chunk *chunk)
{
    uint64_t old = atomic_load_explicit(&chunk->post, memory_order_acquire);
    uint32_t list, out;

    do {
        list = sk_post_list(old);
        if (list == 0 || list >= SK_POST_PURGED)
            return list;
    } while (!atomic_compare_exchange_weak_explicit(
        &chunk->post, &old, old & ~(uint64_t)UINT32_MAX, memory_order_acq_rel,
        memory_order_acquire));
    /* Rare: what came home before was not used yet. */
    sk_chunk_merge_home(chunk);
    out = sk_post_away(old) - atomic_load_explicit(&chunk->returned,
                                                   memory_order_relaxed);
    chunk->home = sk_chunk_start(chunk) + ((size_t)(list - 1) << 4);
    chunk->home_units = chunk->carved_units - chunk->free_units -
                        chunk->hollow_units - out;
    return 0;
}

static uint32_t list_units(const void *list, uint32_t most)
{
    uint32_t units = 0;

    for (; list && units <= most; list = *(void *const *)list)
        units++;
    return units;
}

bool sk_chunk_is_sound(struct sk_chunk *chunk)
{
    uint64_t post = atomic_load(&chunk->post);
    uint32_t out = sk_post_away(post) - atomic_load(&chunk->returned);
    uint32_t carved = chunk->carved_units;

    if (sk_post_list(post) >= SK_POST_PURGED)
        return out == 0;
    return carved <= chunk->heap->chunk_units && out <= carved &&
           list_units(chunk->free, carved) == chunk->free_units &&
           list_units(chunk->home, carved) == chunk->home_units &&
           sk_chunk_free_units(chunk) + out <= carved;
}
