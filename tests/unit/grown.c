/*
 * grown.c - blocks that grew out of the largest class: grown, shrunk, freed
 * by anybody, refused, after a fork.
 */
#include "child.h"
#include "death.h"
#include "random.h"

#include "sk_grown.h"
#include "sk_stats.h"

#include <pthread.h>
#include <string.h>

enum { KIB = 1 << 10, MIB = 1 << 20, REGION_BYTES = 256 * MIB };

static struct sk_grown_figures figures(void)
{
    struct sk_grown_figures now;
    struct sk_state *self = sk_state_hide();

    sk_grown_read_figures(&now);
    sk_state_show(self);
    return now;
}

static void open_heaps(void)
{
    sk_state_open(REGION_BYTES);
    REQUIRE(sk_region_map);
}

/* Some bytes of every line: a sanitizer would take minutes for all. */
enum { STRIDE = 37 };

static void fill(void *p, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i += STRIDE)
        ((unsigned char *)p)[i] = (unsigned char)(seed * 31 + i * 7 + i / 4096);
}

static bool is_filled(const void *p, size_t bytes, unsigned seed)
{
    const unsigned char *byte = p;
    size_t i = 0;

    while (i < bytes &&
           byte[i] == (unsigned char)(seed * 31 + i * 7 + i / 4096))
        i += STRIDE;
    return i >= bytes;
}

static char *grown(size_t bytes, unsigned seed)
{
    char *p = sk_grown_alloc(bytes);

    REQUIRE(p && sk_region_has(p) && sk_grown_has(p));
    REQUIRE(sk_grown_usable(p) >= bytes);
    fill(p, sk_grown_usable(p), seed);
    return p;
}

static bool is_zero(const char *p, size_t bytes)
{
    size_t i = 0;

    while (i < bytes && !p[i])
        i++;
    return i == bytes;
}

/* --- one block ------------------------------------------------------------ */

static void grows_in_place(uint64_t unused)
{
    char *p, *q;

    (void)unused;
    open_heaps();
    p = grown(32769, 1);
    REQUIRE((uintptr_t)p % SK_GRANULE_BYTES == 0);
    REQUIRE(sk_grown_usable(p) == 40 * KIB);
    q = grown(32769, 2);
    for (size_t bytes = 40 * KIB; bytes <= MIB; bytes += 12345) {
        size_t had = sk_grown_usable(p);

        REQUIRE(sk_grown_resize(p, bytes));
        REQUIRE(is_filled(p, had, 1));
        fill(p, sk_grown_usable(p), 1);
    }
    REQUIRE(!sk_grown_resize(p, MIB + 1));
    REQUIRE(is_filled(p, sk_grown_usable(p), 1));
    REQUIRE(is_filled(q, sk_grown_usable(q), 2));
    sk_grown_free(p);
    sk_grown_free(q);
    REQUIRE(figures().in_use == 0 && figures().in_use_bytes == 0 &&
            figures().spare_bytes == 0 && figures().residue_bytes == 0);
    REQUIRE(sk_grown_is_sound() && sk_region_is_sound());
}

static void a_block_grows_to_max_grown_where_it_lies(void **state)
{
    (void)state;
    assert_in_child(grows_in_place, 0);
}

static void has_four_sizes(uint64_t unused)
{
    size_t before = 0, sizes = 0;

    (void)unused;
    open_heaps();
    for (size_t bytes = 32769; bytes <= MIB; bytes += 1000) {
        void *p = sk_grown_alloc(bytes);
        size_t usable = sk_grown_usable(p);

        REQUIRE(usable >= bytes && usable <= bytes + bytes / 4);
        REQUIRE(usable % sk_os_page_bytes() == 0 && usable >= before);
        sizes += usable > before;
        before = usable;
        sk_grown_free(p);
    }
    REQUIRE(sizes == 5 * 4 && before == MIB);
}

static void sizes_are_four_per_doubling_in_whole_pages(void **state)
{
    (void)state;
    assert_in_child(has_four_sizes, 0);
}

static void obeys_max_grown(uint64_t most)
{
    void *p;

    open_heaps();
    sk_config.max_grown = most;
    REQUIRE(!sk_grown_alloc(most + 1));
    if (most < SK_CLASS_BYTES)
        return;
    p = sk_grown_alloc(most);
    REQUIRE(p);
    fill(p, most, 3);
    REQUIRE(!sk_grown_resize(p, most + 1));
    REQUIRE(is_filled(p, most, 3));
    sk_grown_free(p);
    REQUIRE(sk_region_is_sound());
}

static void max_grown_is_the_largest_block(void **state)
{
    static const uint64_t most[] = {0,   33000,    65536,  65537, 100000,
                                    MIB, 3000000, 8 * MIB};

    (void)state;
    for (size_t i = 0; i < sizeof most / sizeof *most; i++)
        assert_in_child(obeys_max_grown, most[i]);
}

/* --- many blocks ---------------------------------------------------------- */

static void keeps_bounds(uint64_t seed_)
{
    enum { BLOCKS = 300, STEPS = 3000 };
    static char *blocks[BLOCKS];
    uint32_t seed = (uint32_t)seed_;

    open_heaps();
    for (int step = 0; step < STEPS; step++) {
        uint32_t i = next_random(&seed) % BLOCKS;
        size_t bytes = 32769 + next_random(&seed) % 200000;
        size_t had = blocks[i] ? sk_grown_usable(blocks[i]) : 0;

        REQUIRE(!had || is_filled(blocks[i], had, i));
        if (had && step % 3 && sk_grown_resize(blocks[i], bytes)) {
            size_t has = sk_grown_usable(blocks[i]);

            REQUIRE(has >= bytes);
            REQUIRE(is_filled(blocks[i], had < has ? had : has, i));
            fill(blocks[i], has, i);
            continue;
        }
        if (had)
            sk_grown_free(blocks[i]);
        blocks[i] = sk_grown_alloc(bytes);
        REQUIRE(blocks[i]);
        fill(blocks[i], sk_grown_usable(blocks[i]), i);
        REQUIRE(figures().spare_bytes <=
                16 * MIB + 2 * figures().in_use_bytes);
        REQUIRE(figures().residue_bytes <= 8 * MIB);
    }
    REQUIRE(sk_grown_is_sound() && sk_region_is_sound());
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (blocks[i]) {
            REQUIRE(is_filled(blocks[i], sk_grown_usable(blocks[i]), i));
            sk_grown_free(blocks[i]);
        }
    REQUIRE(figures().in_use == 0 && sk_grown_is_sound());
}

static void many_blocks_share_the_spare_and_keep_their_content(void **state)
{
    (void)state;
    assert_in_child(keeps_bounds, 1);
    assert_in_child(keeps_bounds, 2);
}

/* A block takes over the pages of a larger one: so many may stay. */
static void bounds_residue(uint64_t delay_ms)
{
    enum { BLOCKS = 60 };
    char *blocks[BLOCKS];

    open_heaps();
    sk_config.purge_delay = delay_ms;
    for (int i = 0; i < BLOCKS; i++) {
        char *large = grown(MIB, 9);

        sk_grown_free(large);
        blocks[i] = grown(33000, (unsigned)i);
        REQUIRE(figures().residue_bytes <= (delay_ms ? 8 * MIB : 0));
    }
    REQUIRE(sk_grown_is_sound());
    REQUIRE(sk_grown_trim() == (delay_ms != 0));
    REQUIRE(figures().residue_bytes == 0 && !sk_grown_trim());
    for (int i = 0; i < BLOCKS; i++) {
        size_t had = sk_grown_usable(blocks[i]);

        REQUIRE(is_filled(blocks[i], had, (unsigned)i));
        if (sk_grown_resize(blocks[i], 200000))
            REQUIRE(is_zero(blocks[i] + had, 200000 - had));
        sk_grown_free(blocks[i]);
    }
    REQUIRE(sk_grown_is_sound() && sk_region_is_sound());
}

static void pages_of_larger_blocks_are_kept_within_a_bound(void **state)
{
    (void)state;
    assert_in_child(bounds_residue, 3600000);
    assert_in_child(bounds_residue, 0);
}

static void shrinks(uint64_t unused)
{
    char *p;

    (void)unused;
    open_heaps();
    sk_config.purge_delay = 3600000;
    p = grown(MIB, 4);
    REQUIRE(sk_grown_resize(p, 40000));
    REQUIRE(sk_grown_usable(p) == 40 * KIB);
    REQUIRE(figures().residue_bytes == MIB - 40 * KIB);
    REQUIRE(is_filled(p, 40 * KIB, 4));
    REQUIRE(sk_grown_trim());
    REQUIRE(sk_grown_resize(p, 100000) && is_filled(p, 40 * KIB, 4));
    REQUIRE(is_zero(p + 40 * KIB, 100000 - 40 * KIB));
    sk_grown_free(p);
    REQUIRE(sk_grown_is_sound());
}

static void a_block_that_shrinks_gives_its_end_up(void **state)
{
    (void)state;
    assert_in_child(shrinks, 0);
}

/* Within the delay nothing goes; after it, the next change of any block sees
 * to the others. */
static void ages(uint64_t unused)
{
    char *p, *other;

    (void)unused;
    open_heaps();
    sk_config.purge_delay = 50;
    p = grown(MIB, 4);
    other = grown(40000, 5);
    REQUIRE(sk_grown_resize(p, 40000));
    REQUIRE(figures().residue_bytes > 0);
    for (size_t bytes = 40000; figures().residue_bytes > 0; bytes ^= 60000)
        REQUIRE(sk_grown_resize(other, bytes));
    REQUIRE(is_filled(p, 40 * KIB, 4));
    sk_grown_free(p);
    sk_grown_free(other);
}

static void residue_that_waited_for_the_delay_is_purged(void **state)
{
    (void)state;
    assert_in_child(ages, 0); /* its alarm is the bound */
}

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

/* --- threads, handlers, forks ----------------------------------------------- */

enum { EXCHANGED = 24 };
static char *_Atomic exchanged[EXCHANGED];

static void *exchange(void *arg)
{
    uint32_t seed = (uint32_t)(uintptr_t)arg;

    for (int step = 0; step < 2000; step++) {
        uint32_t i = next_random(&seed) % EXCHANGED;
        size_t bytes = 32769 + next_random(&seed) % 300000;
        char *p = atomic_exchange(&exchanged[i], NULL);

        REQUIRE(!p || p[1] == (char)~p[0]);
        if (p && (step % 2 || !sk_grown_resize(p, bytes))) {
            sk_grown_free(p);
            p = NULL;
        }
        if (!p)
            p = sk_grown_alloc(bytes);
        REQUIRE(p);
        p[0] = (char)step;
        p[1] = (char)~p[0];
        p[bytes - 1] = 1;
        if (step % 500 == 0)
            sk_grown_trim();
        p = atomic_exchange(&exchanged[i], p);
        if (p)
            sk_grown_free(p);
    }
    return NULL;
}

static void start_threads(pthread_t *threads, int n)
{
    for (int i = 0; i < n; i++)
        REQUIRE(!pthread_create(&threads[i], NULL, exchange,
                                (void *)(uintptr_t)(i + 1)));
}

static void exchanges(uint64_t delay_ms)
{
    pthread_t threads[4];

    open_heaps();
    sk_config.purge_delay = delay_ms;
    start_threads(threads, 4);
    for (int i = 0; i < 4; i++)
        REQUIRE(!pthread_join(threads[i], NULL));
    REQUIRE(sk_grown_is_sound() && sk_region_is_sound());
    for (int i = 0; i < EXCHANGED; i++)
        if (exchanged[i])
            sk_grown_free(exchanged[i]);
    REQUIRE(figures().in_use == 0 && sk_grown_is_sound());
}

static void threads_free_and_resize_each_others_blocks(void **state)
{
    (void)state;
    assert_in_child(exchanges, 500);
    assert_in_child(exchanges, 0);
    assert_in_child(exchanges, 1);
}

/* In a handler that interrupted a slow path, which may hold any lock. */
static void is_nested(uint64_t unused)
{
    struct sk_state *self;
    char *p, *q, *r;

    (void)unused;
    open_heaps();
    p = grown(40000, 1);
    q = grown(40000, 2);
    r = grown(40000, 3);
    self = sk_state_hide();
    REQUIRE(!sk_grown_alloc(40000) && !sk_grown_resize(r, 50000));
    sk_grown_free(p);
    sk_grown_free(q);
    REQUIRE(!sk_grown_trim());
    sk_state_show(self);
    REQUIRE(figures().in_use == 3 && sk_grown_is_sound());
    sk_grown_free(r);
    REQUIRE(figures().in_use == 0 && sk_grown_is_sound());
    REQUIRE(sk_region_is_sound());
}

static void a_handler_frees_without_waiting(void **state)
{
    (void)state;
    assert_in_child(is_nested, 0);
}

static void in_the_child(uint64_t unused)
{
    char *p;

    (void)unused;
    sk_state_after_fork();
    p = grown(300000, 8);
    REQUIRE(sk_grown_resize(p, MIB) || sk_grown_resize(p, 310000));
    REQUIRE(is_filled(p, 300000, 8));
    sk_grown_free(p);
    for (int i = 0; i < EXCHANGED; i++) {
        p = atomic_exchange(&exchanged[i], NULL);
        if (p)
            sk_grown_free(p);
    }
    REQUIRE(sk_grown_is_sound());
    REQUIRE(sk_region_is_sound());
}

static void forks(uint64_t unused)
{
    pthread_t threads[2];

    (void)unused;
    open_heaps();
    start_threads(threads, 2);
    for (int i = 0; i < 100; i++)
        REQUIRE(status_of(in_the_child, 0) == 0);
    for (int i = 0; i < 2; i++)
        REQUIRE(!pthread_join(threads[i], NULL));
    REQUIRE(sk_grown_is_sound());
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define HAS_SANITIZER 1
#else
#define HAS_SANITIZER 0
#endif

static void a_forks_child_uses_its_own_and_the_parents_blocks(void **state)
{
    (void)state;
    /* A sanitizer's own locks do not survive the fork of a busy process. */
    if (HAS_SANITIZER)
        skip();
    assert_in_child(forks, 0);
}

/* --- broken programs -------------------------------------------------------- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_grows_to_max_grown_where_it_lies),
        cmocka_unit_test(sizes_are_four_per_doubling_in_whole_pages),
        cmocka_unit_test(max_grown_is_the_largest_block),
        cmocka_unit_test(many_blocks_share_the_spare_and_keep_their_content),
        cmocka_unit_test(pages_of_larger_blocks_are_kept_within_a_bound),
        cmocka_unit_test(a_block_that_shrinks_gives_its_end_up),
        cmocka_unit_test(residue_that_waited_for_the_delay_is_purged),
        cmocka_unit_test(at_the_limit_a_block_is_refused),
        cmocka_unit_test(a_full_region_refuses_and_recovers),
        cmocka_unit_test(refused_system_calls_harm_nothing),
        cmocka_unit_test(threads_free_and_resize_each_others_blocks),
        cmocka_unit_test(a_handler_frees_without_waiting),
        cmocka_unit_test(a_forks_child_uses_its_own_and_the_parents_blocks),
        cmocka_unit_test(what_is_no_block_ends_the_program_with_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
