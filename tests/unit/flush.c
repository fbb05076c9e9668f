/*
 * flush.c - units on their way from a bin to their chunk, where it shows that
 * the program is broken.
 */
#include "unit.h"

#include "death.h"
#include "getput.h"
#include "sk_state_parts.h"

static const struct sk_heap *heap_of(size_t bytes)
{
    return sk_heap_of_slot((uint32_t)sk_class_slot(bytes));
}

static struct sk_chunk *chunk_of(void *unit)
{
    return sk_chunk_of(heap_of(sk_state_usable(unit)),
                       sk_region_granule(unit));
}

/* A list of one unit, as of a bin of this class. */
static size_t flushed_as;

static void flush(void *unit)
{
    *(void **)unit = NULL;
    sk_bin_flush_list(sk_self, heap_of(flushed_as), unit);
}

static void dies(void (*body)(void *), void *unit, const char *what,
                 const char *label)
{
    char words[120];

    snprintf(words, sizeof words, "free(): %s %p (heap %s)\n", what, unit,
             label);
    dies_saying(body, unit, words);
}

/* What is done with a unit of this size ends the program, which names it. */
static void is_named(size_t bytes, void (*body)(void *), const char *what)
{
    void *unit = get(bytes);

    flushed_as = bytes;
    dies(body, unit, what, heap_of(bytes)->label);
    put(unit);
}

static void a_unit_of_another_class_is_none(void **state)
{
    char *unit = get(2048);

    (void)state;
    flushed_as = 1024;
    dies(flush, unit + 1024, "not the start of a unit:", "malloc-2048");
    flushed_as = 2048;
    dies(flush, unit + 1024, "not the start of a unit:", "malloc-2048");
    put(unit);
}

/* Another thread may have sent it home. */
static void merge(void *unit)
{
    struct sk_chunk *chunk = chunk_of(unit);

    *(void **)unit = NULL;
    chunk->home = unit;
    chunk->home_units = 1;
    sk_chunk_merge_home(chunk);
}

static void a_unit_that_was_never_cut_is_none(void **state)
{
    char *unit = get(1024);
    struct sk_chunk *chunk = chunk_of(unit);
    char *behind = sk_chunk_start(chunk) + (size_t)chunk->carved_units * 1024;

    (void)state;
    assert_true(chunk->carved_units < chunk->heap->chunk_units);
    flushed_as = 1024;
    dies(flush, behind, "not the start of a unit:", "malloc-1024");
    dies(merge, behind, "not the start of a unit:", "malloc-1024");
    put(unit);
}

static void flush_twice(void *unit)
{
    flush(unit);
    flush(unit);
}

static void a_unit_freed_twice_is_named(void **state)
{
    (void)state;
    is_named(496, flush_twice, "freed twice:");
}

/* Free, but its page is gone. */
static void hollow_out_and_flush(void *unit)
{
    struct sk_chunk *chunk = chunk_of(unit);
    uint32_t all = chunk->heap->chunk_units;
    void *others[SK_HOLLOW_UNITS];

    for (uint32_t i = 1; i < all; i++)
        others[i] = get(2048);
    for (uint32_t i = 1; i < all - 1; i++)
        put(others[i]);
    put(unit);
    sk_bin_empty(sk_self, chunk->heap, SK_HOME);
    sk_chunk_purge_pages(chunk);
    if (chunk->hollow_units > all / 2)
        flush(unit);
}

static void a_hollow_unit_is_free_too(void **state)
{
    (void)state;
    is_named(2048, hollow_out_and_flush, "freed twice:");
}

/* Another thread sent it home, and its owner frees it, too. */
static void send_home_and_flush(void *unit)
{
    struct sk_chunk *chunk = chunk_of(unit);
    bool is_free;

    sk_bin_empty(sk_self, chunk->heap, SK_HOME);
    sk_chunk_post(chunk, unit, unit, 1, false, &is_free);
    sk_chunk_collect(chunk);
    flush(unit);
}

static void a_unit_at_home_is_free_too(void **state)
{
    (void)state;
    is_named(752, send_home_and_flush, "freed twice, or near one that was:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unit_of_another_class_is_none),
        cmocka_unit_test(a_unit_that_was_never_cut_is_none),
        cmocka_unit_test(a_unit_freed_twice_is_named),
        cmocka_unit_test(a_hollow_unit_is_free_too),
        cmocka_unit_test(a_unit_at_home_is_free_too),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
