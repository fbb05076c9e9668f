/*
 * state.c - thread states under their own and other threads' frees.
 */
#include "unit.h"

#include "stats.h"
#include "threads.h"
#include "tick.h"

#include <string.h>

/* --- one thread ------------------------------------------------------------ */

static void every_size_gets_its_own_aligned_unit(void **state)
{
    (void)state;
    for (size_t n = 0; n <= SK_CLASS_BYTES; n++) {
        char *p = get(n);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_true(sk_state_usable(p) >= n);
        assert_true(n < 32 || sk_state_usable(p) < n + n / 4 + 16);
        memset(p, 0xa5, sk_state_usable(p));
        put(p);
    }
    assert_true(sk_state_is_sound(sk_self));
}

static void units_do_not_overlap_and_keep_their_content(void **state)
{
    enum { UNITS = 20000 };
    static char *units[UNITS];
    static size_t sizes[UNITS];
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < UNITS; i++) {
            if (units[i]) {
                for (size_t k = 0; k < sizes[i]; k += 7)
                    assert_int_equal((unsigned char)units[i][k], i % 251);
                put(units[i]);
            }
            seed = seed * 1664525 + 1013904223;
            sizes[i] = seed >> 16 & (i % 16 ? 1023 : 32767);
            units[i] = get(sizes[i]);
            assert_non_null(units[i]);
            memset(units[i], i % 251, sizes[i]);
        }
        assert_true(sk_state_is_sound(sk_self));
        assert_true(sk_region_is_sound());
    }
    for (int i = 0; i < UNITS; i++) {
        put(units[i]);
        units[i] = NULL;
    }
    assert_true(sk_state_is_sound(sk_self));
}

static void allocations_are_counted_exactly(void **state)
{
    uint64_t before, in_use;
    void *kept[300];

    (void)state;
    before = now()->heaps[5].allocations;
    in_use = now()->heaps[5].in_use;
    for (int i = 0; i < 100000; i++)
        put(get(80));
    for (int i = 0; i < 300; i++)
        kept[i] = get(80);
    assert_int_equal(now()->heaps[5].allocations - before, 100300);
    assert_int_equal(now()->heaps[5].in_use - in_use, 300);
    for (int i = 0; i < 300; i++)
        put(kept[i]);
    assert_int_equal(now()->heaps[5].in_use, in_use);
}

static void a_count_that_spills_into_room_is_not_lost(void **state)
{
    struct sk_bin *bin = sk_state_bin(sk_self, SK_CLASS_SLOT(6));
    uint64_t before;

    (void)state;
    put(get(96));
    before = now()->heaps[6].allocations;
    bin->meter += SK_ROOM_ONE; /* as 2^30 hits of malloc and free would */
    bin->meter += SK_ROOM_ONE;
    assert_int_equal(now()->heaps[6].allocations - before,
                     2 * SK_ROOM_ONE);
    for (int i = 0; i < 3; i++) {
        void *units[1000];

        for (int k = 0; k < 1000; k++)
            units[k] = get_exact(96);
        for (int k = 0; k < 1000; k++)
            put(units[k]);
    }
    assert_int_equal(now()->heaps[6].allocations - before,
                     2 * SK_ROOM_ONE + 3000);
}

static void memory_freed_by_its_owner_goes_back(void **state)
{
    enum { UNITS = 200000 };
    void *list = NULL;
    size_t used;

    (void)state;
    sk_state_trim();
    for (int i = 0; i < UNITS; i++) {
        void *p = get(256);

        *(void **)p = list;
        list = p;
    }
    used = now()->region.used_bytes;
    put_list(list);
    assert_true(now()->region.used_bytes < used / 10);
    assert_true(now()->region.dirty_bytes <= 26u << 20);
    sk_state_trim();
    assert_int_equal(now()->region.dirty_bytes, 0);
    assert_true(sk_region_is_sound());
}

/* What was freed last lies in the bin, in no order: a unit of each chunk. */
static void a_bin_that_nobody_uses_holds_no_chunks(void **state)
{
    enum { UNITS = 20000, STEP = 7919 };
    static void *units[UNITS];

    (void)state;
    sk_config.purge_delay = 1;
    sk_state_trim();
    for (int i = 0; i < UNITS; i++)
        units[i] = get(256);
    for (int i = 0; i < UNITS; i++)
        put(units[(int64_t)i * STEP % UNITS]);
    assert_true(now()->heaps[16].chunks > 20);
    for (int i = 0; i < 3; i++)
        tick();
    assert_int_equal(now()->heaps[16].cached, 0);
    assert_in_range(now()->heaps[16].chunks, 0, 1);
    sk_config.purge_delay = 500;
}

/* --- many threads ---------------------------------------------------------- */

enum { THREADS = 4, SLOTS = 512, TURNS = 60000 };

static _Atomic(char *) slots[SLOTS];

static void check_and_put(char *p)
{
    unsigned char mark = (unsigned char)p[8];
    size_t usable = sk_state_usable(p);

    for (size_t i = 8; i < usable; i += 61)
        assert_int_equal((unsigned char)p[i], mark);
    put(p);
}

/* Threads exchange units through a table: most frees are of other threads'
 * units. */
static void *exchange_units(void *arg)
{
    uint32_t seed = (uint32_t)(uintptr_t)arg * 7919 + 1;

    for (int turn = 0; turn < TURNS; turn++) {
        size_t n;
        char *p;

        seed = seed * 1664525 + 1013904223;
        n = 16 + (seed >> 8) % (turn % 32 ? 500 : 20000);
        p = get(n);
        assert_non_null(p);
        memset(p, (int)(seed >> 24), sk_state_usable(p));
        p = atomic_exchange(&slots[seed % SLOTS], p);
        if (p)
            check_and_put(p);
    }
    sk_state_park();
    return NULL;
}

/* Frees what the threads left in the table; then nothing may be in use. */
static void assert_nothing_is_left(void)
{
    const struct sk_stats *stats;
    uint64_t in_use = 0;

    for (int i = 0; i < SLOTS; i++)
        if (slots[i])
            check_and_put(atomic_exchange(&slots[i], NULL));
    sk_state_trim();
    stats = now();
    for (int class = 1; class < SK_CLASSES; class++)
        in_use += stats->heaps[class].in_use;
    assert_int_equal(in_use, 0);
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        assert_true(sk_state_is_sound(sk_state_at(id)));
    assert_true(sk_region_is_sound());
}

static void threads_exchange_units_without_harm(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++)
        run_threads(exchange_units, THREADS);
    assert_nothing_is_left();
    assert_int_equal(now()->region.used_bytes, 0);
}

/* More threads than share no pages: each keeps a little of many sizes, some
 * of it out of the commons, and leaves some of it to the others. */
static void *crowd_units(void *arg)
{
    enum { KEPT = 40 };
    char *kept[KEPT] = {0};
    uint32_t seed = (uint32_t)(uintptr_t)arg * 104729 + 7;

    for (int turn = 0; turn < 8000; turn++) {
        uint32_t i;
        size_t n;

        seed = seed * 1664525 + 1013904223;
        i = (seed >> 8) % KEPT;
        n = 16 + (seed >> 13) % 1100;
        if (kept[i] && turn % 5 == 0)
            kept[i] = atomic_exchange(&slots[seed % SLOTS], kept[i]);
        if (kept[i])
            check_and_put(kept[i]);
        kept[i] = get(n);
        assert_non_null(kept[i]);
        memset(kept[i], (int)(seed >> 24), sk_state_usable(kept[i]));
    }
    for (int i = 0; i < KEPT; i++)
        check_and_put(kept[i]);
    sk_state_park();
    return NULL;
}

static void a_crowd_shares_pages_without_harm(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++)
        run_threads(crowd_units, 40);
    assert_nothing_is_left();
}

static void *take_one(void *arg)
{
    (void)arg;
    put(get(100));
    sk_state_park();
    assert_null(sk_state_alloc_slow(100));
    return NULL;
}

static void ended_threads_leave_states_for_new_ones(void **state)
{
    uint32_t before = sk_state_count();

    (void)state;
    for (int i = 0; i < 300; i++)
        run_threads(take_one, 2);
    assert_true(sk_state_count() <= before + 2);
}

enum { HALVES = 1000 };
static void *halves[2][HALVES];
static uint32_t half_ids[2];
static pthread_barrier_t half_full;

/* Both live until both have their chunks; the first ends first. */
static void *leave_half_full_chunks(void *arg)
{
    int who = *(int *)arg;

    for (int i = 0; i < HALVES; i++)
        halves[who][i] = get(who ? 1000 : 3000);
    half_ids[who] = sk_self->id;
    pthread_barrier_wait(&half_full);
    if (who == 1)
        pthread_barrier_wait(&half_full);
    for (int i = 0; i < HALVES; i += 2)
        put(halves[who][i]);
    sk_state_park();
    if (who == 0)
        pthread_barrier_wait(&half_full);
    return NULL;
}

static void *take_of_size(void *arg)
{
    put(get(*(size_t *)arg));
    *(size_t *)arg = sk_self->id;
    sk_state_park();
    return NULL;
}

static void a_new_thread_gets_a_state_whose_chunks_fit(void **state)
{
    int who[2] = {0, 1};
    pthread_t ids[2];

    (void)state;
    pthread_barrier_init(&half_full, NULL, 2);
    for (int i = 0; i < 2; i++)
        pthread_create(&ids[i], NULL, leave_half_full_chunks, &who[i]);
    join_threads(ids, 2);
    for (int turn = 0; turn < 4; turn++) {
        size_t got = turn % 2 ? 1000 : 3000;

        run(take_of_size, &got);
        assert_int_equal(got, half_ids[turn % 2]);
    }
    for (int i = 1; i < HALVES; i += 2)
        put(halves[0][i]), put(halves[1][i]);
    assert_nothing_is_left();
}

static void *free_all(void *list)
{
    put_list(list);
    sk_state_park();
    return NULL;
}

static void a_sleeping_owner_gets_its_memory_purged(void **state)
{
    void *list = NULL;
    uint64_t calls;

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        void *p = get(64);

        *(void **)p = list;
        list = p;
    }
    calls = sk_os_called(SK_OS_PURGE);
    run(free_all, list);
    /* 64 MB are 977 chunks; 1 to 16 MiB of them may wait for the owner. */
    assert_true(sk_os_called(SK_OS_PURGE) - calls > 700);
    sk_state_trim();
    assert_true(sk_state_is_sound(sk_self));
    assert_true(sk_region_is_sound());
}

static void *leave_a_unit(void *into)
{
    *(void **)into = get(700);
    sk_state_park();
    return NULL;
}

static void a_unit_of_an_ended_thread_can_be_freed(void **state)
{
    void *unit = NULL;

    (void)state;
    run(leave_a_unit, &unit);
    put(unit);
    sk_state_trim();
    assert_int_equal(now()->heaps[44].in_use, 0);
}

/* --- refused memory -------------------------------------------------------- */

static void a_refused_commit_is_null_and_harms_nothing(void **state)
{
    void *list = NULL;
    int got = 0;

    (void)state;
    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    for (;;) {
        void *p = get(32768);

        if (!p)
            break;
        *(void **)p = list;
        list = p;
        got++;
    }
    sk_os_fail(SK_OS_COMMIT, 0);
    assert_true(sk_state_is_sound(sk_self));
    assert_true(sk_region_is_sound());
    assert_non_null(get(32768));
    put_list(list);
    assert_true(got >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_gets_its_own_aligned_unit),
        cmocka_unit_test(units_do_not_overlap_and_keep_their_content),
        cmocka_unit_test(allocations_are_counted_exactly),
        cmocka_unit_test(a_count_that_spills_into_room_is_not_lost),
        cmocka_unit_test(memory_freed_by_its_owner_goes_back),
        cmocka_unit_test(a_bin_that_nobody_uses_holds_no_chunks),
        cmocka_unit_test(threads_exchange_units_without_harm),
        cmocka_unit_test(a_crowd_shares_pages_without_harm),
        cmocka_unit_test(ended_threads_leave_states_for_new_ones),
        cmocka_unit_test(a_new_thread_gets_a_state_whose_chunks_fit),
        cmocka_unit_test(a_sleeping_owner_gets_its_memory_purged),
        cmocka_unit_test(a_unit_of_an_ended_thread_can_be_freed),
        cmocka_unit_test(a_refused_commit_is_null_and_harms_nothing),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
