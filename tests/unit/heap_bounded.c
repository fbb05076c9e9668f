/*
 * heap_bounded.c - heaps with a maximum: who holds the rights to hand units
 * out, and what becomes of them.
 */
#include "heaps.h"
#include "threads.h"

enum { MAXIMUM = 1000, PLENTY = MAXIMUM / 8 + 2 };

static sk_heap *heap;
static void *units[MAXIMUM];

static enum sk_tightness tightness(void)
{
    return atomic_load(&heap->library->tightness) % SK_TIGHTNESS_STEPS;
}

/* Of a new heap all, and it is known that there are no more. */
static void take_all(void)
{
    heap = bounded(MAXIMUM);
    for (int i = 0; i < MAXIMUM; i++)
        assert_non_null(units[i] = sk_heap_unit_allocate(heap));
    assert_fails(sk_heap_unit_allocate(heap), NULL, ENOMEM);
    assert_int_equal(tightness(), SK_TIGHT);
}

static void let_go(int from, int to)
{
    for (int i = from; i < to; i++)
        sk_heap_unit_unref(units[i]);
}

static void *let_go_of_some(void *some)
{
    let_go(0, *(int *)some);
    sk_state_park();
    return NULL;
}

static void *take_rest(void *taken)
{
    while (*(int *)taken < MAXIMUM &&
           (units[*(int *)taken] = sk_heap_unit_allocate(heap)))
        ++*(int *)taken;
    sk_state_park();
    return NULL;
}

/* At the maximum no thread may keep a right that another one could ask for. */
static void what_one_thread_lets_go_another_can_have(void **state)
{
    static const int numbers[] = {1, 16, PLENTY - 1, PLENTY, PLENTY + 1,
                                  PLENTY + 20, MAXIMUM};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int taken = 0;

        take_all();
        let_go(0, numbers[i]);
        run(take_rest, &taken);
        assert_int_equal(taken, numbers[i]);
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
    }
}

static void nor_does_who_takes_one_keep_more(void **state)
{
    int taken = 0;

    (void)state;
    take_all();
    let_go(0, PLENTY - 1);
    assert_int_equal(tightness(), SK_TIGHT);
    assert_non_null(sk_heap_unit_allocate(heap));
    run(take_rest, &taken);
    assert_int_equal(taken, PLENTY - 2);
    assert_int_equal(sk_heap_destroy(heap, 1), 0);
}

enum { FEW = 20 };
static pthread_barrier_t barrier;

static void *hoard_and_wait(void *unused)
{
    void *hoard[FEW / 2];

    for (int i = 0; i < FEW / 2; i++)
        hoard[i] = sk_heap_unit_allocate(heap);
    for (int i = 0; i < FEW / 2; i++)
        sk_heap_unit_unref(hoard[i]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    sk_state_park();
    return unused;
}

/* The heap is tight though there is plenty. */
static void what_was_collected_is_not_kept_again(void **state)
{
    pthread_t id;
    int live = 0, taken = 0;

    (void)state;
    heap = bounded(FEW);
    pthread_barrier_init(&barrier, NULL, 2);
    start_threads(&id, 1, hoard_and_wait);
    pthread_barrier_wait(&barrier);
    while (tightness() == SK_LOOSE)
        assert_non_null(units[live++] = sk_heap_unit_allocate(heap));
    assert_in_range(live, 2, FEW / 2 + 1);
    let_go(0, 1);
    run(take_rest, &taken);
    assert_int_equal(taken, FEW - live + 1);
    pthread_barrier_wait(&barrier);
    join_threads(&id, 1);
    assert_int_equal(sk_heap_destroy(heap, 1), 0);
}

/* A thread that saw it tight before and after, and nothing left in between, is
 * told that all are live. */
static void it_is_loose_when_there_is_plenty_and_tight_anew(void **state)
{
    uint32_t before;

    (void)state;
    take_all();
    before = atomic_load(&heap->library->tightness);
    let_go(0, PLENTY - 1);
    assert_int_equal(tightness(), SK_TIGHT);
    let_go(PLENTY - 1, PLENTY);
    assert_int_equal(tightness(), SK_LOOSE);
    for (int i = 0; i < PLENTY; i++)
        assert_non_null(units[i] = sk_heap_unit_allocate(heap));
    assert_null(sk_heap_unit_allocate(heap));
    assert_int_equal(tightness(), SK_TIGHT);
    assert_int_not_equal(atomic_load(&heap->library->tightness), before);
    assert_int_equal(sk_heap_destroy(heap, 1), 0);
}

static bool has_none(struct sk_state *state)
{
    return !sk_state_bin(state, heap->slot)->head &&
           !sk_state_rack(state, heap)->second;
}

static void a_thread_that_only_freed_leaves_none_behind(void **state)
{
    static const int numbers[] = {1, 10, 100, MAXIMUM / 2};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (int is_tight = 0; is_tight < 2; is_tight++) {
            int some = numbers[i];

            take_all();
            if (!is_tight)
                let_go(MAXIMUM / 2, MAXIMUM);
            run(let_go_of_some, &some);
            for (uint32_t id = 1; id <= sk_state_count(); id++)
                assert_true(sk_state_at(id) == sk_self ||
                            has_none(sk_state_at(id)));
            assert_int_equal(sk_heap_destroy(heap, 1), 0);
        }
}

static void *trim_it(void *unused)
{
    sk_heap_trim(heap);
    sk_state_park();
    return unused;
}

/* A fork's child finds a bin in mid-change: what seems to be in it may be in
 * the program's hands. */
static void what_a_broken_state_has_is_lost(void **state)
{
    struct sk_state *broken = NULL;
    int taken = 0, hoard;

    (void)state;
    heap = bounded(MAXIMUM);
    for (int i = 0; i < 100; i++)
        units[i] = sk_heap_unit_allocate(heap);
    let_go(0, 100);
    broken = sk_self;
    hoard = (int)(info_of(heap).cached_units -
                  sk_state_rack(broken, heap)->second_units);
    assert_in_range(hoard, 1, 100);
    atomic_store(&broken->status, SK_BROKEN);
    run(take_rest, &taken);
    run(trim_it, NULL);
    atomic_store(&broken->status, SK_LIVE);
    assert_int_equal(taken, MAXIMUM - hoard);
    assert_int_equal(sk_state_bin_units(broken, heap->slot / SK_BIN_BYTES),
                     hoard);
    assert_int_equal(sk_heap_destroy(heap, 1), 0);
}

static void *let_go_and_wait(void *unused)
{
    let_go(0, MAXIMUM);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    sk_state_park();
    return unused;
}

/* Out of a bin whose owner sleeps, and by mail to whose they are. */
static void a_trim_brings_home_what_others_freed(void **state)
{
    pthread_t id;

    (void)state;
    take_all();
    start_threads(&id, 1, let_go_and_wait);
    pthread_barrier_wait(&barrier);
    assert_true(info_of(heap).chunk_bytes > 0);
    assert_true(sk_heap_trim(heap) > 0);
    assert_int_equal(info_of(heap).chunk_bytes, 0);
    pthread_barrier_wait(&barrier);
    join_threads(&id, 1);
    for (int i = 0; i < MAXIMUM; i++)
        assert_non_null(sk_heap_unit_allocate(heap));
    assert_null(sk_heap_unit_allocate(heap));
    assert_int_equal(sk_heap_destroy(heap, 1), 0);
}

/* It interrupted a slow path. */
static void a_handler_gets_none_and_may_free(void **state)
{
    struct sk_state *self;
    void *unit;

    (void)state;
    for (int is_bounded = 0; is_bounded < 2; is_bounded++) {
        heap = is_bounded ? bounded(20) : plain("plain", 64);
        unit = sk_heap_unit_allocate(heap);
        self = sk_state_hide();
        assert_fails(sk_heap_unit_allocate(heap), NULL, ENOMEM);
        sk_heap_unit_unref(unit);
        sk_state_show(self);
        assert_int_equal(info_of(heap).live_units, 0);
        assert_int_equal(info_of(heap).refused, 1);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
    heap = bounded(20);
    unit = sk_heap_unit_allocate(heap);
    self = sk_state_hide();
    sk_heap_unit_unref(unit);
    sk_state_show(self);
    take_exactly(heap, 20);
}

static void without_memory_none_is_had_and_no_right_is_lost(void **state)
{
    sk_heap *hog = plain("hog", 16);

    (void)state;
    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    while (sk_heap_unit_allocate(hog))
        ;
    heap = bounded(MAXIMUM);
    for (int i = 0; i < 40; i++)
        assert_fails(sk_heap_unit_allocate(heap), NULL, ENOMEM);
    sk_os_fail(SK_OS_COMMIT, 0);
    assert_int_equal(info_of(heap).refused, 40);
    for (int i = 0; i < MAXIMUM; i++)
        assert_non_null(units[i] = sk_heap_unit_allocate(heap));
    assert_null(sk_heap_unit_allocate(heap));
    assert_int_equal(sk_heap_destroy(heap, 1), 0);
    assert_int_equal(sk_heap_destroy(hog, 1), 0);
}

/* What rests beside the bins is memory alone: so much of it is at hand. */
static void memory_goes_home_from_a_heap_that_shrinks(void **state)
{
    enum { MANY = 20000 };
    static void *many[MANY];
    uint64_t bytes;

    (void)state;
    heap = sk_heap_new("shrinking", 256, 64, MANY, SK_HEAP_SHRINK);
    for (int i = 0; i < MANY; i++)
        assert_non_null(many[i] = sk_heap_unit_allocate(heap));
    bytes = info_of(heap).chunk_bytes;
    for (int i = 0; i < MANY; i++)
        sk_heap_unit_unref(many[i]);
    assert_true(info_of(heap).chunk_bytes < bytes / 4);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_thread_lets_go_another_can_have),
        cmocka_unit_test(nor_does_who_takes_one_keep_more),
        cmocka_unit_test(what_was_collected_is_not_kept_again),
        cmocka_unit_test(it_is_loose_when_there_is_plenty_and_tight_anew),
        cmocka_unit_test(a_thread_that_only_freed_leaves_none_behind),
        cmocka_unit_test(what_a_broken_state_has_is_lost),
        cmocka_unit_test(a_trim_brings_home_what_others_freed),
        cmocka_unit_test(a_handler_gets_none_and_may_free),
        cmocka_unit_test(without_memory_none_is_had_and_no_right_is_lost),
        cmocka_unit_test(memory_goes_home_from_a_heap_that_shrinks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
