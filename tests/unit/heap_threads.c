/*
 * heap_threads.c - the library's heaps among many threads.
 */
#include "figures.h"
#include "heaps.h"
#include "threads.h"

#include <time.h>

enum { THREADS = 6 };

static sk_heap *shared;
static _Atomic int in_hand, went_over;
static pthread_barrier_t barrier;

enum { SLOTS = 64, MAXIMUM = 100 };

static _Atomic(void *) table[SLOTS];

static void let_go(void *unit)
{
    atomic_fetch_sub(&in_hand, 1);
    sk_heap_unit_unref(unit);
}

/* Counted down before the unref and up after the allocate, in_hand is never
 * more than what is live. */
static void *fight(void *arg)
{
    uint32_t seed = (uint32_t)(uintptr_t)arg * 77 + 5;
    void *mine[40] = {0};

    for (int turn = 0; turn < 20000; turn++) {
        void **slot, *unit;

        if (turn % 5000 == 0)
            sk_heap_trim(shared);
        seed = seed * 1664525 + 1013904223;
        slot = &mine[(seed >> 8) % 40];
        if (*slot) {
            if (seed >> 30) {
                let_go(*slot);
            } else {
                unit = atomic_exchange(&table[seed % SLOTS], *slot);
                if (unit)
                    let_go(unit);
            }
            *slot = NULL;
        } else if ((*slot = sk_heap_unit_allocate(shared))) {
            if (atomic_fetch_add(&in_hand, 1) >= MAXIMUM)
                atomic_store(&went_over, 1);
        }
    }
    for (int i = 0; i < 40; i++)
        if (mine[i])
            let_go(mine[i]);
    sk_state_park();
    return NULL;
}

static void fight_over(sk_heap *heap, int rounds)
{
    assert_non_null(shared = heap);
    for (int round = 0; round < rounds; round++)
        run_threads(fight, THREADS);
    for (int i = 0; i < SLOTS; i++)
        if (table[i])
            let_go(atomic_exchange(&table[i], NULL));
    assert_int_equal(went_over, 0);
    assert_int_equal(info_of(shared).live_units, 0);
    for (int i = 0; i < MAXIMUM; i++)
        assert_non_null(sk_heap_unit_allocate(shared));
    assert_null(sk_heap_unit_allocate(shared));
    assert_int_equal(sk_heap_destroy(shared, 1), 0);
}

static void never_more_than_the_maximum_live_however_threads_fight(void **state)
{
    (void)state;
    fight_over(bounded(MAXIMUM), 3);
    take_exactly(bounded(MAXIMUM), MAXIMUM);
    fight_over(sk_heap_new("shrinking", 64, 64, MAXIMUM, SK_HEAP_SHRINK), 1);
    fight_over(sk_heap_new("large", 20000, 4, MAXIMUM, 0), 1);
    take_all_bins();
    fight_over(bounded(MAXIMUM), 1);
    release_all_bins();
}

/* Leaves a reserve in this thread's bin, and the thread where it is. */
static void *hoard(void *arg)
{
    void *units[30];

    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 30; i++)
            units[i] = sk_heap_unit_allocate(shared);
        for (int i = 0; i < 30; i++)
            if (units[i])
                sk_heap_unit_unref(units[i]);
    }
    (void)arg;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    sk_state_park();
    return NULL;
}

static void what_sleeping_threads_reserve_is_never_refused(void **state)
{
    pthread_t ids[THREADS];
    void *units[200];

    (void)state;
    shared = bounded(200);
    for (int round = 0; round < 5; round++) {
        pthread_barrier_init(&barrier, NULL, THREADS + 1);
        start_threads(ids, THREADS, hoard);
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < 200; i++)
            assert_non_null(units[i] = sk_heap_unit_allocate(shared));
        assert_null(sk_heap_unit_allocate(shared));
        pthread_barrier_wait(&barrier);
        join_threads(ids, THREADS);
        for (int i = 0; i < 200; i++)
            sk_heap_unit_unref(units[i]);
    }
    assert_int_equal(sk_heap_destroy(shared, 0), 0);
}

static void *exchange(void *arg)
{
    uint32_t seed = (uint32_t)(uintptr_t)arg * 31 + 7;

    for (int turn = 0; turn < 30000; turn++) {
        void **unit = sk_heap_unit_allocate(shared);

        assert_non_null(unit);
        seed = seed * 1664525 + 1013904223;
        *unit = unit;
        unit = atomic_exchange(&table[seed % SLOTS], (void *)unit);
        if (unit) {
            assert_ptr_equal(*unit, unit);
            sk_heap_unit_unref(unit);
        }
        if (turn % 5000 == 0)
            sk_heap_trim(shared);
    }
    sk_state_park();
    return NULL;
}

static void exchange_on(sk_heap *heap)
{
    shared = heap;
    run_threads(exchange, THREADS);
    for (int i = 0; i < SLOTS; i++)
        if (table[i])
            sk_heap_unit_unref(atomic_exchange(&table[i], NULL));
    assert_int_equal(info_of(shared).live_units, 0);
    assert_int_equal(info_of(shared).allocations, THREADS * 30000);
    assert_int_equal(sk_heap_destroy(shared, 0), 0);
}

static void *use_and_end(void *unused)
{
    for (int i = 0; i < 3; i++)
        sk_heap_unit_unref(sk_heap_unit_allocate(shared));
    assert_true(info_of(shared).cached_units > 0);
    sk_state_park();
    return unused;
}

/* Their rights would have to be looked for. */
static void a_thread_that_ends_caches_none(void **state)
{
    (void)state;
    shared = bounded(200);
    run(use_and_end, NULL);
    assert_int_equal(info_of(shared).cached_units, 0);
    assert_int_equal(sk_heap_destroy(shared, 0), 0);
}

static void units_may_be_freed_by_any_thread(void **state)
{
    (void)state;
    exchange_on(plain("exchanged", 16));
    exchange_on(sk_heap_new("shrinking", 300, 8, 0,
                            SK_HEAP_UNLIMITED | SK_HEAP_SHRINK));
    exchange_on(plain("large", 60000));
}

static void *use_shared(void *arg)
{
    (void)arg;
    use_and_drop(shared, 200);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    /* What the heap left in this thread's bins does no harm. */
    use_and_drop(fillers[0], 500);
    sk_state_park();
    return NULL;
}

static void heaps_come_and_go_without_leaking(void **state)
{
    struct sk_region_figures first, last;
    pthread_t ids[2];

    (void)state;
    fillers[0] = plain("lasting", 48);
    for (int round = 0; round < 300; round++) {
        shared = plain("passing", 48 + (size_t)round % 64 * 16);
        pthread_barrier_init(&barrier, NULL, 3);
        start_threads(ids, 2, use_shared);
        pthread_barrier_wait(&barrier);
        use_and_drop(shared, 300);
        assert_int_equal(sk_heap_destroy(shared, 0), 0);
        pthread_barrier_wait(&barrier);
        join_threads(ids, 2);
        if (round == 100)
            first = figures();
    }
    last = figures();
    assert_true(last.committed_bytes <= first.committed_bytes + (8u << 20));
    assert_true(last.used_bytes <= first.used_bytes + (1u << 20));
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        assert_true(sk_state_is_sound(sk_state_at(id)));
    assert_true(sk_region_is_sound());
    assert_int_equal(sk_heap_destroy(fillers[0], 0), 0);
}

static void *pass_through_many(void *arg)
{
    static const size_t sizes[] = {8, 64, 1000, 9000, 70000};
    enum { HEAPS = 60 };
    sk_heap *heaps[HEAPS];

    for (size_t i = 0; i < HEAPS; i++) {
        const size_t bytes = sizes[(i + (uintptr_t)arg) % 5];
        const unsigned options = i % 2 ? SK_HEAP_SHRINK : 0;

        heaps[i] = sk_heap_new("passing", bytes, 1 + i, 40, options);
        assert_non_null(heaps[i]);
        use_and_drop(heaps[i], 1 + (int)i % 30);
    }
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < HEAPS; i++) {
        if (i % 3 == 0)
            assert_non_null(sk_heap_unit_allocate(heaps[i]));
        assert_int_equal(sk_heap_destroy(heaps[i], i % 3 == 0), 0);
    }
    sk_state_park();
    return NULL;
}

/* With and without a bin, small and large, full and empty, by many threads, all
 * of which have theirs at the same time: what the region ever gave out stands
 * still after the first rounds. */
static void no_address_space_is_lost_with_heaps(void **state)
{
    struct sk_region_figures early = {0}, last;
    size_t carved = 0;

    (void)state;
    pthread_barrier_init(&barrier, NULL, 8);
    for (int round = 0; round < 40; round++) {
        run_threads(pass_through_many, 8);
        if (round != 15)
            continue;
        carved = sk_region_carved();
        early = figures();
    }
    last = figures();
    assert_true(early.used_bytes > 0);
    /* Not one chunk of each of these 25 * 8 threads. */
    assert_true(last.used_bytes <= early.used_bytes + (1u << 20));
    /* How high it gets is chance, by some chunks of the largest order. */
    assert_true(sk_region_carved() <= carved + carved / 8 + 64);
    assert_true(sk_region_is_sound());
}

static void *destroy_shared(void *arg)
{
    (void)arg;
    assert_int_equal(sk_heap_destroy(shared, 1), 0);
    return NULL;
}

struct look {
    pthread_t destroyer;
    void *unit;
};

/* The other thread has time enough to do what it should wait with. */
static int destroy_elsewhere(sk_heap *heap, void *with)
{
    struct look *look = with;
    struct timespec while_it_waits = {0, 50000000};

    if (heap != shared)
        return 0;
    start_threads(&look->destroyer, 1, destroy_shared);
    nanosleep(&while_it_waits, NULL);
    assert_ptr_equal(sk_heap_of_unit(look->unit), heap);
    assert_int_equal(info_of(heap).live_units, 1);
    sk_heap_trim(heap);
    assert_int_equal(info_of(heap).live_units, 1);
    return 1;
}

static void a_heap_stays_while_it_is_visited(void **state)
{
    static const size_t sizes[] = {64, 70000};
    struct look look;

    (void)state;
    for (int i = 0; i < 2; i++) {
        shared = plain("visited", sizes[i]);
        look.unit = sk_heap_unit_allocate(shared);
        assert_int_equal(sk_heap_each(destroy_elsewhere, &look), 1);
        join_threads(&look.destroyer, 1);
        assert_null(sk_heap_of_unit(look.unit));
    }
}

static _Atomic bool is_over;

static int trim_it(sk_heap *heap, void *trims)
{
    sk_heap_trim(heap);
    ++*(int *)trims;
    return 0;
}

static void *make_and_destroy(void *arg)
{
    (void)arg;
    for (int round = 0; round < 500; round++) {
        sk_heap *heap = plain("short", round % 2 ? 200 : 40000);

        use_and_drop(heap, 40);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
    atomic_store(&is_over, true);
    sk_state_park();
    return NULL;
}

static void all_heaps_are_trimmed_while_some_come_and_go(void **state)
{
    sk_heap *lasting = plain("lasting", 64);
    pthread_t id;
    int trims = 0;

    (void)state;
    atomic_store(&is_over, false);
    start_threads(&id, 1, make_and_destroy);
    do
        assert_int_equal(sk_heap_each(trim_it, &trims), 0);
    while (!atomic_load(&is_over));
    join_threads(&id, 1);
    assert_true(trims > 0);
    assert_true(sk_region_is_sound());
    assert_int_equal(sk_heap_destroy(lasting, 0), 0);
}

/* Where a sandbox forbids it, owners fence themselves from then on: last. */
static void everything_holds_without_membarrier(void **state)
{
    sk_os_fail(SK_OS_BARRIER, ~UINT64_C(0));
    never_more_than_the_maximum_live_however_threads_fight(state);
    what_sleeping_threads_reserve_is_never_refused(state);
    heaps_come_and_go_without_leaking(state);
    assert_int_equal(sk_self->is_halted, SK_FENCED);
    sk_os_fail(SK_OS_BARRIER, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            never_more_than_the_maximum_live_however_threads_fight),
        cmocka_unit_test(what_sleeping_threads_reserve_is_never_refused),
        cmocka_unit_test(a_thread_that_ends_caches_none),
        cmocka_unit_test(units_may_be_freed_by_any_thread),
        cmocka_unit_test(heaps_come_and_go_without_leaking),
        cmocka_unit_test(no_address_space_is_lost_with_heaps),
        cmocka_unit_test(a_heap_stays_while_it_is_visited),
        cmocka_unit_test(all_heaps_are_trimmed_while_some_come_and_go),
        cmocka_unit_test(everything_holds_without_membarrier),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
