/*
 * heap_destroy.c - heaps that end while threads that are done with them still
 * send units home.
 */
#include "heaps.h"
#include "threads.h"

#include <sched.h>

static sk_heap *passing;
static _Atomic bool is_sending, is_done;

/* As a thread that flushes, of a heap it has done with. */
static void *send_home_late(void *unit)
{
    void *p = (char *)unit - SK_HEADER_BYTES;
    struct sk_state *self;

    use_and_drop(fillers[0], 1);
    self = sk_self;
    sk_state_enter(self);
    atomic_store(&is_sending, true);
    while (!(atomic_load(&self->is_halted) & SK_HALTED))
        sched_yield();
    sk_mail_send(sk_chunk_of(passing, sk_region_granule(p)), p, p, 1, false);
    sk_state_leave(self);
    sk_state_park();
    return NULL;
}

static void destroy_meanwhile(int is_forced)
{
    pthread_t id;
    void *unit;

    fillers[0] = plain("lasting", 48);
    passing = plain("passing", 4000);
    unit = sk_heap_unit_allocate(passing);
    atomic_store(&is_sending, false);
    assert_int_equal(pthread_create(&id, NULL, send_home_late, unit), 0);
    while (!atomic_load(&is_sending))
        sched_yield();
    assert_int_equal(sk_heap_destroy(passing, is_forced), 0);
    join_threads(&id, 1);
    assert_int_equal(atomic_load(&sk_self->mail), 0);
    assert_int_equal(sk_heap_destroy(fillers[0], 0), 0);
}

static void no_mail_of_a_heap_is_left_behind(void **state)
{
    (void)state;
    destroy_meanwhile(1);
}

static void what_is_on_its_way_home_is_not_live(void **state)
{
    (void)state;
    destroy_meanwhile(0);
}

static void *free_all_and_end(void *units)
{
    for (void **unit = units, **next; unit; unit = next) {
        next = *unit;
        sk_heap_unit_unref(unit);
    }
    atomic_store(&is_done, true);
    sk_state_park();
    return NULL;
}

/* What a thread has of a heap goes home when the thread ends. */
static void a_heap_may_go_while_a_thread_that_used_it_ends(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        sk_heap *heap = sk_heap_new("passing", 200, 64, 0,
                                    SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);
        void **list = NULL, **unit;
        pthread_t id;

        for (int i = 0; i < 3000; i++, list = unit) {
            assert_non_null(unit = sk_heap_unit_allocate(heap));
            *unit = (void *)list;
        }
        atomic_store(&is_done, false);
        assert_int_equal(pthread_create(&id, NULL, free_all_and_end, list), 0);
        while (!atomic_load(&is_done))
            sched_yield();
        assert_int_equal(sk_heap_destroy(heap, round % 2), 0);
        join_threads(&id, 1);
        assert_true(sk_state_is_sound(sk_self));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_mail_of_a_heap_is_left_behind),
        cmocka_unit_test(what_is_on_its_way_home_is_not_live),
        cmocka_unit_test(a_heap_may_go_while_a_thread_that_used_it_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
