/*
 * grown_fork.c - a fork in the midst of who makes, resizes or frees a block
 * that grew: the child's sums are right.
 */
#define _GNU_SOURCE
#include "blocks.h"
#include "getput.h"
#include "stepfork.h"

#include "sk_grown_parts.h"

#ifdef HAS_TRAP

/* So many instructions from one to the next. */
enum { APART = 5 };

static long steps;

/* Two blocks and one that a handler freed late. */
static void change_all(void)
{
    char *p = sk_grown_alloc(40000), *q = sk_grown_alloc(300000);
    struct sk_state *self;

    REQUIRE(p && q);
    REQUIRE(sk_grown_resize(p, 100000) && sk_grown_resize(q, 50000));
    self = sk_state_hide();
    sk_grown_free(p);
    sk_state_show(self);
    sk_grown_trim();
    sk_grown_free(q);
}

static void is_sound_in_child(uint64_t unused)
{
    (void)unused;
    sk_state_after_fork();
    REQUIRE(sk_grown_is_sound());
    sk_grown_free(grown(100000, 1));
    REQUIRE(sk_grown_is_sound());
}

static bool is_due(void)
{
    return sk_grown_sums.guard.lock.word != 0 && steps++ % APART == 0;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    if (is_due())
        have_forked();
}

static void on_step_fork(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    if (is_due() && fork_here(context))
        sk_state_after_fork();
}

static void change_while(void (*step)(int, siginfo_t *, void *))
{
    put(get(16));
    trap(step);
    send_self(SIGUSR1);
    change_all();
    if (forks.is_child) {
        REQUIRE(sk_grown_is_sound() && figures().in_use == 0);
        REQUIRE(sk_region_is_sound());
        _exit(0);
    }
    send_self(SIGUSR2);
    require_good_forks(100);
}

static void another_forks(uint64_t unused)
{
    (void)unused;
    open_heaps();
    start_forker(is_sound_in_child);
    change_while(on_step);
    end_forker();
}

static void a_child_has_right_sums_wherever_another_thread_was(void **state)
{
    (void)state;
    assert_in_child(another_forks, 0);
}

static void a_handler_forks(uint64_t unused)
{
    (void)unused;
    open_heaps();
    change_while(on_step_fork);
}

static void a_child_goes_on_counting_where_its_handler_forked(void **state)
{
    (void)state;
    assert_in_child(a_handler_forks, 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        trap_unit_test(a_child_has_right_sums_wherever_another_thread_was),
        trap_unit_test(a_child_goes_on_counting_where_its_handler_forked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
