/*
 * grown_fork.c - a fork in the midst of who makes, resizes or frees a block
 * that grew: the child's sums are right.
 */
#define _GNU_SOURCE
#include "blocks.h"
#include "getput.h"
#include "threads.h"
#include "trap.h"

#include "sk_grown_parts.h"

#ifdef HAS_TRAP

/* So many instructions from one to the next. */
enum { APART = 5 };

static long steps;
static _Atomic bool is_wanted, is_over;
static _Atomic int forks, failures;
static bool is_child;

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

static void *fork_when_wanted(void *unused)
{
    (void)unused;
    while (!atomic_load(&is_over)) {
        if (atomic_load(&is_wanted)) {
            atomic_fetch_add(&failures, status_of(is_sound_in_child, 0) != 0);
            atomic_fetch_add(&forks, 1);
            atomic_store(&is_wanted, false);
        }
        usleep(20);
    }
    return NULL;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    if (sk_grown_sums.lock.word == 0 || steps++ % APART != 0)
        return;
    atomic_store(&is_wanted, true);
    while (atomic_load(&is_wanted))
        usleep(20);
}

static void on_step_fork(int number, siginfo_t *info, void *context)
{
    int status = -1;
    pid_t child;

    (void)number, (void)info;
    if (sk_grown_sums.lock.word == 0 || steps++ % APART != 0)
        return;
    child = fork();
    if (child == 0) {
        is_child = true;
        alarm(20);
        *flags_of(context) &= ~TRAP_FLAG;
        sk_state_after_fork();
        return;
    }
    waitpid(child, &status, 0);
    atomic_fetch_add(&failures, status != 0);
    atomic_fetch_add(&forks, 1);
}

static void change_while(void (*step)(int, siginfo_t *, void *))
{
    put(get(16));
    trap(step);
    send_self(SIGUSR1);
    change_all();
    if (is_child) {
        REQUIRE(sk_grown_is_sound() && figures().in_use == 0);
        REQUIRE(sk_region_is_sound());
        _exit(0);
    }
    send_self(SIGUSR2);
    REQUIRE(atomic_load(&failures) == 0);
    REQUIRE(atomic_load(&forks) > 100);
}

static void another_forks(uint64_t unused)
{
    pthread_t id;

    (void)unused;
    open_heaps();
    REQUIRE(!pthread_create(&id, NULL, fork_when_wanted, NULL));
    change_while(on_step);
    atomic_store(&is_over, true);
    pthread_join(id, NULL);
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
