/*
 * region_fork.c - a fork at any instruction of who changes the region's lists:
 * the child's are whole, and no granule is lost.
 */
#define _GNU_SOURCE
#include "runs.h"
#include "sk_region_parts.h"
#include "stepfork.h"

#ifdef HAS_TRAP

/* A run that somebody took just now, or is about to give, has no owner in the
 * map and counts as used. */
static void take_all(void)
{
    size_t taken = 0, used;

    used = figures().used_bytes >> SK_GRANULE_SHIFT;
    REQUIRE(sk_region_is_sound());
    while (take(0, 99) != SK_NONE)
        taken++;
    REQUIRE(taken + used == sk_region_granules);
    REQUIRE(sk_region_is_sound());
}

static void take_all_in_child(uint64_t unused)
{
    (void)unused;
    sk_region_after_fork(false);
    take_all();
}

static bool is_within(void)
{
    return sk_pool.guard.lock.word != 0 || sk_pool.purging != 0;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    if (is_within())
        have_forked();
}

/* What has lists of every kind to change: the watermark, a larger run that is
 * cut, neighbours that merge, dirty runs that are taken, and purged. */
static void change_all(void)
{
    uint32_t runs[4];

    for (int i = 0; i < 4; i++)
        runs[i] = take(0, 1);
    give(runs[0], 0, 1, true);
    give(runs[1], 0, 1, true);
    give(runs[2], 0, 1, false);
    give(runs[3], 0, 1, false);
    runs[0] = take(0, 1);
    runs[1] = take(0, 1);
    runs[2] = take(0, 1);
    for (int i = 0; i < 3; i++)
        give(runs[i], 0, 1, false);
    sk_region_purge(true);
}

static void is_forked_at_each(uint64_t unused)
{
    (void)unused;
    REQUIRE(sk_region_open(1 << 20));
    trap(on_step);
    start_forker(take_all_in_child);
    send_self(SIGUSR1);
    change_all();
    send_self(SIGUSR2);
    end_forker();
    require_good_forks(100);
    REQUIRE(sk_pool.purging == 0);
}

static void a_child_has_all_runs_wherever_another_thread_was(void **state)
{
    (void)state;
    assert_in_child(is_forked_at_each, 0);
}

/* --- by a handler ---------------------------------------------------------- */

static void on_step_fork(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    if (is_within() && fork_here(context))
        sk_region_after_fork(true);
}

static void goes_on_at_each(uint64_t unused)
{
    (void)unused;
    REQUIRE(sk_region_open(1 << 20));
    trap(on_step_fork);
    send_self(SIGUSR1);
    change_all();
    if (forks.is_child) {
        take_all();
        _exit(0);
    }
    send_self(SIGUSR2);
    require_good_forks(100);
}

static void a_child_goes_on_wherever_its_handler_forked(void **state)
{
    (void)state;
    assert_in_child(goes_on_at_each, 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        trap_unit_test(a_child_has_all_runs_wherever_another_thread_was),
        trap_unit_test(a_child_goes_on_wherever_its_handler_forked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
