/*
 * ref_tests.h - reference counts: exact under threads, and their limits.  A
 * program of its own for each way to compile a ref.
 */
#include "death.h"

#include "sk_heap_parts.h"

#include <pthread.h>

static sk_heap *heap;
static int *unit;

enum { THREADS = 6, TURNS = 50000 };

static void *ref_and_unref(void *arg)
{
    void *held[8];

    (void)arg;
    for (int turn = 0; turn < TURNS / 8; turn++) {
        for (int i = 0; i < 8; i++)
            held[i] = sk_heap_unit_ref(unit);
        for (int i = 0; i < 8; i++)
            sk_heap_unit_unref(held[i]);
    }
    sk_heap_unit_unref(unit); /* the one it was given */
    sk_state_park();
    return NULL;
}

static uint64_t live(void)
{
    struct sk_heap_info info;

    sk_heap_read(heap, &info);
    return info.live_units;
}

static void the_count_is_exact_under_threads(void **state)
{
    pthread_t ids[THREADS];

    (void)state;
    for (int round = 0; round < 5; round++) {
        unit = sk_heap_unit_allocate(heap);
        for (int i = 0; i < THREADS; i++)
            sk_heap_unit_ref(unit);
        for (int i = 0; i < THREADS; i++)
            pthread_create(&ids[i], NULL, ref_and_unref, NULL);
        for (int i = 0; i < THREADS; i++)
            pthread_join(ids[i], NULL);
        assert_int_equal(sk_header_count(sk_header_of(unit)->own), 1);
        assert_int_equal(live(), 1);
        sk_heap_unit_unref(unit);
        assert_int_equal(live(), 0);
    }
}

static _Atomic(int *) handed;

/* Whoever lets go last sees what the others wrote before they let go. */
static void *write_and_unref(void *arg)
{
    int *mine = atomic_load(&handed);

    mine[1 + (uintptr_t)arg] = 42;
    sk_heap_unit_unref(mine);
    sk_state_park();
    return NULL;
}

static void the_last_holder_sees_what_all_wrote(void **state)
{
    pthread_t ids[2];

    (void)state;
    for (int round = 0; round < 500; round++) {
        int *again;

        unit = sk_heap_unit_allocate(heap);
        sk_heap_unit_ref(unit);
        atomic_store(&handed, unit);
        for (uintptr_t i = 0; i < 2; i++)
            pthread_create(&ids[i], NULL, write_and_unref, (void *)i);
        for (int i = 0; i < 2; i++)
            pthread_join(ids[i], NULL);
        again = sk_heap_unit_allocate(heap);
        again[1] = again[2] = 0;
        sk_heap_unit_unref(again);
    }
    assert_int_equal(live(), 0);
}

static void ref_it(void *p)
{
    sk_heap_unit_ref(p);
}

static void unref_it(void *p)
{
    sk_heap_unit_unref(p);
}

static void too_many_or_too_few_references_end_the_program(void **state)
{
    struct sk_header *header;
    uint64_t kept;

    (void)state;
    unit = sk_heap_unit_allocate(heap);
    header = sk_header_of(unit);
    kept = header->own;
    header->own = kept - (uint64_t)(SK_COUNT_MOST - 2) * SK_HEADER_ONE;
    assert_int_equal(sk_header_count(header->own), SK_COUNT_MOST - 1);
    sk_heap_unit_ref(unit);
    dies_saying(ref_it, unit, "sk_heap_unit_ref(): 0x");
    dies_saying(ref_it, unit, "has too many references (heap 'counted')");
    sk_heap_unit_unref(unit);
    header->own = kept;
    sk_heap_unit_unref(unit);
    dies_saying(ref_it, unit, "is free (heap 'counted')");
    dies_saying(unref_it, unit, "sk_heap_unit_unref(): 0x");
    dies_saying(unref_it, unit, "is free (heap 'counted')");
    dies_saying(ref_it, &kept, "is no unit of any heap");
}

/* Reserved, but never made accessible: not even looked at. */
static void pointers_that_cannot_be_read_are_named_too(void **state)
{
    char *last = sk_region_address(sk_region_granules - 1);

    (void)state;
    dies_saying(ref_it, last + 64, "is no unit of any heap");
    dies_saying(unref_it, last + 64, "is no unit of any heap");
    dies_saying(ref_it, NULL, "0x0 is no unit of any heap");
    dies_saying(unref_it, NULL, "0x0 is no unit of any heap");
    dies_saying(unref_it, (void *)8, "is no unit of any heap");
}

/* In front of the region's first chunk is a page that cannot be read. */
static void the_regions_first_address_is_named_too(void **state)
{
    char *base = sk_region_address(0);

    (void)state;
    unit = sk_heap_unit_allocate(heap);
    assert_ptr_equal(sk_heap_unit_ref(unit), unit);
    for (size_t i = 0; i < 16; i += 8) {
        dies_saying(ref_it, base + i, "sk_heap_unit_ref(): 0x");
        dies_saying(unref_it, base + i, "sk_heap_unit_unref(): 0x");
        if (sk_library_of(base) == heap)
            dies_saying(unref_it, base + i, "is not the start of a unit");
    }
    sk_heap_unit_unref(unit);
    sk_heap_unit_unref(unit);
}

/* Also of memory that the heap got after the first were counted. */
static void units_of_any_chunk_are_counted(void **state)
{
    enum { MANY = 5000 };
    static void *units[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        units[i] = sk_heap_unit_allocate(heap);
        assert_ptr_equal(sk_heap_unit_ref(units[i]), units[i]);
    }
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(live(), MANY);
        for (int i = 0; i < MANY; i++)
            sk_heap_unit_unref(units[i]);
    }
    assert_int_equal(live(), 0);
}

static int open_heap(void **state)
{
    (void)state;
    heap = sk_heap_new("counted", 64, 64, 0, SK_HEAP_UNLIMITED);
    return heap ? 0 : -1;
}

static int close_heap(void **state)
{
    (void)state;
    return (int)sk_heap_destroy(heap, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_or_too_few_references_end_the_program),
        cmocka_unit_test(pointers_that_cannot_be_read_are_named_too),
        cmocka_unit_test(the_regions_first_address_is_named_too),
        cmocka_unit_test(units_of_any_chunk_are_counted),
        cmocka_unit_test(the_count_is_exact_under_threads),
        cmocka_unit_test(the_last_holder_sees_what_all_wrote),
    };

    return cmocka_run_group_tests(tests, open_heap, close_heap);
}
