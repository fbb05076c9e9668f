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

enum { CROWD = 80, NO_CROWD = 40, ROUNDS = 100 };

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

static void with_others(int others, void (*body)(void))
{
    pthread_t threads[CROWD];

    pthread_barrier_init(&all_are_here, NULL, (unsigned)others + 1);
    pthread_barrier_init(&all_may_go, NULL, (unsigned)others + 1);
    start_threads(threads, others, stand_by);
    pthread_barrier_wait(&all_are_here);
    body();
    pthread_barrier_wait(&all_may_go);
    join_threads(threads, others);
    assert_true(sk_state_is_sound(sk_self));
}

/* All units that a class has at hand. */
static void use_up(size_t bytes)
{
    int n = exhaust(bytes, units + ROUNDS, UNITS - ROUNDS);

    assert_in_range(n, 1, 64);
}

static void among_some_threads_a_class_has_its_share(void)
{
    assert_false(sk_is_crowded());
    use_up(640);
    assert_in_range(borrow_again_and_again(640), 1, ROUNDS / 5);
}

static void among_very_many_it_borrows_on(void)
{
    int borrowed = 0;

    assert_true(sk_is_crowded());
    use_up(832); /* the first time it gets its own */
    assert_int_equal(borrow_again_and_again(832), ROUNDS);
    /* But what is used all the time gets units of its own. */
    for (int i = 0; i < 5 && borrowed == i * ROUNDS; i++)
        borrowed += borrow_again_and_again(832);
    borrowed -= UINT8_MAX - ROUNDS;
    assert_in_range(borrowed, 0, ROUNDS / 5);
}

/* What is larger, what has an alignment in it, and where there is a second
 * magazine. */
static void among_very_many_it_does_not_borrow_everything(void)
{
    void *lent = get_exact(912), *own[8];

    use_up(880);
    put(lent);
    units[0] = get_exact(880);
    assert_string_equal(heap_at(units[0])->label, "malloc-880");
    use_up(400);
    put(get_exact(512));
    units[1] = get(400); /* 512 is more than a quarter larger */
    assert_string_equal(heap_at(units[1])->label, "malloc-400");
    put_all(0, 2);

    for (int i = 0; i < 8; i++)
        own[i] = get_exact(976);
    for (int i = 0; i < 8; i++)
        put(own[i]);
    assert_non_null(sk_self->racks[sk_class_slot(976) / SK_BIN_BYTES].second);
    lent = get_exact(992);
    put(lent);
    for (int i = 0;
         sk_self->racks[sk_class_slot(976) / SK_BIN_BYTES].second; i++) {
        own[i] = get(976);
        assert_string_equal(heap_at(own[i])->label, "malloc-976");
    }
}

static void neighbours_are_as_one_where_it_is_crowded(void **state)
{
    (void)state;
    with_others(NO_CROWD, among_some_threads_a_class_has_its_share);
    with_others(CROWD, among_very_many_it_borrows_on);
    with_others(CROWD, among_very_many_it_does_not_borrow_everything);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_class_in_want_hands_out_a_unit_of_the_next_one),
        cmocka_unit_test(what_is_not_borrowed),
        cmocka_unit_test(a_class_has_its_share_and_earns_more),
        /* Last: the process remains one of many threads. */
        cmocka_unit_test(neighbours_are_as_one_where_it_is_crowded),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
