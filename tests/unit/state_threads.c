/*
 * state_threads.c - thread states under other threads' frees, and after their
 * thread's end.
 */
#include "sender.h"
#include "threads.h"

#include <string.h>

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

static void *post_and_park(void *unit)
{
    assert_true(post_and_stop(unit));
    sk_state_park();
    return NULL;
}

static void what_a_sender_posted_at_a_fork_is_mailed_in_the_child(void **state)
{
    void *unit = get(4096);
    struct sk_state *owner = owner_of(unit);
    uint32_t chunk;

    (void)state;
    sk_state_trim();
    run(post_and_park, unit);
    assert_int_equal(owner->mail, 0);
    sk_mail_after_fork(sk_self, false);
    assert_int_not_equal(chunk = owner->mail, 0);
    sk_mail_after_fork(sk_self, false); /* once is enough */
    assert_int_equal(sk_chunk_at(chunk - 1)->mail_next, 0);
    assert_int_equal(now()->heaps[class_of(4096)].chunks, 1);
    sk_state_trim();
    assert_int_equal(now()->heaps[class_of(4096)].chunks, 0);
    /* What is there now concerns nobody. */
    sk_mail_after_fork(sk_self, false);
    assert_int_equal(owner->mail, 0);
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        sk_state_at(id)->posting = 0;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_exchange_units_without_harm),
        cmocka_unit_test(a_crowd_shares_pages_without_harm),
        cmocka_unit_test(ended_threads_leave_states_for_new_ones),
        cmocka_unit_test(a_new_thread_gets_a_state_whose_chunks_fit),
        cmocka_unit_test(a_sleeping_owner_gets_its_memory_purged),
        cmocka_unit_test(a_unit_of_an_ended_thread_can_be_freed),
        cmocka_unit_test(
            what_a_sender_posted_at_a_fork_is_mailed_in_the_child),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
