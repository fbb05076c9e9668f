/*
 * warm.c - what a thread leaves behind for the next one.
 */
#include "unit.h"

#include "figures.h"
#include "stats.h"
#include "threads.h"
#include "tick.h"

enum { THREADS = 12, WARM = 4 };

static pthread_barrier_t barrier;

static uint64_t chunks_of(size_t bytes)
{
    return now()->heaps[class_of(bytes)].chunks;
}

/* Below a cache line: no thread shares chunks of these. */
static void use(void)
{
    for (size_t bytes = 16; bytes <= 48; bytes += 16)
        put(get(bytes));
}

static void *serve(void *unused)
{
    (void)unused;
    use();
    sk_state_park();
    return NULL;
}

static void *serve_together(void *unused)
{
    (void)unused;
    use();
    pthread_barrier_wait(&barrier);
    sk_state_park();
    return NULL;
}

static void the_next_thread_gets_its_chunks(void **state)
{
    uint64_t takes;

    (void)state;
    sk_config.purge_delay = 60000;
    for (int i = 0; i < THREADS; i++) /* its first tick comes at once */
        run_threads(serve, 1);
    takes = figures().takes;
    for (int i = 0; i < THREADS; i++)
        run_threads(serve, 1);
    assert_int_equal(figures().takes, takes);
    sk_config.purge_delay = 500;
}

static void a_tick_gives_them_up(void **state)
{
    (void)state;
    run_threads(serve, 1);
    assert_int_equal(chunks_of(32) + chunks_of(48), 2);
    sk_config.purge_delay = 1;
    for (int i = 0; i < 3; i++)
        tick();
    sk_config.purge_delay = 500;
    assert_int_equal(chunks_of(32) + chunks_of(48), 0);
}

static void a_trim_gives_them_up(void **state)
{
    (void)state;
    sk_state_trim();
    assert_int_equal(figures().used_bytes, 0);
    run_threads(serve, 1);
    assert_true(figures().used_bytes > 0);
    sk_state_trim();
    assert_int_equal(figures().used_bytes, 0);
}

static void a_few_states_keep_theirs_and_no_more(void **state)
{
    size_t each = 3 * SK_GRANULE_BYTES;

    (void)state;
    sk_state_trim();
    pthread_barrier_init(&barrier, NULL, THREADS);
    run_threads(serve_together, THREADS);
    pthread_barrier_destroy(&barrier);
    assert_in_range(figures().used_bytes, each, WARM * each);
}

static void without_a_delay_none_does(void **state)
{
    (void)state;
    sk_state_trim();
    sk_config.purge_delay = 0;
    run_threads(serve, 1);
    assert_int_equal(figures().used_bytes, 0);
    sk_config.purge_delay = 500;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_thread_gets_its_chunks),
        cmocka_unit_test(a_tick_gives_them_up),
        cmocka_unit_test(a_trim_gives_them_up),
        cmocka_unit_test(a_few_states_keep_theirs_and_no_more),
        cmocka_unit_test(without_a_delay_none_does),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
