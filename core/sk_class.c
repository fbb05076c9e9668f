/*
 * sk_class.c - the class heaps malloc-16 ... malloc-32768.
 *
 * Layer: above sk_chunk.
 */
#include "sk_class.h"

#define MAGAZINE_BYTES 16384
#define MAGAZINE_LEAST 8
#define MAGAZINE_MOST  128
#define BATCH_BYTES    16384
#define BATCH_MOST     64
#define CARVE_BYTES    4096

SK_LARGE struct sk_heap sk_heaps[SK_BINS];
SK_LARGE struct sk_heap *_Atomic sk_more_heaps[SK_MORE_HEAPS];

/* Above 1 KiB: class 65 is 1280 bytes, then 1536, 1792, 2048, 2560, ... */
#define S(class) SK_CLASS_SLOT(class)
#define X2(c)    S(c), S(c)
#define X4(c)    X2(c), X2(c)
#define X8(c)    X4(c), X4(c)
#define X16(c)   X8(c), X8(c)

const uint16_t sk_class_slots[SK_CLASS_BYTES / 256 + 1] = {
    0,       S(64),   S(64),   S(64),   S(64),             /* 0, 256..1024 */
    S(65),   S(66),   S(67),   S(68),                      /* ..2048 */
    X2(69),  X2(70),  X2(71),  X2(72),                     /* ..4096 */
    X4(73),  X4(74),  X4(75),  X4(76),                     /* ..8192 */
    X8(77),  X8(78),  X8(79),  X8(80),                     /* ..16384 */
    X16(81), X16(82), X16(83), X16(84),                    /* ..32768 */
};

static uint32_t class_bytes(uint32_t class)
{
    uint32_t above = class - SK_SMALL_CLASSES;

    if (class < SK_SMALL_CLASSES)
        return class * 16;
    return (SK_SMALL_BYTES << above / 4) / 4 * (5 + above % 4);
}

static uint32_t clamp(uint32_t value, uint32_t least, uint32_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* A chunk is 64 KiB up to units of 4 KiB, and at least 8 units above. */
static uint32_t class_order(uint32_t bytes)
{
    uint32_t order = 0;

    while (bytes > 4096 && (SK_GRANULE_BYTES << order) / bytes < 8)
        order++;
    return order;
}

void sk_heap_set_sizes(struct sk_heap *heap, uint32_t unit_bytes,
                       uint32_t order)
{
    uint64_t unit = unit_bytes / 16;

    heap->unit_bytes = unit_bytes;
    heap->order = order;
    heap->chunk_units = (uint32_t)((SK_GRANULE_BYTES << order) / unit_bytes);
    heap->reciprocal = ((1ull << 32) + unit - 1) / unit;
    heap->carve_units = clamp(CARVE_BYTES / unit_bytes, 1, heap->chunk_units);
    heap->room_units =
        clamp(MAGAZINE_BYTES / unit_bytes, MAGAZINE_LEAST, MAGAZINE_MOST);
    heap->batch_units = clamp(BATCH_BYTES / unit_bytes, 1, BATCH_MOST);
}

static void open_class(uint32_t class)
{
    struct sk_heap *heap = &sk_heaps[class];
    struct sk_text label = {heap->label, 0, sizeof heap->label - 1};
    uint32_t bytes = class_bytes(class);

    heap->slot = SK_CLASS_SLOT(class);
    sk_heap_set_sizes(heap, bytes, class_order(bytes));
    sk_text_add(&label, "malloc-%u", (uint64_t)bytes);
}

const char *sk_heap_label(uint32_t slot)
{
    uint32_t more = slot - SK_MORE_SLOT;
    const struct sk_heap *heap = NULL;

    if (slot < SK_MORE_SLOT)
        heap = sk_heap_of_slot(slot);
    else if (more < SK_MORE_HEAPS)
        heap = atomic_load_explicit(&sk_more_heaps[more],
                                    memory_order_acquire);
    return heap ? heap->label : "";
}

void sk_class_open(void)
{
    for (uint32_t class = 1; class < SK_CLASSES; class++)
        open_class(class);
}
