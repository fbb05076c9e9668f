/*
 * fork_visit.c - a fork by the visitor of all states, while it waits for one.
 */
#define _GNU_SOURCE
#include "child.h"
#include "getput.h"
#include "threads.h"

#include "sk_state_parts.h"

#include <sched.h>

static _Atomic bool is_over;
static struct sk_state *_Atomic other;
static pthread_t thread, visitor;
static pid_t child;

static void require_good_end(void)
{
    int status = -1;

    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
}

static void use_all(void)
{
    void *units[200];

    for (int i = 0; i < 200; i++)
        REQUIRE((units[i] = get(1024)) != NULL);
    for (int i = 0; i < 200; i++)
        put(units[i]);
}

static void *be_busy_until_over(void *unused)
{
    struct sk_state *self;

    use_all();
    self = sk_self;
    sk_state_enter(self);
    atomic_store(&other, self);
    while (!(atomic_load(&self->is_halted) & SK_HALTED))
        sched_yield();
    pthread_kill(visitor, SIGUSR1);
    while (!atomic_load(&is_over))
        sched_yield();
    sk_state_leave(self);
    return unused;
}

/* In a handler of the visitor's.  In the child nobody ends what the other one
 * is busy with. */
static void fork_here(int unused)
{
    (void)unused;
    child = fork();
    if (child == 0) {
        alarm(10);
        sk_state_after_fork();
    } else {
        atomic_store(&is_over, true);
    }
}

static void see(struct sk_state *state, bool is_broken, void *seen)
{
    if (state == atomic_load(&other))
        *(bool *)seen = is_broken;
}

static void visits_and_forks(uint64_t unused)
{
    bool is_broken = false;

    (void)unused;
    sk_state_open((uint64_t)1 << 30);
    use_all();
    visitor = pthread_self();
    signal(SIGUSR1, fork_here);
    start_threads(&thread, 1, be_busy_until_over);
    while (!atomic_load(&other))
        sched_yield();
    REQUIRE(sk_state_visit(see, &is_broken));
    REQUIRE(is_broken == (child == 0));
    use_all();
    if (child == 0)
        _exit(0);
    require_good_end();
    join_threads(&thread, 1);
}

static void a_visitor_may_fork(void **state)
{
    (void)state;
    assert_in_child(visits_and_forks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_visitor_may_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
