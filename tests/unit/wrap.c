/*
 * wrap.c - counters that come to their ends in a process that lives long.
 */
#include "unit.h"

#include "child.h"
#include "getput.h"
#include "heaps.h"
#include "stats.h"
#include "threads.h"
#include "tick.h"

static void meets_its_maximum(uint64_t tightness)
{
    sk_heap *heap = bounded(20);

    atomic_store(&heap->library->tightness, (uint32_t)tightness);
    take_exactly(heap, 20);
}

/* The number of times it got tight has 30 bits. */
static void a_maximum_may_be_met_any_number_of_times(void **state)
{
    (void)state;
    for (uint64_t before = 0; before < 4; before++)
        assert_in_child(meets_its_maximum,
                        UINT32_MAX / SK_TIGHTNESS_STEPS * SK_TIGHTNESS_STEPS -
                            before * SK_TIGHTNESS_STEPS);
}

/* Each pop and push add one to the meter: its low half may run over. */
static void pop_and_push(sk_heap *heap, uint64_t pairs)
{
    sk_heap_unit_unref(sk_heap_unit_allocate(heap));
    sk_state_bin(sk_self, heap->slot)->meter += (int64_t)pairs - 1;
}

enum { PAIRS_SHIFT = SK_ROOM_SHIFT + 5, MAXIMUM = 200 };

static void an_exact_maximum_stays_exact(void **state)
{
    sk_heap *heap = bounded(MAXIMUM);
    void *units[MAXIMUM];
    uint64_t done = UINT64_C(1) << PAIRS_SHIFT;

    (void)state;
    sk_heap_unit_unref(sk_heap_unit_allocate(heap));
    pop_and_push(heap, done);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MAXIMUM; i++)
            assert_non_null(units[i] = sk_heap_unit_allocate(heap));
        assert_fails(sk_heap_unit_allocate(heap), NULL, ENOMEM);
        assert_int_equal(info_of(heap).live_units, MAXIMUM);
        for (int i = 0; i < MAXIMUM; i++)
            sk_heap_unit_unref(units[i]);
    }
    assert_int_equal(info_of(heap).allocations, 1 + done + 3 * MAXIMUM);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

/* The bin takes more than it was made for, and all of that has a right. */
static void what_spilled_into_room_is_no_unit(void **state)
{
    sk_heap *heap = bounded(MAXIMUM);
    void *units[MAXIMUM];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MAXIMUM / 2; i++)
            assert_non_null(units[i] = sk_heap_unit_allocate(heap));
        pop_and_push(heap, UINT64_C(1) << PAIRS_SHIFT);
        for (int i = 0; i < MAXIMUM / 2; i++)
            sk_heap_unit_unref(units[i]);
        assert_int_equal(info_of(heap).live_units, 0);
    }
    for (int i = 0; i < MAXIMUM; i++)
        assert_non_null(units[i] = sk_heap_unit_allocate(heap));
    assert_fails(sk_heap_unit_allocate(heap), NULL, ENOMEM);
    for (int i = 0; i < MAXIMUM; i++)
        sk_heap_unit_unref(units[i]);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

static void *spill_and_end(void *shared)
{
    sk_heap *heap = shared;
    void *units[8];

    for (int i = 0; i < 8; i++)
        assert_non_null(units[i] = sk_heap_unit_allocate(heap));
    for (int i = 0; i < 4; i++)
        sk_heap_unit_unref(units[i]);
    pop_and_push(heap, UINT64_C(3) << SK_ROOM_SHIFT);
    for (int i = 4; i < 8; i++)
        sk_heap_unit_unref(units[i]);
    sk_state_park();
    return NULL;
}

static void a_thread_that_ends_takes_no_unit_along(void **state)
{
    sk_heap *heap = bounded(MAXIMUM);

    (void)state;
    run(spill_and_end, heap);
    take_exactly(heap, MAXIMUM);
}

/* --- malloc's bins -------------------------------------------------------- */

enum { LONG_LIST = 66000, BYTES = 64 };

/* The bin takes that many more than it was made for. */
static void spill(size_t bytes, int64_t times)
{
    sk_state_bin(sk_self, sk_class_slot(bytes))->meter += times
                                                          << SK_ROOM_SHIFT;
}

static void empties_a_long_bin(uint64_t times)
{
    static void *units[LONG_LIST];
    uint64_t before;

    for (int i = 0; i < LONG_LIST; i++)
        REQUIRE((units[i] = get(BYTES)) != NULL);
    before = now()->heaps[class_of(BYTES)].allocations;
    spill(BYTES, (int64_t)times);
    for (int i = 0; i < LONG_LIST; i++)
        put(units[i]);
    sk_state_trim();
    REQUIRE(now()->heaps[class_of(BYTES)].in_use == 0);
    REQUIRE(now()->heaps[class_of(BYTES)].allocations ==
            before + (times << SK_ROOM_SHIFT));
    REQUIRE(sk_state_is_sound(sk_self));
}

/* 70000 times 2^30 are 8 days of 100 million a second. */
static void a_bin_may_hold_what_it_got_room_for(void **state)
{
    (void)state;
    assert_in_child(empties_a_long_bin, 1000);
    assert_in_child(empties_a_long_bin, 70000);
}

static void ticks_with_a_full_meter(uint64_t below)
{
    struct sk_bin *bin = sk_state_bin(sk_self, sk_class_slot(BYTES));
    uint64_t before;

    put(get(BYTES));
    bin->meter += SK_ROOM_ONE - 1 - (bin->meter & (SK_ROOM_ONE - 1));
    bin->meter -= (int64_t)below;
    before = now()->heaps[class_of(BYTES)].allocations;
    sk_config.purge_delay = 1;
    tick();
    for (uint64_t i = 0; i < below + 10; i++)
        put(get(BYTES));
    REQUIRE(sk_state_is_sound(sk_self));
    REQUIRE(now()->heaps[class_of(BYTES)].allocations - before == below + 10);
}

/* And the bin was in use, so the tick leaves it as it is. */
static void a_tick_makes_room_in_the_meter(void **state)
{
    (void)state;
    assert_in_child(ticks_with_a_full_meter, 0);
    assert_in_child(ticks_with_a_full_meter, 1000);
}

/* --- figures -------------------------------------------------------------- */

static void a_heaps_allocations_never_fall(void **state)
{
    sk_heap *heap = plain("busy", 64);
    uint64_t done = 0;

    (void)state;
    for (int round = 0; round < 8; round++) {
        pop_and_push(heap, (uint64_t)SK_ROOM_ONE / 3);
        done += (uint64_t)SK_ROOM_ONE / 3;
        assert_int_equal(info_of(heap).allocations, done);
    }
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

/* Whoever looks is interrupted between its two reads. */
static void a_busy_chunk_has_no_more_units_out_than_it_has(void **state)
{
    void *unit = get(BYTES);
    const struct sk_heap *heap = sk_heap_of_bin(class_of(BYTES));
    struct sk_chunk *chunk = sk_chunk_of(heap, sk_region_granule(unit));
    const struct sk_stats *stats;

    (void)state;
    atomic_fetch_add(&chunk->post, UINT64_C(1000000) << 32);
    stats = now();
    assert_in_range(stats->heaps[class_of(BYTES)].in_use, 1,
                    stats->heaps[class_of(BYTES)].chunks * heap->chunk_units);
    assert_true(stats->in_use_bytes <= stats->chunk_bytes);
    atomic_fetch_sub(&chunk->post, UINT64_C(1000000) << 32);
    put(unit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_maximum_may_be_met_any_number_of_times),
        cmocka_unit_test(an_exact_maximum_stays_exact),
        cmocka_unit_test(what_spilled_into_room_is_no_unit),
        cmocka_unit_test(a_thread_that_ends_takes_no_unit_along),
        cmocka_unit_test(a_bin_may_hold_what_it_got_room_for),
        cmocka_unit_test(a_tick_makes_room_in_the_meter),
        cmocka_unit_test(a_heaps_allocations_never_fall),
        cmocka_unit_test(a_busy_chunk_has_no_more_units_out_than_it_has),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
