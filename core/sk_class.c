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

SK_LARGE struct sk_heap sk_binned_heaps[SK_BINS - SK_CLASSES];
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

/* A constant expression of constants, as a table's entries must be. */
#define CLAMP(value, least, most)                                              \
    ((value) < (least) ? (least) : (value) > (most) ? (most) : (value))
#define CHUNK_UNITS(unit, order)                                               \
    (uint32_t)((SK_GRANULE_BYTES << (order)) / (unit))

#define SIZES(unit, chunk_order)                                               \
    .unit_bytes = (unit), .order = (chunk_order),                              \
    .chunk_units = CHUNK_UNITS(unit, chunk_order),                             \
    .reciprocal = ((1ull << 32) + (unit) / 16 - 1) / ((unit) / 16),            \
    .carve_units =                                                             \
        CLAMP(CARVE_BYTES / (unit), 1, CHUNK_UNITS(unit, chunk_order)),        \
    .room_units =                                                              \
        CLAMP(MAGAZINE_BYTES / (unit), MAGAZINE_LEAST, MAGAZINE_MOST),         \
    .batch_units = CLAMP(BATCH_BYTES / (unit), 1, BATCH_MOST)

void sk_heap_set_sizes(struct sk_heap *heap, uint32_t unit_bytes,
                       uint32_t order)
{
    *heap = (struct sk_heap){SIZES(unit_bytes, order)};
}

/* A chunk is 64 KiB up to units of 4 KiB, and has at least 8 units above. */
#define CLASS(class, unit)                                                     \
    [class] = {SIZES(unit, ((unit) > 8192) + ((unit) > 16384)),                \
               .slot = SK_CLASS_SLOT(class), .label = "malloc-" #unit}
#define FOUR(class, a, b, c, d)                                                \
    CLASS(class, a), CLASS((class) + 1, b), CLASS((class) + 2, c),             \
        CLASS((class) + 3, d)

const struct sk_heap sk_class_heaps[SK_CLASSES] = {
    FOUR(1, 16, 32, 48, 64),
    FOUR(5, 80, 96, 112, 128),
    FOUR(9, 144, 160, 176, 192),
    FOUR(13, 208, 224, 240, 256),
    FOUR(17, 272, 288, 304, 320),
    FOUR(21, 336, 352, 368, 384),
    FOUR(25, 400, 416, 432, 448),
    FOUR(29, 464, 480, 496, 512),
    FOUR(33, 528, 544, 560, 576),
    FOUR(37, 592, 608, 624, 640),
    FOUR(41, 656, 672, 688, 704),
    FOUR(45, 720, 736, 752, 768),
    FOUR(49, 784, 800, 816, 832),
    FOUR(53, 848, 864, 880, 896),
    FOUR(57, 912, 928, 944, 960),
    FOUR(61, 976, 992, 1008, 1024),
    FOUR(65, 1280, 1536, 1792, 2048),
    FOUR(69, 2560, 3072, 3584, 4096),
    FOUR(73, 5120, 6144, 7168, 8192),
    FOUR(77, 10240, 12288, 14336, 16384),
    FOUR(81, 20480, 24576, 28672, 32768),
};

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
