/*
 * sk_chunk.c - units in and out of one chunk.
 *
 * Layer: above sk_region.
 */
#include "sk_chunk.h"
#include "sk_say.h"

struct sk_chunk *sk_chunk_new(const struct sk_heap *heap, uint32_t owner)
{
    uint32_t first = sk_region_take(heap->order);
    struct sk_chunk *chunk;

    if (first == SK_NONE)
        return NULL;
    chunk = sk_chunk_at(first);
    chunk->heap = heap;
    chunk->home = NULL;
    chunk->free_units = chunk->home_units = chunk->carved_units = 0;
    chunk->next = chunk->prev = SK_NONE;
    chunk->is_listed = chunk->is_idle = 0;
    chunk->looked_units = chunk->hollow_units = chunk->has_bits = 0;
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

static uint32_t bits_words(const struct sk_chunk *chunk)
{
    return (chunk->carved_units + 63) / 64;
}

/* For the next chunk here.  Where none was ever set their page has no memory.
 */
static void clear_bits(struct sk_chunk *chunk)
{
    uint64_t *bits = sk_chunk_bits(chunk);

    if (chunk->has_bits)
        for (uint32_t i = 0; i < bits_words(chunk); i++)
            bits[i] = 0;
}

void sk_chunk_give(struct sk_chunk *chunk, bool is_purged)
{
    uint32_t first = sk_chunk_first(chunk);
    unsigned order = chunk->heap->order;

    if (SK_UNLIKELY(chunk->heap->hooks != NULL))
        chunk->heap->hooks->drop(chunk);
    raise_touched(chunk, carved_bytes(chunk));
    clear_bits(chunk);
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

/* Released: who finds the chunk wholly free purges after what the owner read
 * and wrote there. */
void sk_chunk_take_back(struct sk_chunk *chunk, uint32_t units)
{
    atomic_fetch_sub_explicit(&chunk->post, (uint64_t)units << 32,
                              memory_order_release);
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

const char sk_chunk_freed_twice[] = "freed twice, or near one that was:";

SK_COLD void sk_chunk_die(const struct sk_heap *heap, const void *unit,
                          const char *what)
{
    sk_die("free(): %s %p (heap %s)", what, unit, heap->label);
}

/* A mark is moved on whenever the number has doubled: within a ring longer than
 * that it is met again (R. P. Brent, 1980). */
void *sk_list_end(const struct sk_heap *heap, void *list, uint32_t *units)
{
    void *mark = list, *next;
    uint32_t many = 1;

    for (; (next = *(void **)list); list = next) {
        if (SK_UNLIKELY(next == mark))
            sk_chunk_die(heap, list, sk_chunk_freed_twice);
        many++;
        if ((many & (many - 1)) == 0)
            mark = next;
    }
    *units = many;
    return list;
}

/* Sets the bits of a list's first units, as far as they were carved from the
 * chunk, and returns how many.  A list that is a ring ends the program, too.
 * Inline, for most lists of large units are short. */
static inline __attribute__((always_inline)) uint32_t
set_bits(struct sk_chunk *chunk, void **list)
{
    const struct sk_heap *heap = chunk->heap;
    struct sk_units all = sk_chunk_units(heap, chunk);
    uint64_t *bits = sk_chunk_bits(chunk);
    /* Where there are none, any that do no harm. */
    const uint64_t *hollow = chunk->hollow_units > 0 ? chunk->hollow : bits;
    uint32_t units = 0, i;
    void *unit = *list;

    all.sixteenths = (size_t)chunk->carved_units * heap->unit_bytes >> 4;
    chunk->has_bits = 1;
    for (; sk_units_find(&all, unit, &i); unit = *(void **)unit, units++) {
        uint64_t *word = bits + i / 64, before = *word | hollow[i / 64];

        *word |= UINT64_C(1) << i % 64;
        if (SK_UNLIKELY(before >> i % 64 & 1))
            sk_chunk_die(heap, unit, "freed twice:");
    }
    *list = unit;
    chunk->free_units += units;
    return units;
}

uint32_t sk_chunk_put(struct sk_chunk *chunk, void **list)
{
    uint32_t returned =
        atomic_load_explicit(&chunk->returned, memory_order_relaxed);
    uint32_t units = set_bits(chunk, list);

    /* Released, so that a sender who finds the chunk wholly free purges
     * after these writes. */
    atomic_store_explicit(&chunk->returned, returned + units,
                          memory_order_release);
    return units;
}

uint32_t sk_chunk_at_hand(const struct sk_chunk *chunk)
{
    if (chunk->free_units > 0)
        return chunk->free_units;
    return chunk->home_units > 0 ? chunk->home_units : chunk->hollow_units;
}

/* A list in the order of addresses. */
static void *take_bits(const struct sk_chunk *chunk, uint64_t *bits,
                       uint32_t units)
{
    char *start = sk_chunk_start(chunk) + chunk->heap->lead_bytes;
    size_t bytes = chunk->heap->unit_bytes;
    void *list, **end = &list;

    for (uint32_t i = 0; units > 0 && i < bits_words(chunk); i++) {
        uint64_t left = bits[i];

        for (; left && units > 0; left &= left - 1, units--) {
            *end = start + (i * 64 + (uint32_t)__builtin_ctzll(left)) * bytes;
            end = *end;
        }
        bits[i] = left;
    }
    *end = NULL;
    return list;
}

static void *take_home(struct sk_chunk *chunk, uint32_t units)
{
    void *list = chunk->home;

    if (units < chunk->home_units)
        return sk_list_cut(&chunk->home, units, NULL);
    chunk->home = NULL;
    return list;
}

void *sk_chunk_take(struct sk_chunk *chunk, uint32_t units)
{
    void *list;

    if (chunk->free_units > 0) {
        list = take_bits(chunk, sk_chunk_bits(chunk), units);
        chunk->free_units -= units;
    } else if (chunk->home_units > 0) {
        list = take_home(chunk, units);
        chunk->home_units -= units;
    } else {
        list = take_bits(chunk, chunk->hollow, units);
        chunk->hollow_units -= units;
    }
    return list;
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
    if (chunk->home)
        set_bits(chunk, &chunk->home);
    if (SK_UNLIKELY(chunk->home != NULL))
        sk_chunk_die(chunk->heap, chunk->home, "not the start of a unit:");
    chunk->home_units = 0;
}

uint32_t sk_chunk_collect(struct sk_chunk *chunk)
{
    uint64_t old = atomic_load_explicit(&chunk->post, memory_order_acquire);
    /* Rare: what came home before was not used yet.  One unit counts as out
     * while that list is read, or a sender might purge the chunk under it. */
    uint64_t held = chunk->home ? 1 : 0;
    uint32_t list, out;

    do {
        list = sk_post_list(old);
        if (list == 0 || list >= SK_POST_PURGED)
            return list;
    } while (!atomic_compare_exchange_weak_explicit(
        &chunk->post, &old, (old & ~(uint64_t)UINT32_MAX) + (held << 32),
        memory_order_acq_rel, memory_order_acquire));
    if (held) {
        sk_chunk_merge_home(chunk);
        sk_chunk_take_back(chunk, 1);
    }
    out = sk_post_away(old) - atomic_load_explicit(&chunk->returned,
                                                   memory_order_relaxed);
    chunk->home = sk_chunk_start(chunk) + ((size_t)(list - 1) << 4);
    chunk->home_units = chunk->carved_units - chunk->free_units -
                        chunk->hollow_units - out;
    return 0;
}

static uint32_t bits_set(const struct sk_chunk *chunk)
{
    const uint64_t *bits = sk_chunk_bits(chunk);
    uint32_t units = 0;

    for (uint32_t i = 0; i < bits_words(chunk); i++)
        units += (uint32_t)__builtin_popcountll(bits[i]);
    return units;
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
           bits_set(chunk) == chunk->free_units &&
           list_units(chunk->home, carved) == chunk->home_units &&
           sk_chunk_free_units(chunk) + out <= carved;
}
