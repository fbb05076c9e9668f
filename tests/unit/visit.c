/*
 * visit.c - a visitor sees a state while nobody else is at it.
 */
#include "sender.h"
#include "sk_park_parts.h"
#include "threads.h"

#include <unistd.h>

static struct sk_state *_Atomic other;
static _Atomic int seen, wrong, stage;
static void *unit_of_other;

static void await(int wanted)
{
    uint64_t end = sk_os_now_ms() + 10000;

    while (atomic_load(&stage) < wanted && sk_os_now_ms() < end)
        usleep(100);
    if (atomic_load(&stage) < wanted)
        atomic_fetch_add(&wrong, 1);
}

/* Is the state left in peace, once a visitor is on its way to it? */
static void is_left_alone(struct sk_state *state)
{
    uint64_t end = sk_os_now_ms() + 10000;

    atomic_store(&stage, 1);
    while (!(atomic_load(&state->is_halted) & SK_HALTED))
        if (sk_os_now_ms() > end)
            break;
    if (!(atomic_load(&state->is_halted) & SK_HALTED))
        atomic_fetch_add(&wrong, 1);
    usleep(20000);
    if (atomic_load(&seen) > 0)
        atomic_fetch_add(&wrong, 1);
}

static void see(struct sk_state *state, bool is_broken, void *self)
{
    if (state == self && !atomic_load(&state->is_busy))
        atomic_fetch_add(&wrong, 1);
    if (state != self && sk_parking.visited != state->id)
        atomic_fetch_add(&wrong, 1);
    if (is_broken != (state == other && state->bins[2].meter == -7))
        atomic_fetch_add(&wrong, 1);
    if (state == other)
        atomic_fetch_add(&seen, 1);
}

static void visit_once(void (*with)(struct sk_state *, bool, void *))
{
    atomic_store(&seen, 0);
    assert_true(sk_state_visit(with, sk_self));
    assert_int_equal(atomic_load(&wrong), 0);
}

static void *be_busy(void *unused)
{
    struct sk_state *self;

    put(get(16));
    self = sk_self;
    atomic_store(&other, self);
    sk_state_enter(self);
    is_left_alone(self);
    sk_state_leave(self);
    sk_state_park();
    return unused;
}

static void who_is_in_a_slow_path_is_waited_for(void **state)
{
    pthread_t id;

    (void)state;
    atomic_store(&stage, 0);
    assert_int_equal(pthread_create(&id, NULL, be_busy, NULL), 0);
    await(1);
    visit_once(see);
    join_threads(&id, 1);
    assert_int_equal(atomic_load(&seen), 1);
    assert_int_equal(atomic_load(&wrong), 0);
}

static void *hold_parked(void *unused)
{
    assert_true(sk_state_seize_parked(other));
    is_left_alone(other);
    sk_state_let_parked_go(other);
    return unused;
}

static void who_holds_a_parked_state_is_waited_for(void **state)
{
    pthread_t id;

    (void)state;
    atomic_store(&stage, 0);
    assert_int_equal(atomic_load(&other->status), SK_PARKED);
    assert_int_equal(pthread_create(&id, NULL, hold_parked, NULL), 0);
    await(1);
    visit_once(see);
    join_threads(&id, 1);
    assert_int_equal(atomic_load(&seen), 1);
    assert_int_equal(atomic_load(&wrong), 0);
}

static void *enter_later(void *unused)
{
    struct sk_state *self;

    put(get(16));
    self = sk_self;
    atomic_store(&other, self);
    atomic_store(&stage, 1);
    await(2);
    sk_state_enter(self);
    /* The visit is over, and a next one would wait. */
    if (atomic_load(&stage) < 3 || !atomic_load(&self->is_busy))
        atomic_fetch_add(&wrong, 1);
    sk_state_leave(self);
    sk_state_park();
    return unused;
}

static void let_enter(struct sk_state *state, bool is_broken, void *self)
{
    see(state, is_broken, self);
    if (state != other)
        return;
    atomic_store(&stage, 2);
    usleep(20000);
    atomic_store(&stage, 3);
}

static void nobody_enters_a_slow_path_in_a_visit(void **state)
{
    pthread_t id;

    (void)state;
    atomic_store(&stage, 0);
    assert_int_equal(pthread_create(&id, NULL, enter_later, NULL), 0);
    await(1);
    visit_once(let_enter);
    join_threads(&id, 1);
    assert_int_equal(atomic_load(&seen), 1);
    assert_int_equal(atomic_load(&wrong), 0);
}

static void *leave_a_unit(void *into)
{
    *(void **)into = get_exact(4096);
    sk_state_park();
    return NULL;
}

static void send_home(struct sk_state *state, bool is_broken, void *self)
{
    see(state, is_broken, self);
    if (state == other)
        sk_mail_send(sk_chunk_of(&sk_class_heaps[class_of(4096)],
                                 sk_region_granule(unit_of_other)),
                     unit_of_other, unit_of_other, 1, true);
}

static void mail_that_comes_in_a_visit_is_filed(void **state)
{
    (void)state;
    run(leave_a_unit, &unit_of_other);
    other = owner_of(unit_of_other);
    visit_once(send_home);
    assert_int_equal(atomic_load(&seen), 1);
    assert_int_equal(atomic_load(&other->mail), 0);
}

static void a_visitor_is_told_of_broken_states(void **state)
{
    (void)state;
    atomic_store(&other->status, SK_BROKEN);
    other->bins[2].meter = -7; /* for see() */
    visit_once(see);
    assert_int_equal(atomic_load(&seen), 1);
    assert_int_equal(atomic_load(&other->status), SK_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_in_a_slow_path_is_waited_for),
        cmocka_unit_test(who_holds_a_parked_state_is_waited_for),
        cmocka_unit_test(nobody_enters_a_slow_path_in_a_visit),
        cmocka_unit_test(mail_that_comes_in_a_visit_is_filed),
        cmocka_unit_test(a_visitor_is_told_of_broken_states),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
