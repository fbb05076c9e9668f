/*
 * heap_memory.c - the memory of the library's heaps: how it grows, stays, goes
 * back, is there before it is touched, is refused.
 */
#include "heaps.h"
#include "resident.h"
#include "threads.h"

static void growth_is_by_chunks_and_doubles_when_asked(void **state)
{
    sk_heap *even = sk_heap_new("even", 64, 10, 0, SK_HEAP_UNLIMITED);
    sk_heap *doubling =
        sk_heap_new("doubling", 64, 10, 0,
                    SK_HEAP_UNLIMITED | SK_HEAP_GROW_EXPONENTIALLY);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_non_null(sk_heap_unit_allocate(even));
        assert_non_null(sk_heap_unit_allocate(doubling));
    }
    assert_int_equal(info_of(even).grown_units,
                     10 * info_of(even).growths);
    assert_in_range(info_of(even).grown_units, 1000, 1100);
    assert_int_equal(info_of(doubling).grown_units,
                     10 * ((1u << info_of(doubling).growths) - 1));
    assert_int_equal(info_of(doubling).growths, 7);
    assert_int_equal(sk_heap_destroy(even, 1), 0);
    assert_int_equal(sk_heap_destroy(doubling, 1), 0);
}

static void memory_is_kept_unless_the_heap_shrinks(void **state)
{
    sk_heap *kept = plain("kept", 256);
    sk_heap *shrinking = sk_heap_new("shrinking", 256, 64, 0,
                                     SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);
    uint64_t bytes;

    (void)state;
    use_and_drop(kept, 20000);
    use_and_drop(shrinking, 20000);
    bytes = info_of(kept).chunk_bytes;
    assert_true(bytes >= 20000 * 272);
    assert_true(info_of(shrinking).chunk_bytes < bytes / 4);
    use_and_drop(kept, 20000);
    assert_int_equal(info_of(kept).chunk_bytes, bytes);
    assert_true(sk_heap_trim(kept) >= bytes / 2);
    assert_int_equal(info_of(kept).chunk_bytes, 0);
    use_and_drop(kept, 100);
    assert_int_equal(sk_heap_destroy(kept, 0), 0);
    assert_int_equal(sk_heap_destroy(shrinking, 0), 0);
}

static void large_units_come_and_go_with_their_memory(void **state)
{
    sk_heap *kept = plain("kept", 1 << 18);
    sk_heap *shrinking = sk_heap_new("shrinking", 1 << 18, 4, 0,
                                     SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);

    (void)state;
    use_and_drop(kept, 64);
    use_and_drop(shrinking, 64);
    assert_true(info_of(kept).chunk_bytes >= 64u << 18);
    assert_true(info_of(shrinking).chunk_bytes < 16u << 18);
    assert_true(sk_heap_trim(kept) > 0);
    assert_int_equal(info_of(kept).chunk_bytes, 0);
    assert_int_equal(sk_heap_destroy(kept, 0), 0);
    assert_int_equal(sk_heap_destroy(shrinking, 0), 0);
}

static int destructed;

static void construct_none(void *unit, void *unused)
{
    (void)unit, (void)unused;
}

static void count_destructed(void *unit, void *unused)
{
    (void)unit, (void)unused;
    destructed++;
}

static void what_has_a_destructor_is_kept_until_a_trim(void **state)
{
    struct sk_heap_attributes how = {
        .label = "constructed", .unit_size = 256, .units_per_chunk = 64,
        .options = SK_HEAP_UNLIMITED | SK_HEAP_SHRINK,
        .construct = construct_none, .destruct = count_destructed};

    (void)state;
    for (int i = 0; i < 2; i++, how.unit_size = 50000) {
        sk_heap *heap = sk_heap_new_with(&how);
        int units = i ? 100 : 5000;

        destructed = 0;
        use_and_drop(heap, units);
        assert_int_equal(destructed, 0);
        assert_true(info_of(heap).chunk_bytes >= how.unit_size * (size_t)units);
        sk_heap_trim(heap);
        assert_int_equal(destructed, units);
        assert_int_equal(info_of(heap).chunk_bytes, 0);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
}

enum { GIVEN = 3000 };
static void *given[GIVEN];

static void *free_given(void *unused)
{
    for (int i = 0; i < GIVEN; i++)
        sk_heap_unit_unref(given[i]);
    sk_state_park();
    return unused;
}

/* Who frees the last unit of a chunk purges it, if its owner has enough that is
 * free; but not with what was constructed there. */
static void so_is_what_another_thread_frees(void **state)
{
    struct sk_heap_attributes how = {
        .label = "constructed", .unit_size = 256, .units_per_chunk = 64,
        .options = SK_HEAP_UNLIMITED, .destruct = count_destructed};
    sk_heap *heap = sk_heap_new_with(&how);

    (void)state;
    for (int i = 0; i < GIVEN; i++)
        assert_non_null(given[i] = sk_heap_unit_allocate(heap));
    atomic_store(&sk_self->slack_bytes, 0);
    destructed = 0;
    run(free_given, NULL);
    assert_int_equal(destructed, 0);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
    assert_int_equal(destructed, GIVEN);
}

static sk_heap *with_source(enum sk_heap_source source)
{
    const struct sk_heap_attributes how = {
        .label = "populated", .unit_size = 2000, .units_per_chunk = 30,
        .options = SK_HEAP_UNLIMITED, .source = source};
    sk_heap *heap = sk_heap_new_with(&how);

    assert_non_null(heap);
    return heap;
}

static const enum sk_heap_source sources[] = {SK_HEAP_ON_DEMAND,
                                              SK_HEAP_POPULATED};

/* Where the granule starts that a new unit of the heap lies in. */
static void *granule_of_a_unit(sk_heap *heap)
{
    uintptr_t unit = (uintptr_t)sk_heap_unit_allocate(heap);

    return (void *)(unit & -(uintptr_t)SK_GRANULE_BYTES);
}

/* Skips where memory cannot be had ahead; what is free has no page. */
static void want_populate(void)
{
    if (!has_populate())
        skip();
    sk_region_purge(true);
}

static void a_populated_heap_has_its_memory_before_it_is_touched(void **state)
{
    (void)state;
    want_populate();
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = with_source(sources[i]);
        void *run = granule_of_a_unit(heap);

        if (i == 0)
            assert_in_range(resident_in(run, 65536), 1, 4);
        else
            assert_int_equal(resident_in(run, 65536), 16);
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
        sk_region_purge(true);
        assert_int_equal(resident_in(run, 65536), 0);
    }
}

static void a_trim_gives_the_pages_back_at_once(void **state)
{
    static const size_t sizes[] = {2000, 40000};

    (void)state;
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = plain("trimmed", sizes[i]);
        void *unit = sk_heap_unit_allocate(heap);
        void *run = (void *)((uintptr_t)unit & -(uintptr_t)SK_GRANULE_BYTES);

        assert_true(resident_in(run, 65536) > 0);
        assert_int_equal(info_of(heap).grown_units, 64);
        sk_heap_unit_unref(unit);
        assert_true(sk_heap_trim(heap) > 0);
        assert_int_equal(resident_in(run, 65536), 0);
        assert_in_range(info_of(heap).grown_units, 0, 63);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
}

/* Its chunk is a run that somebody gave back, with a page in memory. */
static void a_populated_heap_gets_the_rest_of_a_used_run(void **state)
{
    void *runs[2];

    (void)state;
    want_populate();
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = with_source(sources[i]);

        runs[i] = granule_of_a_unit(heap);
        if (i == 1)
            assert_int_equal(resident_in(runs[1], 65536), 16);
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
    }
    assert_ptr_equal(runs[0], runs[1]);
    sk_region_purge(true);
}

/* A thread's accounts: what it may cache would be used up, or endless. */
static void heaps_come_and_go_and_leave_nothing_on_account(void **state)
{
    size_t magazine_bytes = sk_self->magazine_bytes;
    size_t carved_bytes = sk_self->carved_bytes;

    (void)state;
    for (int i = 0; i < 100; i++) {
        sk_heap *heap = plain("short-lived", 1000);
        void *units[100];

        for (int k = 0; k < 100; k++)
            units[k] = sk_heap_unit_allocate(heap);
        for (int k = 0; k < 100; k++)
            sk_heap_unit_unref(units[k]);
        assert_true(sk_self->carved_bytes > carved_bytes);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
    assert_int_equal(sk_self->magazine_bytes, magazine_bytes);
    assert_int_equal(sk_self->carved_bytes, carved_bytes);
}

static void refused_memory_is_enomem_and_harms_nothing(void **state)
{
    sk_heap *heap = plain("starved", 30000);
    void **list = NULL, **unit;

    (void)state;
    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    errno = 0;
    while ((unit = sk_heap_unit_allocate(heap))) {
        *unit = list;
        list = unit;
    }
    assert_int_equal(errno, ENOMEM);
    sk_os_fail(SK_OS_COMMIT, 0);
    assert_non_null(unit = sk_heap_unit_allocate(heap));
    sk_heap_unit_unref(unit);
    for (; list; list = unit) {
        unit = *list;
        sk_heap_unit_unref(list);
    }
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
    assert_true(sk_region_is_sound());
}

static sk_heap *shared;
static pthread_barrier_t barrier;

enum { MAXIMUM = 1000 };

static void *use_and_sleep(void *arg)
{
    (void)arg;
    use_and_drop(shared, MAXIMUM);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    sk_state_park();
    return NULL;
}

static void what_another_thread_has_free_is_not_refused(void **state)
{
    sk_heap *hog = plain("hog", 4000);
    void *units[MAXIMUM];
    pthread_t id;

    (void)state;
    shared = sk_heap_new("bounded", 4000, 64, MAXIMUM, 0);
    pthread_barrier_init(&barrier, NULL, 2);
    start_threads(&id, 1, use_and_sleep);
    pthread_barrier_wait(&barrier);
    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    while (sk_heap_unit_allocate(hog))
        ;
    for (int i = 0; i < MAXIMUM; i++)
        assert_non_null(units[i] = sk_heap_unit_allocate(shared));
    assert_null(sk_heap_unit_allocate(shared));
    assert_int_equal(info_of(shared).refused, 1);
    sk_heap_unit_unref(units[0]);
    assert_non_null(units[0] = sk_heap_unit_allocate(shared));
    sk_os_fail(SK_OS_COMMIT, 0);
    pthread_barrier_wait(&barrier);
    join_threads(&id, 1);
    for (int i = 0; i < MAXIMUM; i++)
        sk_heap_unit_unref(units[i]);
    assert_int_equal(info_of(shared).live_units, 0);
    assert_int_equal(sk_heap_destroy(shared, 0), 0);
    assert_int_equal(sk_heap_destroy(hog, 1), 0);
    assert_true(sk_region_is_sound());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growth_is_by_chunks_and_doubles_when_asked),
        cmocka_unit_test(memory_is_kept_unless_the_heap_shrinks),
        cmocka_unit_test(what_has_a_destructor_is_kept_until_a_trim),
        cmocka_unit_test(so_is_what_another_thread_frees),
        cmocka_unit_test(large_units_come_and_go_with_their_memory),
        cmocka_unit_test(a_populated_heap_has_its_memory_before_it_is_touched),
        cmocka_unit_test(a_trim_gives_the_pages_back_at_once),
        cmocka_unit_test(a_populated_heap_gets_the_rest_of_a_used_run),
        cmocka_unit_test(heaps_come_and_go_and_leave_nothing_on_account),
        cmocka_unit_test(refused_memory_is_enomem_and_harms_nothing),
        cmocka_unit_test(what_another_thread_has_free_is_not_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
