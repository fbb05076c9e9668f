/*
 * warm.c - what a thread leaves behind for the next one.
 */
#include "unit.h"

#include "child.h"
#include "figures.h"
#include "sk_park_parts.h"
#include "stats.h"
#include "threads.h"
#include "tick.h"

enum { THREADS = 12, WARM = 4 };

static pthread_barrier_t barrier;

static uint64_t chunks_of(size_t bytes)
{
    return now()->heaps[class_of(bytes)].chunks;
}

/* Below a cache line: no thread shares chunks of these. */
static void use(void)
{
    for (size_t bytes = 16; bytes <= 48; bytes += 16)
        put(get(bytes));
}

static void *serve(void *unused)
{
    (void)unused;
    use();
    sk_state_park();
    return NULL;
}

static void *serve_together(void *unused)
{
    (void)unused;
    use();
    pthread_barrier_wait(&barrier);
    sk_state_park();
    return NULL;
}

static void the_next_thread_gets_its_chunks(void **state)
{
    uint64_t takes;

    (void)state;
    sk_config.purge_delay = 60000;
    for (int i = 0; i < THREADS; i++) /* its first tick comes at once */
        run_threads(serve, 1);
    takes = figures().takes;
    for (int i = 0; i < THREADS; i++)
        run_threads(serve, 1);
    assert_int_equal(figures().takes, takes);
    sk_config.purge_delay = 500;
}

static void a_tick_gives_them_up(void **state)
{
    (void)state;
    run_threads(serve, 1);
    assert_int_equal(chunks_of(32) + chunks_of(48), 2);
    sk_config.purge_delay = 1;
    for (int i = 0; i < 3; i++)
        tick();
    sk_config.purge_delay = 500;
    assert_int_equal(chunks_of(32) + chunks_of(48), 0);
}

static void give_up_after(uint64_t days)
{
    run_threads(serve, 1);
    REQUIRE(chunks_of(32) + chunks_of(48) == 2);
    sk_os_pretend_later(days * 24 * 60 * 60 * 1000);
    sk_config.purge_delay = 1;
    for (int i = 0; i < 3; i++)
        tick();
    REQUIRE(chunks_of(32) + chunks_of(48) == 0);
}

/* 2^31 and 2^32 milliseconds are 25 and 50 days. */
static void so_does_one_after_any_number_of_days(void **state)
{
    (void)state;
    for (uint64_t days = 5; days < 110; days += 10)
        assert_in_child(give_up_after, days);
}

/* As in a fork's child that is in another time namespace. */
static void give_up_before(uint64_t days)
{
    sk_os_pretend_later(days * 24 * 60 * 60 * 1000);
    sk_config.purge_delay = 1;
    tick();
    sk_config.purge_delay = 500;
    sk_os_pretend_later(0);
    give_up_after(0);
}

static void so_does_one_where_the_clock_was_set_back(void **state)
{
    (void)state;
    assert_in_child(give_up_before, 1);
    assert_in_child(give_up_before, 30);
}

static void a_trim_gives_them_up(void **state)
{
    (void)state;
    sk_state_trim();
    assert_int_equal(figures().used_bytes, 0);
    run_threads(serve, 1);
    assert_true(figures().used_bytes > 0);
    sk_state_trim();
    assert_int_equal(figures().used_bytes, 0);
}

static void a_few_states_keep_theirs_and_no_more(void **state)
{
    size_t each = 3 * SK_GRANULE_BYTES;

    (void)state;
    sk_state_trim();
    pthread_barrier_init(&barrier, NULL, THREADS);
    run_threads(serve_together, THREADS);
    pthread_barrier_destroy(&barrier);
    assert_in_range(figures().used_bytes, each, WARM * each);
}

static void without_a_delay_none_does(void **state)
{
    (void)state;
    sk_state_trim();
    sk_config.purge_delay = 0;
    run_threads(serve, 1);
    assert_int_equal(figures().used_bytes, 0);
    sk_config.purge_delay = 500;
}

/* --- what is in its bins --------------------------------------------------- */

enum { BYTES = 128, UNITS = 6 }; /* less than a bin holds at first */

/* Of the states that others will adopt. */
static uint32_t units_in_parked_bins(size_t bytes)
{
    uint32_t units = 0;

    for (uint32_t id = 1; id <= sk_state_count(); id++)
        if (!sk_commons_is(id) && sk_state_at(id) != sk_self)
            units += sk_state_bin_units(sk_state_at(id), class_of(bytes));
    return units;
}

/* Units of the main thread's, that another one frees. */
static void *given[UNITS], *last;

static void *free_given(void *unused)
{
    for (int i = 0; i < UNITS; i++)
        put(last = given[i]);
    sk_state_park();
    return unused;
}

static void give_all_to_a_thread(void)
{
    sk_state_trim();
    for (int i = 0; i < UNITS; i++)
        given[i] = get(BYTES);
    run(free_given, NULL);
    assert_int_equal(now()->heaps[class_of(BYTES)].in_use, 0);
    assert_int_equal(units_in_parked_bins(BYTES), UNITS);
}

static void *take_one(void *into)
{
    put(*(void **)into = get(BYTES));
    sk_state_park();
    return NULL;
}

static void the_next_thread_gets_the_units_of_its_bins(void **state)
{
    void *first = NULL;

    (void)state;
    give_all_to_a_thread();
    run(take_one, &first);
    assert_ptr_equal(first, last);
}

/* Of the states that others will adopt: they have nothing, and are parked. */
static void check_that_they_are_cold(void)
{
    for (uint32_t id = 1; id <= sk_state_count(); id++) {
        struct sk_state *parked = sk_state_at(id);

        if (sk_commons_is(id) || parked == sk_self)
            continue;
        assert_int_equal(atomic_load(&parked->status), SK_PARKED);
        assert_false(sk_park_is_warm(id));
        assert_int_equal(parked->batched_units, 0);
        assert_int_equal(parked->idle_bytes, 0);
        assert_true(sk_state_is_sound(parked));
        for SK_EACH_USED_BIN (parked, bin)
            assert_int_equal(parked->racks[bin].carving, 0);
    }
}

static void a_tick_sends_them_home(void **state)
{
    (void)state;
    give_all_to_a_thread();
    run_threads(serve, 1);
    sk_config.purge_delay = 1;
    for (int i = 0; i < 3; i++)
        tick();
    sk_config.purge_delay = 500;
    assert_int_equal(units_in_parked_bins(BYTES), 0);
    check_that_they_are_cold();
}

static void a_trim_sends_them_home(void **state)
{
    (void)state;
    give_all_to_a_thread();
    sk_state_trim();
    assert_int_equal(units_in_parked_bins(BYTES), 0);
}

static void without_a_delay_they_are_gone_at_once(void **state)
{
    (void)state;
    sk_state_trim();
    sk_config.purge_delay = 0;
    run(take_one, &last);
    assert_int_equal(units_in_parked_bins(BYTES), 0);
    sk_config.purge_delay = 500;
}

static void *hoard(void *unused)
{
    static void *units[4096];

    for (size_t bytes = 1024; bytes <= 32768; bytes += 1024) {
        for (int i = 0; i < 64; i++)
            units[i] = get(bytes);
        for (int i = 0; i < 64; i++)
            put(units[i]);
    }
    assert_true(sk_self->magazine_bytes > SK_CACHE_BYTES);
    put(get(BYTES));
    sk_state_park();
    return unused;
}

static void much_is_handed_on_at_once(void **state)
{
    (void)state;
    sk_state_trim();
    run(hoard, NULL);
    assert_int_equal(units_in_parked_bins(BYTES), 0);
    assert_int_equal(units_in_parked_bins(32768), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_thread_gets_its_chunks),
        cmocka_unit_test(a_tick_gives_them_up),
        cmocka_unit_test(so_does_one_after_any_number_of_days),
        cmocka_unit_test(so_does_one_where_the_clock_was_set_back),
        cmocka_unit_test(a_trim_gives_them_up),
        cmocka_unit_test(a_few_states_keep_theirs_and_no_more),
        cmocka_unit_test(without_a_delay_none_does),
        cmocka_unit_test(the_next_thread_gets_the_units_of_its_bins),
        cmocka_unit_test(a_tick_sends_them_home),
        cmocka_unit_test(a_trim_sends_them_home),
        cmocka_unit_test(without_a_delay_they_are_gone_at_once),
        cmocka_unit_test(much_is_handed_on_at_once),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
