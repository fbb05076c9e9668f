/*
 * heap_destructor.c - what a destructor may ask of the library, and what other
 * threads see of its heap meanwhile.
 */
#include "child.h"
#include "getput.h"
#include "heaps.h"
#include "threads.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

static sk_heap *other; /* beyond the bins */
static int called;

static int never(sk_heap *heap, void *context)
{
    (void)heap, (void)context;
    _exit(9);
}

/* The caller may hold the lock of the unit's heap, and no other lock comes
 * after that one. */
static void ask_and_meddle(void *unit, void *context)
{
    struct sk_heap_info info;

    (void)unit;
    REQUIRE(sk_heap_read(*(sk_heap **)context, &info) == 0);
    REQUIRE(info.unit_size == sk_heap_of_unit(unit)->library->unit_size);
    REQUIRE(sk_heap_read(other, &info) == 0 && info.live_units == 1);
    for (int turn = 0; turn < 2; turn++) {
        errno = 0;
        REQUIRE(!sk_heap_new("meddler", 8, 8, 8, 0) && errno == EBUSY);
        errno = 0;
        REQUIRE(sk_heap_each(never, NULL) == -1 && errno == EBUSY);
        errno = 0;
        REQUIRE(sk_heap_destroy(other, 1) == -1 && errno == EBUSY);
        REQUIRE(sk_heap_report(NULL, -1, SK_HEAP_TEXT) == -1);
    }
    called++;
}

static void asks(uint64_t unit_bytes)
{
    static sk_heap *heap;
    struct sk_heap_attributes how = {.label = "asking",
                                     .unit_size = unit_bytes,
                                     .units_per_chunk = 4,
                                     .options = SK_HEAP_UNLIMITED,
                                     .destruct = ask_and_meddle,
                                     .context = &heap};
    void *units[80];

    REQUIRE((other = sk_heap_new("other", 50000, 4, 4, 0)) != NULL);
    REQUIRE(sk_heap_unit_allocate(other));
    REQUIRE((heap = sk_heap_new_with(&how)) != NULL);
    for (int i = 0; i < 80; i++)
        REQUIRE((units[i] = sk_heap_unit_allocate(heap)) != NULL);
    for (int i = 0; i < 80; i++)
        sk_heap_unit_unref(units[i]);
    sk_heap_trim(heap);
    REQUIRE(called > 0);
    REQUIRE(sk_heap_unit_allocate(heap));
    called = 0;
    REQUIRE(sk_heap_destroy(heap, 1) == 0 && called > 0);
    REQUIRE(sk_heap_new("later", 8, 8, 8, 0));
}

static void a_destructor_may_ask_but_not_meddle(void **state)
{
    (void)state;
    assert_in_child(asks, 40);
    assert_in_child(asks, 70000);
}

/* --- another thread, meanwhile --------------------------------------------- */

static int note_label(sk_heap *heap, void *context)
{
    struct sk_heap_info info;

    REQUIRE(sk_heap_read(heap, &info) == 0);
    *(int *)context += strcmp(info.label, "other") == 0;
    REQUIRE(strcmp(info.label, "ending") != 0);
    return 0;
}

static void *look_at_all(void *unused)
{
    int others = 0;

    REQUIRE(sk_heap_each(note_label, &others) == 0 && others == 1);
    called++;
    return unused;
}

static void have_all_looked_at(void *unit, void *unused)
{
    (void)unit;
    run(look_at_all, unused);
}

static void ends(uint64_t unit_bytes)
{
    struct sk_heap_attributes how = {.label = "ending",
                                     .unit_size = unit_bytes,
                                     .units_per_chunk = 4,
                                     .options = SK_HEAP_UNLIMITED,
                                     .destruct = have_all_looked_at};
    sk_heap *heap;

    other = plain("other", 16);
    REQUIRE((heap = sk_heap_new_with(&how)) != NULL);
    REQUIRE(sk_heap_unit_allocate(heap));
    REQUIRE(sk_heap_destroy(heap, 1) == 0 && called > 0);
}

static void a_heap_that_is_being_destroyed_is_not_visited(void **state)
{
    (void)state;
    assert_in_child(ends, 40);
    assert_in_child(ends, 70000);
}

/* --- a lock that somebody holds over malloc -------------------------------- */

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int is_held, is_wanted;

static void allocate_a_while(void)
{
    void *list = NULL;

    for (int i = 0; i < 200; i++) {
        void **unit = get(3000);

        *unit = list;
        list = unit;
    }
    put_list(list);
}

/* In slow paths before and after the destructor wants the lock. */
static void *hold_over_malloc(void *unused)
{
    pthread_mutex_lock(&held);
    atomic_store(&is_held, 1);
    while (!atomic_load(&is_wanted))
        allocate_a_while();
    for (int i = 0; i < 5; i++)
        allocate_a_while();
    pthread_mutex_unlock(&held);
    sk_state_park();
    return unused;
}

static void want_lock(void *unit, void *unused)
{
    (void)unit, (void)unused;
    atomic_store(&is_wanted, 1);
    pthread_mutex_lock(&held);
    called++;
    pthread_mutex_unlock(&held);
}

static void trims(uint64_t unit_bytes)
{
    struct sk_heap_attributes how = {.label = "locking",
                                     .unit_size = unit_bytes,
                                     .units_per_chunk = 4,
                                     .options = SK_HEAP_UNLIMITED,
                                     .destruct = want_lock};
    sk_heap *heap = sk_heap_new_with(&how);
    pthread_t holder;

    alarm(60);
    REQUIRE(heap);
    use_and_drop(heap, 10);
    REQUIRE(pthread_create(&holder, NULL, hold_over_malloc, NULL) == 0);
    while (!atomic_load(&is_held))
        sched_yield();
    sk_heap_trim(heap);
    REQUIRE(called == 10);
    REQUIRE(pthread_join(holder, NULL) == 0);
    REQUIRE(sk_heap_destroy(heap, 0) == 0);
    REQUIRE(sk_region_is_sound());
}

static void a_destructor_may_want_a_lock_that_is_held_over_malloc(void **state)
{
    (void)state;
    assert_in_child(trims, 40);
    assert_in_child(trims, 70000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_destructor_may_ask_but_not_meddle),
        cmocka_unit_test(a_heap_that_is_being_destroyed_is_not_visited),
        cmocka_unit_test(a_destructor_may_want_a_lock_that_is_held_over_malloc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
