/*
 * grown_refused.c - blocks that grew: refused by limit, region and system,
 * and what is none.
 */
#define _GNU_SOURCE
#include "blocks.h"
#include "death.h"
#include "trap.h"

/* --- refused -------------------------------------------------------------- */

static void is_limited(uint64_t limit)
{
    char *blocks[100];
    uint32_t n = 0;

    open_heaps();
    sk_config.limit = limit;
    while (n < 100 && (blocks[n] = sk_grown_alloc(60000))) {
        fill(blocks[n], 60000, n);
        n++;
    }
    /* Of 64 KiB each, since so little has no spare. */
    REQUIRE(n == limit / SK_GRANULE_BYTES);
    REQUIRE(n == 0 || !sk_grown_resize(blocks[0], 70000));
    for (uint32_t i = 0; i < n; i++) {
        REQUIRE(is_filled(blocks[i], 60000, i));
        sk_grown_free(blocks[i]);
    }
    REQUIRE(sk_grown_is_sound() && sk_region_is_sound());
}

static void at_the_limit_a_block_is_refused(void **state)
{
    (void)state;
    assert_in_child(is_limited, 0);
    assert_in_child(is_limited, 2 * MIB);
}

static void is_exhausted(uint64_t unused)
{
    char *blocks[64];
    uint32_t n = 0;

    (void)unused;
    sk_state_open(8 * MIB);
    while ((blocks[n] = sk_grown_alloc(300000))) {
        fill(blocks[n], sk_grown_usable(blocks[n]), n);
        n++;
        REQUIRE(n < 64);
    }
    REQUIRE(n >= 8);
    while (n-- > 0) {
        REQUIRE(is_filled(blocks[n], sk_grown_usable(blocks[n]), n));
        sk_grown_free(blocks[n]);
    }
    REQUIRE(grown(MIB, 1));
    REQUIRE(sk_grown_is_sound() && sk_region_is_sound());
}

static void a_full_region_refuses_and_recovers(void **state)
{
    (void)state;
    assert_in_child(is_exhausted, 0);
}

/* A large run would be had first, for its room to grow. */
static void has_one_granule(uint64_t unused)
{
    uint32_t run, last = SK_NONE;
    char *p;

    (void)unused;
    open_heaps();
    while ((run = sk_region_take(0)) != SK_NONE)
        last = run;
    REQUIRE(!sk_grown_alloc(40000));
    sk_region_give(last, 0, false);
    REQUIRE((p = sk_grown_alloc(40000)) != NULL);
    REQUIRE(sk_region_granule(p) == last);
    sk_grown_free(p);
    REQUIRE(sk_grown_is_sound());
}

static void the_last_run_that_holds_a_block_is_enough(void **state)
{
    (void)state;
    assert_in_child(has_one_granule, 0);
}

static void survives_refusals(uint64_t mask)
{
    char *blocks[100], *p;

    open_heaps();
    sk_os_fail(SK_OS_COMMIT, mask);
    for (int i = 0; i < 100; i++)
        if ((blocks[i] = sk_grown_alloc(50000)) != NULL)
            fill(blocks[i], 50000, 1);
    sk_os_fail(SK_OS_COMMIT, 0);
    for (int i = 0; i < 100; i++)
        if (blocks[i])
            sk_grown_free(blocks[i]);
    REQUIRE(sk_grown_is_sound() && sk_region_is_sound());
    p = grown(MIB, 2);
    sk_os_fail(SK_OS_PURGE, UINT64_MAX);
    REQUIRE(sk_grown_resize(p, 40000) && !sk_grown_trim());
    REQUIRE(figures().residue_bytes > 0);
    REQUIRE(is_filled(p, 40 * KIB, 2) && sk_grown_is_sound());
    sk_os_fail(SK_OS_PURGE, 0);
    REQUIRE(sk_grown_trim());
}

static void refused_system_calls_harm_nothing(void **state)
{
    (void)state;
    assert_in_child(survives_refusals, UINT64_MAX);
    assert_in_child(survives_refusals, 0x5555555555555555);
    assert_in_child(survives_refusals, ~UINT64_C(3));
}

/* --- broken programs ------------------------------------------------------ */

static char *victim, *neighbour;

static void free_it(void *p)
{
    sk_grown_free(p);
}

static void free_it_twice(void *p)
{
    sk_grown_free(p);
    sk_grown_free(p);
}

static void free_it_twice_in_a_handler(void *p)
{
    sk_state_hide();
    sk_grown_free(p);
    sk_grown_free(p);
}

static void ask_its_size(void *p)
{
    sk_grown_usable(p);
}

static void resize_it(void *p)
{
    sk_grown_resize(p, 50000);
}

static void dies(void (*body)(void *), const char *p, const char *format,
                 const char *block)
{
    char words[200];

    snprintf(words, sizeof words, format, p, block);
    dies_saying(body, (void *)(uintptr_t)p, words);
}

static void what_is_no_block_ends_the_program_with_its_name(void **state)
{
    (void)state;
    sk_state_open(REGION_BYTES);
    victim = sk_grown_alloc(40000);
    neighbour = sk_grown_alloc(40000);
    assert_true(victim && neighbour);
    dies(free_it, neighbour + 16,
         "free(): not the start of a block: %p (%p grew)\n", neighbour);
    dies(free_it, victim + 65536,
         "free(): not the start of a block: %p (%p grew)\n", victim);
    dies(free_it, neighbour + 700001,
         "free(): not the start of a block: %p (%p grew)\n", neighbour);
    dies(resize_it, victim + 8,
         "realloc(): not the start of a block: %p (%p grew)\n", victim);
    dies(ask_its_size, victim + 8,
         "realloc() or malloc_usable_size(): not the start of a block: "
         "%p (%p grew)\n",
         victim);
    dies(free_it_twice, victim,
         "free(): freed twice: %p (a block that grew)\n", NULL);
    dies(free_it_twice_in_a_handler, victim, "free(): not the start of a block",
         NULL);
    dies(free_it, victim + (64 << 20), "free(): %p was never handed out\n",
         NULL);
    sk_grown_free(victim);
    dies(free_it, victim, "free(): freed twice: %p (a block that grew)\n",
         NULL);
    dies(free_it, victim + 16, "free(): %p was never handed out\n", NULL);
    sk_grown_free(neighbour);
}

#ifdef HAS_TRAP

static long steps, wanted;

static void free_at_a_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    if (steps++ != wanted)
        return;
    *flags_of(context) &= ~TRAP_FLAG;
    sk_grown_free(victim);
}

static void free_under_steps(void *p)
{
    trap(free_at_a_step);
    steps = 0;
    send_self(SIGUSR1);
    sk_grown_free(p);
    send_self(SIGUSR2);
}

/* By two threads, or a handler, whichever instruction one of them is at. */
static void two_that_free_a_block_at_once_end_the_program(void **state)
{
    long all;

    (void)state;
    if (!sk_region_map)
        sk_state_open(REGION_BYTES);
    wanted = -1;
    free_under_steps(sk_grown_alloc(40000));
    all = steps;
    assert_in_range(all, 50, 5000);
    victim = sk_grown_alloc(40000);
    /* Each of the first, where the block is claimed, and some of the rest. */
    for (wanted = 0; wanted < all; wanted += 1 + wanted / 64)
        dies_saying(free_under_steps, victim, "free(): ");
    sk_grown_free(victim);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_the_limit_a_block_is_refused),
        cmocka_unit_test(a_full_region_refuses_and_recovers),
        cmocka_unit_test(the_last_run_that_holds_a_block_is_enough),
        cmocka_unit_test(refused_system_calls_harm_nothing),
        cmocka_unit_test(what_is_no_block_ends_the_program_with_its_name),
        trap_unit_test(two_that_free_a_block_at_once_end_the_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
