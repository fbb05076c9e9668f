/*
 * queue_wait.c - who waits at a queue: for how long, at what cost, and that
 * closing wakes it.
 */
#include "queues.h"
#include "threads.h"

#include <time.h>

static void an_empty_queue_says_so_or_waits_a_while(void **state)
{
    uint64_t before = sk_os_now_ns();

    (void)state;
    open_queue(0);
    assert_fails(sk_queue_try_get(queue), NULL, EAGAIN);
    assert_fails(sk_queue_get_within(queue, 30), NULL, ETIMEDOUT);
    assert_true(sk_os_now_ns() - before >= 30000000);
    close_queue();
}

/* Begun at other moments between two ticks of a coarse clock. */
static void nobody_gives_up_early(void **state)
{
    _Atomic uint32_t never = 0;

    (void)state;
    open_queue(1);
    sk_queue_put(queue, number(0));
    for (unsigned i = 0; i < 100; i++) {
        unsigned milliseconds = 1 + i % 3;
        uint64_t before;

        if (i == 50)
            sk_queue_get(queue);
        sk_os_wait_ms(&never, 0, i % 5);
        before = sk_os_now_ns();
        if (i < 50)
            assert_fails(sk_queue_put_within(queue, queue, milliseconds), -1,
                         ETIMEDOUT);
        else
            assert_fails(sk_queue_get_within(queue, milliseconds), NULL,
                         ETIMEDOUT);
        assert_true(sk_os_now_ns() - before >= milliseconds * 1000000);
    }
    close_queue();
}

static void a_full_queue_refuses_or_waits_a_while(void **state)
{
    (void)state;
    open_queue(3);
    for (int round = 0; round < 4; round++) {
        for (uintptr_t i = 0; i < 3; i++)
            assert_int_equal(sk_queue_try_put(queue, number(i)), 0);
        assert_fails(sk_queue_try_put(queue, number(3)), -1, EAGAIN);
        assert_fails(sk_queue_put_within(queue, number(3), 10), -1, ETIMEDOUT);
        assert_int_equal(sk_queue_length(queue), 3);
        for (uintptr_t i = 0; i < 3; i++)
            assert_ptr_equal(sk_queue_try_get(queue), number(i));
    }
    close_queue();
}

static uint64_t thread_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static void waiting_costs_no_processor_time(void **state)
{
    uint64_t before = thread_ms();

    (void)state;
    open_queue(1);
    assert_null(sk_queue_get_within(queue, 300));
    assert_int_equal(sk_queue_put(queue, queue), 0);
    assert_int_equal(sk_queue_put_within(queue, queue, 300), -1);
    assert_in_range(thread_ms() - before, 0, 100);
    assert_ptr_equal(sk_queue_get(queue), queue);
    close_queue();
}

static void *wait_and_tell(void *result)
{
    *(int *)result = sk_queue_get(queue) ? 0 : errno;
    sk_state_park();
    return NULL;
}

static void *fill_and_tell(void *result)
{
    *(int *)result = sk_queue_put(queue, result) == 0 ? 0 : errno;
    sk_state_park();
    return NULL;
}

static void wait_for_sleepers(struct sk_gate *gate, uint32_t sleepers)
{
    uint64_t end = sk_os_now_ms() + 10000;
    _Atomic uint32_t never = 0;

    while (atomic_load(&gate->sleepers) < sleepers) {
        assert_true(sk_os_now_ms() < end);
        sk_os_wait_ms(&never, 0, 1);
    }
}

enum { FULL = 4 };

static void *put_one(void *entry)
{
    sk_queue_put(queue, entry);
    sk_state_park();
    return NULL;
}

static bool comes_to(size_t length)
{
    uint64_t end = sk_os_now_ms() + 10000;
    _Atomic uint32_t never = 0;

    while (sk_queue_length(queue) < length && sk_os_now_ms() < end)
        sk_os_wait_ms(&never, 0, 1);
    return sk_queue_length(queue) == length;
}

static void who_gets_several_wakes_as_many_who_put(void **state)
{
    pthread_t ids[FULL];
    void *into[FULL];
    bool have_all_put;

    (void)state;
    open_queue(FULL);
    for (uintptr_t i = 0; i < FULL; i++)
        assert_int_equal(sk_queue_put(queue, number(i)), 0);
    start_threads(ids, FULL, put_one);
    wait_for_sleepers(&queue->putters, FULL);
    assert_int_equal(sk_queue_get_many(queue, into, FULL), FULL);
    have_all_put = comes_to(FULL);
    sk_queue_close(queue);
    join_threads(ids, FULL);
    assert_true(have_all_put);
    assert_int_equal(sk_queue_get_many(queue, into, FULL), FULL);
    close_queue();
}

/* Three threads that wait at the gate until the queue is closed. */
static void wake_by_closing(void *(*body)(void *), struct sk_gate *gate)
{
    pthread_t ids[3];
    int results[3];

    for (int i = 0; i < 3; i++)
        pthread_create(&ids[i], NULL, body, &results[i]);
    wait_for_sleepers(gate, 3);
    sk_queue_close(queue);
    join_threads(ids, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(results[i], EPIPE);
}

static void closing_wakes_whoever_waits(void **state)
{
    (void)state;
    open_queue(1);
    wake_by_closing(wait_and_tell, &queue->getters);
    close_queue();
    open_queue(1);
    sk_queue_put(queue, queue);
    wake_by_closing(fill_and_tell, &queue->putters);
    assert_ptr_equal(sk_queue_get(queue), queue);
    close_queue();
}

static void *wait_and_count(void *ms)
{
    void *entry = sk_queue_get(queue);

    *(uint64_t *)ms = entry == queue ? thread_ms() : UINT64_MAX;
    sk_state_park();
    return NULL;
}

static void waiting_for_ever_costs_no_processor_time_either(void **state)
{
    _Atomic uint32_t never = 0;
    pthread_t ids[4];
    uint64_t ms[4];

    (void)state;
    open_queue(0);
    for (int i = 0; i < 4; i++)
        pthread_create(&ids[i], NULL, wait_and_count, &ms[i]);
    wait_for_sleepers(&queue->getters, 4);
    sk_os_wait_ms(&never, 0, 300);
    for (int i = 0; i < 4; i++)
        sk_queue_put(queue, queue);
    for (int i = 0; i < 4; i++) {
        pthread_join(ids[i], NULL);
        assert_in_range(ms[i], 0, 100);
    }
    close_queue();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_queue_says_so_or_waits_a_while),
        cmocka_unit_test(nobody_gives_up_early),
        cmocka_unit_test(a_full_queue_refuses_or_waits_a_while),
        cmocka_unit_test(waiting_costs_no_processor_time),
        cmocka_unit_test(who_gets_several_wakes_as_many_who_put),
        cmocka_unit_test(closing_wakes_whoever_waits),
        cmocka_unit_test(waiting_for_ever_costs_no_processor_time_either),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
