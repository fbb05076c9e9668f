/*
 * idle.c - wholly free chunks that their owner keeps for a moment.
 */
#include "unit.h"

#include "figures.h"
#include "getput.h"

enum { UNITS = 2048 };

static void *units[UNITS];

/* So many bytes in units of one class, and back. */
static void breathe(size_t unit_bytes, size_t bytes)
{
    size_t n = bytes / unit_bytes;

    assert_true(n <= UNITS);
    for (size_t i = 0; i < n; i++)
        units[i] = get_exact(unit_bytes);
    for (size_t i = 0; i < n; i++)
        put(units[i]);
}

static void what_is_freed_once_is_not(void **state)
{
    (void)state;
    sk_state_trim();
    breathe(4096, 8 << 20);
    assert_true(figures().used_bytes < 2 << 20);
}

/* More than may lie idle at first, many times. */
static void what_is_wanted_again_is_kept(void **state)
{
    uint64_t before;

    (void)state;
    sk_state_trim();
    for (int i = 0; i < 20; i++)
        breathe(4096, 4 << 20);
    before = figures().takes;
    for (int i = 0; i < 20; i++)
        breathe(4096, 4 << 20);
    assert_true(figures().takes - before < 20);
}

static void trim_gives_all_of_it_up(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        breathe(4096, 4 << 20);
    assert_true(figures().used_bytes > 2 << 20);
    sk_state_trim();
    assert_int_equal(figures().used_bytes, 0);
    assert_int_equal(sk_self->idle_bytes, 0);
}

/* Memory of one class before new memory: the sum of all does not rise. */
static void another_class_gets_it_first(void **state)
{
    size_t used;

    (void)state;
    sk_state_trim();
    breathe(1024, 256 << 10);
    used = figures().used_bytes;
    assert_true(used >= 256 << 10);
    breathe(2048, 256 << 10);
    assert_true(figures().used_bytes <= used + (64 << 10));
}

static void without_a_delay_nothing_is_kept(void **state)
{
    (void)state;
    sk_state_trim();
    sk_config.purge_delay = 0;
    breathe(4096, 4 << 20);
    breathe(4096, 4 << 20);
    assert_int_equal(sk_self->idle_bytes, 0);
    sk_config.purge_delay = 500;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_freed_once_is_not),
        cmocka_unit_test(what_is_wanted_again_is_kept),
        cmocka_unit_test(trim_gives_all_of_it_up),
        cmocka_unit_test(another_class_gets_it_first),
        cmocka_unit_test(without_a_delay_nothing_is_kept),
    };

    sk_config.purge_delay = 3600000; /* no tick, however slow the host */
    return cmocka_run_group_tests(tests, open_once, NULL);
}
