/*
 * fork_visit.c - a fork in the middle of a visit of all states: by the visitor,
 * while it waits for one, or by a signal handler of one that is visited.
 */
#define _GNU_SOURCE
#include "child.h"
#include "getput.h"
#include "threads.h"

#include "sk_heap_parts.h"

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

/* --- by a handler of the one that is visited -------------------------------- */

static sk_heap *tight;
static struct sk_state *visited;
static void *unit;
static _Atomic bool is_visiting, has_forked;

/* Once the slow path has begun, which does not go on while it is visited. */
static void fork_in_handler(int number)
{
    (void)number;
    if (sk_self != &sk_state_nested || child >= 0)
        return;
    child = fork();
    if (child == 0)
        alarm(10);
    else
        atomic_store(&has_forked, true);
}

static void signal_until_forked(struct sk_state *state, bool is_broken,
                                void *owner)
{
    if (state != visited || is_broken)
        return;
    atomic_store(&is_visiting, true);
    while (!atomic_load(&has_forked)) {
        pthread_kill(*(pthread_t *)owner, SIGUSR1);
        usleep(1000);
    }
}

static void *visit_all(void *owner)
{
    sk_state_visit(signal_until_forked, owner);
    return NULL;
}

static void take_slowly(void)
{
    REQUIRE((unit = sk_state_alloc_unit(sk_class_slot(20480))) != NULL);
}

static void free_slowly(void)
{
    sk_state_free_unit(unit);
}

static void take_bounded(void)
{
    REQUIRE(sk_heap_unit_allocate(tight));
}

static void free_bounded(void)
{
    sk_heap_unit_unref(unit);
}

static void trim(void)
{
    sk_state_trim();
}

/* What a visitor was at is nothing to look at as one's own. */
static void must_not_be_whole(struct sk_state *state, bool is_broken,
                              void *unused)
{
    (void)unused;
    REQUIRE(child > 0 || state != visited || is_broken);
}

static void visit(void)
{
    REQUIRE(sk_state_visit(must_not_be_whole, NULL));
}

static void (*const slow_paths[])(void) = {
    take_slowly, free_slowly, take_bounded, free_bounded, trim, visit,
    sk_state_park,
};

enum { SLOW_PATHS = sizeof slow_paths / sizeof *slow_paths };

static void is_visited_and_forks(uint64_t path)
{
    pthread_t self = pthread_self();

    signal(SIGUSR1, fork_in_handler);
    REQUIRE((tight = sk_heap_new("tight", 64, 64, 64, 0)) != NULL);
    use_all();
    unit = slow_paths[path] == free_bounded ? sk_heap_unit_allocate(tight)
                                            : get(20480);
    REQUIRE(unit != NULL);
    visited = sk_self;
    child = -1;
    REQUIRE(pthread_create(&thread, NULL, visit_all, &self) == 0);
    while (!atomic_load(&is_visiting))
        sched_yield();
    slow_paths[path]();
    REQUIRE(child >= 0);
    REQUIRE(child > 0 || sk_self != visited);
    if (slow_paths[path] != sk_state_park)
        use_all();
    REQUIRE(sk_heap_unit_allocate(tight));
    if (child == 0)
        _exit(0);
    require_good_end();
    join_threads(&thread, 1);
}

static void a_handler_of_one_that_is_visited_may_fork(void **state)
{
    (void)state;
    for (uint64_t path = 0; path < SLOW_PATHS; path++)
        assert_in_child(is_visited_and_forks, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_visitor_may_fork),
        cmocka_unit_test(a_handler_of_one_that_is_visited_may_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
