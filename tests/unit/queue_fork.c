/*
 * queue_fork.c - queues in the child of a fork, whatever other threads were at.
 */
#include "child.h"
#include "queues.h"
#include "threads.h"

#include <sched.h>

static void use_own_in_child(uint64_t unused)
{
    sk_queue *own;

    (void)unused;
    alarm(10);
    REQUIRE((own = sk_queue_new("own", 0)) != NULL);
    REQUIRE(sk_queue_put(own, own) == 0 && sk_queue_get(own) == own);
    REQUIRE(sk_queue_destroy(own) == 0);
}

static void *fork_here(void *status)
{
    *(int *)status = status_of(use_own_in_child, 0);
    return NULL;
}

/* The list's lock is held meanwhile, by a thread that is not the forker. */
static int have_forked(sk_queue *visited, void *status)
{
    (void)visited;
    run(fork_here, status);
    return 1;
}

static void a_child_has_queues_wherever_another_thread_visits_them(void **state)
{
    int status = -1;

    (void)state;
    open_queue(0);
    assert_int_equal(sk_queue_each(have_forked, &status), 1);
    assert_int_equal(status, 0);
    close_queue();
}

static void *get_one(void *unused)
{
    (void)unused;
    return sk_queue_get(queue);
}

/* Nobody there would take a count that was left off. */
static void look_for_sleepers(uint64_t unused)
{
    (void)unused;
    REQUIRE(atomic_load(&queue->getters.sleepers) == 0);
    REQUIRE(sk_queue_put(queue, queue) == 0 && sk_queue_get(queue) == queue);
}

static void nobody_sleeps_in_a_child(void **state)
{
    pthread_t id;

    (void)state;
    open_queue(0);
    assert_int_equal(pthread_create(&id, NULL, get_one, NULL), 0);
    while (atomic_load(&queue->getters.sleepers) == 0)
        sched_yield();
    assert_in_child(look_for_sleepers, 0);
    assert_int_equal(sk_queue_put(queue, queue), 0);
    join_threads(&id, 1);
    close_queue();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_child_has_queues_wherever_another_thread_visits_them),
        cmocka_unit_test(nobody_sleeps_in_a_child),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
