/*
 * heap_fork.c - the library's heaps in the child of a fork, and at a thread's
 * end.
 */
#include "child.h"
#include "heaps.h"
#include "threads.h"

enum { MAXIMUM = 100 };

static sk_heap *shared;
static void *units[50];

static void check_in_child(uint64_t unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++) {
        if (*(int *)units[i] != i)
            _exit(2);
        sk_heap_unit_unref(units[i]);
    }
    use_and_drop(shared, 1000);
    if (info_of(shared).live_units != 0)
        _exit(3);
    _exit(sk_heap_destroy(shared, 0) == 0 ? 0 : 4);
}

static void a_forked_child_has_the_heaps_and_their_units(void **state)
{
    static const size_t sizes[] = {40, 70000};

    (void)state;
    for (int k = 0; k < 2; k++) {
        shared = plain("forked", sizes[k]);
        for (int i = 0; i < 50; i++) {
            units[i] = sk_heap_unit_allocate(shared);
            *(int *)units[i] = i;
        }
        assert_in_child(check_in_child, 0);
        for (int i = 0; i < 50; i++)
            sk_heap_unit_unref(units[i]);
        assert_int_equal(sk_heap_destroy(shared, 0), 0);
    }
}

static _Atomic bool is_over;

static void *fight_until_over(void *arg)
{
    void *mine[20] = {0};

    (void)arg;
    for (uint32_t i = 0; !atomic_load(&is_over); i++) {
        void **slot = &mine[i * 7 % 20];

        if (*slot) {
            sk_heap_unit_unref(*slot);
            *slot = NULL;
        } else {
            *slot = sk_heap_unit_allocate(shared);
        }
    }
    for (int i = 0; i < 20; i++)
        if (mine[i])
            sk_heap_unit_unref(mine[i]);
    sk_state_park();
    return NULL;
}

/* The threads that hold units did not come along: their units stay live. */
static void take_what_is_left(uint64_t unused)
{
    enum { ROUNDS = 3 };
    void *taken[MAXIMUM];
    size_t got[ROUNDS] = {0};

    (void)unused;
    alarm(30);
    for (int round = 0; round < ROUNDS; round++) {
        while (got[round] < MAXIMUM &&
               (taken[got[round]] = sk_heap_unit_allocate(shared)))
            got[round]++;
        for (size_t i = 0; i < got[round]; i++)
            sk_heap_unit_unref(taken[i]);
        if (got[round] != got[0])
            _exit(2);
    }
    if (got[0] == 0)
        _exit(3);
    _exit(sk_heap_destroy(shared, 1) == 0 ? 0 : 4);
}

static void a_child_forked_while_others_fight_can_use_the_rest(void **state)
{
    static const size_t sizes[] = {64, 50000};
    pthread_t ids[3];

    (void)state;
    for (int k = 0; k < 2; k++) {
        atomic_store(&is_over, false);
        shared = sk_heap_new("fought for", sizes[k], 8, MAXIMUM, 0);
        assert_non_null(shared);
        start_threads(ids, 3, fight_until_over);
        for (int i = 0; i < 100; i++)
            assert_in_child(take_what_is_left, 0);
        atomic_store(&is_over, true);
        join_threads(ids, 3);
        assert_int_equal(sk_heap_destroy(shared, 0), 0);
    }
}

static void *use_one_until_over(void *arg)
{
    while (!atomic_load(&is_over)) {
        void *unit = sk_heap_unit_allocate(shared);

        if (unit)
            sk_heap_unit_unref(unit);
    }
    sk_state_park();
    return arg;
}

static void take_all_but_a_reserve(uint64_t unused)
{
    int got = 0;

    (void)unused;
    while (sk_heap_unit_allocate(shared))
        got++;
    REQUIRE(got >= MAXIMUM - 33 && got <= MAXIMUM);
}

static void a_child_lacks_no_more_than_a_reserve(void **state)
{
    pthread_t id;

    (void)state;
    atomic_store(&is_over, false);
    shared = bounded(MAXIMUM);
    start_threads(&id, 1, use_one_until_over);
    for (int i = 0; i < 100; i++)
        assert_in_child(take_all_but_a_reserve, 0);
    atomic_store(&is_over, true);
    join_threads(&id, 1);
    assert_int_equal(sk_heap_destroy(shared, 0), 0);
}

/* As the child finds it, but for one thread and no fork: another one holds the
 * lock, and was about to count. */
static void a_child_makes_a_locked_heap_whole(void **state)
{
    struct sk_library *lib;
    uint32_t units_each;
    void *all[60];

    (void)state;
    shared = sk_heap_new("locked", 40000, 8, 0,
                         SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);
    lib = shared->library;
    units_each = shared->chunk_units;
    assert_in_range(units_each, 2, 20);
    for (uint32_t i = 0; i < 3 * units_each; i++)
        all[i] = sk_heap_unit_allocate(shared);
    for (uint32_t i = 0; i < 3; i++)
        sk_heap_unit_unref(all[i * units_each]);
    lib->guard.lock.word = 1;
    lib->guard.changer = &all;
    lib->live += 1;
    sk_chunk_at(lib->partial - 1)->home_units += 1;
    sk_more_after_fork(lib);
    assert_int_equal(info_of(shared).live_units, 3 * units_each - 3);
    for (uint32_t i = 0; i < 3; i++)
        all[i * units_each] = sk_heap_unit_allocate(shared);
    /* Out of the chunks that there are. */
    assert_int_equal(info_of(shared).chunk_bytes,
                     3 * (SK_GRANULE_BYTES << shared->order));
    for (uint32_t i = 0; i < 3 * units_each; i++)
        sk_heap_unit_unref(all[i]);
    sk_heap_trim(shared);
    assert_int_equal(info_of(shared).chunk_bytes, 0);
    assert_int_equal(lib->carved_units, 0);
    assert_int_equal(sk_heap_destroy(shared, 0), 0);
}

static void leave_as_is(void *unit, void *unused)
{
    (void)unit, (void)unused;
}

static pid_t forked;

static void fork_once(void *unit, void *unused)
{
    (void)unit, (void)unused;
    if (forked < 0)
        forked = fork();
}

/* With the heap's lock held, by the child too. */
static void trim_and_fork(uint64_t unused)
{
    struct sk_heap_attributes how = {.label = "forking",
                                     .unit_size = 40000,
                                     .units_per_chunk = 8,
                                     .options = SK_HEAP_UNLIMITED,
                                     .construct = leave_as_is,
                                     .destruct = fork_once};
    int status = 0;

    (void)unused;
    forked = -1;
    shared = sk_heap_new_with(&how);
    use_and_drop(shared, 60);
    sk_heap_trim(shared);
    REQUIRE(info_of(shared).chunk_bytes == 0);
    use_and_drop(shared, 60);
    REQUIRE(info_of(shared).live_units == 0);
    sk_heap_trim(shared);
    REQUIRE(info_of(shared).chunk_bytes == 0);
    REQUIRE(sk_heap_destroy(shared, 0) == 0);
    if (forked > 0)
        REQUIRE(waitpid(forked, &status, 0) == forked);
    REQUIRE(status == 0);
}

static void a_destructor_may_fork(void **state)
{
    (void)state;
    assert_in_child(trim_and_fork, 0);
}

/* --- a heap's end ---------------------------------------------------------- */

static _Atomic bool is_ending;

static void wait_until_over(void *unit, void *unused)
{
    (void)unit, (void)unused;
    atomic_store(&is_ending, true);
    while (!atomic_load(&is_over))
        sched_yield();
}

static void *destroy_shared(void *unused)
{
    assert_int_equal(sk_heap_destroy(shared, 1), 0);
    return unused;
}

static void check_in_grandchild(uint64_t unused)
{
    (void)unused;
    REQUIRE(info_of(shared).live_units == 1);
}

/* Its chunks and its place are free, and no destructor is called. */
static void check_that_it_is_gone(uint64_t unused)
{
    uint32_t slot = shared->slot;

    (void)unused;
    REQUIRE(sk_library_chunk(shared, 0) == SK_NONE);
    REQUIRE(sk_region_is_sound());
    REQUIRE(sk_heap_new("again", slot < SK_MORE_SLOT ? 40 : 70000, 8, 8, 0) ==
            shared);
    REQUIRE(sk_heap_unit_allocate(shared));
    REQUIRE(status_of(check_in_grandchild, 0) == 0);
}

static void a_child_ends_the_heaps_that_were_being_destroyed(void **state)
{
    static const size_t sizes[] = {40, 70000};
    struct sk_heap_attributes how = {.label = "ending",
                                     .units_per_chunk = 8,
                                     .options = SK_HEAP_UNLIMITED,
                                     .destruct = wait_until_over};
    pthread_t id;

    (void)state;
    for (int k = 0; k < 2; k++) {
        how.unit_size = sizes[k];
        shared = sk_heap_new_with(&how);
        assert_non_null(shared);
        for (int i = 0; i < 40; i++)
            assert_non_null(sk_heap_unit_allocate(shared));
        atomic_store(&is_over, false);
        atomic_store(&is_ending, false);
        start_threads(&id, 1, destroy_shared);
        while (!atomic_load(&is_ending))
            sched_yield();
        assert_in_child(check_that_it_is_gone, 0);
        atomic_store(&is_over, true);
        join_threads(&id, 1);
    }
}

/* --- a thread's end ------------------------------------------------------- */

static pthread_key_t late_key;
static int late_units;

/* Runs after the library's own destructor, whose key is older. */
static void late(void *unit)
{
    void *more = sk_heap_unit_allocate(shared);

    assert_non_null(more);
    sk_heap_unit_unref(unit);
    sk_heap_unit_unref(more);
    late_units++;
}

static void *leave_late(void *arg)
{
    (void)arg;
    pthread_setspecific(late_key, sk_heap_unit_allocate(shared));
    return NULL;
}

/* Of threads that will not use it again. */
static int live_states(void)
{
    int live = 0;

    for (uint32_t id = 1; id <= sk_state_count(); id++)
        live += atomic_load(&sk_state_at(id)->status) == SK_LIVE;
    return live;
}

static void destructors_of_ending_threads_can_use_units(void **state)
{
    int before = live_states();

    (void)state;
    assert_int_equal(pthread_key_create(&late_key, late), 0);
    for (int i = 0; i < 3; i++) {
        shared = i == 0   ? plain("late", 64)
                 : i == 1 ? bounded(3)
                          : plain("large", 50000);
        run(leave_late, NULL);
        assert_int_equal(live_states(), before);
        assert_int_equal(info_of(shared).live_units, 0);
        assert_int_equal(sk_heap_destroy(shared, 0), 0);
    }
    assert_int_equal(late_units, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forked_child_has_the_heaps_and_their_units),
        cmocka_unit_test(a_child_forked_while_others_fight_can_use_the_rest),
        cmocka_unit_test(a_child_lacks_no_more_than_a_reserve),
        cmocka_unit_test(a_child_makes_a_locked_heap_whole),
        cmocka_unit_test(a_destructor_may_fork),
        cmocka_unit_test(a_child_ends_the_heaps_that_were_being_destroyed),
        cmocka_unit_test(destructors_of_ending_threads_can_use_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
