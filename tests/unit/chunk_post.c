/*
 * chunk_post.c - a chunk's post from many threads.
 */
#include "chunks.h"
#include "threads.h"

#include <sched.h>
#include <string.h>

enum { SENDERS = 3, ROUNDS = 8000 };

/* Units on their way from the owner to the senders. */
static struct {
    pthread_mutex_t mutex;
    void *list;
    bool is_over;
} belt = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct sk_chunk *shared;
static _Atomic uint32_t seals, was_first;

/* A handful at a time, so that the senders meet at the post, not here. */
static void *take_from_belt(bool *is_over)
{
    void *list, *last;

    pthread_mutex_lock(&belt.mutex);
    list = last = belt.list;
    for (int i = 1; last && *(void **)last && i < 32; i++)
        last = *(void **)last;
    if (last) {
        belt.list = *(void **)last;
        *(void **)last = NULL;
    }
    *is_over = belt.is_over && !list;
    pthread_mutex_unlock(&belt.mutex);
    return list;
}

/* Writes all over it first. */
static void send_unit(void *unit)
{
    bool is_free;

    memset(unit, 0xee, shared->heap->unit_bytes);
    if (sk_chunk_post(shared, unit, unit, 1, true, &is_free) == 0)
        was_first++;
    if (is_free) {
        seals++;
        sk_chunk_purge_sealed(shared->heap, shared);
    }
}

static void *send_units(void *unused)
{
    bool is_over = false;

    while (!is_over) {
        void *list = take_from_belt(&is_over);

        if (!list)
            sched_yield();
        while (list) {
            void *next = *(void **)list;

            send_unit(list);
            list = next;
        }
    }
    return unused;
}

static void *last_of(void *list)
{
    while (*(void **)list)
        list = *(void **)list;
    return list;
}

static void put_on_belt(void *list)
{
    pthread_mutex_lock(&belt.mutex);
    *(void **)last_of(list) = belt.list;
    belt.list = list;
    pthread_mutex_unlock(&belt.mutex);
}

/* The owner keeps one unit back until the end, so that the seal comes then
 * and only then. */
static void run_owner(void *kept)
{
    uint32_t collected = 0;

    for (int round = 0; round < ROUNDS;) {
        uint32_t units;

        assert_int_equal(sk_chunk_collect(shared), 0);
        assert_int_equal(seals, 0);
        units = sk_chunk_at_hand(shared);
        if (units == 0) {
            sched_yield();
            continue;
        }
        assert_true(sk_chunk_take_out(shared, units));
        collected += units;
        put_on_belt(sk_chunk_take(shared, units));
        round++;
    }
    assert_true(collected >= ROUNDS);
    put_on_belt(kept);
}

static void the_post_loses_no_unit_and_seals_once(void **state)
{
    const struct sk_heap *heap = &sk_class_heaps[8];
    pthread_t senders[SENDERS];
    void *list, *kept;

    (void)state;
    shared = new_chunk(heap);
    carve(shared, 1, &kept);
    carve(shared, 200, &list);
    start_threads(senders, SENDERS, send_units);
    put_on_belt(list);
    run_owner(kept);
    pthread_mutex_lock(&belt.mutex);
    belt.is_over = true;
    pthread_mutex_unlock(&belt.mutex);
    join_threads(senders, SENDERS);
    assert_int_equal(seals, 1);
    assert_int_equal(out_of(shared), 0);
    assert_int_equal(sk_chunk_collect(shared), SK_POST_PURGED);
    assert_true(was_first > 0);
    sk_chunk_give(shared, true);
}

/* Each sender posts units of its own, one by one and as fast as it can. */
static pthread_barrier_t start_line;
static void *share[SENDERS];

static void *post_share(void *into)
{
    for (int round = 0; round < ROUNDS / 8; round++) {
        void *list;
        bool is_free;

        pthread_barrier_wait(&start_line);
        list = *(void **)into;
        while (list) {
            void *next = *(void **)list;

            sk_chunk_post(shared, list, list, 1, false, &is_free);
            list = next;
        }
        pthread_barrier_wait(&start_line);
    }
    return NULL;
}

static void deal(void *list)
{
    for (int i = 0; i < SENDERS; i++)
        share[i] = NULL;
    for (int i = 0; list; i++) {
        void *next = *(void **)list;

        *(void **)list = share[i % SENDERS];
        share[i % SENDERS] = list;
        list = next;
    }
}

/* Takes all units out again, as one list. */
static void *take_all(void)
{
    uint32_t units;

    sk_chunk_merge_home(shared);
    units = sk_chunk_at_hand(shared);
    assert_int_equal(units, shared->carved_units);
    assert_true(sk_chunk_take_out(shared, units));
    return sk_chunk_take(shared, units);
}

static void posts_that_meet_are_all_kept(void **state)
{
    pthread_t senders[SENDERS];
    void *list;

    (void)state;
    shared = new_chunk(&sk_class_heaps[2]);
    carve(shared, 2000, &list);
    pthread_barrier_init(&start_line, NULL, SENDERS + 1);
    for (int i = 0; i < SENDERS; i++)
        pthread_create(&senders[i], NULL, post_share, &share[i]);
    for (int round = 0; round < ROUNDS / 8; round++) {
        deal(list);
        pthread_barrier_wait(&start_line);
        for (int i = 0; i < 200; i++)
            sk_chunk_collect(shared);
        pthread_barrier_wait(&start_line);
        sk_chunk_collect(shared);
        assert_true(sk_chunk_is_free(shared));
        assert_true(sk_chunk_is_sound(shared));
        list = take_all();
    }
    join_threads(senders, SENDERS);
    give_chunk(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_post_loses_no_unit_and_seals_once),
        cmocka_unit_test(posts_that_meet_are_all_kept),
    };

    return cmocka_run_group_tests(tests, open_region, NULL);
}
