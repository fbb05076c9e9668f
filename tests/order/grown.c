/*
 * grown.c - blocks that grew, resized and freed by any thread in any order.
 */
#include "order.h"

#include "../unit/unit.h"

#include "sk_grown.h"

#include <stdatomic.h>

enum { SLOTS = 3, TURNS = 30, THREADS = 3 };

static _Atomic(char *) slots[SLOTS];

static void check_and_free(char *p)
{
    if (!p)
        return;
    MUST(p[1] == (char)~p[0]);
    sk_grown_free(p);
}

static void exchange(void *unused)
{
    (void)unused;
    for (int turn = 0; turn < TURNS; turn++) {
        size_t bytes = 32769 + order_random(300000);
        char *p = atomic_exchange_explicit(&slots[order_random(SLOTS)], NULL,
                                           memory_order_acquire);

        if (p && !sk_grown_resize(p, bytes)) {
            check_and_free(p);
            p = NULL;
        }
        if (!p)
            MUST(p = sk_grown_alloc(bytes));
        p[0] = (char)turn;
        p[1] = (char)~p[0];
        p[bytes - 1] = 1;
        if (order_random(20) == 0)
            sk_grown_trim();
        check_and_free(atomic_exchange_explicit(&slots[order_random(SLOTS)], p,
                                                memory_order_acq_rel));
    }
}

static void exchanging(void)
{
    int ids[THREADS];

    sk_state_open(64 << 20);
    for (int i = 0; i < THREADS; i++)
        ids[i] = order_start(exchange, NULL);
    for (int i = 0; i < THREADS; i++)
        order_join(ids[i]);
    MUST(sk_grown_is_sound() && sk_region_is_sound());
    for (int i = 0; i < SLOTS; i++)
        check_and_free(atomic_exchange(&slots[i], NULL));
    MUST(sk_grown_is_sound() && sk_region_is_sound());
}

static void without_delay(void)
{
    sk_config.purge_delay = 0;
    exchanging();
}

static void blocks_are_resized_in_any_order(void **state)
{
    (void)state;
    order_explore(exchanging, 60);
    order_explore(without_delay, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_resized_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
