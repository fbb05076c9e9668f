/*
 * blocks.c - malloc's classes: threads hand each other blocks, end, and are
 * visited, in any order.
 */
#include "order.h"

#include "../unit/getput.h"
#include "../unit/stats.h"
#include "../unit/unit.h"

#include "sk_park_parts.h"
#include "sk_region.h"

#include <string.h>

enum { SLOTS = 6, TURNS = 60, THREADS = 3 };

static _Atomic(char *) slots[SLOTS];

/* Guests rest in the bins of who frees them, smaller ones go home by post; of
 * the large ones few make a magazine, and a chunk. */
static const size_t sizes[] = {32, 48, 700, 3000, 6000, 15000, 30000};

enum { SIZES = sizeof sizes / sizeof *sizes };
static uint32_t from_size; /* only those from here on */

static char *made(void)
{
    size_t bytes = sizes[from_size + order_random(SIZES - from_size)];
    char *p = get(bytes);

    MUST(p);
    *(size_t *)p = bytes;
    p[bytes - 1] = (char)(uintptr_t)p;
    return p;
}

static void check_and_put(char *p)
{
    if (!p)
        return;
    MUST(p[*(size_t *)p - 1] == (char)(uintptr_t)p);
    put(p);
}

/* As a visitor may, writes what only slow paths use. */
static void look(struct sk_state *state, bool is_broken, void *self)
{
    MUST(!is_broken);
    if (state != self)
        MUST(atomic_load(&state->status) == SK_FILING);
    state->turns++;
}

static uint32_t visits_in = 40;

static void exchange(void *turns)
{
    for (int turn = 0; turn < *(int *)turns; turn++) {
        char *p = made();

        check_and_put(atomic_exchange_explicit(&slots[order_random(SLOTS)], p,
                                               memory_order_acq_rel));
        if (order_random(40) == 0)
            sk_state_trim();
        if (order_random(visits_in) == 0)
            sk_state_visit(look, sk_self);
    }
}

/* One allocates, the others free: all that it gets comes home. */
static void take_all(void *turns)
{
    for (int turn = 0; turn < 3 * *(int *)turns; turn++)
        check_and_put(atomic_exchange_explicit(&slots[order_random(SLOTS)],
                                               NULL, memory_order_acquire));
}

static void fill_all(void *turns)
{
    for (int turn = 0; turn < 3 * *(int *)turns; turn++) {
        char *p = made(), *none = NULL;

        if (!atomic_compare_exchange_strong_explicit(
                &slots[order_random(SLOTS)], &none, p, memory_order_release,
                memory_order_relaxed))
            put(p);
    }
}

/* A sender that finds the owner gone, and an owner that goes: one of them has
 * read the mail. */
static void no_mail_is_left(void)
{
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        if (atomic_load(&sk_state_at(id)->status) == SK_PARKED)
            MUST(atomic_load(&sk_state_at(id)->mail) == 0);
}

static void nothing_is_left(void)
{
    const struct sk_stats *stats;

    no_mail_is_left();
    for (int i = 0; i < SLOTS; i++)
        check_and_put(atomic_exchange(&slots[i], NULL));
    sk_state_trim();
    stats = now();
    for (int class = 1; class < SK_CLASSES; class++)
        MUST(stats->heaps[class].in_use == 0);
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        MUST(sk_state_is_sound(sk_state_at(id)));
    MUST(sk_region_is_sound());
    MUST(stats->region.used_bytes == 0);
}

/* Twice, so that the second ones adopt what the first ones left; main uses its
 * own blocks meanwhile. */
static void run(void (*body)(void *), void (*others)(void *), int turns)
{
    int ids[THREADS];

    if (!sk_region_map)
        sk_state_open(64 << 20);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < THREADS; i++)
            ids[i] = order_start(i == 0 ? body : others, &turns);
        for (int i = 0; i < turns / 4; i++)
            put(made());
        for (int i = 0; i < THREADS; i++)
            order_join(ids[i]);
    }
    nothing_is_left();
}

static void exchanging(void)
{
    run(exchange, exchange, TURNS);
}

static void without_delay(void)
{
    sk_config.purge_delay = 0;
    run(exchange, exchange, TURNS);
}

static void producing(void)
{
    run(fill_all, take_all, TURNS);
}

/* Whoever frees a chunk's last unit purges it, whatever its owner does. */
static void sealing(void)
{
    sk_config.purge_delay = 0;
    from_size = SIZES - 2;
    run(fill_all, take_all, TURNS / 3);
}

/* Where owners fence themselves.  The first visit, which tells them to, waits
 * a while for those on their way: here nobody is. */
static void without_barrier(void)
{
    sk_os_fail(SK_OS_BARRIER, UINT64_MAX);
    sk_state_open(64 << 20);
    put(get(16));
    sk_state_visit(look, sk_self);
    visits_in = 4;
    run(exchange, exchange, TURNS / 2);
}

/* Many threads that do little: parked, adopted, filed. */
static void coming_and_going(void)
{
    int few = 4, ids[ORDER_THREADS] = {0};

    sk_state_open(64 << 20);
    for (int i = 0; i < 40; i++) {
        int at = i % (ORDER_THREADS - 1);

        if (ids[at])
            order_join(ids[at]);
        ids[at] = order_start(exchange, &few);
    }
    for (int i = 0; i < ORDER_THREADS - 1; i++)
        order_join(ids[i]);
    nothing_is_left();
}

static void blocks_are_exchanged_in_any_order(void **state)
{
    (void)state;
    order_explore(exchanging, 60);
}

static void blocks_are_exchanged_without_a_delay(void **state)
{
    (void)state;
    order_explore(without_delay, 60);
}

static void what_others_free_comes_home(void **state)
{
    (void)state;
    order_explore(producing, 60);
}

static void what_others_free_is_purged(void **state)
{
    (void)state;
    order_explore(sealing, 200);
}

static void owners_fence_where_there_is_no_barrier(void **state)
{
    (void)state;
    order_explore(without_barrier, 60);
}

static void threads_come_and_go(void **state)
{
    (void)state;
    order_explore(coming_and_going, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_exchanged_in_any_order),
        cmocka_unit_test(blocks_are_exchanged_without_a_delay),
        cmocka_unit_test(what_others_free_comes_home),
        cmocka_unit_test(what_others_free_is_purged),
        cmocka_unit_test(owners_fence_where_there_is_no_barrier),
        cmocka_unit_test(threads_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
