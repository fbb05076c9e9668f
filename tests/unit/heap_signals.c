/*
 * heap_signals.c - a handler that lets go of a unit, at each instruction of
 * what it interrupts.
 */
#define _GNU_SOURCE
#include "getput.h"
#include "heaps.h"
#include "threads.h"
#include "trap.h"

enum { MAXIMUM = 20 };

#ifdef HAS_TRAP

static sk_heap *heap;
static void *volatile given;
static volatile long steps, wanted;

static void on_step(int number, siginfo_t *info, void *context)
{
    void *unit = given;

    (void)number, (void)info;
    if (steps++ != wanted)
        return;
    *flags_of(context) &= ~TRAP_FLAG;
    given = NULL;
    if (unit)
        sk_heap_unit_unref(unit);
    else if (sk_heap_unit_allocate(heap))
        abort(); /* all are out */
}

/* A bin with some units and some room. */
static void *prepare(void)
{
    void *units[8];

    for (int i = 0; i < 8; i++)
        units[i] = sk_heap_unit_allocate(heap);
    given = sk_heap_unit_allocate(heap);
    for (int i = 0; i < 7; i++)
        sk_heap_unit_unref(units[i]);
    return units[7];
}

static void *allocate(void *one)
{
    send_self(SIGUSR1);
    void *unit = sk_heap_unit_allocate(heap);
    send_self(SIGUSR2);
    sk_heap_unit_unref(one);
    return unit;
}

static void *unref(void *one)
{
    send_self(SIGUSR1);
    sk_heap_unit_unref(one);
    send_self(SIGUSR2);
    return NULL;
}

/* The handler lets go of the same unit: who is the last frees it. */
static void *unref_shared(void *one)
{
    sk_heap_unit_unref(given);
    given = sk_heap_unit_ref(one);
    return unref(one);
}

/* Nothing is lost, and nothing handed out twice. */
static bool interrupt(void *(*call)(void *), long boundary)
{
    void *last;

    heap = bounded(MAXIMUM);
    last = prepare();
    steps = 0;
    wanted = boundary;
    last = call(last);
    wanted = -1;
    if (last)
        sk_heap_unit_unref(last);
    if (given)
        sk_heap_unit_unref(given);
    assert_int_equal(info_of(heap).live_units, 0);
    take_exactly(heap, MAXIMUM);
    return steps > boundary;
}

static void at_each_instruction(void *(*call)(void *))
{
    long boundary = 0;

    trap(on_step);
    while (interrupt(call, boundary))
        boundary++;
    assert_in_range(boundary, 50, 5000);
}

/* All are out, so the call collects what others' bins may hold, and is refused;
 * and so is the handler, whatever it interrupts. */
static bool interrupt_refusal(long boundary)
{
    void *units[MAXIMUM], *unit;

    given = NULL;
    heap = bounded(MAXIMUM);
    for (int i = 0; i < MAXIMUM; i++)
        assert_non_null(units[i] = sk_heap_unit_allocate(heap));
    steps = 0;
    wanted = boundary;
    send_self(SIGUSR1);
    unit = sk_heap_unit_allocate(heap);
    send_self(SIGUSR2);
    wanted = -1;
    assert_null(unit);
    assert_null(sk_heap_unit_allocate(heap));
    for (int i = 0; i < MAXIMUM; i++)
        sk_heap_unit_unref(units[i]);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
    return steps > boundary;
}

static void at_each_of_a_refusal(void **state)
{
    long boundary = 0;

    (void)state;
    trap(on_step);
    alarm(60);
    while (interrupt_refusal(boundary))
        boundary++;
    alarm(0);
    assert_in_range(boundary, 50, 5000);
}

static int live_states(void)
{
    int live = 0;

    for (uint32_t id = 1; id <= sk_state_count(); id++)
        live += atomic_load(&sk_state_at(id)->status) == SK_LIVE;
    return live;
}

static sk_heap *locked;

/* In a thread without a state: the handler's unref attaches one. */
static void *allocate_locked(void *arg)
{
    void *unit;

    (void)arg;
    send_self(SIGUSR1);
    unit = sk_heap_unit_allocate(locked);
    send_self(SIGUSR2);
    sk_heap_unit_unref(unit);
    return NULL;
}

static void *trim_locked(void *arg)
{
    (void)arg;
    send_self(SIGUSR1);
    sk_state_trim();
    send_self(SIGUSR2);
    return NULL;
}

/* Until a call is over before its boundary. */
static void leaves_no_state(void *(*call)(void *))
{
    int live = live_states();
    long boundary = 0;

    do {
        given = sk_heap_unit_allocate(heap);
        steps = 0;
        wanted = boundary++;
        run(call, NULL);
        assert_int_equal(live_states(), live);
    } while (!given && boundary < 300);
    wanted = -1;
    if (given)
        sk_heap_unit_unref(given);
    assert_true(boundary > 20);
}

static void a_handler_that_attaches_leaves_no_state_behind(void **state)
{
    (void)state;
    trap(on_step);
    heap = bounded(MAXIMUM);
    locked = plain("locked", 60000);
    leaves_no_state(allocate_locked);
    leaves_no_state(trim_locked);
    assert_int_equal(sk_heap_destroy(locked, 0), 0);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

static void at_each_of_an_allocate(void **state)
{
    (void)state;
    at_each_instruction(allocate);
}

static void at_each_of_an_unref(void **state)
{
    (void)state;
    at_each_instruction(unref);
}

static void at_each_of_an_unref_of_the_same_unit(void **state)
{
    (void)state;
    at_each_instruction(unref_shared);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        trap_unit_test(at_each_of_an_allocate),
        trap_unit_test(at_each_of_an_unref),
        trap_unit_test(at_each_of_an_unref_of_the_same_unit),
        trap_unit_test(at_each_of_a_refusal),
        trap_unit_test(a_handler_that_attaches_leaves_no_state_behind),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
