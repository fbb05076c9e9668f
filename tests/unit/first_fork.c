/*
 * first_fork.c - a child forked by another thread while a process makes its
 * first heap, or its first queue, can make its own.
 */
#define _GNU_SOURCE
#include "queues.h"
#include "stepfork.h"

#ifdef HAS_TRAP

/* The maker stops after so many instructions, and the forker forks. */
enum { APART = 29 };

static long steps;

static void use_a_queue(void)
{
    sk_queue *own = sk_queue_new("own", 0);

    REQUIRE(own);
    REQUIRE(sk_queue_put(own, own) == 0);
    REQUIRE(sk_queue_get(own) == own);
    REQUIRE(sk_queue_destroy(own) == 0);
}

static void use_a_heap(void)
{
    sk_heap *own = sk_heap_new("own", 100, 8, 0, SK_HEAP_UNLIMITED);

    REQUIRE(own);
    use_and_drop(own, 1000);
    REQUIRE(sk_heap_destroy(own, 0) == 0);
}

static void use_both(uint64_t unused)
{
    (void)unused;
    alarm(20);
    use_a_heap();
    use_a_queue();
    _exit(0);
}

static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    if (steps++ % APART != 0)
        return;
    have_forked();
}

static int see(sk_heap *heap, void *context)
{
    (void)heap, (void)context;
    return 0;
}

/* It has asked libc for other copies of the library before, whose lock a fork
 * waits for. */
static void make_first(uint64_t is_queue)
{
    alarm(30);
    REQUIRE(sk_heap_each(see, NULL) == 0);
    if (is_queue)
        use_a_heap();
    trap(on_step);
    start_forker(use_both);
    send_self(SIGUSR1);
    if (is_queue)
        queue = sk_queue_new("first", 0);
    else
        plain("first", 64);
    send_self(SIGUSR2);
    end_forker();
    require_good_forks(20);
}

static void while_the_first_heap_is_made(void **state)
{
    (void)state;
    assert_in_child(make_first, false);
}

static void while_the_first_queue_is_made(void **state)
{
    (void)state;
    assert_in_child(make_first, true);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        trap_unit_test(while_the_first_heap_is_made),
        trap_unit_test(while_the_first_queue_is_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
