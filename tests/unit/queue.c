/*
 * queue.c - queues: order, limits, waiting, closing, counted units.
 */
#include "child.h"
#include "fails.h"
#include "threads.h"

#include "sk_queue_parts.h"

#include <string.h>
#include <time.h>

static sk_queue *queue;

static void *number(uintptr_t n)
{
    return (void *)(n + 1);
}

static void open_queue(size_t maximum)
{
    queue = sk_queue_new("tested", maximum);
    assert_non_null(queue);
}

static void close_queue(void)
{
    struct sk_heap_info info;

    assert_int_equal(sk_heap_read(queue->heap, &info), 0);
    /* The segment at hand, and the spare. */
    assert_in_range(info.live_units, 1, 2);
    assert_int_equal(sk_queue_destroy(queue), 0);
}

/* --- one thread ------------------------------------------------------------ */

static void what_is_put_first_is_got_first(void **state)
{
    (void)state;
    open_queue(0);
    for (uintptr_t i = 0; i < 1000; i++) {
        assert_int_equal(sk_queue_put(queue, number(i)), 0);
        if (i % 3 == 0)
            assert_ptr_equal(sk_queue_get(queue), number(i / 3));
    }
    assert_int_equal(sk_queue_length(queue), 1000 - 334);
    for (uintptr_t i = 334; i < 1000; i++)
        assert_ptr_equal(sk_queue_get(queue), number(i));
    assert_int_equal(sk_queue_length(queue), 0);
    close_queue();
}

static void the_length_is_right_at_any_time(void **state)
{
    (void)state;
    open_queue(0);
    for (uintptr_t i = 0; i < 50; i++) {
        assert_int_equal(sk_queue_put(queue, number(3 * i)), 0);
        assert_int_equal(sk_queue_put(queue, number(3 * i + 1)), 0);
        assert_int_equal(sk_queue_length(queue), i * 2 + 2);
        assert_int_equal(sk_queue_put(queue, number(3 * i + 2)), 0);
        assert_int_equal(sk_queue_length(queue), i * 2 + 3);
        assert_non_null(sk_queue_get(queue));
    }
    for (uintptr_t i = 50; i < 150; i++)
        assert_ptr_equal(sk_queue_get(queue), number(i));
    close_queue();
}

static void several_can_be_got_at_once(void **state)
{
    void *into[7];

    (void)state;
    open_queue(0);
    for (uintptr_t i = 0; i < 10; i++)
        sk_queue_put(queue, number(i));
    assert_int_equal(sk_queue_get_many(queue, into, 7), 7);
    for (uintptr_t i = 0; i < 7; i++)
        assert_ptr_equal(into[i], number(i));
    assert_int_equal(sk_queue_get_many(queue, into, 7), 3);
    assert_ptr_equal(into[2], number(9));
    close_queue();
}

static void a_batch_may_span_segments(void **state)
{
    void *into[3 * SK_SEGMENT_ENTRIES];
    uintptr_t put = 0, got = 0;

    (void)state;
    open_queue(0);
    for (size_t most = 1; most <= 3 * SK_SEGMENT_ENTRIES; most += 41) {
        for (size_t i = 0; i < most; i++)
            assert_int_equal(sk_queue_put(queue, number(put++)), 0);
        assert_int_equal(sk_queue_get_many(queue, into, most), most);
        for (size_t i = 0; i < most; i++)
            assert_ptr_equal(into[i], number(got++));
    }
    close_queue();
}

static void a_batch_has_all_that_is_there(void **state)
{
    void *into[10];

    (void)state;
    open_queue(0);
    for (uintptr_t i = 0; i < 3; i++)
        sk_queue_put(queue, number(i));
    assert_ptr_equal(sk_queue_get(queue), number(0));
    for (uintptr_t i = 3; i < 9; i++)
        sk_queue_put(queue, number(i));
    assert_int_equal(sk_queue_get_many(queue, into, 10), 8);
    for (uintptr_t i = 0; i < 8; i++)
        assert_ptr_equal(into[i], number(i + 1));
    close_queue();
}

static void a_put_without_memory_fails_and_loses_nothing(void **state)
{
    uintptr_t put = 0;

    (void)state;
    open_queue(0);
    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    while (sk_queue_put(queue, number(put)) == 0)
        put++;
    assert_int_equal(errno, ENOMEM);
    sk_os_fail(SK_OS_COMMIT, 0);
    assert_int_equal(sk_queue_length(queue), put);
    assert_int_equal(sk_queue_put(queue, number(put)), 0);
    for (uintptr_t i = 0; i <= put; i++)
        assert_ptr_equal(sk_queue_get(queue), number(i));
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

static void an_empty_queue_says_so_or_waits_a_while(void **state)
{
    uint64_t before = sk_os_now_ms();

    (void)state;
    open_queue(0);
    assert_fails(sk_queue_try_get(queue), NULL, EAGAIN);
    assert_fails(sk_queue_get_within(queue, 30), NULL, ETIMEDOUT);
    assert_true(sk_os_now_ms() - before >= 26);
    close_queue();
}

static void a_closed_queue_is_drained_and_then_says_so(void **state)
{
    void *into[2];

    (void)state;
    open_queue(5);
    for (uintptr_t i = 0; i < 3; i++)
        sk_queue_put(queue, number(i));
    sk_queue_close(queue);
    sk_queue_close(queue);
    assert_fails(sk_queue_put(queue, number(9)), -1, EPIPE);
    assert_int_equal(sk_queue_destroy(queue), 3);
    for (uintptr_t i = 0; i < 3; i++)
        assert_ptr_equal(sk_queue_get(queue), number(i));
    assert_fails(sk_queue_get(queue), NULL, EPIPE);
    assert_int_equal(sk_queue_get_many(queue, into, 2), 0);
    assert_fails(sk_queue_try_get(queue), NULL, EPIPE);
    close_queue();
}

static void wrong_arguments_are_einval(void **state)
{
    struct sk_queue_info info;
    void *nothing;

    (void)state;
    open_queue(0);
    assert_fails(sk_queue_put(queue, NULL), -1, EINVAL);
    assert_fails(sk_queue_put(NULL, queue), -1, EINVAL);
    assert_fails(sk_queue_get(NULL), NULL, EINVAL);
    assert_fails(sk_queue_new("", 1), NULL, EINVAL);
    assert_fails(sk_queue_new(NULL, 1), NULL, EINVAL);
    assert_fails(sk_queue_try_put(queue, NULL), -1, EINVAL);
    assert_fails(sk_queue_put_within(queue, NULL, 5), -1, EINVAL);
    assert_fails(sk_queue_get_many(queue, &nothing, 0), 0, EINVAL);
    assert_fails(sk_queue_get_many(queue, NULL, 1), 0, EINVAL);
    assert_fails(sk_queue_read(NULL, &info), -1, EINVAL);
    assert_fails(sk_queue_each(NULL, NULL), -1, EINVAL);
    assert_int_equal(sk_queue_length(queue), 0);
    assert_fails(sk_queue_destroy(NULL), -1, EINVAL);
    close_queue();
}

static void reports_name_every_queue(void **state)
{
    char text[2048];
    FILE *file = tmpfile();

    (void)state;
    open_queue(4);
    sk_queue_put(queue, number(1));
    assert_int_equal(sk_queue_report(NULL, fileno(file), SK_HEAP_JSON), 0);
    assert_int_equal(sk_queue_report(queue, fileno(file), SK_HEAP_TEXT), 0);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "\"schema\": \"skqueue-report/1\""));
    assert_non_null(strstr(text, "\"label\": \"tested\", "
                                 "\"maximum_entries\": 4, \"length\": 1"));
    assert_non_null(strstr(text, "\ntested: length 1, got 0"));
    sk_queue_get(queue);
    close_queue();
}

static int meddle(sk_queue *with, void *context)
{
    (void)context;
    assert_fails(sk_queue_new("meddler", 0), NULL, EBUSY);
    assert_fails(sk_queue_destroy(with), -1, EBUSY);
    assert_int_equal(sk_queue_put(with, with), 0);
    assert_ptr_equal(sk_queue_get(with), with);
    return 7;
}

static void visitors_may_use_queues_but_not_meddle(void **state)
{
    (void)state;
    open_queue(3);
    assert_int_equal(sk_queue_each(meddle, NULL), 7);
    close_queue();
}

/* --- many threads ---------------------------------------------------------- */

enum { PRODUCERS = 4, CONSUMERS = 4, EACH = 20000 };

static _Atomic uint64_t got_sum, got_count;
static _Atomic uint32_t out_of_order;

static void *produce(void *arg)
{
    uintptr_t id = (uintptr_t)arg;

    for (uintptr_t i = 1; i <= EACH; i++)
        assert_int_equal(sk_queue_put(queue, (void *)(id << 32 | i)), 0);
    sk_state_park();
    return NULL;
}

static void check_order(uintptr_t *last, void *entry)
{
    uintptr_t id = (uintptr_t)entry >> 32, n = (uintptr_t)entry & UINT32_MAX;

    if (n <= last[id])
        atomic_fetch_add(&out_of_order, 1);
    last[id] = n;
    atomic_fetch_add(&got_sum, n);
    atomic_fetch_add(&got_count, 1);
}

static void *consume_one_by_one(void *arg)
{
    uintptr_t last[PRODUCERS] = {0};
    void *entry;

    (void)arg;
    while ((entry = sk_queue_get(queue)))
        check_order(last, entry);
    assert_int_equal(errno, EPIPE);
    sk_state_park();
    return NULL;
}

static void *consume_many(void *arg)
{
    uintptr_t last[PRODUCERS] = {0};
    void *into[32];
    size_t got;

    (void)arg;
    while ((got = sk_queue_get_many(queue, into, 32)) > 0)
        for (size_t i = 0; i < got; i++)
            check_order(last, into[i]);
    sk_state_park();
    return NULL;
}

static void *consume_impatiently(void *arg)
{
    uintptr_t last[PRODUCERS] = {0};
    void *entry;

    (void)arg;
    do {
        entry = sk_queue_get_within(queue, 1);
        if (entry)
            check_order(last, entry);
    } while (entry || errno != EPIPE);
    sk_state_park();
    return NULL;
}

static void run_through(void *(*consume)(void *))
{
    pthread_t producers[PRODUCERS], consumers[CONSUMERS];

    atomic_store(&got_sum, 0);
    atomic_store(&got_count, 0);
    start_threads(consumers, CONSUMERS, consume);
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        pthread_create(&producers[i], NULL, produce, (void *)i);
    join_threads(producers, PRODUCERS);
    sk_queue_close(queue);
    join_threads(consumers, CONSUMERS);
    assert_int_equal(got_count, PRODUCERS * EACH);
    assert_int_equal(got_sum,
                     (uint64_t)PRODUCERS * EACH * (EACH + 1) / 2);
    assert_int_equal(out_of_order, 0);
}

static void nothing_is_lost_and_each_producers_order_holds(void **state)
{
    static const size_t maxima[] = {0, 1, 100};
    void *(*const consumers[])(void *) = {consume_one_by_one, consume_many,
                                          consume_impatiently};

    (void)state;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            open_queue(maxima[i]);
            run_through(consumers[k]);
            close_queue();
        }
}

enum { BOUND = 10 };
static _Atomic int went_over;

static void *put_counted(void *arg)
{
    (void)arg;
    for (uintptr_t i = 1; i <= EACH; i++) {
        if (sk_queue_put(queue, (void *)i) != 0)
            break;
        if (sk_queue_length(queue) > BOUND)
            atomic_store(&went_over, 1);
    }
    sk_state_park();
    return NULL;
}

static void a_bound_holds_however_many_put(void **state)
{
    pthread_t ids[PRODUCERS];
    int got = 0;

    (void)state;
    open_queue(BOUND);
    start_threads(ids, PRODUCERS, put_counted);
    while (got < PRODUCERS * EACH)
        got += sk_queue_get(queue) != NULL;
    join_threads(ids, PRODUCERS);
    assert_int_equal(went_over, 0);
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

static void closing_wakes_whoever_waits(void **state)
{
    pthread_t ids[6];
    int results[6];

    (void)state;
    open_queue(1);
    for (int i = 0; i < 3; i++)
        pthread_create(&ids[i], NULL, wait_and_tell, &results[i]);
    wait_for_sleepers(&queue->getters, 3);
    sk_queue_close(queue);
    for (int i = 0; i < 3; i++) {
        pthread_join(ids[i], NULL);
        assert_int_equal(results[i], EPIPE);
    }
    close_queue();
    open_queue(1);
    sk_queue_put(queue, queue);
    for (int i = 0; i < 3; i++)
        pthread_create(&ids[i], NULL, fill_and_tell, &results[i]);
    wait_for_sleepers(&queue->putters, 3);
    sk_queue_close(queue);
    for (int i = 0; i < 3; i++) {
        pthread_join(ids[i], NULL);
        assert_int_equal(results[i], EPIPE);
    }
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

/* --- counted units ---------------------------------------------------------- */

enum { QUEUES = 3, MESSAGES = 5000 };

static sk_queue *fan[QUEUES];
static sk_heap *messages;

static void *read_messages(void *from)
{
    uintptr_t expected = 0;
    uintptr_t *message;

    while ((message = sk_queue_get(from))) {
        assert_int_equal(message[0], expected);
        assert_int_equal(message[40], ~expected);
        expected++;
        sk_heap_unit_unref(message);
    }
    assert_int_equal(expected, MESSAGES);
    sk_state_park();
    return NULL;
}

static void one_message_in_several_queues_lives_until_all_have_read(void **s)
{
    pthread_t ids[QUEUES];
    struct sk_heap_info info;

    (void)s;
    messages = sk_heap_new("message", 400, 64, 500, 0);
    for (int i = 0; i < QUEUES; i++) {
        fan[i] = sk_queue_new("fan", 100);
        pthread_create(&ids[i], NULL, read_messages, fan[i]);
    }
    for (uintptr_t n = 0; n < MESSAGES; n++) {
        uintptr_t *message = sk_heap_unit_allocate(messages);

        assert_non_null(message);
        message[0] = n;
        message[40] = ~n;
        for (int i = 0; i < QUEUES; i++)
            sk_queue_put(fan[i], sk_heap_unit_ref(message));
        sk_heap_unit_unref(message);
    }
    for (int i = 0; i < QUEUES; i++) {
        sk_queue_close(fan[i]);
        pthread_join(ids[i], NULL);
        assert_int_equal(sk_queue_destroy(fan[i]), 0);
    }
    sk_heap_read(messages, &info);
    assert_int_equal(info.live_units, 0);
    assert_int_equal(info.allocations, MESSAGES);
    assert_int_equal(sk_heap_destroy(messages, 0), 0);
}

static void queues_come_and_go(void **state)
{
    size_t carved = 0;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        open_queue((size_t)i % 3);
        assert_int_equal(sk_queue_put(queue, queue), 0);
        assert_ptr_equal(sk_queue_get(queue), queue);
        close_queue();
        if (i == 100)
            carved = sk_region_carved();
    }
    assert_int_equal(sk_region_carved(), carved);
}

static void use_in_child(void)
{
    for (uintptr_t i = 0; i < 10; i++)
        if (sk_queue_get(queue) != number(i))
            _exit(2);
    if (sk_queue_try_get(queue) || sk_queue_put(queue, queue) != 0 ||
        sk_queue_get(queue) != queue)
        _exit(3);
    _exit(sk_queue_destroy(queue) == 0 ? 0 : 4);
}

static void a_forked_child_has_the_queues_and_their_entries(void **state)
{
    int status;
    pid_t child;

    (void)state;
    open_queue(20);
    for (uintptr_t i = 0; i < 10; i++)
        sk_queue_put(queue, number(i));
    child = fork();
    if (child == 0)
        use_in_child();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (uintptr_t i = 0; i < 10; i++)
        assert_ptr_equal(sk_queue_get(queue), number(i));
    close_queue();
}

static _Atomic bool is_over;

static void *produce_until_over(void *arg)
{
    uintptr_t id = (uintptr_t)arg;

    for (uintptr_t i = 1; !atomic_load(&is_over); i++)
        sk_queue_put(queue, (void *)(id << 32 | i));
    sk_state_park();
    return NULL;
}

static void *consume_until_over(void *arg)
{
    (void)arg;
    while (sk_queue_get(queue))
        ;
    sk_state_park();
    return NULL;
}

/* Of each producer there is a run of entries without a gap. */
static void check_in_child(uint64_t unused)
{
    uintptr_t last[PRODUCERS] = {0};
    void *entry;

    (void)unused;
    alarm(20);
    while ((entry = sk_queue_try_get(queue))) {
        uintptr_t id = (uintptr_t)entry >> 32;
        uintptr_t n = (uintptr_t)entry & UINT32_MAX;

        if (last[id] > 0 && n != last[id] + 1)
            _exit(2);
        last[id] = n;
    }
    for (uintptr_t i = 0; i < 300; i++)
        if (sk_queue_length(queue) != i || sk_queue_put(queue, number(i)) != 0)
            _exit(3);
    for (uintptr_t i = 0; i < 300; i++)
        if (sk_queue_get(queue) != number(i))
            _exit(4);
    _exit(sk_queue_destroy(queue) == 0 ? 0 : 5);
}

static void a_child_forked_while_others_put_and_get_finds_each_entry(void **s)
{
    pthread_t ids[3];

    (void)s;
    open_queue(1000);
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&ids[i], NULL, produce_until_over, (void *)i);
    pthread_create(&ids[2], NULL, consume_until_over, NULL);
    for (int i = 0; i < 200; i++)
        assert_in_child(check_in_child, 0);
    atomic_store(&is_over, true);
    join_threads(ids, 2);
    sk_queue_close(queue);
    pthread_join(ids[2], NULL);
    close_queue();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_first_is_got_first),
        cmocka_unit_test(the_length_is_right_at_any_time),
        cmocka_unit_test(several_can_be_got_at_once),
        cmocka_unit_test(a_batch_may_span_segments),
        cmocka_unit_test(a_batch_has_all_that_is_there),
        cmocka_unit_test(a_put_without_memory_fails_and_loses_nothing),
        cmocka_unit_test(waiting_costs_no_processor_time),
        cmocka_unit_test(a_full_queue_refuses_or_waits_a_while),
        cmocka_unit_test(an_empty_queue_says_so_or_waits_a_while),
        cmocka_unit_test(a_closed_queue_is_drained_and_then_says_so),
        cmocka_unit_test(wrong_arguments_are_einval),
        cmocka_unit_test(reports_name_every_queue),
        cmocka_unit_test(visitors_may_use_queues_but_not_meddle),
        cmocka_unit_test(nothing_is_lost_and_each_producers_order_holds),
        cmocka_unit_test(a_bound_holds_however_many_put),
        cmocka_unit_test(closing_wakes_whoever_waits),
        cmocka_unit_test(waiting_for_ever_costs_no_processor_time_either),
        cmocka_unit_test(
            one_message_in_several_queues_lives_until_all_have_read),
        cmocka_unit_test(queues_come_and_go),
        cmocka_unit_test(a_forked_child_has_the_queues_and_their_entries),
        cmocka_unit_test(
            a_child_forked_while_others_put_and_get_finds_each_entry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
