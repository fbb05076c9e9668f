/*
 * grown.c - blocks that grew out of the largest class: how they grow and
 * shrink, alone and among many.
 */
#include "blocks.h"
#include "random.h"

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
    size_t granule;
    char *p, *q;

    (void)unused;
    open_heaps();
    p = grown(32769, 1);
    granule = sk_region_granule(p);
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
    REQUIRE(sk_grown_has(p + MIB - 1));
    sk_grown_free(p);
    /* A fork's child takes no part of it for somebody's. */
    for (size_t i = 0; i < MIB / SK_GRANULE_BYTES; i++)
        REQUIRE(!sk_word_is_chunk(sk_region_word(granule + i)));
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

static void shrinks_without_delay(uint64_t unused)
{
    char *p;

    (void)unused;
    open_heaps();
    sk_config.purge_delay = 0;
    p = grown(MIB, 4);
    REQUIRE(sk_grown_resize(p, 40000) && is_filled(p, 40 * KIB, 4));
    REQUIRE(figures().residue_bytes == 0);
}

static void a_block_that_shrinks_gives_its_end_up(void **state)
{
    (void)state;
    assert_in_child(shrinks, 0);
    assert_in_child(shrinks_without_delay, 0);
}

/* Full blocks have no spare; some that shrink, all that there may be. */
static void is_refused_a_shrink(uint64_t unused)
{
    enum { BLOCKS = 60 };
    char *blocks[BLOCKS];
    int shrunk = 0;

    (void)unused;
    open_heaps();
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = grown(MIB, (unsigned)i);
    while (shrunk < BLOCKS && sk_grown_resize(blocks[shrunk], 40000))
        shrunk++;
    REQUIRE(shrunk > 10 && shrunk < BLOCKS);
    REQUIRE(figures().spare_bytes <= 16 * MIB);
    REQUIRE(sk_grown_usable(blocks[shrunk]) == MIB);
    REQUIRE(is_filled(blocks[shrunk], MIB, (unsigned)shrunk));
}

static void a_block_moves_rather_than_leave_too_much_spare(void **state)
{
    (void)state;
    assert_in_child(is_refused_a_shrink, 0);
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

/* A look at all takes what is old, and nothing else. */
static void ages_alone(uint64_t unused)
{
    char *old, *young;

    (void)unused;
    open_heaps();
    old = grown(MIB, 4);
    young = grown(MIB, 5);
    REQUIRE(sk_grown_resize(old, 40000));
    sk_os_pretend_later(sk_config.purge_delay + 1000);
    REQUIRE(sk_grown_resize(young, 40000));
    REQUIRE(figures().residue_bytes == MIB - 40 * KIB);
}

static void residue_that_waited_for_the_delay_is_purged(void **state)
{
    (void)state;
    assert_in_child(ages, 0); /* its alarm is the bound */
    assert_in_child(ages_alone, 0);
}

static void ages_in(uint64_t days)
{
    char *p;

    open_heaps();
    p = grown(MIB, 4);
    REQUIRE(sk_grown_resize(p, 40000));
    REQUIRE(figures().residue_bytes > 0);
    sk_os_pretend_later(days * 24 * 60 * 60 * 1000);
    grown(40000, 5);
    REQUIRE(figures().residue_bytes == 0);
}

static void residue_is_old_after_any_number_of_days(void **state)
{
    (void)state;
    for (uint64_t days = 5; days < 110; days += 10)
        assert_in_child(ages_in, days);
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
        cmocka_unit_test(a_block_moves_rather_than_leave_too_much_spare),
        cmocka_unit_test(residue_that_waited_for_the_delay_is_purged),
        cmocka_unit_test(residue_is_old_after_any_number_of_days),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
