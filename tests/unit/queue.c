/*
 * queue.c - queues as one thread sees them: order, batches, closing, reports.
 */
#include "content.h"
#include "queues.h"

#include <string.h>

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

static int count_queue(sk_queue *with, void *count)
{
    (void)with;
    ++*(int *)count;
    return 0;
}

static int count_heap(sk_heap *heap, void *count)
{
    (void)heap;
    ++*(int *)count;
    return 0;
}

static void count(int *queues, int *heaps)
{
    *queues = *heaps = 0;
    assert_int_equal(sk_queue_each(count_queue, queues), 0);
    assert_int_equal(sk_heap_each(count_heap, heaps), 0);
}

/* All of it, to the last granule. */
static void a_queue_without_memory_is_enomem_and_leaves_nothing(void **state)
{
    sk_heap *hog = plain("hog", 16), *of_queues;
    uint64_t live;
    int before[2], after[2];

    (void)state;
    open_queue(0);
    of_queues = sk_heap_of_unit(queue);
    live = info_of(of_queues).live_units;
    count(&before[0], &before[1]);
    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    while (sk_heap_unit_allocate(hog))
        ;
    for (int i = 0; i < 3; i++)
        assert_fails(sk_queue_new("refused", 0), NULL, ENOMEM);
    sk_os_fail(SK_OS_COMMIT, 0);
    count(&after[0], &after[1]);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(info_of(of_queues).live_units, live);
    assert_int_equal(sk_heap_destroy(hog, 1), 0);
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
    FILE *file = tmpfile();
    const char *text;

    (void)state;
    open_queue(4);
    sk_queue_put(queue, number(1));
    assert_int_equal(sk_queue_report(NULL, fileno(file), SK_HEAP_JSON), 0);
    assert_int_equal(sk_queue_report(queue, fileno(file), SK_HEAP_TEXT), 0);
    text = content_of(file);
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

/* --- where no heap may be destroyed --------------------------------------- */

static sk_queue *others[2]; /* in use, and never used */
static sk_heap *locked; /* beyond the bins */
static int refused;

/* Twice: the first time must have changed nothing. */
static void destroy_others(void)
{
    for (int i = 0; i < 4; i++)
        assert_fails(sk_queue_destroy(others[i % 2]), -1, EBUSY);
    assert_fails(sk_heap_destroy(locked, 0), -1, EBUSY);
    refused++;
}

static int destroy_in_visit(sk_heap *heap, void *of_unit)
{
    if (heap == of_unit)
        destroy_others();
    return 0;
}

static void leave_alone(void *unit, void *context)
{
    (void)unit;
    (void)context;
}

static void destroy_in_destructor(void *unit, void *context)
{
    (void)unit;
    (void)context;
    destroy_others();
}

/* `bytes`: of a unit, in a bin or not. */
static void refuse_with(size_t bytes)
{
    const struct sk_heap_attributes how = {
        .label = "destructed",
        .unit_size = bytes,
        .units_per_chunk = 1,
        .options = SK_HEAP_UNLIMITED,
        .construct = leave_alone,
        .destruct = destroy_in_destructor,
    };
    sk_heap *heap = sk_heap_new_with(&how);
    int before[2], after[2];

    for (int i = 0; i < 2; i++)
        assert_non_null(others[i] = sk_queue_new("other", 0));
    assert_int_equal(sk_queue_put(others[0], heap), 0);
    assert_ptr_equal(sk_queue_get(others[0]), heap);
    count(&before[0], &before[1]);
    refused = 0;
    sk_heap_each(destroy_in_visit, heap);
    assert_int_equal(refused, 1);
    use_and_drop(heap, 1);
    sk_heap_trim(heap);
    assert_true(refused >= 2);
    count(&after[0], &after[1]);
    assert_memory_equal(before, after, sizeof before);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sk_queue_destroy(others[i]), 0);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
    count(&before[0], &before[1]);
    assert_int_equal(before[0], after[0] - 2);
    assert_int_equal(before[1], after[1] - 3);
}

static void visits_of_heaps_and_destructors_destroy_no_queue(void **state)
{
    (void)state;
    locked = plain("locked", 100000);
    refuse_with(100);
    refuse_with(100000);
    assert_int_equal(sk_heap_destroy(locked, 0), 0);
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
        cmocka_unit_test(
            a_queue_without_memory_is_enomem_and_leaves_nothing),
        cmocka_unit_test(a_closed_queue_is_drained_and_then_says_so),
        cmocka_unit_test(wrong_arguments_are_einval),
        cmocka_unit_test(reports_name_every_queue),
        cmocka_unit_test(visitors_may_use_queues_but_not_meddle),
        cmocka_unit_test(visits_of_heaps_and_destructors_destroy_no_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
