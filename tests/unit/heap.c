/*
 * heap.c - the library's heaps: what their contract says, one by one.
 */
#include "child.h"
#include "content.h"
#include "heaps.h"

#include <string.h>

static void a_unit_lives_until_its_last_unref(void **state)
{
    sk_heap *heap = plain("lives", 100);
    void *unit = sk_heap_unit_allocate(heap);

    (void)state;
    assert_non_null(unit);
    assert_int_equal(info_of(heap).live_units, 1);
    assert_ptr_equal(sk_heap_unit_ref(unit), unit);
    sk_heap_unit_unref(unit);
    assert_int_equal(info_of(heap).live_units, 1);
    sk_heap_unit_unref(unit);
    assert_int_equal(info_of(heap).live_units, 0);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

static void fill_and_check(sk_heap *heap, size_t bytes, size_t alignment)
{
    enum { UNITS = 40 };
    unsigned char *units[UNITS];

    for (int i = 0; i < UNITS; i++) {
        units[i] = sk_heap_unit_allocate(heap);
        assert_non_null(units[i]);
        assert_int_equal((uintptr_t)units[i] % alignment, 0);
        assert_ptr_equal(sk_heap_of_unit(units[i]), heap);
        memset(units[i], i, bytes);
    }
    for (int i = 0; i < UNITS; i++) {
        for (size_t k = 0; k < bytes; k += 1 + bytes / 8)
            assert_int_equal(units[i][k], i);
        assert_int_equal(units[i][bytes - 1], i);
        sk_heap_unit_unref(units[i]);
    }
}

static void every_size_and_alignment_is_served(void **state)
{
    static const size_t sizes[] = {1,    2,    8,     15,    16,     17,
                                   48,   64,   100,   1000,  4096,   5000,
                                   8192, 9999, 32768, 36864, 100000, 1 << 20};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
            const struct sk_heap_attributes how = {
                .label = "sizes",
                .unit_size = sizes[i],
                .alignment = alignment,
                .units_per_chunk = 10,
                .options = SK_HEAP_UNLIMITED | SK_HEAP_SHRINK,
            };
            sk_heap *heap = sk_heap_new_with(&how);

            assert_non_null(heap);
            fill_and_check(heap, sizes[i], alignment);
            assert_int_equal(info_of(heap).live_units, 0);
            assert_int_equal(sk_heap_destroy(heap, 0), 0);
        }
}

static void wrong_arguments_are_null_and_einval(void **state)
{
    static const struct sk_heap_attributes wrong[] = {
        {.unit_size = 8, .units_per_chunk = 1, .maximum_units = 1},
        {.label = "", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1},
        {.label = "x", .units_per_chunk = 1, .maximum_units = 1},
        {.label = "x", .unit_size = (1 << 20) + 1, .units_per_chunk = 1,
         .maximum_units = 1},
        {.label = "x", .unit_size = 8, .maximum_units = 1},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1, .alignment = 24},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1, .alignment = 8192},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1, .options = 1u << 20},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1, .source = SK_HEAP_POPULATED + 1},
    };
    struct sk_heap_info info;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(sk_heap_new_with(&wrong[i]), NULL, EINVAL);
    assert_fails(sk_heap_new_with(NULL), NULL, EINVAL);
    assert_fails(sk_heap_unit_allocate(NULL), NULL, EINVAL);
    assert_fails(sk_heap_destroy(NULL, 0), -1, EINVAL);
    assert_fails(sk_heap_of_unit(&errno), NULL, EINVAL);
    assert_fails(sk_heap_of_unit(NULL), NULL, EINVAL);
    assert_fails(sk_heap_trim(NULL), 0, EINVAL);
    assert_fails(sk_heap_read(NULL, &info), -1, EINVAL);
    assert_fails(sk_heap_each(NULL, NULL), -1, EINVAL);
}

static void the_maximum_is_exact(void **state)
{
    static const size_t maxima[] = {1, 2, 7, 16, 17, 100, 1000, 5000};

    (void)state;
    for (size_t i = 0; i < sizeof maxima / sizeof *maxima; i++)
        take_exactly(bounded(maxima[i]), maxima[i]);
    take_exactly(sk_heap_new("large", 100000, 1, 9, 0), 9);
    take_all_bins();
    take_exactly(bounded(333), 333);
    release_all_bins();
}

static int constructed, destructed;

static void construct(void *unit, void *context)
{
    constructed++;
    *(void **)unit = context;
}

static void destruct(void *unit, void *context)
{
    assert_ptr_equal(*(void **)unit, context);
    destructed++;
}

static struct sk_heap_attributes with_destructor(int *context)
{
    return (struct sk_heap_attributes){
        .label = "destructed",
        .unit_size = 80,
        .units_per_chunk = 16,
        .options = SK_HEAP_UNLIMITED,
        .destruct = destruct,
        .context = context,
    };
}

static void constructed_state_survives_being_free(void **state)
{
    struct sk_heap_attributes how = with_destructor(&constructed);
    void *units[300];
    sk_heap *heap, *other = plain("other", 8);

    (void)state;
    how.construct = construct;
    for (int round = 0; round < 3; round++) {
        how.unit_size = round == 2 ? 50000 : 80;
        if (round == 1)
            how.options |= SK_HEAP_SHRINK;
        constructed = destructed = 0;
        assert_non_null(heap = sk_heap_new_with(&how));
        for (int turn = 0; turn < 5; turn++) {
            for (int i = 0; i < 300; i++) {
                units[i] = sk_heap_unit_allocate(heap);
                assert_ptr_equal(*(void **)units[i], &constructed);
            }
            for (int i = 0; i < 300; i++)
                sk_heap_unit_unref(units[i]);
        }
        assert_int_equal(constructed - destructed, 300);
        assert_int_equal(destructed, 0);
        sk_heap_trim(heap);
        assert_true(destructed > 0);
        use_and_drop(other, 1);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
        assert_int_equal(constructed, destructed);
    }
    assert_int_equal(sk_heap_destroy(other, 0), 0);
}

/* What a program puts into a unit by itself may want an end, too. */
static void a_destructor_alone_is_called_for_what_was_used(void **state)
{
    struct sk_heap_attributes how = with_destructor(&destructed);
    void **units[40];
    sk_heap *heap;

    (void)state;
    destructed = 0;
    for (int round = 0; round < 2; round++) {
        how.unit_size = round ? 50000 : 80;
        assert_non_null(heap = sk_heap_new_with(&how));
        for (int i = 0; i < 40; i++) {
            units[i] = sk_heap_unit_allocate(heap);
            *units[i] = &destructed;
        }
        for (int i = 0; i < 40; i++)
            sk_heap_unit_unref(units[i]);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
        assert_int_equal(destructed, 40 * (round + 1));
    }
}

static void a_zeroing_heap_hands_out_zeros(void **state)
{
    sk_heap *heap =
        sk_heap_new("zeros", 200, 8, 0, SK_HEAP_UNLIMITED | SK_HEAP_ZERO);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        unsigned char *unit = sk_heap_unit_allocate(heap);

        for (int k = 0; k < 200; k++)
            assert_int_equal(unit[k], 0);
        memset(unit, 0xff, 200);
        sk_heap_unit_unref(unit);
    }
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

static int count_heap(sk_heap *heap, void *count)
{
    assert_non_null(heap);
    ++*(int *)count;
    return 0;
}

static void thousands_of_heaps_live_at_once(void **state)
{
    enum { HEAPS = 3000 };
    static sk_heap *heaps[HEAPS];
    static void *units[HEAPS];
    int before = 0, count = 0;

    (void)state;
    sk_heap_each(count_heap, &before);
    for (int i = 0; i < HEAPS; i++) {
        heaps[i] = plain("one of many", 24);
        assert_non_null(units[i] = sk_heap_unit_allocate(heaps[i]));
    }
    sk_heap_each(count_heap, &count);
    assert_int_equal(count - before, HEAPS);
    for (int i = 0; i < HEAPS; i++) {
        assert_ptr_equal(sk_heap_of_unit(units[i]), heaps[i]);
        sk_heap_unit_unref(units[i]);
        assert_int_equal(info_of(heaps[i]).live_units, 0);
    }
    for (int i = 0; i < HEAPS; i++)
        assert_int_equal(sk_heap_destroy(heaps[i], 0), 0);
}

static void make_all_there_can_be(uint64_t before)
{
    int count = 0;
    sk_heap *heap, *last = NULL;

    for (; (heap = sk_heap_new("one of all", 24, 8, 8, 0)); last = heap)
        count++;
    REQUIRE(errno == ENOMEM);
    REQUIRE(before + count == SK_BINS - SK_CLASSES + SK_MORE_HEAPS);
    REQUIRE(sk_heap_of_unit(sk_heap_unit_allocate(last)) == last);
    REQUIRE(sk_heap_destroy(last, 1) == 0);
    REQUIRE(sk_heap_new("again", 24, 8, 8, 0) == last);
    REQUIRE(!sk_heap_new("too many", 24, 8, 8, 0));
}

static void there_are_as_many_heaps_as_is_said(void **state)
{
    int before = 0;

    (void)state;
    sk_heap_each(count_heap, &before);
    assert_in_child(make_all_there_can_be, (uint64_t)before);
}

static void a_heap_with_units_out_is_not_destroyed_unless_forced(void **state)
{
    static const size_t sizes[] = {64, 100000};

    (void)state;
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = plain("stays", sizes[i]);
        void *units[5];

        for (int k = 0; k < 5; k++)
            units[k] = sk_heap_unit_allocate(heap);
        sk_heap_unit_unref(units[4]);
        assert_int_equal(sk_heap_destroy(heap, 0), 4);
        assert_int_equal(info_of(heap).live_units, 4);
        sk_heap_unit_unref(units[3]);
        assert_int_equal(sk_heap_destroy(heap, 0), 3);
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
    }
}

static void reports_name_every_heap(void **state)
{
    sk_heap *heap = sk_heap_new("with \"quotes\"", 64, 4, 7, 0);
    FILE *file = tmpfile();
    const char *text;

    (void)state;
    use_and_drop(heap, 5);
    assert_int_equal(sk_heap_report(NULL, fileno(file), SK_HEAP_JSON), 0);
    assert_int_equal(sk_heap_report(heap, fileno(file), SK_HEAP_TEXT), 0);
    text = content_of(file);
    assert_non_null(strstr(text, "\"schema\": \"skheap-report/1\""));
    assert_non_null(strstr(text, "\"label\": \"with _quotes_\""));
    assert_non_null(strstr(text, "\"maximum_units\": 7"));
    assert_non_null(strstr(text, "\"allocations\": 5"));
    assert_non_null(strstr(text, "\nwith _quotes_"));
    assert_int_equal(sk_heap_report(heap, -1, SK_HEAP_TEXT), -1);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

static bool is_locked(size_t unit_size, size_t alignment)
{
    const struct sk_heap_attributes how = {
        .label = "sized", .unit_size = unit_size, .alignment = alignment,
        .units_per_chunk = 1, .options = SK_HEAP_UNLIMITED};
    sk_heap *heap = sk_heap_new_with(&how);
    bool is_more = heap->library->is_more;

    assert_int_equal(sk_heap_destroy(heap, 0), 0);
    return is_more;
}

/* As the manual says. */
static void a_heap_has_a_bin_if_it_is_small_and_one_is_free(void **state)
{
    enum { BINS = 171 };
    sk_heap *heaps[BINS + 1];

    (void)state;
    assert_false(is_locked(36880, 0));
    assert_true(is_locked(36881, 0));
    assert_false(is_locked(36880 - 4096, 4096));
    assert_true(is_locked(36881 - 4096, 4096));
    for (int i = 0; i <= BINS; i++) {
        heaps[i] = plain("one of many", 16);
        assert_int_equal(heaps[i]->library->is_more, i == BINS);
    }
    assert_true(is_locked(16, 0));
    assert_int_equal(sk_heap_destroy(heaps[7], 0), 0);
    assert_false(is_locked(16, 0));
    assert_true(heaps[BINS]->library->is_more);
    for (int i = 0; i <= BINS; i++)
        if (i != 7)
            assert_int_equal(sk_heap_destroy(heaps[i], 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unit_lives_until_its_last_unref),
        cmocka_unit_test(every_size_and_alignment_is_served),
        cmocka_unit_test(wrong_arguments_are_null_and_einval),
        cmocka_unit_test(the_maximum_is_exact),
        cmocka_unit_test(constructed_state_survives_being_free),
        cmocka_unit_test(a_destructor_alone_is_called_for_what_was_used),
        cmocka_unit_test(a_zeroing_heap_hands_out_zeros),
        cmocka_unit_test(thousands_of_heaps_live_at_once),
        cmocka_unit_test(there_are_as_many_heaps_as_is_said),
        cmocka_unit_test(a_heap_with_units_out_is_not_destroyed_unless_forced),
        cmocka_unit_test(reports_name_every_heap),
        cmocka_unit_test(a_heap_has_a_bin_if_it_is_small_and_one_is_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
