/*
 * commons.c - chunks that threads share.
 */
#include "child.h"
#include "getput.h"
#include "stats.h"
#include "threads.h"

#include "sk_park_parts.h"

#include <string.h>

static pthread_barrier_t barrier;

static void *first_unit(void *arg)
{
    (void)arg;
    sk_state_attach(0);
    pthread_barrier_wait(&barrier);
    put(get(2000));
    return NULL;
}

/* Were they to make one each, all but one would lie empty among the parked
 * ones, and a thread to come would find no chunk in the one it adopts. */
static void are_first_at_the_commons(uint64_t threads)
{
    pthread_t ids[8];

    sk_state_open((uint64_t)1 << 30);
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (uint64_t i = 0; i < threads; i++)
        REQUIRE(pthread_create(&ids[i], NULL, first_unit, NULL) == 0);
    for (uint64_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    REQUIRE(sk_state_count() == threads + 1);
}

static void threads_that_are_first_at_once_make_one_commons(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        assert_in_child(are_first_at_the_commons, 8);
}

static void *get_one(void *unused)
{
    sk_state_attach(0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* the lock is held now */
    put(get(2000));
    pthread_barrier_wait(&barrier);
    return unused;
}

/* A visitor holds the parking lock, and waits until who is in a slow path has
 * left it. */
static void are_first_while_there_is_a_visitor(uint64_t unused)
{
    pthread_t id;

    (void)unused;
    alarm(20);
    sk_state_open((uint64_t)1 << 30);
    pthread_barrier_init(&barrier, NULL, 2);
    put(get(16));
    REQUIRE(pthread_create(&id, NULL, get_one, NULL) == 0);
    pthread_barrier_wait(&barrier);
    sk_lock(&sk_parking.lock);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    sk_unlock(&sk_parking.lock);
    pthread_join(id, NULL);
}

static void who_is_first_does_not_wait_for_a_visitor(void **state)
{
    (void)state;
    assert_in_child(are_first_while_there_is_a_visitor, 0);
}

/* A unit of each size, held until all threads have theirs. */
static void *a_little_of_each(void *arg)
{
    void *units[SK_SMALL_CLASSES];

    for (size_t class = SK_SMALL_GUESTS; class < SK_SMALL_CLASSES; class++)
        memset(units[class] = get(class * 16), (int)(uintptr_t)arg, class * 16);
    pthread_barrier_wait(&barrier);
    for (size_t class = SK_SMALL_GUESTS; class < SK_SMALL_CLASSES; class++) {
        assert_int_equal(((unsigned char *)units[class])[class * 16 - 1],
                         (uintptr_t)arg);
        put(units[class]);
    }
    pthread_barrier_wait(&barrier);
    sk_state_park();
    return NULL;
}

static void a_crowd_needs_no_chunk_for_each_thread_and_size(void **state)
{
    enum { CROWD = 60 };
    pthread_t ids[CROWD];
    uint64_t chunks = 0;

    (void)state;
    sk_state_trim();
    pthread_barrier_init(&barrier, NULL, CROWD + 1);
    start_threads(ids, CROWD, a_little_of_each);
    pthread_barrier_wait(&barrier);
    for (int class = SK_SMALL_GUESTS; class < SK_SMALL_CLASSES; class++)
        chunks += now()->heaps[class].chunks;
    pthread_barrier_wait(&barrier);
    join_threads(ids, CROWD);
    /* One or two of a size, not sixty; some threads found the commons held. */
    assert_in_range(chunks, 61, 61 * 10);
    sk_state_trim();
    for (int class = SK_SMALL_GUESTS; class < SK_SMALL_CLASSES; class++)
        assert_int_equal(now()->heaps[class].in_use, 0);
    assert_true(sk_region_is_sound());
}

static uint32_t commons(uint32_t from)
{
    uint32_t id = from;

    while (id <= sk_state_count() && !sk_commons_is(id))
        id++;
    return id;
}

/* Of a size that no state has used: it may have had its part of the commons. */
static void *one_unit(void *arg)
{
    void *unit = get(2000);

    *(size_t *)arg = sk_self->carved_bytes;
    put(unit);
    sk_state_park();
    return NULL;
}

/* Whoever holds the commons may be without a processor for long: the others
 * still need no chunks of their own. */
static void a_held_commons_is_not_waited_for(void **state)
{
    size_t own_bytes = 1;
    uint32_t first = commons(1);

    (void)state;
    assert_true(sk_state_count() > 16); /* the crowd's */
    sk_state_trim();
    assert_true(sk_state_seize_parked(sk_state_at(first)));
    run(one_unit, &own_bytes);
    sk_state_let_parked_go(sk_state_at(first));
    assert_int_equal(own_bytes, 0);
    assert_in_range(commons(first + 1), first + 1, sk_state_count());
}

/* What is wholly free there waits for a tick, as in the first. */
static void a_tick_looks_at_each_commons(void **state)
{
    struct sk_state *second = sk_state_at(commons(commons(1) + 1));
    struct sk_state *self = sk_self;

    (void)state;
    sk_state_enter(self);
    sk_park_cool(); /* the thread's unit goes home */
    assert_true(sk_state_seize_parked(second));
    sk_state_flush_bins(second, 0, SK_HOME);
    sk_state_let_parked_go(second);
    assert_true(second->idle_bytes > 0);
    sk_commons_tidy();
    assert_int_equal(second->idle_bytes, 0);
    sk_state_leave(self);
}

/* --- in a fork's child ----------------------------------------------------- */

enum { FRESH = 3000 }; /* bytes, of a size that nobody has used */

static _Atomic uint32_t ids[80];
static bool has_own[80];

static void *take_fresh(void *number)
{
    void *unit = get(FRESH);

    ids[*(int *)number] = sk_self->id;
    has_own[*(int *)number] = sk_self->racks[class_of(FRESH)].carving != 0;
    pthread_barrier_wait(&barrier);
    put(unit);
    return NULL;
}

/* More at a time than there are states, so that all which are adopted or made
 * are some thread's; one comes first. */
static void take_fresh_in_threads(void)
{
    pthread_t threads[80];
    int numbers[80];

    pthread_barrier_init(&barrier, NULL, 80);
    for (int i = 0; i < 80; i++) {
        numbers[i] = i;
        REQUIRE(!pthread_create(&threads[i], NULL, take_fresh, &numbers[i]));
        while (i == 0 && ids[0] == 0)
            usleep(100);
    }
    for (int i = 0; i < 80; i++)
        pthread_join(threads[i], NULL);
}

/* Nobody's by then: its holder did not come along, and its lists may be half
 * linked. */
static void has_a_new_commons_for(uint64_t is_second)
{
    uint32_t first = commons(1), second = commons(first + 1);
    uint32_t held = is_second ? second : first;

    REQUIRE(second <= sk_state_count());
    REQUIRE(sk_state_seize_parked(sk_state_at(held)));
    sk_state_after_fork();
    REQUIRE(!sk_commons_is(held));
    REQUIRE(sk_commons_is(is_second ? first : second));
    take_fresh_in_threads();
    REQUIRE(!has_own[0]);
    for (int i = 0; i < 80; i++)
        REQUIRE(ids[i] != first && ids[i] != second);
    REQUIRE(sk_state_at(held)->status == SK_BROKEN);
    sk_state_trim();
    REQUIRE(sk_region_is_sound());
}

static void a_child_leaves_a_commons_that_was_held(void **state)
{
    (void)state;
    assert_in_child(has_a_new_commons_for, 0);
    assert_in_child(has_a_new_commons_for, 1);
}

static void shares_what_there_is(uint64_t unused)
{
    uint32_t first = commons(1), second = commons(first + 1);

    (void)unused;
    sk_state_after_fork();
    REQUIRE(sk_commons_is(first) && sk_commons_is(second));
    take_fresh_in_threads();
    REQUIRE(!has_own[0]);
    for (int i = 0; i < 80; i++)
        REQUIRE(ids[i] != first && ids[i] != second);
}

static void a_child_goes_on_with_a_commons_that_nobody_held(void **state)
{
    (void)state;
    assert_in_child(shares_what_there_is, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* Before this process has a region. */
        cmocka_unit_test(threads_that_are_first_at_once_make_one_commons),
        cmocka_unit_test(who_is_first_does_not_wait_for_a_visitor),
        cmocka_unit_test_setup(a_crowd_needs_no_chunk_for_each_thread_and_size,
                               open_once),
        cmocka_unit_test(a_held_commons_is_not_waited_for),
        cmocka_unit_test(a_tick_looks_at_each_commons),
        cmocka_unit_test(a_child_leaves_a_commons_that_was_held),
        cmocka_unit_test(a_child_goes_on_with_a_commons_that_nobody_held),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
