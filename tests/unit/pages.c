/*
 * pages.c - pages that go back while other units of their chunk are in use.
 */
#include "unit.h"

#include "getput.h"
#include "resident.h"
#include "sk_state_parts.h"

#include <string.h>

static const struct sk_heap *heap_of(size_t bytes)
{
    return sk_heap_of_slot((uint32_t)sk_class_slot(bytes));
}

static size_t resident_pages(const struct sk_chunk *chunk)
{
    return resident_in(sk_chunk_start(chunk),
                       SK_GRANULE_BYTES << chunk->heap->order);
}

static uint32_t owner_id(void)
{
    put(get(16));
    return sk_self->id;
}

/* A chunk by hand, all of it carved and taken out; unit i in units[i]. */
static struct sk_chunk *full_chunk(size_t bytes, char **units)
{
    const struct sk_heap *heap = heap_of(bytes);
    struct sk_chunk *chunk = sk_chunk_new(heap, owner_id());
    void *list;

    assert_non_null(chunk);
    assert_int_equal(sk_chunk_carve(chunk, heap->chunk_units, &list),
                     heap->chunk_units);
    sk_chunk_take_out(chunk, heap->chunk_units);
    for (uint32_t i = 0; i < heap->chunk_units; i++) {
        units[i] = sk_chunk_start(chunk) + (size_t)i * heap->unit_bytes;
        memset(units[i], (int)i + 1, heap->unit_bytes);
    }
    return chunk;
}

static void give_back(struct sk_chunk *chunk, char *unit)
{
    void *list = unit;

    *(void **)unit = NULL;
    assert_int_equal(sk_chunk_put(chunk, &list), 1);
}

static void is_whole(const struct sk_chunk *chunk, char **units, uint32_t i)
{
    for (uint32_t k = 0; k < chunk->heap->unit_bytes; k++)
        assert_int_equal((unsigned char)units[i][k], (i + 1) & 0xff);
}

/* All but every `kept`th unit come back, pages go, and units of all kinds are
 * taken out again, each once. */
static void purge_and_use_again(size_t bytes, uint32_t kept)
{
    char *units[SK_HOLLOW_UNITS];
    struct sk_chunk *chunk = full_chunk(bytes, units);
    uint32_t all = chunk->heap->chunk_units, back = 0, again = 0;
    unsigned char is_seen[SK_HOLLOW_UNITS] = {0};
    size_t before = resident_pages(chunk), purged;

    for (uint32_t i = 0; i < all; i++)
        if (i % kept)
            give_back(chunk, units[i]), back++;
    purged = sk_chunk_purge_pages(chunk);
    assert_int_equal(resident_pages(chunk) + purged / sk_os_page_bytes(),
                     before);
    assert_true(sk_chunk_is_sound(chunk));
    assert_int_equal(chunk->free_units + chunk->hollow_units, back);
    /* Once more finds nothing new. */
    sk_chunk_purge_pages(chunk);
    assert_int_equal(resident_pages(chunk) + purged / sk_os_page_bytes(),
                     before);
    assert_true(sk_chunk_is_sound(chunk));
    for (uint32_t i = 0; i < all; i += kept)
        is_whole(chunk, units, i), is_seen[i] = 1;

    while (sk_chunk_at_hand(chunk) > 0) {
        bool has_hollow_ones = chunk->free_units == 0;
        uint32_t most = has_hollow_ones ? 3 : 7;
        uint32_t at_hand = sk_chunk_at_hand(chunk);
        uint32_t taken = at_hand < most ? at_hand : most;
        char *list;

        sk_chunk_take_out(chunk, taken);
        list = sk_chunk_take(chunk, taken);
        for (; list; list = *(char **)list, again++) {
            uint32_t i =
                (uint32_t)((list - units[0]) / chunk->heap->unit_bytes);

            is_seen[i]++;
            /* Its page was gone, or it was written to. */
            assert_int_equal((unsigned char)list[10],
                             has_hollow_ones ? 0 : (i + 1) & 0xff);
        }
        assert_true(sk_chunk_is_sound(chunk));
    }
    assert_int_equal(again, back);
    for (uint32_t i = 0; i < all; i++)
        assert_int_equal(is_seen[i], 1);
    assert_true(sk_chunk_is_sound(chunk));
    for (uint32_t i = 0; i < all; i++)
        give_back(chunk, units[i]);
    assert_true(sk_chunk_is_free(chunk));
    sk_chunk_give(chunk, false);
}

static void free_pages_go_and_their_units_come_again(void **state)
{
    (void)state;
    for (uint32_t kept = 2; kept < 60; kept += 3)
        for (size_t bytes = 256; bytes <= SK_CLASS_BYTES; bytes += bytes / 7)
            if (sk_heap_of_slot((uint32_t)sk_class_slot(bytes))->chunk_units <=
                SK_HOLLOW_UNITS)
                purge_and_use_again(bytes, kept);
}

/* Of 64 units all but the sixth have come back, and 15 of 16 pages have gone.
 */
static struct sk_chunk *chunk_with_one_out(char **units)
{
    struct sk_chunk *chunk = full_chunk(1024, units);

    for (uint32_t i = 0; i < 64; i++)
        if (i != 5)
            give_back(chunk, units[i]);
    assert_int_equal(sk_chunk_purge_pages(chunk), 15 * 4096);
    assert_int_equal(resident_pages(chunk), 1);
    return chunk;
}

static void a_page_with_one_unit_in_use_stays(void **state)
{
    char *units[SK_HOLLOW_UNITS];
    struct sk_chunk *chunk = chunk_with_one_out(units);

    (void)state;
    assert_int_equal(chunk->free_units, 3);
    is_whole(chunk, units, 5);
    give_back(chunk, units[5]);
    sk_chunk_give(chunk, false);
}

/* A page with hollow units and newly free ones is as free as any. */
static void what_is_hollow_counts_the_next_time(void **state)
{
    char *units[SK_HOLLOW_UNITS];
    struct sk_chunk *chunk = chunk_with_one_out(units);

    (void)state;
    /* The page behind is used again, in part, and free once more. */
    sk_chunk_take_out(chunk, 3 + 2);
    sk_chunk_take(chunk, 3);
    assert_ptr_equal(sk_chunk_take(chunk, 2), units[0]);
    memset(units[0], 1, 1024);
    memset(units[1], 2, 1024);
    assert_int_equal(chunk->hollow_units, 58);
    for (uint32_t i = 0; i < 2; i++)
        give_back(chunk, units[i]);
    assert_int_equal(resident_pages(chunk), 2);
    assert_int_equal(sk_chunk_purge_pages(chunk), 15 * 4096);
    assert_int_equal(resident_pages(chunk), 1);
    assert_int_equal(chunk->hollow_units, 60);
    for (uint32_t i = 4; i < 8; i++)
        give_back(chunk, units[i]);
    assert_true(sk_chunk_is_free(chunk) && sk_chunk_is_sound(chunk));
    sk_chunk_give(chunk, false);
}

static void units_that_came_home_count_too(void **state)
{
    char *units[SK_HOLLOW_UNITS];
    struct sk_chunk *chunk = full_chunk(1024, units);
    bool is_free;

    (void)state;
    for (uint32_t i = 0; i < 64; i++)
        if (i >= 4)
            sk_chunk_post(chunk, units[i], units[i], 1, false, &is_free);
    assert_int_equal(sk_chunk_collect(chunk), 0);
    assert_int_equal(sk_chunk_purge_pages(chunk), 15 * 4096);
    assert_int_equal(chunk->hollow_units, 60);
    /* What comes home later is counted beside the hollow ones. */
    sk_chunk_post(chunk, units[0], units[0], 1, false, &is_free);
    assert_false(is_free);
    assert_int_equal(sk_chunk_collect(chunk), 0);
    assert_int_equal(chunk->home_units, 1);
    assert_true(sk_chunk_is_sound(chunk));
    for (uint32_t i = 1; i < 4; i++)
        sk_chunk_post(chunk, units[i], units[i], 1, false, &is_free);
    assert_true(is_free);
    sk_chunk_collect(chunk);
    assert_true(sk_chunk_is_free(chunk));
    sk_chunk_give(chunk, false);
}

static void a_refused_purge_leaves_the_list_whole(void **state)
{
    char *units[SK_HOLLOW_UNITS];
    struct sk_chunk *chunk = full_chunk(2048, units);

    (void)state;
    for (uint32_t i = 0; i < 32; i++)
        if (i % 8)
            give_back(chunk, units[i]);
    sk_os_fail(SK_OS_PURGE, ~UINT64_C(0));
    assert_int_equal(sk_chunk_purge_pages(chunk), 0);
    sk_os_fail(SK_OS_PURGE, 0);
    assert_int_equal(chunk->free_units, 28);
    assert_int_equal(chunk->hollow_units, 0);
    assert_true(sk_chunk_is_sound(chunk));
    for (uint32_t i = 0; i < 32; i += 8)
        give_back(chunk, units[i]);
    sk_chunk_give(chunk, false);
}

/* Nine tenths of 32 MiB freed at random, then as much of another size: with
 * pages alone that hold a unit, and all units whole. */
static void memory_grows_less_where_pages_lie_free(void **state)
{
    enum { UNITS = 32768 };
    static unsigned char *kept[UNITS], *others[UNITS];
    uint64_t purges = sk_os_called(SK_OS_PURGE);
    uint32_t seed = 1;

    (void)state;
    for (int i = 0; i < UNITS; i++)
        memset(kept[i] = get(1024), i & 0xff, 1024);
    for (int i = 0; i < UNITS; i++) {
        seed = seed * 1664525 + 1013904223;
        if (seed >> 24 > 25) {
            put(kept[i]);
            kept[i] = NULL;
        }
    }
    for (int i = 0; i < UNITS; i++)
        memset(others[i] = get(700), i & 0xff, 700);
    assert_true(sk_os_called(SK_OS_PURGE) - purges > 500);
    assert_true(sk_state_is_sound(sk_self));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < UNITS; i++) {
            if (kept[i])
                assert_int_equal(kept[i][1023], i & 0xff);
            assert_int_equal(others[i][699], i & 0xff);
            if (!kept[i]) /* hollow ones are used again */
                memset(kept[i] = get(1024), i & 0xff, 1024);
        }
    }
    for (int i = 0; i < UNITS; i++) {
        put(kept[i]);
        put(others[i]);
    }
    sk_state_trim();
    assert_true(sk_state_is_sound(sk_self));
    assert_true(sk_region_is_sound());
}

/* --- pages ahead ---------------------------------------------------------- */

enum { GROWN = 64 };

/* Units of so many chunks, each filled; returns the calls for pages ahead. */
static uint64_t grow(size_t bytes, uint32_t chunks, char **units)
{
    const struct sk_heap *heap = heap_of(bytes);

    sk_state_trim();
    sk_os_fail(SK_OS_POPULATE, 0);
    for (uint32_t i = 0; i < chunks * heap->chunk_units; i++)
        memset(units[i] = get(bytes), (int)i & 0xff, bytes);
    return sk_os_called(SK_OS_POPULATE);
}

static void drop(size_t bytes, uint32_t chunks, char **units)
{
    const struct sk_heap *heap = heap_of(bytes);

    for (uint32_t i = 0; i < chunks * heap->chunk_units; i++) {
        assert_int_equal((unsigned char)units[i][bytes - 1], i & 0xff);
        put(units[i]);
    }
    sk_state_trim();
}

static void a_heap_that_grows_gets_pages_ahead(void **state)
{
    enum { UNITS = (GROWN - 1) * 128 };
    static char *units[UNITS + 1];
    struct sk_chunk *last;
    void *start;

    (void)state;
    if (!has_populate())
        skip();
    /* A call for each chunk, before that for each few pages. */
    assert_in_range(grow(512, GROWN - 1, units), GROWN / 2, GROWN * 2);
    last = sk_chunk_at(sk_region_granule(units[UNITS] = get(512)));
    start = sk_chunk_start(last);
    assert_in_range(last->carved_units, 1, 16);
    assert_int_equal(resident_in(start, 65536), 16);
    put(units[UNITS]);
    drop(512, GROWN - 1, units);
    /* What was not used goes with the rest. */
    assert_int_equal(resident_in(start, 65536), 0);
    assert_true(sk_region_is_sound());
}

static void few_chunks_and_large_units_get_none(void **state)
{
    static char *units[GROWN * 128];

    (void)state;
    assert_int_equal(grow(512, 1, units), 0);
    drop(512, 1, units);
    assert_int_equal(grow(8192, GROWN, units), 0);
    drop(8192, GROWN, units);
}

static void a_kernel_that_gives_none_ahead_is_no_error(void **state)
{
    static char *units[GROWN * 128];

    (void)state;
    sk_os_fail(SK_OS_POPULATE, UINT64_MAX);
    for (uint32_t i = 0; i < GROWN * 128; i++)
        memset(units[i] = get(512), (int)i & 0xff, 512);
    assert_true(sk_os_called(SK_OS_POPULATE) > 0);
    sk_os_fail(SK_OS_POPULATE, 0);
    drop(512, GROWN, units);
    assert_true(sk_region_is_sound());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_pages_go_and_their_units_come_again),
        cmocka_unit_test(a_page_with_one_unit_in_use_stays),
        cmocka_unit_test(what_is_hollow_counts_the_next_time),
        cmocka_unit_test(units_that_came_home_count_too),
        cmocka_unit_test(a_refused_purge_leaves_the_list_whole),
        cmocka_unit_test(memory_grows_less_where_pages_lie_free),
        cmocka_unit_test(a_heap_that_grows_gets_pages_ahead),
        cmocka_unit_test(few_chunks_and_large_units_get_none),
        cmocka_unit_test(a_kernel_that_gives_none_ahead_is_no_error),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
