/*
 * park_fork.c - what a fork's child makes of the states of its parent's
 * threads, and of its own where another thread was at it.
 */
#include "child.h"
#include "sender.h"
#include "sk_park_parts.h"
#include "threads.h"

static pthread_barrier_t barrier;

static void *own_id(void *id)
{
    put(get(16));
    *(uint32_t *)id = sk_self->id;
    sk_state_park();
    return NULL;
}

static uint32_t id_of_a_thread(void)
{
    uint32_t id = 0;
    pthread_t thread;

    REQUIRE(!pthread_create(&thread, NULL, own_id, &id));
    REQUIRE(!pthread_join(thread, NULL));
    return id;
}

/* --- the forker's own ------------------------------------------------------ */

static void keeps_its_state(uint64_t is_nested)
{
    struct sk_state *self = sk_self;

    if (is_nested)
        REQUIRE(sk_state_hide() == self);
    sk_state_after_fork();
    if (is_nested)
        sk_state_show(self);
    for (int i = 0; i < 3; i++)
        REQUIRE(id_of_a_thread() != self->id);
    REQUIRE(sk_self == self && self->status == SK_LIVE);
}

static void no_other_thread_gets_the_forkers_state(void **state)
{
    (void)state;
    assert_in_child(keeps_its_state, false);
    assert_in_child(keeps_its_state, true);
}

/* It was about to look at the state when the fork came. */
static void goes_on_after_a_visitor(uint64_t unused)
{
    struct sk_state *self = sk_self;

    (void)unused;
    alarm(10);
    self->is_halted |= SK_HALTED;
    self->status = SK_FILING;
    sk_state_after_fork();
    REQUIRE(self->status == SK_LIVE);
    sk_state_trim();
    for (size_t bytes = 16; bytes < 4096; bytes += 16)
        put(get(bytes));
    REQUIRE(sk_self == self);
}

static void loses_what_was_visited(uint64_t unused)
{
    struct sk_state *self = sk_self;

    (void)unused;
    sk_parking.visited = self->id;
    self->status = SK_FILING;
    sk_state_after_fork();
    REQUIRE(self->status == SK_BROKEN && sk_parking.visited == 0);
    put(get(16));
    REQUIRE(sk_self->id != 0 && sk_self != self);
    for (int i = 0; i < 3; i++)
        REQUIRE(id_of_a_thread() != self->id);
}

static void a_child_leaves_what_a_visitor_had_in_hand(void **state)
{
    (void)state;
    assert_in_child(goes_on_after_a_visitor, 0);
    assert_in_child(loses_what_was_visited, 0);
}

/* --- other threads' --------------------------------------------------------- */

/* The state of a thread that did not come along. */
static struct sk_state *left_behind(void)
{
    struct sk_state *state = sk_state_at(id_of_a_thread());

    REQUIRE(sk_park_change(state, SK_PARKED, SK_LIVE));
    return state;
}

static void adopts(uint64_t unused)
{
    struct sk_state *orphan = left_behind();

    (void)unused;
    alarm(10);
    orphan->is_halted |= SK_HALTED; /* nor did a visitor */
    sk_state_after_fork();
    REQUIRE(id_of_a_thread() == orphan->id);
    REQUIRE(orphan->status == SK_PARKED);
}

static void leaves(uint64_t unused)
{
    struct sk_state *broken = left_behind();

    (void)unused;
    broken->is_busy = 1;
    sk_state_after_fork();
    for (int i = 0; i < 3; i++)
        REQUIRE(id_of_a_thread() != broken->id);
    REQUIRE(broken->status == SK_BROKEN);
}

static void a_child_adopts_a_live_state_unless_it_was_busy(void **state)
{
    (void)state;
    assert_in_child(adopts, 0);
    assert_in_child(leaves, 0);
}

static void *post_and_leave(void *unit)
{
    REQUIRE(post_and_stop(unit));
    return NULL;
}

static void mails(uint64_t unused)
{
    void *unit = get(4096);
    struct sk_state *owner = owner_of(unit);
    pthread_t thread;

    (void)unused;
    sk_state_trim();
    REQUIRE(!pthread_create(&thread, NULL, post_and_leave, unit));
    pthread_join(thread, NULL);
    REQUIRE(owner->mail == 0);
    sk_state_after_fork();
    REQUIRE(owner->mail != 0);
}

static void a_child_mails_what_was_posted(void **state)
{
    (void)state;
    assert_in_child(mails, 0);
}

/* --- in any process --------------------------------------------------------- */

static void *stay_live(void *unused)
{
    put(get(16));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    sk_state_park();
    return unused;
}

static void a_state_that_is_being_filed_is_adopted_later(void **state)
{
    uint32_t first = id_of_a_thread(), states;
    pthread_t threads[16];
    int others;

    (void)state;
    assert_int_equal(id_of_a_thread(), first);
    assert_true(sk_state_seize_parked(sk_state_at(first)));
    assert_int_not_equal(id_of_a_thread(), first);
    sk_state_let_parked_go(sk_state_at(first));
    states = sk_state_count();
    others = (int)states - 1;
    assert_in_range(others, 2, 16);
    pthread_barrier_init(&barrier, NULL, states);
    for (int i = 0; i < others; i++)
        pthread_create(&threads[i], NULL, stay_live, NULL);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    join_threads(threads, others);
    /* Each had one of those that there were. */
    assert_int_equal(sk_state_count(), states);
}

static void *leave_a_unit(void *into)
{
    *(void **)into = get_exact(4096);
    sk_state_park();
    return NULL;
}

static void mail_that_comes_meanwhile_is_filed_in_the_end(void **state)
{
    const struct sk_heap *heap = &sk_class_heaps[class_of(4096)];
    struct sk_state *self, *parked;
    struct sk_chunk *chunk;
    void *unit = NULL;

    (void)state;
    run(leave_a_unit, &unit);
    chunk = sk_chunk_of(heap, sk_region_granule(unit));
    parked = owner_of(unit);
    assert_true(sk_state_seize_parked(parked));
    self = sk_state_hide();
    sk_mail_send(chunk, unit, unit, 1, true);
    assert_int_not_equal(parked->mail, 0);
    sk_state_let_parked_go(parked);
    sk_state_show(self);
    assert_int_equal(parked->mail, 0);
    assert_int_equal(parked->status, SK_PARKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_other_thread_gets_the_forkers_state),
        cmocka_unit_test(a_child_leaves_what_a_visitor_had_in_hand),
        cmocka_unit_test(a_child_adopts_a_live_state_unless_it_was_busy),
        cmocka_unit_test(a_child_mails_what_was_posted),
        cmocka_unit_test(a_state_that_is_being_filed_is_adopted_later),
        cmocka_unit_test(mail_that_comes_meanwhile_is_filed_in_the_end),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
