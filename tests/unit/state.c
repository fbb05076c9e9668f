/*
 * state.c - a thread's state under its own requests.
 */
#include "unit.h"

#include "stats.h"
#include "tick.h"

#include <string.h>

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

/* The handler comes between the first instructions of a free() that finds no
 * room and its slow path. */
static void a_handler_in_a_free_without_room_harms_no_count(void **state)
{
    enum { UNITS = 1000, LATE = 500 };
    static void *units[UNITS];
    uint64_t before;

    (void)state;
    sk_state_trim();
    before = now()->heaps[7].allocations;
    for (int i = 0; i < UNITS; i++)
        units[i] = get_exact(112);
    for (int i = 0; i < UNITS - 1; i++) {
        if (sk_state_free_hit(units[i]) == SK_FREED)
            continue;
        if (i > LATE && units[UNITS - 1]) {
            put(units[UNITS - 1]); /* the handler's */
            units[UNITS - 1] = NULL;
        }
        sk_state_free_slow(units[i]);
    }
    assert_null(units[UNITS - 1]);
    assert_true(sk_state_is_sound(sk_self));
    sk_state_trim();
    assert_int_equal(now()->heaps[7].allocations - before, UNITS);
    assert_int_equal(now()->heaps[7].in_use, 0);
}

static void a_state_that_a_handler_attached_is_the_threads(void **state)
{
    struct sk_state *self = sk_self;
    uint32_t count = sk_state_count();

    (void)state;
    assert_true(sk_state_attach(sk_class_slot(16)));
    assert_ptr_equal(sk_self, self);
    assert_int_equal(sk_state_count(), count);
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
    assert_true(got > 0); /* out of what was committed before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_gets_its_own_aligned_unit),
        cmocka_unit_test(units_do_not_overlap_and_keep_their_content),
        cmocka_unit_test(allocations_are_counted_exactly),
        cmocka_unit_test(a_count_that_spills_into_room_is_not_lost),
        cmocka_unit_test(a_handler_in_a_free_without_room_harms_no_count),
        cmocka_unit_test(a_state_that_a_handler_attached_is_the_threads),
        cmocka_unit_test(memory_freed_by_its_owner_goes_back),
        cmocka_unit_test(a_bin_that_nobody_uses_holds_no_chunks),
        cmocka_unit_test(a_refused_commit_is_null_and_harms_nothing),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
