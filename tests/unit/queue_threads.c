/*
 * queue_threads.c - queues between threads, come and gone, and in the child
 * of a fork.
 */
#include "child.h"
#include "queues.h"
#include "threads.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

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
    assert_int_equal(info_of(messages).live_units, 0);
    assert_int_equal(info_of(messages).allocations, MESSAGES);
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

/* --- fork ----------------------------------------------------------------- */

static void use_in_child(uint64_t unused)
{
    (void)unused;
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
    (void)state;
    open_queue(20);
    for (uintptr_t i = 0; i < 10; i++)
        sk_queue_put(queue, number(i));
    assert_in_child(use_in_child, 0);
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

enum { BATCH = SK_SEGMENT_ENTRIES + 50, BEFORE = SK_SEGMENT_ENTRIES + 20 };

static char *page_without_access;
static _Atomic bool is_stopped, may_go_on;

static void stop_at_page(int signal)
{
    (void)signal;
    atomic_store(&is_stopped, true);
    while (!atomic_load(&may_go_on))
        usleep(1000);
    mprotect(page_without_access, 4096, PROT_READ | PROT_WRITE);
}

/* Where the page begins the batch is in its second segment. */
static void *get_batch(void *unused)
{
    void **into = (void **)page_without_access - BEFORE;

    (void)unused;
    assert_int_equal(sk_queue_get_many(queue, into, BATCH), BATCH);
    for (uintptr_t i = 0; i < BATCH; i++)
        assert_ptr_equal(into[i], number(i));
    sk_state_park();
    return NULL;
}

static void check_rest_in_child(uint64_t unused)
{
    uintptr_t first = BATCH - sk_queue_length(queue);

    (void)unused;
    REQUIRE(first == SK_SEGMENT_ENTRIES);
    for (uintptr_t i = first; i < BATCH; i++)
        REQUIRE(sk_queue_try_get(queue) == number(i));
    REQUIRE(!sk_queue_try_get(queue));
    for (uintptr_t i = 0; i < 300; i++)
        REQUIRE(sk_queue_put(queue, number(i)) == 0);
    for (uintptr_t i = 0; i < 300; i++)
        REQUIRE(sk_queue_get(queue) == number(i));
    REQUIRE(sk_queue_destroy(queue) == 0);
}

static void a_child_forked_within_a_batch_finds_the_rest_of_it(void **state)
{
    void (*kept)(int);
    char *pages;
    pthread_t id;

    (void)state;
    pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    page_without_access = pages + 4096;
    assert_int_equal(mprotect(page_without_access, 4096, PROT_NONE), 0);
    open_queue(0);
    for (uintptr_t i = 0; i < BATCH; i++)
        sk_queue_put(queue, number(i));
    kept = signal(SIGSEGV, stop_at_page);
    pthread_create(&id, NULL, get_batch, NULL);
    while (!atomic_load(&is_stopped))
        usleep(1000);
    assert_in_child(check_rest_in_child, 0);
    atomic_store(&may_go_on, true);
    pthread_join(id, NULL);
    signal(SIGSEGV, kept);
    munmap(pages, 8192);
    close_queue();
}

/* --- walks across --------------------------------------------------------- */

static _Atomic bool is_in_queues, is_in_heaps;
static int nowhere;

static void meet(_Atomic bool *mine, _Atomic bool *other)
{
    atomic_store(mine, true);
    while (!atomic_load(other))
        usleep(100);
}

static int count(sk_queue *with, void *count)
{
    (void)with;
    return ++*(int *)count < 0;
}

static int report_heaps_there(sk_queue *with, void *unused)
{
    (void)with, (void)unused;
    meet(&is_in_queues, &is_in_heaps);
    REQUIRE(sk_heap_report(NULL, nowhere, SK_HEAP_TEXT) == 0);
    return 1;
}

/* The other one waits for the heaps' list by then. */
static int look_at_queues_there(sk_heap *heap, void *unused)
{
    int queues = 0;

    (void)heap, (void)unused;
    meet(&is_in_heaps, &is_in_queues);
    usleep(20000);
    errno = 0;
    REQUIRE(sk_queue_each(count, &queues) == -1 && errno == EBUSY);
    REQUIRE(queues == 0);
    errno = 0;
    REQUIRE(sk_queue_report(NULL, nowhere, SK_HEAP_JSON) == -1);
    REQUIRE(errno == EBUSY);
    REQUIRE(sk_queue_report(queue, nowhere, SK_HEAP_JSON) == 0);
    errno = 0;
    REQUIRE(!sk_queue_new("meddler", 0) && errno == EBUSY);
    return 1;
}

static void *walk_queues(void *unused)
{
    REQUIRE(sk_queue_each(report_heaps_there, unused) == 1);
    return NULL;
}

static void walk_both(uint64_t unused)
{
    pthread_t id;

    (void)unused;
    alarm(20);
    nowhere = open("/dev/null", O_WRONLY);
    pthread_create(&id, NULL, walk_queues, NULL);
    REQUIRE(sk_heap_each(look_at_queues_there, NULL) == 1);
    pthread_join(id, NULL);
}

static void visitors_of_heaps_and_queues_do_not_wait_for_each_other(void **s)
{
    (void)s;
    open_queue(0);
    assert_in_child(walk_both, 0);
    close_queue();
}

static int walk_again(sk_heap *heap, void *queues)
{
    (void)heap;
    return sk_queue_each(count, queues) == 0;
}

static int walk_heaps(sk_queue *with, void *queues)
{
    (void)with;
    return sk_heap_each(walk_again, queues);
}

static void who_has_the_queues_may_walk_them_from_the_heaps(void **state)
{
    int queues = 0;

    (void)state;
    open_queue(0);
    assert_int_equal(sk_queue_each(walk_heaps, &queues), 1);
    assert_int_equal(queues, 1);
    close_queue();
}

enum { MAKERS = 8 };

static int see_heap(sk_heap *heap, void *of_queues)
{
    struct sk_heap_info info = info_of(heap);

    *(int *)of_queues += strcmp(info.label, "sk_queue") == 0;
    return 0;
}

static void *make_one(void *unused)
{
    sk_queue *one = sk_queue_new("one", 0);

    (void)unused;
    REQUIRE(one && sk_queue_destroy(one) == 0);
    sk_state_park();
    return NULL;
}

static void make_first_ones(uint64_t unused)
{
    int of_queues = 0;

    (void)unused;
    run_threads(make_one, MAKERS);
    REQUIRE(sk_heap_each(see_heap, &of_queues) == 0);
    REQUIRE(of_queues == 1);
}

/* In a process that has none yet. */
static void many_first_queues_have_one_heap(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++)
        assert_in_child(make_first_ones, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_first_queues_have_one_heap),
        cmocka_unit_test(nothing_is_lost_and_each_producers_order_holds),
        cmocka_unit_test(a_bound_holds_however_many_put),
        cmocka_unit_test(
            one_message_in_several_queues_lives_until_all_have_read),
        cmocka_unit_test(queues_come_and_go),
        cmocka_unit_test(a_forked_child_has_the_queues_and_their_entries),
        cmocka_unit_test(
            a_child_forked_while_others_put_and_get_finds_each_entry),
        cmocka_unit_test(
            a_child_forked_within_a_batch_finds_the_rest_of_it),
        cmocka_unit_test(
            visitors_of_heaps_and_queues_do_not_wait_for_each_other),
        cmocka_unit_test(who_has_the_queues_may_walk_them_from_the_heaps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
