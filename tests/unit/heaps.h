/*
 * heaps.h - heaps of the library, as its tests want them.
 */
#ifndef HEAPS_H
#define HEAPS_H

#include "fails.h"

#include "sk_heap_parts.h"

#include <stdlib.h>

#define HELPER __attribute__((unused)) static

HELPER struct sk_heap_info info_of(sk_heap *heap)
{
    struct sk_heap_info info;

    assert_int_equal(sk_heap_read(heap, &info), 0);
    return info;
}

HELPER sk_heap *plain(const char *label, size_t bytes)
{
    sk_heap *heap = sk_heap_new(label, bytes, 64, 0, SK_HEAP_UNLIMITED);

    assert_non_null(heap);
    return heap;
}

HELPER sk_heap *bounded(size_t maximum)
{
    sk_heap *heap = sk_heap_new("bounded", 64, 64, maximum, 0);

    assert_non_null(heap);
    return heap;
}

/* Takes all bins, so that the next heap has a lock and no cache. */
enum { FILLERS = 200 };
HELPER sk_heap *fillers[FILLERS];

HELPER void take_all_bins(void)
{
    for (int i = 0; i < FILLERS; i++)
        fillers[i] = plain("filler", 16);
}

HELPER void release_all_bins(void)
{
    for (int i = 0; i < FILLERS; i++)
        assert_int_equal(sk_heap_destroy(fillers[i], 0), 0);
}

HELPER void take_exactly(sk_heap *heap, size_t maximum)
{
    void **units = calloc(maximum, sizeof *units);

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < maximum; i++)
            assert_non_null(units[i] = sk_heap_unit_allocate(heap));
        assert_fails(sk_heap_unit_allocate(heap), NULL, ENOMEM);
        sk_heap_unit_unref(units[0]);
        assert_non_null(units[0] = sk_heap_unit_allocate(heap));
        assert_null(sk_heap_unit_allocate(heap));
        assert_int_equal(info_of(heap).live_units, maximum);
        for (size_t i = 0; i < maximum; i++)
            sk_heap_unit_unref(units[i]);
    }
    assert_int_equal(info_of(heap).refused, 6);
    assert_int_equal(info_of(heap).live_units, 0);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
    free(units);
}

HELPER void use_and_drop(sk_heap *heap, int units)
{
    void **list = NULL;

    for (int i = 0; i < units; i++) {
        void **unit = sk_heap_unit_allocate(heap);

        assert_non_null(unit);
        *unit = list;
        list = (void **)unit;
    }
    while (list) {
        void **next = *list;

        sk_heap_unit_unref(list);
        list = next;
    }
}

#endif
