/*
 * heap_misuse.c - the library's heaps under broken programs, visitors that
 * meddle, and signal handlers that allocate.
 */
#include "child.h"
#include "death.h"
#include "heaps.h"

#include <sys/time.h>

/* --- broken programs ------------------------------------------------------ */

static void unref_it(void *unit)
{
    sk_heap_unit_unref(unit);
}

static void free_it(void *unit)
{
    sk_state_free_slow(sk_header_of(unit));
}

static void broken_programs_are_told_what_is_wrong(void **state)
{
    static const size_t sizes[] = {64, 100000};
    int local = 0;

    (void)state;
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = sk_heap_new("fragile", sizes[i], 4, i ? 9 : 0,
                                    i ? 0 : SK_HEAP_UNLIMITED);
        char *unit = sk_heap_unit_allocate(heap);
        char *gone = sk_heap_unit_allocate(heap);

        sk_heap_unit_unref(gone);
        dies_saying(unref_it, gone, "is free (heap 'fragile')");
        dies_saying(unref_it, unit + 16,
                    "is not the start of a unit (heap 'fragile')");
        dies_saying(free_it, unit,
                    "is a unit of heap 'fragile', freed by "
                    "sk_heap_unit_unref() alone");
        memset(unit - 8, 0x41, 8);
        dies_saying(unref_it, unit,
                    "lost its header, something wrote in front of it "
                    "(heap 'fragile')");
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
        dies_saying(unref_it, gone, "sk_heap_unit_unref(): 0x");
    }
    dies_saying(unref_it, &local, "is no unit of any heap");
    dies_saying(unref_it, NULL, "0x0 is no unit of any heap");
    dies_saying(unref_it, sk_state_alloc_slow(100), "is no unit of any heap");
}

static int visits;

static int look_and_meddle(sk_heap *heap, void *first)
{
    char *unit = sk_heap_unit_allocate(heap);

    visits++;
    assert_non_null(unit);
    sk_heap_unit_unref(unit);
    assert_fails(sk_heap_new("meddler", 8, 8, 8, 0), NULL, EBUSY);
    assert_fails(sk_heap_destroy(heap, 0), -1, EBUSY);
    if (*(bool *)first) {
        *(bool *)first = false;
        assert_int_equal(sk_heap_each(look_and_meddle, first), 0);
    }
    return 0;
}

static void destroy_it(uint64_t heap)
{
    REQUIRE(sk_heap_destroy((sk_heap *)(uintptr_t)heap, 0) == 0);
}

static void visitors_may_use_heaps_and_look_again_but_not_meddle(void **state)
{
    sk_heap *one = plain("one", 10), *two = plain("two", 100000);
    bool first = true;

    (void)state;
    visits = 0;
    assert_int_equal(sk_heap_each(look_and_meddle, &first), 0);
    assert_true(visits >= 4 && visits % 2 == 0);
    assert_int_equal(sk_heap_destroy(one, 0), 0);
    assert_in_child(destroy_it, (uintptr_t)two);
    assert_int_equal(sk_heap_destroy(two, 0), 0);
}

/* --- signals -------------------------------------------------------------- */

static _Atomic int handled;

/* As malloc and free of the shim, on top of whatever was interrupted: fills
 * chunks, so that the region is asked. */
static void allocate_in_handler(int signal)
{
    void *units[80];

    (void)signal;
    for (int i = 0; i < 80; i++)
        units[i] = sk_state_alloc_slow(32768);
    for (int i = 0; i < 80; i++)
        if (units[i])
            sk_state_free_slow(units[i]);
    atomic_fetch_add(&handled, 1);
}

static void heaps_come_and_go_under_a_handler_that_allocates(void **state)
{
    const struct itimerval often = {{0, 100}, {0, 100}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = allocate_in_handler};
    struct sk_heap_info info;
    uint64_t end;

    (void)state;
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(sigaction(SIGVTALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_VIRTUAL, &often, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    /* A sanitizer hands few signals over, and late: not for longer than 5 s. */
    end = sk_os_now_ms() + 5000;
    for (int turn = 0; (atomic_load(&handled) < 4000 || turn < 2000) &&
                       sk_os_now_ms() < end;
         turn++) {
        sk_heap *heap = sk_heap_new("brief", turn % 2 ? 100 : 100000, 8, 8, 0);

        assert_non_null(heap);
        assert_int_equal(sk_heap_read(heap, &info), 0);
        sk_heap_trim(heap);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_int_equal(setitimer(ITIMER_VIRTUAL, &never, NULL), 0);
    assert_true(atomic_load(&handled) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_programs_are_told_what_is_wrong),
        cmocka_unit_test(visitors_may_use_heaps_and_look_again_but_not_meddle),
        cmocka_unit_test(heaps_come_and_go_under_a_handler_that_allocates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
