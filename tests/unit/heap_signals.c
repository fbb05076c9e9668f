/*
 * heap_signals.c - a handler that lets go of a unit, at each instruction of
 * what it interrupts.
 */
#define _GNU_SOURCE
#include "getput.h"
#include "heaps.h"
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
    sk_heap_unit_unref(unit);
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
    raise(SIGUSR1);
    void *unit = sk_heap_unit_allocate(heap);
    raise(SIGUSR2);
    sk_heap_unit_unref(one);
    return unit;
}

static void *unref(void *one)
{
    raise(SIGUSR1);
    sk_heap_unit_unref(one);
    raise(SIGUSR2);
    return NULL;
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

#else

static void at_each_of_an_allocate(void **state)
{
    (void)state;
    skip();
}

static void at_each_of_an_unref(void **state)
{
    (void)state;
    skip();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_each_of_an_allocate),
        cmocka_unit_test(at_each_of_an_unref),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
