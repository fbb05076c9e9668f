/*
 * class.c - which heap serves how many bytes.
 */
#include "unit.h"

#include "sk_class.h"

#include <string.h>

static const struct sk_heap *heap_for(size_t bytes)
{
    return sk_heap_of_slot((uint32_t)sk_class_slot(bytes));
}

static void every_size_gets_the_smallest_class_that_fits(void **state)
{
    (void)state;
    for (size_t n = 1; n <= SK_CLASS_BYTES; n++) {
        const struct sk_heap *heap = heap_for(n);

        assert_ptr_not_equal(heap, &sk_class_heaps[0]);
        assert_true(heap->unit_bytes >= n);
        if (heap > &sk_class_heaps[1])
            assert_true(heap[-1].unit_bytes < n);
    }
}

static void zero_and_too_many_bytes_have_the_slot_that_is_never_filled(
    void **state)
{
    (void)state;
    assert_int_equal(sk_class_slot(0), 0);
    assert_int_equal(sk_class_slot(SK_CLASS_BYTES + 1), 0);
    assert_int_equal(sk_class_slot(PTRDIFF_MAX), 0);
    for (size_t n = SIZE_MAX - 64; n != 0; n++)
        assert_int_equal(sk_class_slot(n), 0);
    assert_int_equal(sk_class_heaps[0].unit_bytes, 0);
}

/* Multiples of 16 up to 1 KiB, then four to a doubling: at most a quarter of
 * a unit above 1 KiB is waste, and less than 16 bytes below. */
static void classes_are_16_bytes_apart_then_four_to_a_doubling(void **state)
{
    uint32_t bytes = 0;

    (void)state;
    for (int class = 1; class < SK_CLASSES; class++) {
        uint32_t step = 16;

        for (uint32_t limit = 1024; limit <= bytes; limit *= 2)
            step = limit / 4;
        bytes += step;
        assert_int_equal(sk_heap_of_bin(class)->unit_bytes, bytes);
    }
    assert_int_equal(bytes, SK_CLASS_BYTES);
}

static void a_label_names_the_bytes_of_a_unit(void **state)
{
    static const struct {
        size_t bytes;
        const char *label;
    } expected[] = {
        {1, "malloc-16"},       {16, "malloc-16"},      {17, "malloc-32"},
        {1000, "malloc-1008"},  {1024, "malloc-1024"},  {1025, "malloc-1280"},
        {2049, "malloc-2560"},  {5000, "malloc-5120"},  {5121, "malloc-6144"},
        {9000, "malloc-10240"}, {28672, "malloc-28672"},
        {28673, "malloc-32768"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_string_equal(heap_for(expected[i].bytes)->label,
                            expected[i].label);
}

static void a_heaps_slot_is_its_own(void **state)
{
    (void)state;
    for (uint32_t class = 1; class < SK_CLASSES; class++) {
        assert_int_equal(sk_heap_of_bin(class)->slot, class * SK_BIN_BYTES);
        assert_ptr_equal(sk_heap_of_slot(sk_heap_of_bin(class)->slot),
                         sk_heap_of_bin(class));
        assert_int_equal(sk_class_slot(sk_heap_of_bin(class)->unit_bytes),
                         sk_heap_of_bin(class)->slot);
    }
}

static void units_fit_into_their_chunk_and_leave_less_than_one_over(
    void **state)
{
    (void)state;
    for (int class = 1; class < SK_CLASSES; class++) {
        const struct sk_heap *heap = sk_heap_of_bin(class);
        size_t chunk = SK_GRANULE_BYTES << heap->order;
        size_t used = (size_t)heap->chunk_units * heap->unit_bytes;

        assert_true(used <= chunk && chunk - used < heap->unit_bytes);
        assert_true(heap->chunk_units >= 8);
        assert_in_range(heap->carve_units, 1, heap->chunk_units);
        assert_true(heap->carve_units == 1 ||
                    heap->carve_units * heap->unit_bytes <= 4096);
        assert_in_range(heap->room_units, 4, 128);
        assert_in_range(heap->batch_units, 1, 64);
    }
}

/* preload/aligned.c relies on it. */
static void a_multiple_of_an_alignment_gets_units_so_aligned(void **state)
{
    (void)state;
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2)
        for (size_t n = alignment; n <= SK_CLASS_BYTES; n += alignment)
            assert_int_equal(heap_for(n)->unit_bytes % alignment, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_gets_the_smallest_class_that_fits),
        cmocka_unit_test(
            zero_and_too_many_bytes_have_the_slot_that_is_never_filled),
        cmocka_unit_test(classes_are_16_bytes_apart_then_four_to_a_doubling),
        cmocka_unit_test(a_label_names_the_bytes_of_a_unit),
        cmocka_unit_test(a_heaps_slot_is_its_own),
        cmocka_unit_test(
            units_fit_into_their_chunk_and_leave_less_than_one_over),
        cmocka_unit_test(a_multiple_of_an_alignment_gets_units_so_aligned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
