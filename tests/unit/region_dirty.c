/*
 * region_dirty.c - runs given back with what was written in them: kept for
 * the next taker, purged when they are old or too many.
 */
#include "runs.h"

static void stays_dirty(uint64_t unused)
{
    uint64_t calls;
    uint32_t run;
    char *start;

    (void)unused;
    REQUIRE(sk_region_open(64 << 20));
    run = take(1, 1);
    start = sk_region_address(run);
    memset(start, 0x77, 2 * SK_GRANULE_BYTES);
    calls = sk_os_called(SK_OS_PURGE);
    give(run, 1, 1, false);
    REQUIRE(figures().dirty_bytes == 2 * SK_GRANULE_BYTES);
    REQUIRE(sk_os_called(SK_OS_PURGE) == calls);
    REQUIRE(take(1, 1) == run && start[70000] == 0x77);
    REQUIRE(figures().dirty_bytes == 0);
    give(run, 1, 1, false);
    REQUIRE(sk_region_purge(true) == 2 * SK_GRANULE_BYTES);
    REQUIRE(sk_os_called(SK_OS_PURGE) == calls + 1);
    REQUIRE(sk_region_purge(true) == 0);
    REQUIRE(take(1, 1) == run && start[70000] == 0);
}

static void a_run_just_given_is_taken_again_unpurged(void **state)
{
    (void)state;
    assert_in_child(stays_dirty, 0);
}

static void is_purged_above_what_is_kept(uint64_t unused)
{
    enum { MANY = 1024 };

    (void)unused;
    REQUIRE(sk_region_open(256 << 20));
    for (uint32_t i = 0; i < MANY; i++)
        REQUIRE(take(0, 1) == i);
    for (uint32_t i = 0; i < MANY; i++)
        give(i, 0, 1, false);
    REQUIRE(figures().dirty_bytes <= 4 << 20);
    REQUIRE(figures().purges > MANY / 2);
    /* Neighbours go together. */
    REQUIRE(sk_os_called(SK_OS_PURGE) <= figures().purges / 8);
    REQUIRE(sk_region_is_sound());
}

static void a_burst_of_dirty_runs_is_purged_but_for_a_few(void **state)
{
    (void)state;
    assert_in_child(is_purged_above_what_is_kept, 0);
}

/* All it has, again and again: after the first times the pages stay.  It was
 * 200 times slower when at most half could. */
static void breathes(uint64_t megabytes)
{
    uint32_t many = (uint32_t)(megabytes << 4), runs[2048];
    uint64_t purges = 0;

    REQUIRE(sk_region_open(256 << 20));
    for (int breath = 0; breath < 20; breath++) {
        if (breath == 4)
            purges = figures().purges;
        for (uint32_t i = 0; i < many; i++)
            REQUIRE((runs[i] = take(0, 1)) != SK_NONE);
        for (uint32_t i = 0; i < many; i++)
            give(runs[i], 0, 1, false);
    }
    /* A second may pass meanwhile, and some of it fade. */
    REQUIRE(figures().purges - purges <= many);
    REQUIRE(sk_region_is_sound());
}

static void a_program_that_breathes_keeps_its_pages(void **state)
{
    (void)state;
    assert_in_child(breathes, 4);
    assert_in_child(breathes, 60);
}

static void purges_without_delay(uint64_t unused)
{
    uint32_t run;
    char *start;

    (void)unused;
    sk_config.purge_delay = 0;
    REQUIRE(sk_region_open(64 << 20));
    run = take(1, 1);
    start = sk_region_address(run);
    memset(start, 0x77, 2 * SK_GRANULE_BYTES);
    give(run, 1, 1, false);
    REQUIRE(figures().dirty_bytes == 0);
    REQUIRE(sk_os_called(SK_OS_PURGE) == 1);
    REQUIRE(sk_region_is_sound());
    REQUIRE(take(1, 1) == run && start[0] == 0 && start[70000] == 0);
}

static void without_a_delay_a_run_is_purged_when_it_is_given(void **state)
{
    (void)state;
    assert_in_child(purges_without_delay, 0);
}

static void waits_for_the_delay(uint64_t delay_ms)
{
    uint64_t until;

    sk_config.purge_delay = delay_ms;
    REQUIRE(sk_region_open(64 << 20));
    until = sk_os_now_ms() + delay_ms;
    give(take(0, 1), 0, 1, false);
    for (;;) {
        size_t purged = sk_region_purge(false);

        if (purged > 0) {
            REQUIRE(purged == SK_GRANULE_BYTES);
            REQUIRE(sk_os_now_ms() >= until);
            return;
        }
        REQUIRE(sk_os_now_ms() < until + 10000);
        usleep(1000);
    }
}

static void a_dirty_run_waits_as_long_as_the_option_says(void **state)
{
    (void)state;
    assert_in_child(waits_for_the_delay, 30);
    assert_in_child(waits_for_the_delay, 200);
}

static void is_purged_by_a_taker(uint64_t delay_ms)
{
    uint64_t until = sk_os_now_ms() + delay_ms + 5000;

    sk_config.purge_delay = delay_ms;
    REQUIRE(sk_region_open(64 << 20));
    give(take(0, 1), 0, 1, false);
    while (figures().dirty_bytes > 0) {
        REQUIRE(sk_os_now_ms() < until);
        REQUIRE(take(1, 1) != SK_NONE);
        usleep(1000);
    }
    REQUIRE(sk_region_is_sound());
}

static void who_takes_a_run_purges_the_old_ones(void **state)
{
    (void)state;
    assert_in_child(is_purged_by_a_taker, 20);
}

/* Nothing happens meanwhile. */
static void is_old_after(uint64_t days)
{
    REQUIRE(sk_region_open(64 << 20));
    give(take(0, 1), 0, 1, false);
    sk_os_pretend_later(days * 24 * 60 * 60 * 1000);
    give(take(1, 1), 1, 1, false);
    REQUIRE(sk_region_purge(false) == 0);
    REQUIRE(figures().dirty_bytes == 2 * SK_GRANULE_BYTES);
}

/* 2^31 and 2^32 milliseconds are 25 and 50 days. */
static void a_dirty_run_is_old_after_any_number_of_days(void **state)
{
    (void)state;
    for (uint64_t days = 5; days < 110; days += 10)
        assert_in_child(is_old_after, days);
}

/* As in a fork's child that is in another time namespace. */
static void is_old_on_another_clock(uint64_t days)
{
    REQUIRE(sk_region_open(64 << 20));
    sk_os_pretend_later(days * 24 * 60 * 60 * 1000);
    give(take(0, 1), 0, 1, false);
    sk_os_pretend_later(0);
    give(take(1, 1), 1, 1, false);
    REQUIRE(figures().dirty_bytes == 2 * SK_GRANULE_BYTES);
}

static void a_dirty_run_is_old_where_the_clock_was_set_back(void **state)
{
    (void)state;
    assert_in_child(is_old_on_another_clock, 1);
    assert_in_child(is_old_on_another_clock, 30);
}

static void survives_refused_purge(uint64_t unused)
{
    uint32_t run;

    (void)unused;
    REQUIRE(sk_region_open(64 << 20));
    run = take(0, 1);
    give(run, 0, 1, false);
    sk_os_fail(SK_OS_PURGE, UINT64_MAX);
    REQUIRE(sk_region_purge(true) == 0);
    REQUIRE(figures().purges == 0);
    REQUIRE(sk_region_is_sound());
    REQUIRE(take(0, 1) == run);
}

/* As after mlockall. */
static void a_refused_purge_is_not_counted_and_loses_no_run(void **state)
{
    (void)state;
    assert_in_child(survives_refused_purge, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_just_given_is_taken_again_unpurged),
        cmocka_unit_test(a_burst_of_dirty_runs_is_purged_but_for_a_few),
        cmocka_unit_test(a_program_that_breathes_keeps_its_pages),
        cmocka_unit_test(without_a_delay_a_run_is_purged_when_it_is_given),
        cmocka_unit_test(a_dirty_run_waits_as_long_as_the_option_says),
        cmocka_unit_test(who_takes_a_run_purges_the_old_ones),
        cmocka_unit_test(a_dirty_run_is_old_after_any_number_of_days),
        cmocka_unit_test(a_dirty_run_is_old_where_the_clock_was_set_back),
        cmocka_unit_test(a_refused_purge_is_not_counted_and_loses_no_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
