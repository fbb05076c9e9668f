/*
 * heaps.c - heaps of the library: counts, maxima, trims and destructors, in any
 * order.
 */
#include "order.h"

#include "../unit/unit.h"

#include "sk_heap.h"
#include "sk_state.h"

#include <errno.h>
#include <stdatomic.h>

enum { THREADS = 3, SLOTS = 4, TURNS = 50, MAXIMUM = 5 };

struct unit {
    _Atomic int holders;
    int written;
};

static sk_heap *heap;
static _Atomic(struct unit *) slots[SLOTS];
static _Atomic int live, constructed, destructed;

/* Who held a unit has seen what its maker wrote; the last one frees it. */
static void let_go(struct unit *unit)
{
    if (!unit)
        return;
    MUST(unit->written == 42);
    MUST(atomic_fetch_sub_explicit(&unit->holders, 1, memory_order_relaxed) >
         0);
    sk_heap_unit_unref(unit);
}

static struct unit *made(void)
{
    struct unit *unit = sk_heap_unit_allocate(heap);

    if (!unit)
        return NULL;
    MUST(atomic_load_explicit(&unit->holders, memory_order_relaxed) == 0);
    unit->written = 42;
    atomic_store_explicit(&unit->holders, 1, memory_order_relaxed);
    return unit;
}

static void share(void *unused)
{
    struct sk_heap_info info;

    (void)unused;
    for (int turn = 0; turn < TURNS; turn++) {
        struct unit *unit = made();

        MUST(unit);
        if (order_random(2)) {
            atomic_fetch_add_explicit(&unit->holders, 1, memory_order_relaxed);
            sk_heap_unit_ref(unit);
            let_go(atomic_exchange_explicit(&slots[order_random(SLOTS)], unit,
                                            memory_order_acq_rel));
        }
        let_go(unit);
        switch (order_random(30)) {
        case 0:
            sk_heap_trim(heap);
            break;
        case 1:
            MUST(sk_heap_read(heap, &info) == 0);
            break;
        }
    }
}

static void run(void (*body)(void *))
{
    int ids[THREADS];

    for (int i = 0; i < THREADS; i++)
        ids[i] = order_start(body, NULL);
    for (int i = 0; i < THREADS; i++)
        order_join(ids[i]);
    for (int i = 0; i < SLOTS; i++)
        let_go(atomic_exchange(&slots[i], NULL));
}

static void construct(void *unit, void *unused)
{
    (void)unused;
    atomic_init(&((struct unit *)unit)->holders, 0);
    atomic_fetch_add(&constructed, 1);
}

static void destruct(void *unit, void *unused)
{
    (void)unused;
    MUST(atomic_load(&((struct unit *)unit)->holders) == 0);
    atomic_fetch_add(&destructed, 1);
}

static sk_heap *heap_of(size_t bytes, unsigned options, bool has_destructor)
{
    struct sk_heap_attributes how = {
        .label = "heap",
        .unit_size = bytes,
        .units_per_chunk = 4,
        .maximum_units = MAXIMUM,
        .options = options,
        .construct = construct,
        .destruct = has_destructor ? destruct : NULL,
    };
    sk_heap *made_heap = sk_heap_new_with(&how);

    MUST(made_heap);
    return made_heap;
}

static void end_heap(void)
{
    struct sk_heap_info info;

    MUST(sk_heap_read(heap, &info) == 0);
    MUST(info.live_units == 0);
    MUST(sk_heap_destroy(heap, 0) == 0);
}

static void let_go_once(void *unit)
{
    let_go(unit);
}

/* Two holders: who finds itself alone frees what the other one has read. */
static void letting_go(void)
{
    struct unit *unit;
    int other;

    heap = sk_heap_new("two", sizeof *unit, 4, 0,
                       SK_HEAP_UNLIMITED | SK_HEAP_ZERO);
    unit = made();
    atomic_store_explicit(&unit->holders, 2, memory_order_relaxed);
    sk_heap_unit_ref(unit);
    other = order_start(let_go_once, unit);
    let_go(unit);
    unit = made(); /* the same one again, maybe */
    order_join(other);
    let_go(unit);
    end_heap();
}

static void sharing(void)
{
    heap = heap_of(64, SK_HEAP_UNLIMITED, true);
    run(share);
    end_heap();
    MUST(atomic_load(&constructed) == atomic_load(&destructed));
}

/* Large units, few of which make a chunk, so that chunks come and go. */
static void shrinking(void)
{
    heap = heap_of(40000, SK_HEAP_UNLIMITED | SK_HEAP_SHRINK, false);
    run(share);
    end_heap();
}

/* Never more than there may be; a refusal, only while that many were live at
 * some time. */
static void take_bounded(void *unused)
{
    (void)unused;
    for (int turn = 0; turn < TURNS; turn++) {
        struct unit *unit = made(), *other;

        if (unit) {
            MUST(atomic_fetch_add(&live, 1) < MAXIMUM);
            other = atomic_exchange_explicit(&slots[order_random(SLOTS)], unit,
                                             memory_order_acq_rel);
        } else {
            MUST(errno == ENOMEM);
            other = atomic_exchange_explicit(&slots[order_random(SLOTS)], NULL,
                                             memory_order_acquire);
        }
        if (order_random(20) == 0)
            sk_heap_trim(heap);
        if (other) {
            atomic_fetch_sub(&live, 1);
            let_go(other);
        }
    }
}

static void bounding(void)
{
    struct unit *units[MAXIMUM];

    heap = heap_of(64, 0, false);
    run(take_bounded);
    for (int i = 0; i < MAXIMUM; i++)
        MUST(units[i] = made());
    MUST(!made());
    for (int i = 0; i < MAXIMUM; i++)
        let_go(units[i]);
    end_heap();
}

/* The sum of units that two threads want is never more than the maximum: none
 * is refused, whatever the others hold in reserve. */
static void take_fair_share(void *unused)
{
    (void)unused;
    for (int turn = 0; turn < TURNS; turn++) {
        struct unit *unit = made();

        MUST(unit);
        let_go(unit);
    }
}

static void sharing_fairly(void)
{
    heap = sk_heap_new("fair", sizeof(struct unit), 2, THREADS, SK_HEAP_ZERO);
    MUST(heap);
    run(take_fair_share);
    end_heap();
}

/* Heaps come and go beside each other. */
static void make_and_end(void *unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++) {
        sk_heap *own = sk_heap_new("own", 100, 4, 0, SK_HEAP_UNLIMITED);
        void *unit = sk_heap_unit_allocate(own);

        MUST(unit);
        MUST(sk_heap_destroy(own, 0) == 1);
        sk_heap_unit_unref(unit);
        MUST(sk_heap_destroy(own, 0) == 0);
    }
}

static void making(void)
{
    run(make_and_end);
}

static void unref_list(void *list)
{
    for (void **unit = list, **next; unit; unit = next) {
        next = *unit;
        sk_heap_unit_unref(unit);
    }
}

/* A heap is not destroyed while a unit is out, whatever others send home. */
static void refusing(void)
{
    void **lists[THREADS] = {NULL}, **unit, *kept;
    int ids[THREADS];

    heap = sk_heap_new("kept", 1000, 16, 0, SK_HEAP_UNLIMITED);
    MUST(kept = sk_heap_unit_allocate(heap));
    for (int i = 0; i < THREADS * 40; i++) {
        MUST(unit = sk_heap_unit_allocate(heap));
        *unit = (void *)lists[i % THREADS];
        lists[i % THREADS] = unit;
    }
    for (int i = 0; i < THREADS; i++)
        ids[i] = order_start(unref_list, lists[i]);
    for (int i = 0; i < 10; i++)
        MUST(sk_heap_destroy(heap, 0) > 0);
    for (int i = 0; i < THREADS; i++)
        order_join(ids[i]);
    MUST(sk_heap_destroy(heap, 0) == 1);
    sk_heap_unit_unref(kept);
    MUST(sk_heap_destroy(heap, 0) == 0);
}

static _Atomic int done;

static void unref_and_end(void *list)
{
    unref_list(list);
    atomic_fetch_add(&done, 1);
}

/* A heap goes while threads that are done with it give its chunks up. */
static void leaving(void)
{
    void **lists[THREADS] = {NULL}, **unit;
    int ids[THREADS];

    heap = sk_heap_new("left", 1000, 4, 0, SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);
    for (int i = 0; i < THREADS * 10; i++) {
        MUST(unit = sk_heap_unit_allocate(heap));
        *unit = (void *)lists[i % THREADS];
        lists[i % THREADS] = unit;
    }
    for (int i = 0; i < THREADS; i++)
        ids[i] = order_start(unref_and_end, lists[i]);
    while (atomic_load(&done) < THREADS)
        order_wait();
    MUST(sk_heap_destroy(heap, 0) == 0);
    for (int i = 0; i < THREADS; i++)
        order_join(ids[i]);
    MUST(atomic_load(&sk_self->mail) == 0);
    MUST(sk_state_is_sound(sk_self));
}

/* By a thread beyond its end, the last that has a unit. */
static void unref_late(void *unit)
{
    MUST(sk_state_attach(SK_CLASS_SLOT(1)));
    sk_state_park();
    sk_heap_unit_unref(unit);
}

static void ending(unsigned options)
{
    sk_heap *next;
    void *unit;
    int id;

    heap = sk_heap_new("late", 1000, 16, 1, options);
    MUST(unit = sk_heap_unit_allocate(heap));
    id = order_start(unref_late, unit);
    while (sk_heap_destroy(heap, 0) > 0)
        order_wait();
    /* In its place. */
    MUST(next = sk_heap_new("next", 1000, 16, 1, options));
    MUST(unit = sk_heap_unit_allocate(next));
    order_join(id);
    MUST(options == SK_HEAP_UNLIMITED || !sk_heap_unit_allocate(next));
    MUST(atomic_load(&sk_self->mail) == 0);
    MUST(sk_state_is_sound(sk_self));
    MUST(sk_heap_destroy(next, 1) == 0);
}

static void ending_unlimited(void)
{
    ending(SK_HEAP_UNLIMITED);
}

static void ending_bounded(void)
{
    ending(0);
}

#define TEST(name, scene)                                                      \
    static void name(void **state)                                             \
    {                                                                          \
        (void)state;                                                           \
        order_explore(scene, 60);                                              \
    }

TEST(shared_units_are_freed_once, sharing)
TEST(the_last_holder_frees_after_the_others, letting_go)
TEST(chunks_come_and_go, shrinking)
TEST(a_maximum_is_exact_in_any_order, bounding)
TEST(nobody_is_refused_for_what_others_keep, sharing_fairly)
TEST(heaps_come_and_go, making)
TEST(a_heap_stays_while_a_unit_is_out, refusing)
TEST(a_heap_goes_while_threads_leave_it, leaving)
TEST(a_heap_goes_after_a_thread_beyond_its_end, ending_unlimited)
TEST(a_maximum_ends_with_its_heap, ending_bounded)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_units_are_freed_once),
        cmocka_unit_test(the_last_holder_frees_after_the_others),
        cmocka_unit_test(chunks_come_and_go),
        cmocka_unit_test(a_maximum_is_exact_in_any_order),
        cmocka_unit_test(nobody_is_refused_for_what_others_keep),
        cmocka_unit_test(heaps_come_and_go),
        cmocka_unit_test(a_heap_stays_while_a_unit_is_out),
        cmocka_unit_test(a_heap_goes_while_threads_leave_it),
        cmocka_unit_test(a_heap_goes_after_a_thread_beyond_its_end),
        cmocka_unit_test(a_maximum_ends_with_its_heap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
