/*
 * heap_keys.c - heaps of a program that had taken all thread keys before: what
 * its threads had is there for others, though nobody tells of their ends.
 */
#include "child.h"
#include "heaps.h"
#include "threads.h"

enum { THREADS = 100, UNITS = 50 };

static sk_heap *loose, *tight;

static void *use_both(void *unused)
{
    void *units[UNITS];

    use_and_drop(loose, UNITS);
    for (int i = 0; i < UNITS; i++)
        REQUIRE((units[i] = sk_heap_unit_allocate(tight)) != NULL);
    REQUIRE(!sk_heap_unit_allocate(tight));
    for (int i = 0; i < UNITS; i++)
        sk_heap_unit_unref(units[i]);
    return unused;
}

static void has_no_key(uint64_t unused)
{
    pthread_key_t key;

    (void)unused;
    while (pthread_key_create(&key, NULL) == 0)
        ;
    loose = plain("loose", 400);
    REQUIRE((tight = sk_heap_new("tight", 64, 64, UNITS, 0)) != NULL);
    for (int i = 0; i < THREADS; i++)
        run_threads(use_both, 1);
    use_both(NULL);
    REQUIRE(sk_state_count() < 4);
    REQUIRE(info_of(loose).chunk_bytes <= 2 * SK_GRANULE_BYTES);
    REQUIRE(info_of(loose).live_units == 0 && info_of(tight).live_units == 0);
    REQUIRE(info_of(loose).allocations == (THREADS + 1) * UNITS);
    REQUIRE(sk_heap_destroy(loose, 0) == 0 && sk_heap_destroy(tight, 0) == 0);
}

static void without_thread_keys_nothing_is_left_behind(void **state)
{
    (void)state;
    assert_in_child(has_no_key, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_thread_keys_nothing_is_left_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
