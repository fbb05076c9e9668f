/*
 * grown_threads.c - blocks that grew: freed and resized by any thread, in a
 * handler, after a fork.
 */
#include "blocks.h"
#include "random.h"

#include <pthread.h>

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

static size_t used_bytes(void)
{
    struct sk_state *self = sk_state_hide();
    struct sk_region_figures now;

    sk_region_read_figures(&now);
    sk_state_show(self);
    return now.used_bytes;
}

/* In a handler that interrupted a slow path, which may hold any lock. */
static void is_nested(uint64_t unused)
{
    struct sk_state *self;
    char *p, *q, *r;

    (void)unused;
    open_heaps();
    p = grown(40000, 1);
    self = sk_state_hide();
    sk_grown_free(p);
    sk_state_show(self);
    REQUIRE(figures().in_use == 1);
    sk_grown_trim();
    REQUIRE(figures().in_use == 0 && sk_grown_is_sound());
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
    REQUIRE(used_bytes() == 0 && sk_region_is_sound());
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_free_and_resize_each_others_blocks),
        cmocka_unit_test(a_handler_frees_without_waiting),
        cmocka_unit_test(a_forks_child_uses_its_own_and_the_parents_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
