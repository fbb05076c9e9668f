/*
 * stats.c - the figures: exact counts.
 */
#include "getput.h"
#include "sk_region_parts.h"
#include "sk_state_parts.h"
#include "stats.h"
#include "threads.h"

static void every_class_counts_what_it_hands_out_and_gets_back(void **state)
{
    enum { UNITS = 500 };
    void *units[UNITS];

    (void)state;
    for (uint32_t class = 1; class < SK_CLASSES; class++) {
        size_t bytes = sk_heap_of_bin(class)->unit_bytes;
        struct sk_heap_stats before = now()->heaps[class];
        struct sk_heap_stats *after;
        int taken = (int)(class * 37 % UNITS) + 1;

        for (int i = 0; i < taken; i++)
            units[i] = get(bytes);
        for (int i = 0; i < taken / 3; i++)
            put(units[i]);
        after = &now()->heaps[class];
        assert_int_equal(after->allocations - before.allocations, taken);
        assert_int_equal(after->in_use - before.in_use, taken - taken / 3);
        assert_int_equal(after->remote_frees, 0);
        assert_true(after->chunks >= 1);
        for (int i = taken / 3; i < taken; i++)
            put(units[i]);
        after = &now()->heaps[class];
        assert_int_equal(after->in_use, before.in_use);
        assert_int_equal(after->allocations - before.allocations, taken);
    }
}

static void the_sums_are_those_of_the_heaps(void **state)
{
    struct sk_stats *stats;
    uint64_t calls = 0, bytes = 0, in_use = 0, chunks = 0;
    void *kept[3] = {get(10), get(500), get(30000)};

    (void)state;
    stats = now();
    for (int bin = 1; bin < SK_BINS; bin++) {
        struct sk_heap_stats *heap = &stats->heaps[bin];

        calls += heap->allocations;
        bytes += heap->allocations * sk_heap_of_bin(bin)->unit_bytes;
        in_use += heap->in_use * sk_heap_of_bin(bin)->unit_bytes;
        chunks += heap->chunks
                  << (SK_GRANULE_SHIFT + sk_heap_of_bin(bin)->order);
    }
    assert_int_equal(stats->calls, calls);
    assert_int_equal(stats->bytes, bytes);
    assert_int_equal(stats->in_use_bytes, in_use);
    assert_int_equal(in_use, 16 + 512 + 32768);
    assert_int_equal(stats->chunk_bytes, chunks);
    assert_int_equal(stats->region.used_bytes, chunks);
    for (int i = 0; i < 3; i++)
        put(kept[i]);
}

struct load {
    size_t bytes;
    int units;
    void *unit[3000];
};

static void *free_load(void *arg)
{
    struct load *load = arg;

    for (int i = 0; i < load->units; i++)
        put(load->unit[i]);
    sk_state_park();
    return NULL;
}

static void *make_load(void *arg)
{
    struct load *load = arg;

    for (int i = 0; i < load->units; i++)
        load->unit[i] = get(load->bytes);
    sk_state_park();
    return NULL;
}

/* Since it was read, the chunk of a batch has become a grown block. */
static void a_batch_whose_chunk_is_something_else_is_passed_over(void **state)
{
    struct sk_batch *batch = &sk_self->batches[0];
    uint32_t behind = (uint32_t)sk_region_carved();
    uint64_t cached = 0;

    (void)state;
    sk_state_trim();
    assert_int_equal(batch->units, 0);
    sk_region_map[behind] = 1u << SK_OWNER_SHIFT | SK_SLOT_MASK;
    *batch = (struct sk_batch){.chunk = behind, .units = 3000};
    for (uint32_t bin = 0; bin < SK_BINS; bin++)
        cached += now()->heaps[bin].cached;
    batch->units = 0;
    sk_region_map[behind] = 0;
    assert_in_range(cached, 0, 2999);
}

/* As when exit() in a signal handler writes the report, and the handler's own
 * thread was at the region. */
static void figures_wait_for_no_lock_for_ever(void **state)
{
    (void)state;
    sk_lock(&sk_pool.guard.lock);
    assert_true(now()->region.reserved_bytes > 0);
    sk_unlock(&sk_pool.guard.lock);
}

static void frees_by_other_threads_are_counted_once_each(void **state)
{
    static const size_t sizes[] = {16, 48, 64, 200, 1024, 5000, 32768};
    static struct load load;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t class = class_of(sizes[i]);
        struct sk_heap_stats before = now()->heaps[class];

        load.bytes = sizes[i];
        load.units = sizes[i] > 2000 ? 100 : 3000;
        for (int k = 0; k < load.units; k++)
            load.unit[k] = get_exact(sizes[i]);
        run(free_load, &load);
        assert_int_equal(now()->heaps[class].remote_frees -
                             before.remote_frees,
                         load.units);
        assert_int_equal(now()->heaps[class].in_use, before.in_use);
        assert_int_equal(now()->heaps[class].allocations -
                             before.allocations,
                         load.units);
    }
}

static void *free_after_parking(void *arg)
{
    put(get(16));
    sk_state_park();
    put(arg);
    put(((void **)arg)[1]);
    return NULL;
}

static void frees_after_a_threads_end_are_counted_too(void **state)
{
    uint32_t class = class_of(300);
    uint64_t before = now()->heaps[class].remote_frees;
    void **unit = get(300);

    (void)state;
    unit[1] = get(300);
    run(free_after_parking, unit);
    assert_int_equal(now()->heaps[class].remote_frees - before, 1 + 1);
    assert_int_equal(now()->heaps[class].in_use, 0);
}

static void what_an_ended_thread_did_stays_counted(void **state)
{
    static struct load load = {.bytes = 700, .units = 2000};
    uint32_t class = class_of(700);
    uint64_t before = now()->heaps[class].allocations;

    (void)state;
    run(make_load, &load);
    assert_int_equal(now()->heaps[class].allocations - before, 2000);
    assert_int_equal(now()->heaps[class].in_use, 2000);
    for (int i = 0; i < 2000; i++)
        put(load.unit[i]);
    sk_state_trim();
    assert_int_equal(now()->heaps[class].in_use, 0);
    assert_int_equal(now()->heaps[class].cached, 0);
    assert_int_equal(now()->heaps[class].chunks, 0);
}

static void *forward_without_a_state(void *unused)
{
    (void)unused;
    sk_state_count_libc(100);
    put(get(16));
    sk_state_count_libc(1000);
    sk_state_park();
    sk_state_count_libc(10000);
    return NULL;
}

static void requests_to_libc_are_counted_with_and_without_a_state(
    void **state)
{
    uint64_t calls = now()->libc_calls, bytes = now()->libc_bytes;

    (void)state;
    sk_state_count_libc(5);
    run(forward_without_a_state, NULL);
    assert_int_equal(now()->libc_calls - calls, 4);
    assert_int_equal(now()->libc_bytes - bytes, 11105);
}

static void what_cannot_be_had_asks_for_no_bytes(void **state)
{
    uint64_t calls = now()->libc_calls, bytes = now()->libc_bytes;

    (void)state;
    for (int i = 0; i < 40; i++)
        sk_state_count_libc(PTRDIFF_MAX - 100);
    sk_state_count_libc((size_t)1 << 40);
    assert_int_equal(now()->libc_calls - calls, 41);
    assert_int_equal(now()->libc_bytes - bytes, (size_t)1 << 40);
}

static void grown_blocks_count_in_the_sums(void **state)
{
    struct sk_stats before = *now(), *after;
    void *p = sk_grown_alloc(40000), *q = sk_grown_alloc(100000);

    (void)state;
    assert_true(p && q && sk_grown_resize(q, 200000));
    sk_grown_free(p);
    after = now();
    assert_int_equal(after->grown.allocations - before.grown.allocations, 2);
    assert_int_equal(after->grown.in_use, 1);
    assert_int_equal(after->grown.in_use_bytes, 224 << 10);
    assert_int_equal(after->grown.spare_bytes, 800 << 10);
    assert_int_equal(after->calls - before.calls, 2);
    assert_int_equal(after->bytes - before.bytes, (40 + 224) << 10);
    assert_int_equal(after->in_use_bytes - before.in_use_bytes, 224 << 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_counts_what_it_hands_out_and_gets_back),
        cmocka_unit_test(the_sums_are_those_of_the_heaps),
        cmocka_unit_test(
            a_batch_whose_chunk_is_something_else_is_passed_over),
        cmocka_unit_test(figures_wait_for_no_lock_for_ever),
        cmocka_unit_test(frees_by_other_threads_are_counted_once_each),
        cmocka_unit_test(frees_after_a_threads_end_are_counted_too),
        cmocka_unit_test(what_an_ended_thread_did_stays_counted),
        cmocka_unit_test(requests_to_libc_are_counted_with_and_without_a_state),
        cmocka_unit_test(what_cannot_be_had_asks_for_no_bytes),
        cmocka_unit_test(grown_blocks_count_in_the_sums),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
