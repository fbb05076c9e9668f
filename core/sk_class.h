/*
 * sk_class.h - which heap serves a request of n bytes.
 *
 * Layer: above sk_chunk.  Classes are multiples of 16 up to 1 KiB (class =
 * n / 16, rounded up), then four per doubling up to 32 KiB.  Class 0 is never
 * filled, so a request of 0 bytes misses and is sorted out on the slow path.
 */
#ifndef SK_CLASS_H
#define SK_CLASS_H

#include "sk_chunk.h"

#define SK_SMALL_BYTES   1024  /* up to here a class is a shift */
#define SK_CLASS_BYTES   32768 /* of the largest class */
#define SK_SMALL_CLASSES 65    /* 0..64 */
#define SK_CLASSES       85    /* 20 more above SK_SMALL_BYTES */
#define SK_BINS          256   /* the classes, then the library's heaps */

/* A slot of the granule map is where the heap's bin lies in a thread state:
 * free() needs no multiplication. */
#define SK_BIN_BYTES         16
#define SK_CLASS_SLOT(class) ((class) * SK_BIN_BYTES)

/* malloc's heaps are constants: a start fills no table, and processes share
 * its pages.  Then the library's that have a bin. */
extern SK_LOCAL const struct sk_heap sk_class_heaps[SK_CLASSES];
extern SK_LOCAL struct sk_heap sk_binned_heaps[SK_BINS - SK_CLASSES];

/* Slots of the classes above SK_SMALL_BYTES, by (n + 255) / 256. */
extern SK_LOCAL const uint16_t sk_class_slots[SK_CLASS_BYTES / 256 + 1];

/* The slot for any number of bytes: 0, whose bin is never filled, above
 * SK_CLASS_BYTES. */
static inline size_t sk_class_slot(size_t bytes)
{
    if (SK_LIKELY(bytes <= SK_SMALL_BYTES))
        return (bytes + 15) & ~(size_t)15;
    if (SK_UNLIKELY(bytes > SK_CLASS_BYTES))
        return 0;
    return sk_class_slots[(bytes + 255) >> 8];
}

/* Heaps of the library beyond the bins: no thread caches units of theirs.
 * Their chunks belong to SK_OWNER_NONE. */
#define SK_MORE_SLOT  (SK_BINS * SK_BIN_BYTES)
#define SK_MORE_HEAPS 32768
#define SK_OWNER_NONE 0xffffu

extern SK_LOCAL struct sk_heap *_Atomic sk_more_heaps[SK_MORE_HEAPS];

/* For messages: the label of the heap of any slot. */
const char *sk_heap_label(uint32_t slot);

static inline const struct sk_heap *sk_heap_of_bin(uint32_t bin)
{
    return bin < SK_CLASSES ? &sk_class_heaps[bin]
                            : &sk_binned_heaps[bin - SK_CLASSES];
}

static inline const struct sk_heap *sk_heap_of_slot(uint32_t slot)
{
    return sk_heap_of_bin(slot / SK_BIN_BYTES);
}

/* Sets what follows from a heap's unit size (a multiple of 16) and the order
 * of its chunks; the rest becomes 0. */
void sk_heap_set_sizes(struct sk_heap *heap, uint32_t unit_bytes,
                       uint32_t order);

#endif
