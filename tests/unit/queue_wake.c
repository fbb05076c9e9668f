/*
 * queue_wake.c - no wake is lost, wherever who makes it is interrupted.
 */
#define _GNU_SOURCE
#include "queues.h"
#include "threads.h"
#include "trap.h"

#include <unistd.h>

static bool is_in_time(uint64_t end)
{
    usleep(100);
    return sk_os_now_ms() < end;
}

static void *get_in_turn(void *entry)
{
    *(void *_Atomic *)entry = sk_queue_get(queue);
    sk_state_park();
    return NULL;
}

/* --- at each instruction -------------------------------------------------- */

#ifdef HAS_TRAP

/* The first is about to sleep when an entry is put; the second comes while who
 * put it is on its way to wake the first, and sleeps then or when that is
 * over. */
static void *_Atomic first_got, *_Atomic second_got;
static _Atomic int turn;
static enum { BEFORE_LOCK, LOCKED, OVER } stage;
static bool is_late;
static long steps, wanted;

static void *get_first(void *unused)
{
    (void)unused;
    while (atomic_load(&turn) < 1)
        usleep(100);
    return get_in_turn(&first_got);
}

static void *get_second(void *unused)
{
    (void)unused;
    while (atomic_load(&turn) < 2)
        usleep(100);
    return get_in_turn(&second_got);
}

static void let_first_enter(void)
{
    atomic_store(&turn, 1);
    while (atomic_load(&queue->getters.sleepers) == 0)
        usleep(100);
    stage = LOCKED;
}

static void await_sleep(uint64_t sleeps)
{
    while (atomic_load(&queue->getters.sleeps) == sleeps)
        usleep(100);
    usleep(3000);
}

static void let_second_in(void)
{
    while (!atomic_load(&first_got))
        usleep(100);
    if (is_late)
        sk_brief_lock(&queue->put_lock);
    atomic_store(&turn, 2);
    if (is_late)
        while (atomic_load(&queue->getters.sleepers) == 0)
            usleep(100);
    else
        await_sleep(0);
    stage = OVER;
}

static void put_interrupted(void)
{
    send_self(SIGUSR1);
    sk_queue_put(queue, number(1));
    send_self(SIGUSR2);
    if (stage == OVER && is_late) {
        sk_brief_unlock(&queue->put_lock);
        await_sleep(0);
    }
}

static void on_step(int number, siginfo_t *info, void *context)
{
    bool is_locked = atomic_load(&queue->put_lock.word) != 0;

    (void)number, (void)info;
    if (stage == BEFORE_LOCK && is_locked) {
        let_first_enter();
    } else if (stage == LOCKED && !is_locked && steps++ == wanted) {
        *flags_of(context) &= ~TRAP_FLAG;
        let_second_in();
    }
}

/* False when the put was over before this instruction. */
static bool interrupt_put(long boundary)
{
    uint64_t end = sk_os_now_ms() + 10000;
    pthread_t ids[2];

    open_queue(0);
    atomic_store(&first_got, NULL);
    atomic_store(&second_got, NULL);
    atomic_store(&turn, 0);
    stage = BEFORE_LOCK;
    steps = 0;
    wanted = boundary;
    pthread_create(&ids[0], NULL, get_first, NULL);
    pthread_create(&ids[1], NULL, get_second, NULL);
    put_interrupted();
    atomic_store(&turn, 2);
    sk_queue_put(queue, number(2));
    while (!atomic_load(&second_got))
        assert_true(is_in_time(end));
    join_threads(ids, 2);
    assert_int_equal(sk_queue_length(queue), 0);
    close_queue();
    return stage == OVER;
}

static void no_wake_is_taken_by_who_comes_late(void **state)
{
    (void)state;
    trap(on_step);
    for (int i = 0; i < 2; i++) {
        long boundary = 0;

        is_late = i == 1;
        while (interrupt_put(boundary))
            boundary++;
        assert_in_range(boundary, 10, 500);
    }
}

#endif

/* --- the kernel's choice -------------------------------------------------- */

static void whoever_is_woken_looks(void **state)
{
    uint64_t end = sk_os_now_ms() + 10000;
    void *_Atomic got = NULL;
    pthread_t id;

    (void)state;
    open_queue(0);
    pthread_create(&id, NULL, get_in_turn, (void *)&got);
    while (atomic_load(&queue->getters.sleeps) < 3) {
        assert_true(is_in_time(end));
        sk_os_wake(&queue->getters.event, 1);
    }
    assert_null(atomic_load(&got));
    sk_queue_put(queue, number(1));
    join_threads(&id, 1);
    assert_ptr_equal(atomic_load(&got), number(1));
    close_queue();
}

/* --- who leaves without sleeping ------------------------------------------- */

/* What a put does, under the lock that the caller holds. */
static void put_under_lock(void *entry)
{
    uint64_t puts = atomic_load(&queue->puts);
    struct sk_segment *write = queue->write;

    write->entries[puts - (write->end - SK_SEGMENT_ENTRIES)] = entry;
    atomic_store(&queue->puts, puts + 1);
}

/* One who entered is woken, but the entry is gone by then; another one enters,
 * and a second entry is put, which the first one finds.  It leaves, and takes
 * the other's count for its own: so the other must find an event. */
static void who_leaves_after_an_event_wakes_all(void **state)
{
    struct sk_gate *gate;
    uint64_t end = sk_os_now_ms() + 10000;
    void *_Atomic got = NULL;
    uint32_t noted;
    pthread_t id;

    (void)state;
    open_queue(0);
    gate = &queue->getters;
    sk_brief_lock(&queue->put_lock);
    pthread_create(&id, NULL, get_in_turn, (void *)&got);
    while (atomic_load(&gate->sleepers) == 0)
        assert_true(is_in_time(end));
    put_under_lock(number(1));
    atomic_fetch_sub(&gate->sleepers, 1);
    noted = atomic_fetch_add(&gate->event, 1) + 1;
    assert_ptr_equal(sk_queue_try_get(queue), number(1));
    atomic_fetch_add(&gate->sleepers, 1);
    put_under_lock(number(2));
    sk_brief_unlock(&queue->put_lock);
    join_threads(&id, 1);
    assert_ptr_equal(atomic_load(&got), number(2));
    assert_int_equal(atomic_load(&gate->sleepers), 0);
    assert_int_not_equal(atomic_load(&gate->event), noted);
    close_queue();
}

/* Without an event it takes its own count alone, and wakes nobody. */
static void who_leaves_in_time_takes_its_count(void **state)
{
    uint32_t event;

    (void)state;
    open_queue(0);
    event = atomic_load(&queue->getters.event);
    for (unsigned ms = 1; ms <= 3; ms++)
        assert_null(sk_queue_get_within(queue, ms));
    assert_int_equal(atomic_load(&queue->getters.sleepers), 0);
    assert_int_equal(atomic_load(&queue->getters.event), event);
    close_queue();
}

/* --- who is woken and fails ----------------------------------------------- */

static _Atomic int over;

static void *put_one(void *error)
{
    *(int *)error = sk_queue_put(queue, error) == 0 ? 0 : errno;
    atomic_fetch_add(&over, 1);
    sk_state_park();
    return NULL;
}

/* A queue of one whose next put needs a segment, with an entry in it. */
static void open_before_a_segment(void)
{
    open_queue(1);
    for (uintptr_t i = 0; i < SK_SEGMENT_ENTRIES - 1; i++) {
        assert_int_equal(sk_queue_put(queue, number(i)), 0);
        assert_ptr_equal(sk_queue_get(queue), number(i));
    }
    assert_int_equal(sk_queue_put(queue, number(0)), 0);
}

/* So that the next segment is not to be had without a commit. */
static void hold_the_free_segments(void **held, size_t most)
{
    size_t taken = 0;

    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    while ((held[taken] = sk_heap_unit_allocate(queue->heap)))
        assert_true(++taken < most);
}

static void a_put_that_has_no_memory_wakes_the_next_one(void **state)
{
    static void *held[100000];
    uint64_t end = sk_os_now_ms() + 10000;
    int errors[2];
    pthread_t ids[2];

    (void)state;
    open_before_a_segment();
    for (int i = 0; i < 2; i++)
        pthread_create(&ids[i], NULL, put_one, &errors[i]);
    while (atomic_load(&queue->putters.sleeps) < 2)
        assert_true(is_in_time(end));
    usleep(3000);
    hold_the_free_segments(held, 100000);
    assert_ptr_equal(sk_queue_get(queue), number(0));
    while (atomic_load(&over) < 2)
        assert_true(is_in_time(end));
    sk_os_fail(SK_OS_COMMIT, 0);
    join_threads(ids, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(errors[i], ENOMEM);
    for (size_t i = 0; held[i]; i++)
        sk_heap_unit_unref(held[i]);
    assert_int_equal(sk_queue_put(queue, number(1)), 0);
    assert_ptr_equal(sk_queue_get(queue), number(1));
    close_queue();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        trap_unit_test(no_wake_is_taken_by_who_comes_late),
        cmocka_unit_test(whoever_is_woken_looks),
        cmocka_unit_test(who_leaves_after_an_event_wakes_all),
        cmocka_unit_test(who_leaves_in_time_takes_its_count),
        cmocka_unit_test(a_put_that_has_no_memory_wakes_the_next_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
