/*
 * depot.c - magazines between threads.
 */
#include "death.h"
#include "getput.h"
#include "stats.h"
#include "threads.h"

#include "sk_depot.h"
#include "sk_state_parts.h"

#include <string.h>

enum { CLASS = 8, BYTES = CLASS * 16 };

static const struct sk_heap *heap(void)
{
    return &sk_class_heaps[CLASS];
}

/* A second state, so that there is somebody to hand things to. */
static void *attach(void *arg)
{
    put(get(16));
    sk_state_park();
    return arg;
}

/* Units for magazines, taken before there is a depot that they could come out
 * of. */
enum { SPARES = 2000 };
static void *spares[SPARES];
static int spare;

static struct sk_magazine magazine_of(uint32_t units)
{
    struct sk_magazine magazine = {NULL, units};

    for (uint32_t i = 0; i < units; i++) {
        void *unit = spares[--spare];

        *(void **)unit = magazine.list;
        magazine.list = unit;
    }
    return magazine;
}

static uint32_t length(const struct sk_magazine *magazine)
{
    uint32_t units = 0;

    for (void *unit = magazine->list; unit; unit = *(void **)unit)
        units++;
    assert_int_equal(units, magazine->units);
    return units;
}

static void put_back(struct sk_magazine magazine)
{
    for (; magazine.list; magazine.list = *(void **)magazine.list)
        spares[spare++] = magazine.list;
}

static void empty_depot(void)
{
    struct sk_magazine magazine;

    for (uint32_t at = 0; sk_depot_reap(heap(), true, &at, &magazine);)
        put_back(magazine);
    assert_int_equal(sk_depot_units(CLASS), 0);
}

/* --- one thread is enough to see ------------------------------------------ */

static void a_process_of_one_thread_has_no_depot(void **state)
{
    struct sk_magazine magazine = magazine_of(20);

    (void)state;
    assert_int_equal(sk_state_count(), 1);
    sk_depot_put(heap(), &magazine, 1);
    assert_int_equal(length(&magazine), 20);
    put_back(magazine);
    assert_false(sk_depot_take(heap(), 20, &magazine));
    run(attach, NULL);
}

static void what_is_put_in_is_taken_out(void **state)
{
    struct sk_magazine first = magazine_of(20), second = magazine_of(30);
    void *lists[] = {first.list, second.list};

    (void)state;
    sk_depot_put(heap(), &first, 1);
    sk_depot_put(heap(), &second, 1);
    assert_null(first.list);
    assert_null(second.list);
    assert_int_equal(sk_depot_units(CLASS), 50);
    assert_true(sk_depot_take(heap(), 128, &second));
    assert_ptr_equal(second.list, lists[1]);
    assert_int_equal(length(&second), 30);
    assert_true(sk_depot_take(heap(), 128, &first));
    assert_ptr_equal(first.list, lists[0]);
    assert_int_equal(length(&first), 20);
    assert_false(sk_depot_take(heap(), 128, &first));
    put_back(second);
    first.list = lists[0];
    put_back(first);
}

static void a_part_is_cut_off_a_long_magazine(void **state)
{
    struct sk_magazine all = magazine_of(40), part;

    (void)state;
    sk_depot_put(heap(), &all, 1);
    assert_true(sk_depot_take(heap(), 4, &part));
    assert_int_equal(length(&part), 4);
    assert_int_equal(sk_depot_units(CLASS), 36);
    put_back(part);
    empty_depot();
}

static void short_lists_are_joined(void **state)
{
    struct sk_magazine short_list;

    (void)state;
    for (int i = 0; i < 30; i++) {
        short_list = magazine_of(3);
        sk_depot_put(heap(), &short_list, 1);
        assert_null(short_list.list);
    }
    assert_int_equal(sk_depot_units(CLASS), 90);
    assert_true(sk_depot_take(heap(), 128, &short_list));
    assert_int_equal(length(&short_list), 90);
    put_back(short_list);
}

static void join_a_ring(void *unit)
{
    struct sk_magazine ring = {unit, 2}, other = magazine_of(20);

    sk_depot_put(heap(), &other, 1);
    *(void **)unit = unit;
    sk_depot_put(heap(), &ring, 1);
}

/* As two frees of one unit make it. */
static void a_list_that_is_a_ring_ends_the_program(void **state)
{
    (void)state;
    dies_saying(join_a_ring, spares[0], "free(): freed twice, or near one");
}

static void a_full_depot_takes_no_more(void **state)
{
    struct sk_magazine magazine;
    uint32_t taken = 0;

    (void)state;
    for (int i = 0; i < 64; i++) {
        magazine = magazine_of(20);
        sk_depot_put(heap(), &magazine, 1);
        if (!magazine.list)
            taken++;
        else
            put_back(magazine);
    }
    assert_in_range(taken, 2, 16);
    assert_int_equal(sk_depot_units(CLASS), 20 * taken);
    empty_depot();
}

static int places_for(uint32_t part)
{
    struct sk_magazine magazine;
    int taken = 0;

    for (int i = 0; i < 64; i++) {
        magazine = magazine_of(20);
        sk_depot_put(heap(), &magazine, part);
        if (!magazine.list)
            taken++;
        else
            put_back(magazine);
    }
    empty_depot();
    return taken;
}

static void large_magazines_find_fewer_places(void **state)
{
    int all = places_for(1);

    (void)state;
    assert_in_range(places_for(2), all / 2, all / 2 + 1);
}

static void what_lies_there_twice_is_reaped(void **state)
{
    struct sk_magazine magazine = magazine_of(20);
    uint32_t at = 0;

    (void)state;
    sk_depot_put(heap(), &magazine, 1);
    assert_false(sk_depot_reap(heap(), false, &at, &magazine));
    assert_int_equal(sk_depot_units(CLASS), 20);
    /* Taken and put back, it is fresh again. */
    assert_true(sk_depot_take(heap(), 20, &magazine));
    sk_depot_put(heap(), &magazine, 1);
    at = 0;
    assert_false(sk_depot_reap(heap(), false, &at, &magazine));
    at = 0;
    assert_true(sk_depot_reap(heap(), false, &at, &magazine));
    assert_int_equal(length(&magazine), 20);
    put_back(magazine);
    assert_false(sk_depot_reap(heap(), false, &at, &magazine));
}

static void small_units_and_no_delay_have_no_depot(void **state)
{
    struct sk_magazine magazine = magazine_of(20), small = {get(16), 1};

    (void)state;
    *(void **)small.list = NULL;
    sk_depot_put(&sk_class_heaps[1], &small, 1);
    assert_non_null(small.list);
    put(small.list);
    sk_config.purge_delay = 0;
    sk_depot_put(heap(), &magazine, 1);
    sk_config.purge_delay = 500;
    assert_non_null(magazine.list);
    put_back(magazine);
}

/* --- many threads --------------------------------------------------------- */

enum { THREADS = 4, TURNS = 20000 };

static void *exchange(void *arg)
{
    for (int turn = 0; turn < TURNS; turn++) {
        struct sk_magazine magazine = {NULL, 1 + (uint32_t)turn % 40};

        if (sk_depot_take(heap(), magazine.units, &magazine)) {
            for (void *p = magazine.list; p; p = *(void **)p)
                ((char *)p)[BYTES - 1] = (char)(uintptr_t)arg;
        } else {
            for (uint32_t i = 0; i < magazine.units; i++) {
                void *unit = get(BYTES);

                *(void **)unit = magazine.list;
                magazine.list = unit;
            }
        }
        length(&magazine);
        sk_depot_put(heap(), &magazine, 1);
        put_list(magazine.list);
    }
    sk_state_park();
    return NULL;
}

static void threads_take_and_put_at_once(void **state)
{
    (void)state;
    while (spare > 0)
        put(spares[--spare]);
    run_threads(exchange, THREADS);
    sk_state_trim();
    assert_int_equal(now()->heaps[CLASS].in_use, 0);
    assert_int_equal(now()->heaps[CLASS].cached, 0);
}

static void *handed[4096];

static void *take_all(void *arg)
{
    for (int i = 0; i < 4096; i++)
        handed[i] = get(BYTES);
    sk_state_park();
    return arg;
}

static void free_all(void)
{
    for (int i = 0; i < 4096; i++)
        put(handed[i]);
}

/* What one thread frees the next one hands out: no new memory. */
static void units_go_round_between_threads(void **state)
{
    uint64_t chunks, frees;

    (void)state;
    run(take_all, NULL);
    free_all();
    chunks = now()->heaps[CLASS].chunks;
    frees = now()->heaps[CLASS].remote_frees;
    for (int i = 0; i < 20; i++) {
        run(take_all, NULL);
        free_all();
    }
    assert_true(now()->heaps[CLASS].chunks <= chunks + 2);
    assert_true(now()->heaps[CLASS].remote_frees > frees);
}

static pthread_barrier_t barrier;

enum { BATCH = 1000, ROUNDS = 200 };

static uint64_t moves(void)
{
    uint64_t sum = 0;

    for (uint32_t id = 1; id <= sk_state_count(); id++)
        sum += sk_state_at(id)->magazine_moves;
    return sum;
}

static void *take_and_free_batches(void *arg)
{
    void *units[BATCH];

    pthread_barrier_wait(&barrier);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BATCH; i++)
            memset(units[i] = get(*(size_t *)arg), round, *(size_t *)arg);
        for (int i = 0; i < BATCH; i++)
            put(units[i]);
    }
    sk_state_park();
    return NULL;
}

/* Or each would write to what lies in the other one's cache. */
static void threads_that_need_their_units_again_do_not_swap_them(void **state)
{
    size_t sizes[] = {64, 512};
    pthread_t ids[2];

    (void)state;
    pthread_barrier_init(&barrier, NULL, 2);
    for (int size = 0; size < 2; size++) {
        uint64_t before;

        sk_state_trim(); /* no unit of another thread's to begin with */
        before = moves();
        for (int i = 0; i < 2; i++)
            pthread_create(&ids[i], NULL, take_and_free_batches, &sizes[size]);
        join_threads(ids, 2);
        /* Of some fifteen magazines that each round fills in each thread. */
        assert_in_range(moves() - before, 0, ROUNDS * 12);
    }
    pthread_barrier_destroy(&barrier);
}

/* What a thread's bin holds when it has freed all. */
struct look {
    bool is_allocating; /* one for each eight that it frees */
    uint32_t stacked, magazine_units, limit;
    bool has_second;
};

static void *free_all_and_look(void *arg)
{
    struct look *look = arg;
    const struct sk_rack *rack;

    for (int i = 0; i < 4096; i++) {
        put(handed[i]);
        if (look->is_allocating && i % 8 == 0)
            put(get(BYTES));
    }
    rack = &sk_self->racks[CLASS];
    look->stacked = sk_bin_stacked_units(sk_self, CLASS);
    look->magazine_units = rack->magazine_units;
    look->limit = rack->limit;
    look->has_second = rack->second != NULL;
    assert_true(sk_state_is_sound(sk_self));
    sk_state_park();
    return NULL;
}

static void hand_all_to(struct look *look)
{
    for (int i = 0; i < 4096; i++)
        handed[i] = get(BYTES);
    run(free_all_and_look, look);
    assert_int_equal(now()->heaps[CLASS].in_use, 0);
    assert_in_range(look->magazine_units, 1, heap()->room_units);
}

static void who_only_frees_has_one_magazine_of_twice_the_size(void **state)
{
    struct look look = {.is_allocating = false};

    (void)state;
    hand_all_to(&look);
    assert_int_equal(look.stacked, 0);
    assert_false(look.has_second);
    assert_int_equal(look.limit, 2 * look.magazine_units);
}

static void who_allocates_too_has_two(void **state)
{
    struct look look = {.is_allocating = true};

    (void)state;
    hand_all_to(&look);
    assert_true(look.has_second);
    assert_int_equal(look.limit, look.magazine_units);
}

static void what_a_thread_keeps_is_counted_and_goes_home(void **state)
{
    (void)state;
    for (int i = 0; i < 4096; i++)
        handed[i] = get(BYTES);
    free_all();
    assert_true(sk_bin_stacked_units(sk_self, CLASS) > 0);
    assert_true((size_t)sk_bin_stacked_units(sk_self, CLASS) * BYTES <=
                sk_cache_most(sk_self) / 8);
    assert_int_equal(now()->heaps[CLASS].in_use, 0);
    sk_state_trim();
    assert_int_equal(sk_bin_stacked_units(sk_self, CLASS), 0);
    assert_int_equal(now()->heaps[CLASS].cached, 0);
}

static int open_heaps(void **state)
{
    int opened = open_once(state);

    while (spare < SPARES)
        spares[spare++] = get(BYTES);
    return opened;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_of_one_thread_has_no_depot),
        cmocka_unit_test(what_is_put_in_is_taken_out),
        cmocka_unit_test(a_part_is_cut_off_a_long_magazine),
        cmocka_unit_test(short_lists_are_joined),
        cmocka_unit_test(a_list_that_is_a_ring_ends_the_program),
        cmocka_unit_test(a_full_depot_takes_no_more),
        cmocka_unit_test(large_magazines_find_fewer_places),
        cmocka_unit_test(what_lies_there_twice_is_reaped),
        cmocka_unit_test(small_units_and_no_delay_have_no_depot),
        cmocka_unit_test(threads_take_and_put_at_once),
        cmocka_unit_test(units_go_round_between_threads),
        cmocka_unit_test(threads_that_need_their_units_again_do_not_swap_them),
        cmocka_unit_test(who_only_frees_has_one_magazine_of_twice_the_size),
        cmocka_unit_test(who_allocates_too_has_two),
        cmocka_unit_test(what_a_thread_keeps_is_counted_and_goes_home),
    };

    return cmocka_run_group_tests(tests, open_heaps, NULL);
}
