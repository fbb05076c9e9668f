/*
 * sk_depot.c - magazines that threads hand to each other.
 *
 * Layer: above sk_state.
 */
#include "sk_depot.h"

#include "sk_state_parts.h"

/* Of a depot in all, and of those for each thread there is. */
#define MAGAZINES      15
#define MAGAZINES_EACH 3

/* A list of so few units is joined to another one. */
#define JOIN_MOST 8

/* A magazine in one word: 16 bits of units, 48 of address, whose lowest four
 * are 0 as in every unit's; one of them marks what was seen lying there. */
#define UNITS_SHIFT 48
#define UNITS_MOST  0xffffu
#define LYING       ((uint64_t)1)

static SK_LARGE struct depot {
    _Atomic uint64_t words[MAGAZINES];
    _Atomic uint32_t top;
} __attribute__((aligned(SK_LINE_BYTES))) depots[SK_CLASSES];

static struct depot *depot_of(const struct sk_heap *heap)
{
    return &depots[heap->slot / SK_BIN_BYTES];
}

static uint64_t pack(const struct sk_magazine *magazine)
{
    return (uint64_t)magazine->units << UNITS_SHIFT |
           (uint64_t)(uintptr_t)magazine->list;
}

static struct sk_magazine unpack(uint64_t word)
{
    uint64_t address = (word & ~LYING) << 16 >> 16;

    return (struct sk_magazine){(void *)(uintptr_t)address,
                                (uint32_t)(word >> UNITS_SHIFT)};
}

static uint64_t word_at(struct depot *depot, uint32_t i)
{
    return atomic_load_explicit(&depot->words[i], memory_order_relaxed);
}

/* Takes what is in a word. */
static struct sk_magazine empty(struct depot *depot, uint32_t i)
{
    return unpack(atomic_exchange_explicit(&depot->words[i], 0,
                                           memory_order_acquire));
}

static bool fill(struct depot *depot, uint32_t i,
                 const struct sk_magazine *magazine)
{
    uint64_t none = 0;

    return atomic_compare_exchange_strong_explicit(
        &depot->words[i], &none, pack(magazine), memory_order_release,
        memory_order_relaxed);
}

/* The words of the heap's depot that are in use. */
static uint32_t size_of(const struct sk_heap *heap)
{
    uint32_t threads = sk_state_count();

    if (heap->slot < SK_GUEST_SLOT || !sk_heap_is_common(heap) ||
        sk_config.purge_delay == 0)
        return 0;
    return threads < MAGAZINES / MAGAZINES_EACH ? threads * MAGAZINES_EACH
                                                : MAGAZINES;
}

/* The last one put is the first one taken, or nearly, for its units are the
 * warmest: `top` is where somebody put or took of late. */
static uint32_t top_of(struct depot *depot)
{
    return atomic_load_explicit(&depot->top, memory_order_relaxed);
}

static void move_top(struct depot *depot, uint32_t top)
{
    if (top != top_of(depot))
        atomic_store_explicit(&depot->top, top, memory_order_relaxed);
}

static bool take(struct depot *depot, struct sk_magazine *magazine)
{
    uint32_t at = top_of(depot);

    for (uint32_t i = 0; i < MAGAZINES;
         i++, at = at > 0 ? at - 1 : MAGAZINES - 1) {
        struct sk_magazine taken;

        if (!word_at(depot, at))
            continue;
        taken = empty(depot, at);
        if (!taken.list)
            continue; /* somebody was faster */
        move_top(depot, at);
        *magazine = taken;
        return true;
    }
    return false;
}

static bool put(struct depot *depot, uint32_t size,
                struct sk_magazine *magazine)
{
    uint32_t at = top_of(depot);

    for (uint32_t i = 0; i < size; i++, at++) {
        if (at >= size)
            at = 0;
        if (word_at(depot, at) == 0 && fill(depot, at, magazine)) {
            move_top(depot, at);
            magazine->list = NULL;
            return true;
        }
    }
    return false;
}

/* Puts a short list in front of another one. */
static void prepend(const struct sk_heap *heap, const struct sk_magazine *list,
                    struct sk_magazine *to)
{
    uint32_t units;
    void *last = sk_list_end(heap, list->list, &units);

    *(void **)last = to->list;
    to->list = list->list;
    to->units += list->units;
}

/* Joins a short list to a magazine of the depot, if both together are one. */
static void join(struct depot *depot, const struct sk_heap *heap,
                 uint32_t size, struct sk_magazine *magazine)
{
    struct sk_magazine other;

    if (magazine->units > JOIN_MOST || !take(depot, &other))
        return;
    if (other.units + magazine->units > heap->room_units &&
        put(depot, size, &other))
        return;
    prepend(heap, magazine, &other);
    *magazine = other;
}

void sk_depot_put(const struct sk_heap *heap, struct sk_magazine *magazine,
                  uint32_t part)
{
    uint32_t size = (size_of(heap) + part - 1) / part;

    if (size == 0 || magazine->units > UNITS_MOST)
        return;
    join(depot_of(heap), heap, size, magazine);
    put(depot_of(heap), size, magazine);
}

struct sk_magazine sk_magazine_cut(struct sk_magazine *from, uint32_t units)
{
    from->units -= units;
    return (struct sk_magazine){sk_list_cut(&from->list, units, NULL), units};
}

bool sk_depot_take(const struct sk_heap *heap, uint32_t most,
                   struct sk_magazine *magazine)
{
    struct sk_magazine rest;

    if (size_of(heap) == 0 || !take(depot_of(heap), magazine))
        return false;
    if (magazine->units <= 2 * most)
        return true;
    rest = *magazine;
    *magazine = sk_magazine_cut(&rest, most);
    if (!put(depot_of(heap), MAGAZINES, &rest)) {
        /* Full meanwhile: all of it, then. */
        prepend(heap, magazine, &rest);
        *magazine = rest;
    }
    return true;
}

bool sk_depot_reap(const struct sk_heap *heap, bool is_all, uint32_t *at,
                   struct sk_magazine *magazine)
{
    struct depot *depot = depot_of(heap);

    for (; *at < MAGAZINES; ++*at) {
        uint64_t word = word_at(depot, *at);

        if (word && (is_all || word & LYING)) {
            *magazine = empty(depot, *at);
            if (magazine->list)
                return true;
        } else if (word) {
            atomic_compare_exchange_strong_explicit(
                &depot->words[*at], &word, word | LYING, memory_order_relaxed,
                memory_order_relaxed);
        }
    }
    return false;
}

uint32_t sk_depot_units(uint32_t class)
{
    uint32_t units = 0;

    for (uint32_t i = 0; i < MAGAZINES; i++)
        units += unpack(word_at(&depots[class], i)).units;
    return units;
}
