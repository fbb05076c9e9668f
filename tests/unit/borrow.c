/*
 * borrow.c - units of the next larger classes, before memory grows.
 */
#include "unit.h"

#include "getput.h"
#include "sk_state_parts.h"
#include "threads.h"

enum { UNITS = 4096 };

static void *units[UNITS];

static const struct sk_heap *heap_at(const void *p)
{
    return sk_heap_of_slot((uint32_t)sk_region_slot(sk_region_granule(p)));
}

/* Takes units of the class alone until the next one would be a new one. */
static int exhaust(size_t bytes, void **into, int most)
{
    const struct sk_bin *bin = sk_state_bin(sk_self, sk_class_slot(bytes));
    const struct sk_rack *rack =
        &sk_self->racks[sk_class_slot(bytes) / SK_BIN_BYTES];
    int n = 0;

    do
        into[n++] = get_exact(bytes);
    while (n < most && (bin->head || rack->second || rack->partial));
    assert_true(n < most);
    return n;
}

static void put_all(int from, int to)
{
    for (int i = from; i < to; i++)
        put(units[i]);
}

static void a_class_in_want_hands_out_a_unit_of_the_next_one(void **state)
{
    void *lent = get_exact(208), *p;
    int n;

    (void)state;
    n = exhaust(192, units, UNITS);
    put(lent);
    p = get(192);
    assert_ptr_equal(p, lent);
    assert_string_equal(heap_at(p)->label, "malloc-208");
    assert_int_equal(sk_state_usable(p), 208);
    put(p);
    assert_ptr_equal(get_exact(208), lent);
    put(lent);
    put_all(0, n);
    assert_true(sk_state_is_sound(sk_self));
}

/* Not with somebody's alignment in it, nor a much larger one, nor where two
 * threads would share a cache line. */
static void what_is_not_borrowed(void **state)
{
    static const struct {
        size_t bytes, free_bytes;
        void *(*get)(size_t bytes);
        const char *label;
    } cases[] = {{320, 336, get_exact, "malloc-320"},
                 {1792, 2560, get, "malloc-1792"},
                 {48, 64, get, "malloc-48"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *lent = get_exact(cases[i].free_bytes);
        int n = exhaust(cases[i].bytes, units, UNITS);

        put(lent);
        units[n] = cases[i].get(cases[i].bytes);
        assert_string_equal(heap_at(units[n])->label, cases[i].label);
        put_all(0, n + 1);
    }
}

/* A class that is in want for longer pays with a slow path each time, so it
 * gets memory of its own after a few. */
static void a_class_has_its_share_and_earns_more(void **state)
{
    enum { LENT = 1000, HITS = 2000 };
    int borrowed = 0;

    (void)state;
    for (int i = 0; i < LENT; i++)
        units[i] = get_exact(528);
    put_all(0, LENT);
    for (int i = 0; i < LENT; i++) {
        units[i] = get(512);
        borrowed += heap_at(units[i])->unit_bytes == 528;
    }
    assert_in_range(borrowed, 1, LENT / 20);
    put_all(0, LENT);

    for (int i = 0; i < HITS; i++)
        put(get(512));
    for (int i = 0; i < LENT; i++)
        units[i] = get_exact(512);
    borrowed = exhaust(512, units + LENT, UNITS - LENT) + LENT;
    units[borrowed] = get(512);
    assert_string_equal(heap_at(units[borrowed])->label, "malloc-528");
    put_all(0, borrowed + 1);
    assert_true(sk_state_is_sound(sk_self));
}

enum { CROWD = 80, ROUNDS = 100 };

static pthread_barrier_t all_are_here, all_may_go;

static void *stand_by(void *unused)
{
    put(get(16));
    pthread_barrier_wait(&all_are_here);
    pthread_barrier_wait(&all_may_go);
    return unused;
}

/* How often a bin without units hands out the one that a bin two classes
 * further has. */
static int borrow_again_and_again(size_t bytes)
{
    int borrowed = 0;

    for (int i = 0; i < ROUNDS; i++) {
        void *lent = get_exact(bytes + 32);

        put(lent);
        units[i] = get(bytes);
        if (units[i] == lent)
            borrowed++, put(lent);
    }
    for (int i = 0; i < ROUNDS; i++)
        if (heap_at(units[i])->unit_bytes == bytes)
            put(units[i]);
    return borrowed;
}

/* Without an end, but not what has an alignment. */
static void among_very_many_threads_neighbours_are_as_one(void **state)
{
    pthread_t threads[CROWD];
    void *lent;

    (void)state;
    assert_false(sk_is_crowded());
    assert_in_range(borrow_again_and_again(640), 1, ROUNDS / 5);
    pthread_barrier_init(&all_are_here, NULL, CROWD + 1);
    pthread_barrier_init(&all_may_go, NULL, CROWD + 1);
    start_threads(threads, CROWD, stand_by);
    pthread_barrier_wait(&all_are_here);
    assert_true(sk_is_crowded());
    assert_int_equal(borrow_again_and_again(832), ROUNDS);
    lent = get_exact(912);
    put(lent);
    units[0] = get_exact(896);
    assert_string_equal(heap_at(units[0])->label, "malloc-896");
    units[1] = get(880);
    assert_string_equal(heap_at(units[1])->label, "malloc-896");
    put_all(0, 2);
    pthread_barrier_wait(&all_may_go);
    join_threads(threads, CROWD);
    assert_true(sk_state_is_sound(sk_self));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_class_in_want_hands_out_a_unit_of_the_next_one),
        cmocka_unit_test(what_is_not_borrowed),
        cmocka_unit_test(a_class_has_its_share_and_earns_more),
        /* Last: the process remains one of many threads. */
        cmocka_unit_test(among_very_many_threads_neighbours_are_as_one),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
