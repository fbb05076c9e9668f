/*
 * region.c - runs of granules: taken, given, merged, refused, after a fork.
 */
#include "child.h"
#include "figures.h"
#include "random.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

enum { GRANULES_OF_4M = 64 };

/* Takes a run and marks its granules as somebody's, as a chunk does. */
static uint32_t take(unsigned order, uint32_t owner)
{
    uint32_t first = sk_region_take(order);

    if (first == SK_NONE)
        return first;
    REQUIRE(first % (1u << order) == 0);
    for (uint32_t i = first; i < first + (1u << order); i++)
        REQUIRE(atomic_exchange(&sk_region_map[i],
                                owner << SK_OWNER_SHIFT | 16) == 0);
    /* The descriptor is the taker's too, but for its last word. */
    memset(sk_region.chunks + (size_t)first * SK_SLOT_BYTES, 0xa5,
           SK_SLOT_BYTES - 4);
    return first;
}

static void give(uint32_t first, unsigned order, uint32_t owner,
                 bool is_purged)
{
    for (uint32_t i = first; i < first + (1u << order); i++)
        REQUIRE(atomic_exchange(&sk_region_map[i], 0) ==
                (owner << SK_OWNER_SHIFT | 16));
    /* As a chunk of which everything was carved. */
    *(uint32_t *)(sk_region.chunks + (size_t)first * SK_SLOT_BYTES +
                  SK_SLOT_BYTES - 4) = 0;
    sk_region_give(first, order, is_purged);
}

/* --- opening -------------------------------------------------------------- */

static void is_taken_whole(uint64_t bytes)
{
    size_t granules = bytes >> SK_GRANULE_SHIFT;

    REQUIRE(sk_region_open(bytes));
    REQUIRE(sk_region_granules == granules);
    for (size_t i = 0; i < granules; i++) {
        uint32_t first = take(0, 1);

        REQUIRE(first != SK_NONE);
        memset(sk_region_address(first), 0x5a, SK_GRANULE_BYTES);
    }
    REQUIRE(sk_region_take(0) == SK_NONE);
    REQUIRE(figures().used_bytes == bytes);
    for (uint32_t i = 0; i < granules; i++)
        give(i, 0, 1, false);
    REQUIRE(figures().used_bytes == 0);
    REQUIRE(sk_region_is_sound());
}

static void a_tiny_region_is_used_to_its_last_granule(void **state)
{
    (void)state;
    assert_in_child(is_taken_whole, 1 << 20);
    assert_in_child(is_taken_whole, 3 << 19);
    assert_in_child(is_taken_whole, 9 << 20);
}

static void is_refused(uint64_t bytes)
{
    REQUIRE(!sk_region_open(bytes));
    REQUIRE(!sk_region_has(NULL));
    REQUIRE(!sk_region_has(&bytes));
    REQUIRE(sk_region_granules == 0);
}

static void less_than_a_megabyte_is_no_region(void **state)
{
    (void)state;
    assert_in_child(is_refused, 0);
    assert_in_child(is_refused, 1);
    assert_in_child(is_refused, (1 << 20) - 1);
}

static void is_halved(uint64_t times)
{
    sk_os_fail(SK_OS_RESERVE, (UINT64_C(1) << times) - 1);
    REQUIRE(sk_region_open((uint64_t)1 << 30));
    REQUIRE(figures().reserved_bytes == (size_t)1 << (30 - times));
}

static void a_refused_reservation_is_halved_until_it_fits(void **state)
{
    (void)state;
    for (uint64_t times = 0; times <= 10; times++)
        assert_in_child(is_halved, times);
}

static void is_given_up(uint64_t unused)
{
    (void)unused;
    sk_os_fail(SK_OS_RESERVE, UINT64_MAX);
    is_refused((uint64_t)1 << 40);
}

static void without_address_space_no_pointer_is_ours(void **state)
{
    (void)state;
    assert_in_child(is_given_up, 0);
}

static void knows_its_addresses(uint64_t unused)
{
    char *base;

    (void)unused;
    REQUIRE(sk_region_open(64 << 20));
    base = sk_region_address(0);
    REQUIRE((uintptr_t)base % SK_GRANULE_BYTES == 0);
    REQUIRE(sk_region_has(base) && sk_region_granule(base) == 0);
    REQUIRE(sk_region_granule(base + SK_GRANULE_BYTES - 1) == 0);
    REQUIRE(sk_region_granule(base + SK_GRANULE_BYTES) == 1);
    REQUIRE(sk_region_has(base + (64 << 20) - 1));
    REQUIRE(!sk_region_has(base + (64 << 20)));
    REQUIRE(!sk_region_has(base - 1));
    REQUIRE(!sk_region_has(NULL) && !sk_region_has(&base));
    REQUIRE(!sk_region_has((void *)UINTPTR_MAX));
}

static void an_address_is_ours_from_base_to_end_and_no_further(void **state)
{
    (void)state;
    assert_in_child(knows_its_addresses, 0);
}

/* --- runs ----------------------------------------------------------------- */

enum { RUNS = 200 };

/* Runs of random orders come and go; at the end all has merged again. */
static void comes_and_goes(uint64_t seed_and_kind)
{
    struct {
        uint32_t first;
        unsigned order;
    } runs[RUNS];
    uint32_t seed = (uint32_t)seed_and_kind;
    bool is_purged = seed_and_kind >> 32;
    int marked = 0;

    REQUIRE(sk_region_open((uint64_t)1 << 30));
    for (int i = 0; i < RUNS; i++)
        runs[i].first = SK_NONE;
    for (int turn = 0; turn < 6000; turn++) {
        uint32_t i = next_random(&seed) % RUNS;

        if (runs[i].first == SK_NONE) {
            runs[i].order = next_random(&seed) % 9 * (turn % 5 > 0) / 2;
            runs[i].first = take(runs[i].order, i + 1);
            REQUIRE(runs[i].first != SK_NONE);
        } else {
            give(runs[i].first, runs[i].order, i + 1, is_purged);
            runs[i].first = SK_NONE;
        }
        if (turn % 100 == 0)
            REQUIRE(sk_region_is_sound());
    }
    for (uint32_t i = 0; i < RUNS; i++)
        if (runs[i].first != SK_NONE)
            give(runs[i].first, runs[i].order, i + 1, is_purged);
    sk_region_purge(true);
    REQUIRE(sk_region_is_sound());
    REQUIRE(figures().used_bytes == 0 && figures().dirty_bytes == 0);
    /* As few runs as there are powers of two in what was carved. */
    for (size_t i = 0; i < sk_region_carved(); i++)
        marked += sk_region_word(i) != 0;
    REQUIRE(marked == __builtin_popcountl(sk_region_carved()));
}

static void runs_come_and_go_and_merge_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        assert_in_child(comes_and_goes, seed);
        assert_in_child(comes_and_goes, seed | UINT64_C(1) << 32);
    }
}

/* Eight neighbours given in one of the 40320 orders: they must be one run of
 * order 3 afterwards, so no address above is carved for it. */
static void merges_in_this_order(uint64_t unused)
{
    static const int strides[] = {1, 3, 5, 7};

    (void)unused;
    REQUIRE(sk_region_open(16 << 20));
    for (uint32_t start = 0; start < 8; start++)
        for (int s = 0; s < 4; s++) {
            uint32_t first = take(3, 1);

            REQUIRE(first == 0);
            for (uint32_t i = 0; i < 8; i++)
                give((start + i * (uint32_t)strides[s]) % 8, 0, 1, true);
            REQUIRE(sk_region_is_sound());
            REQUIRE(sk_region_word(0) == (3 + 1) << SK_OWNER_SHIFT);
        }
    REQUIRE(sk_region_carved() == 8);
}

static void neighbours_merge_whatever_order_they_come_in(void **state)
{
    (void)state;
    assert_in_child(merges_in_this_order, 0);
}

static void fills_gaps(uint64_t unused)
{
    (void)unused;
    REQUIRE(sk_region_open(16 << 20));
    REQUIRE(take(0, 1) == 0);
    REQUIRE(take(4, 1) == 16); /* 1..15 are left over by its alignment */
    REQUIRE(sk_region_is_sound());
    REQUIRE(take(3, 1) == 8);
    REQUIRE(take(2, 1) == 4);
    REQUIRE(take(1, 1) == 2);
    REQUIRE(take(0, 1) == 1);
    REQUIRE(take(0, 1) == 32);
}

static void the_gap_below_an_aligned_run_is_not_lost(void **state)
{
    (void)state;
    assert_in_child(fills_gaps, 0);
}

/* --- dirty runs ----------------------------------------------------------- */

static void stays_dirty(uint64_t unused)
{
    uint64_t calls;
    uint32_t run;
    char *start;

    (void)unused;
    REQUIRE(sk_region_open(64 << 20));
    run = take(1, 1);
    start = sk_region_address(run);
    memset(start, 0x77, 2 * SK_GRANULE_BYTES);
    calls = sk_os_called(SK_OS_PURGE);
    give(run, 1, 1, false);
    REQUIRE(figures().dirty_bytes == 2 * SK_GRANULE_BYTES);
    REQUIRE(sk_os_called(SK_OS_PURGE) == calls);
    REQUIRE(take(1, 1) == run && start[70000] == 0x77);
    REQUIRE(figures().dirty_bytes == 0);
    give(run, 1, 1, false);
    REQUIRE(sk_region_purge(true) == 2 * SK_GRANULE_BYTES);
    REQUIRE(sk_os_called(SK_OS_PURGE) == calls + 1);
    REQUIRE(sk_region_purge(true) == 0);
    REQUIRE(take(1, 1) == run && start[70000] == 0);
}

static void a_run_just_given_is_taken_again_unpurged(void **state)
{
    (void)state;
    assert_in_child(stays_dirty, 0);
}

static void is_purged_above_what_is_kept(uint64_t unused)
{
    enum { MANY = 1024 };

    (void)unused;
    REQUIRE(sk_region_open(256 << 20));
    for (uint32_t i = 0; i < MANY; i++)
        REQUIRE(take(0, 1) == i);
    for (uint32_t i = 0; i < MANY; i++)
        give(i, 0, 1, false);
    REQUIRE(figures().dirty_bytes <= 4 << 20);
    REQUIRE(figures().purges > MANY / 2);
    /* Neighbours go together. */
    REQUIRE(sk_os_called(SK_OS_PURGE) <= figures().purges / 8);
    REQUIRE(sk_region_is_sound());
}

static void a_burst_of_dirty_runs_is_purged_but_for_a_few(void **state)
{
    (void)state;
    assert_in_child(is_purged_above_what_is_kept, 0);
}

/* All it has, again and again: after the first times the pages stay.  It was
 * 200 times slower when at most half could. */
static void breathes(uint64_t megabytes)
{
    uint32_t many = (uint32_t)(megabytes << 4), runs[2048];
    uint64_t purges = 0;

    REQUIRE(sk_region_open(256 << 20));
    for (int breath = 0; breath < 20; breath++) {
        if (breath == 4)
            purges = figures().purges;
        for (uint32_t i = 0; i < many; i++)
            REQUIRE((runs[i] = take(0, 1)) != SK_NONE);
        for (uint32_t i = 0; i < many; i++)
            give(runs[i], 0, 1, false);
    }
    /* A second may pass meanwhile, and some of it fade. */
    REQUIRE(figures().purges - purges <= many);
    REQUIRE(sk_region_is_sound());
}

static void a_program_that_breathes_keeps_its_pages(void **state)
{
    (void)state;
    assert_in_child(breathes, 4);
    assert_in_child(breathes, 60);
}

static void purges_without_delay(uint64_t unused)
{
    uint32_t run;
    char *start;

    (void)unused;
    sk_config.purge_delay = 0;
    REQUIRE(sk_region_open(64 << 20));
    run = take(1, 1);
    start = sk_region_address(run);
    memset(start, 0x77, 2 * SK_GRANULE_BYTES);
    give(run, 1, 1, false);
    REQUIRE(figures().dirty_bytes == 0);
    REQUIRE(sk_os_called(SK_OS_PURGE) == 1);
    REQUIRE(sk_region_is_sound());
    REQUIRE(take(1, 1) == run && start[0] == 0 && start[70000] == 0);
}

static void without_a_delay_a_run_is_purged_when_it_is_given(void **state)
{
    (void)state;
    assert_in_child(purges_without_delay, 0);
}

static void waits_for_the_delay(uint64_t delay_ms)
{
    uint64_t until;

    sk_config.purge_delay = delay_ms;
    REQUIRE(sk_region_open(64 << 20));
    until = sk_os_now_ms() + delay_ms;
    give(take(0, 1), 0, 1, false);
    for (;;) {
        size_t purged = sk_region_purge(false);

        if (purged > 0) {
            REQUIRE(purged == SK_GRANULE_BYTES);
            REQUIRE(sk_os_now_ms() >= until);
            return;
        }
        REQUIRE(sk_os_now_ms() < until + 10000);
        usleep(1000);
    }
}

static void a_dirty_run_waits_as_long_as_the_option_says(void **state)
{
    (void)state;
    assert_in_child(waits_for_the_delay, 30);
    assert_in_child(waits_for_the_delay, 200);
}

static void is_purged_by_a_taker(uint64_t delay_ms)
{
    uint64_t until = sk_os_now_ms() + delay_ms + 5000;

    sk_config.purge_delay = delay_ms;
    REQUIRE(sk_region_open(64 << 20));
    give(take(0, 1), 0, 1, false);
    while (figures().dirty_bytes > 0) {
        REQUIRE(sk_os_now_ms() < until);
        REQUIRE(take(1, 1) != SK_NONE);
        usleep(1000);
    }
    REQUIRE(sk_region_is_sound());
}

static void who_takes_a_run_purges_the_old_ones(void **state)
{
    (void)state;
    assert_in_child(is_purged_by_a_taker, 20);
}

static void survives_refused_purge(uint64_t unused)
{
    uint32_t run;

    (void)unused;
    REQUIRE(sk_region_open(64 << 20));
    run = take(0, 1);
    give(run, 0, 1, false);
    sk_os_fail(SK_OS_PURGE, UINT64_MAX);
    REQUIRE(sk_region_purge(true) == 0);
    REQUIRE(sk_region_is_sound());
    REQUIRE(take(0, 1) == run);
}

/* As after mlockall. */
static void a_refused_purge_is_not_counted_and_loses_no_run(void **state)
{
    (void)state;
    assert_in_child(survives_refused_purge, 0);
}

/* --- refused memory ------------------------------------------------------- */

static void survives_refused_commit(uint64_t mask)
{
    enum { MOST = 400 }; /* fit into half of it */
    uint32_t taken = 0;
    uint32_t firsts[MOST];

    sk_os_fail(SK_OS_COMMIT, mask);
    if (!sk_region_open(64 << 20)) {
        REQUIRE(!sk_region_has(NULL));
        return;
    }
    for (int i = 0; i < MOST; i++) {
        uint32_t first = take(0, 1);

        if (first == SK_NONE)
            continue;
        *(char *)sk_region_address(first) = 1;
        firsts[taken++] = first;
        REQUIRE(sk_region_is_sound());
        if (i % 40 == 0)
            sk_region_commit_state((uint32_t)i);
    }
    sk_os_fail(SK_OS_COMMIT, 0);
    while (taken > 0)
        give(firsts[--taken], 0, 1, true);
    REQUIRE(sk_region_is_sound() && figures().used_bytes == 0);
    for (uint32_t i = 0; i < MOST; i++)
        *(char *)sk_region_address(take(0, 1)) = 2;
}

static void every_commit_may_be_refused_once_or_from_then_on(void **state)
{
    (void)state;
    for (int call = 0; call < 20; call++) {
        assert_in_child(survives_refused_commit, UINT64_C(1) << call);
        assert_in_child(survives_refused_commit, UINT64_MAX << call);
    }
}

static void commits_states(uint64_t unused)
{
    (void)unused;
    REQUIRE(sk_region_open(16 << 20));
    REQUIRE(!sk_region_commit_state((uint32_t)sk_region.states_max));
    REQUIRE(!sk_region_commit_state(UINT32_MAX));
    for (uint32_t i = 0; i < sk_region.states_max; i++) {
        REQUIRE(sk_region_commit_state(i));
        memset(sk_region.states + (size_t)i * SK_STATE_BYTES, 1,
               SK_STATE_BYTES);
    }
    REQUIRE(sk_region_word(0) == 0);
}

static void thread_states_are_committed_up_to_their_number(void **state)
{
    (void)state;
    assert_in_child(commits_states, 0);
}

/* --- the soft limit -------------------------------------------------------- */

static void holds_no_more(uint64_t limit)
{
    uint32_t most = (uint32_t)(limit / SK_GRANULE_BYTES);

    sk_config.limit = limit;
    REQUIRE(sk_region_open(64 << 20));
    for (uint32_t i = 0; i < most; i++)
        REQUIRE(take(0, 1) == i);
    for (int i = 0; i < 3; i++)
        REQUIRE(sk_region_take(0) == SK_NONE);
    REQUIRE(figures().refusals == 3 && figures().used_bytes == limit);
    if (most == 0)
        return;
    give(0, 0, 1, false);
    REQUIRE(sk_region_take(1) == SK_NONE);
    REQUIRE(take(0, 1) == 0);
    REQUIRE(sk_region_take(0) == SK_NONE && sk_region_is_sound());
}

static void no_more_is_handed_out_than_the_limit(void **state)
{
    (void)state;
    assert_in_child(holds_no_more, 0);
    assert_in_child(holds_no_more, SK_GRANULE_BYTES);
    assert_in_child(holds_no_more, 8 << 20);
}

static void purges_for_room(uint64_t unused)
{
    (void)unused;
    sk_config.limit = 16 * SK_GRANULE_BYTES;
    REQUIRE(sk_region_open(64 << 20));
    for (uint32_t i = 0; i < 16; i++)
        REQUIRE(take(0, 1) == i);
    for (uint32_t i = 0; i < 8; i++)
        give(i, 0, 1, false);
    REQUIRE(figures().dirty_bytes == 8 * SK_GRANULE_BYTES);
    REQUIRE(take(2, 1) != SK_NONE);
    REQUIRE(figures().dirty_bytes <= 4 * SK_GRANULE_BYTES);
    REQUIRE(take(2, 1) != SK_NONE && sk_region_take(0) == SK_NONE);
    REQUIRE(figures().dirty_bytes == 0 && sk_region_is_sound());
}

static void dirty_runs_make_way_for_others_under_the_limit(void **state)
{
    (void)state;
    assert_in_child(purges_for_room, 0);
}

/* --- giving the end back --------------------------------------------------- */

static void shrinks(uint64_t unused)
{
    void *end;
    uint32_t taken = 0;

    (void)unused;
    sk_region_give_back(); /* without a region: nothing */
    REQUIRE(sk_region_open((uint64_t)1 << 30));
    end = sk_region_address(sk_region_granules - 1);
    for (; taken < 10; taken++)
        REQUIRE(take(0, 1) == taken);
    sk_region_give_back();
    REQUIRE(sk_region_granules < 16384 && !sk_region_has(end));
    REQUIRE(figures().reserved_bytes ==
            figures().committed_bytes + GRANULES_OF_4M * SK_GRANULE_BYTES);
    while (sk_region_take(0) != SK_NONE)
        taken++;
    REQUIRE(taken == sk_region_granules);
    *(char *)sk_region_address(taken - 1) = 1;
    for (uint32_t id = 0; id < sk_region.states_max; id++)
        REQUIRE(sk_region_commit_state(id));
    sk_region_give_back();
    REQUIRE(taken == sk_region_granules && sk_region_is_sound());
}

static void what_is_left_after_giving_the_end_back_is_all_usable(void **state)
{
    (void)state;
    assert_in_child(shrinks, 0);
}

/* --- threads and fork ------------------------------------------------------ */

static _Atomic bool is_over;
static _Atomic uint64_t turns;

static void *take_and_give(void *arg)
{
    uint32_t owner = (uint32_t)(uintptr_t)arg;
    uint32_t seed = owner, firsts[16], n = 0;
    unsigned orders[16];

    while (!atomic_load(&is_over)) {
        turns++;
        if (n < 16 && next_random(&seed) % 2) {
            orders[n] = next_random(&seed) % 3;
            firsts[n] = take(orders[n], owner);
            n += firsts[n] != SK_NONE;
        } else if (n > 0) {
            n--;
            give(firsts[n], orders[n], owner, next_random(&seed) % 2);
        }
    }
    while (n > 0) {
        n--;
        give(firsts[n], orders[n], owner, false);
    }
    return NULL;
}

static void is_shared(uint64_t takes)
{
    pthread_t threads[3];

    REQUIRE(sk_region_open(64 << 20));
    for (uintptr_t i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1));
    while (figures().takes < takes)
        sched_yield();
    is_over = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    REQUIRE(sk_region_is_sound() && figures().used_bytes == 0);
}

static void threads_never_get_the_same_granule(void **state)
{
    (void)state;
    assert_in_child(is_shared, 100000);
}

/* Ends the grandchild with 0, or with 2 when the lists had to be rebuilt:
 * then the dirty run given just before the fork is a clean one. */
static void check_after_fork(void)
{
    bool was_rebuilt;

    alarm(20);
    sk_region_after_fork();
    was_rebuilt = figures().dirty_bytes == 0;
    REQUIRE(sk_region_is_sound());
    for (unsigned order = 3; order < 4; order--)
        for (int i = 0; i < 20; i++)
            if (take(order, 99) == SK_NONE)
                break;
    REQUIRE(sk_region_is_sound());
    _exit(was_rebuilt ? 2 : 0);
}

static void is_forked(uint64_t unused)
{
    pthread_t thread;
    int rebuilt = 0;

    (void)unused;
    REQUIRE(sk_region_open(64 << 20));
    pthread_create(&thread, NULL, take_and_give, (void *)1);
    for (int i = 0; i < 2000 && rebuilt < 5; i++) {
        pid_t child;
        int status;

        give(take(3, 50), 3, 50, false);
        /* The other thread gets going again, to be met anywhere. */
        for (uint64_t later = turns + 1 + (uint64_t)i % 7; turns < later;)
            if (i % 2)
                sched_yield();
        child = fork();
        if (child == 0)
            check_after_fork();
        REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status));
        REQUIRE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2);
        rebuilt += WEXITSTATUS(status) == 2;
    }
    is_over = true;
    pthread_join(thread, NULL);
    fprintf(stderr, "rebuilt in %d children\n", rebuilt);
    REQUIRE(rebuilt > 0);
}

static void a_child_forked_in_mid_change_has_a_sound_region(void **state)
{
    (void)state;
    assert_in_child(is_forked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tiny_region_is_used_to_its_last_granule),
        cmocka_unit_test(less_than_a_megabyte_is_no_region),
        cmocka_unit_test(a_refused_reservation_is_halved_until_it_fits),
        cmocka_unit_test(without_address_space_no_pointer_is_ours),
        cmocka_unit_test(an_address_is_ours_from_base_to_end_and_no_further),
        cmocka_unit_test(runs_come_and_go_and_merge_again),
        cmocka_unit_test(neighbours_merge_whatever_order_they_come_in),
        cmocka_unit_test(the_gap_below_an_aligned_run_is_not_lost),
        cmocka_unit_test(a_run_just_given_is_taken_again_unpurged),
        cmocka_unit_test(a_burst_of_dirty_runs_is_purged_but_for_a_few),
        cmocka_unit_test(a_program_that_breathes_keeps_its_pages),
        cmocka_unit_test(without_a_delay_a_run_is_purged_when_it_is_given),
        cmocka_unit_test(a_dirty_run_waits_as_long_as_the_option_says),
        cmocka_unit_test(who_takes_a_run_purges_the_old_ones),
        cmocka_unit_test(a_refused_purge_is_not_counted_and_loses_no_run),
        cmocka_unit_test(every_commit_may_be_refused_once_or_from_then_on),
        cmocka_unit_test(thread_states_are_committed_up_to_their_number),
        cmocka_unit_test(no_more_is_handed_out_than_the_limit),
        cmocka_unit_test(dirty_runs_make_way_for_others_under_the_limit),
        cmocka_unit_test(what_is_left_after_giving_the_end_back_is_all_usable),
        cmocka_unit_test(threads_never_get_the_same_granule),
        cmocka_unit_test(a_child_forked_in_mid_change_has_a_sound_region),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
