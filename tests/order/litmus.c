/*
 * litmus.c - the run-time itself: what C11 allows is seen, what it forbids is
 * not.
 */
#include "order.h"

#include "../unit/unit.h"

#include <stdatomic.h>
#include <sys/mman.h>

static _Atomic int x, y;
static int plain;
static int got_x, got_y;
static unsigned *seen; /* a bit for each result, of all seeds */

static void both(void (*first)(void *), void (*second)(void *))
{
    int one = order_start(first, NULL), two = order_start(second, NULL);

    order_join(one);
    order_join(two);
    *seen |= 1u << (got_x * 2 + got_y);
}

enum { X0_Y0 = 1, X0_Y1 = 2, X1_Y0 = 4, X1_Y1 = 8 };

static void sees(void (*scene)(void), unsigned results)
{
    *seen = 0;
    order_explore(scene, 400);
    assert_int_equal(*seen, results);
}

static void put_relaxed(void *unused)
{
    (void)unused;
    atomic_store_explicit(&x, 1, memory_order_relaxed);
    atomic_store_explicit(&y, 1, memory_order_relaxed);
}

static void put_released(void *unused)
{
    (void)unused;
    atomic_store_explicit(&x, 1, memory_order_relaxed);
    atomic_store_explicit(&y, 1, memory_order_release);
}

static void put_fenced(void *unused)
{
    (void)unused;
    atomic_store_explicit(&x, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&y, 1, memory_order_relaxed);
}

static void get_relaxed(void *unused)
{
    (void)unused;
    got_y = atomic_load_explicit(&y, memory_order_relaxed);
    got_x = atomic_load_explicit(&x, memory_order_relaxed);
}

static void get_acquired(void *unused)
{
    (void)unused;
    got_y = atomic_load_explicit(&y, memory_order_acquire);
    got_x = atomic_load_explicit(&x, memory_order_relaxed);
}

static void get_fenced(void *unused)
{
    (void)unused;
    got_y = atomic_load_explicit(&y, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    got_x = atomic_load_explicit(&x, memory_order_relaxed);
}

static void message_relaxed(void)
{
    both(put_relaxed, get_acquired);
}

static void message_not_acquired(void)
{
    both(put_released, get_relaxed);
}

static void message(void)
{
    both(put_released, get_acquired);
}

static void message_fenced(void)
{
    both(put_fenced, get_fenced);
}

static void messages_need_release_and_acquire(void **state)
{
    (void)state;
    sees(message_relaxed, X0_Y0 | X0_Y1 | X1_Y0 | X1_Y1);
    sees(message_not_acquired, X0_Y0 | X0_Y1 | X1_Y0 | X1_Y1);
    sees(message, X0_Y0 | X1_Y0 | X1_Y1);
    sees(message_fenced, X0_Y0 | X1_Y0 | X1_Y1);
}

static void flag_x(void *order)
{
    (void)order;
    atomic_store_explicit(&x, 1, memory_order_release);
    got_y = atomic_load_explicit(&y, memory_order_acquire);
}

static void flag_y(void *unused)
{
    (void)unused;
    atomic_store_explicit(&y, 1, memory_order_release);
    got_x = atomic_load_explicit(&x, memory_order_acquire);
}

static void flag_x_in_order(void *unused)
{
    (void)unused;
    atomic_store(&x, 1);
    got_y = atomic_load(&y);
}

static void flag_y_in_order(void *unused)
{
    (void)unused;
    atomic_store(&y, 1);
    got_x = atomic_load(&x);
}

static void flag_x_fenced(void *unused)
{
    (void)unused;
    atomic_store_explicit(&x, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    got_y = atomic_load_explicit(&y, memory_order_relaxed);
}

static void flag_y_fenced(void *unused)
{
    (void)unused;
    atomic_store_explicit(&y, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    got_x = atomic_load_explicit(&x, memory_order_relaxed);
}

static void flags(void)
{
    both(flag_x, flag_y);
}

static void flags_in_order(void)
{
    both(flag_x_in_order, flag_y_in_order);
}

static void flags_fenced(void)
{
    both(flag_x_fenced, flag_y_fenced);
}

static void flags_half_in_order(void)
{
    both(flag_x_in_order, flag_y);
}

static void flags_need_one_order_of_both(void **state)
{
    (void)state;
    sees(flags, X0_Y0 | X0_Y1 | X1_Y0 | X1_Y1);
    sees(flags_half_in_order, X0_Y0 | X0_Y1 | X1_Y0 | X1_Y1);
    sees(flags_in_order, X0_Y1 | X1_Y0 | X1_Y1);
    sees(flags_fenced, X0_Y1 | X1_Y0 | X1_Y1);
}

static void add_relaxed(void *unused)
{
    (void)unused;
    while (atomic_load_explicit(&y, memory_order_relaxed) == 0)
        ;
    atomic_fetch_add_explicit(&y, 1, memory_order_relaxed);
}

static void get_added(void *unused)
{
    (void)unused;
    while (atomic_load_explicit(&y, memory_order_acquire) < 2)
        ;
    got_x = atomic_load_explicit(&x, memory_order_relaxed);
}

static void through_a_third(void)
{
    int third = order_start(add_relaxed, NULL);

    both(put_released, get_added);
    order_join(third);
}

static void a_change_in_between_keeps_the_message(void **state)
{
    (void)state;
    sees(through_a_third, X1_Y0);
}

static void write_plain(void *unused)
{
    (void)unused;
    plain = 1;
    atomic_store_explicit(&y, 1, memory_order_release);
}

static void read_plain_late(void *unused)
{
    (void)unused;
    if (atomic_load_explicit(&y, memory_order_acquire))
        got_x = plain;
}

static void read_plain(void *unused)
{
    (void)unused;
    got_y = atomic_load_explicit(&y, memory_order_relaxed);
    if (got_y)
        got_x = plain;
}

static void plain_in_order(void)
{
    both(write_plain, read_plain_late);
}

static void plain_out_of_order(void)
{
    both(write_plain, read_plain);
}

static void plain_accesses_must_be_ordered(void **state)
{
    (void)state;
    sees(plain_in_order, X0_Y0 | X1_Y0);
    assert_true(order_fails(plain_out_of_order, 400));
}

static void wait_for_ever(void *unused)
{
    (void)unused;
    while (atomic_load(&x))
        ;
}

static void no_end(void)
{
    atomic_store(&x, 1);
    order_join(order_start(wait_for_ever, NULL));
}

static void what_never_ends_is_seen(void **state)
{
    (void)state;
    assert_true(order_fails(no_end, 1));
}

static int share(void **state)
{
    (void)state;
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return seen == MAP_FAILED ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_need_release_and_acquire),
        cmocka_unit_test(flags_need_one_order_of_both),
        cmocka_unit_test(a_change_in_between_keeps_the_message),
        cmocka_unit_test(plain_accesses_must_be_ordered),
        cmocka_unit_test(what_never_ends_is_seen),
    };

    return cmocka_run_group_tests(tests, share, NULL);
}
