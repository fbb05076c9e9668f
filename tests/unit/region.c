/*
 * region.c - runs of granules: taken, given, merged, by many threads and
 * after a fork.
 */
#include "random.h"
#include "runs.h"
#include "sk_region_parts.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

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

/* --- giving the end back -------------------------------------------------- */

enum { GRANULES_OF_4M = 64 };

static bool is_hole(void *start, size_t bytes)
{
    return mprotect(start, bytes, PROT_READ) != 0;
}

static void shrinks(uint64_t page_bytes)
{
    /* So many that the next one needs a descriptor that is not committed. */
    uint32_t taken = (uint32_t)page_bytes / SK_SLOT_BYTES * 16;
    void *end;

    sk_os_pretend_page(page_bytes);
    sk_region_give_back(true); /* without a region: nothing */
    REQUIRE(sk_region_open((uint64_t)1 << 30));
    end = sk_region_address(sk_region_granules - 1);
    REQUIRE(take((unsigned)__builtin_ctz(taken), 1) == 0);
    sk_region_give_back(true);
    REQUIRE(sk_region_granules < 16384 && !sk_region_has(end));
    REQUIRE(figures().reserved_bytes ==
            figures().committed_bytes + GRANULES_OF_4M * SK_GRANULE_BYTES);
    /* Where others' mappings may lie by now is left alone. */
    REQUIRE(is_hole(sk_region.chunks - page_bytes, page_bytes) &&
            is_hole(sk_region.bits - page_bytes, page_bytes));
    while (sk_region_take(0) != SK_NONE)
        taken++;
    REQUIRE(taken == sk_region_granules);
    REQUIRE(is_hole(sk_region.chunks - page_bytes, page_bytes) &&
            is_hole(sk_region.bits - page_bytes, page_bytes));
    *(char *)sk_region_address(taken - 1) = 1;
    memset(sk_region.chunks, 0, (size_t)taken * SK_SLOT_BYTES);
    memset(sk_region.bits, 0, (size_t)taken * SK_BITS_BYTES);
    memset(sk_region.many, 0, (size_t)taken * SK_MANY_BYTES);
    for (uint32_t id = 0; id < sk_region.states_max; id++)
        REQUIRE(sk_region_commit_state(id));
    sk_region_give_back(true);
    REQUIRE(taken == sk_region_granules && sk_region_is_sound());
}

static void what_is_left_after_giving_the_end_back_is_all_usable(void **state)
{
    (void)state;
    assert_in_child(shrinks, 4096);
    assert_in_child(shrinks, 16384);
    assert_in_child(shrinks, 65536);
}

/* --- threads and fork ----------------------------------------------------- */

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
    sk_region_after_fork(false);
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

/* Another thread's purge had a run in its hands, which is in no list. */
static void is_forked_in_a_purge(uint64_t unused)
{
    uint32_t run;

    (void)unused;
    REQUIRE(sk_region_open(64 << 20));
    run = take(0, 1);
    give(run, 0, 1, false);
    REQUIRE(sk_dirty_take(0) == run);
    sk_pool.purging = 1;
    sk_region_after_fork(false);
    REQUIRE(sk_region_is_sound());
    REQUIRE(take(0, 1) == run);
    REQUIRE(sk_pool.purging == 0);
}

static void a_child_has_the_runs_that_were_being_purged(void **state)
{
    (void)state;
    assert_in_child(is_forked_in_a_purge, 0);
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
        cmocka_unit_test(what_is_left_after_giving_the_end_back_is_all_usable),
        cmocka_unit_test(threads_never_get_the_same_granule),
        cmocka_unit_test(a_child_forked_in_mid_change_has_a_sound_region),
        cmocka_unit_test(a_child_has_the_runs_that_were_being_purged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
