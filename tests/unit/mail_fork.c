/*
 * mail_fork.c - a chunk that is being purged by who freed its last unit, and
 * its owner: in the meantime, and where the purger did not come along.
 */
#define _GNU_SOURCE
#include "child.h"
#include "figures.h"
#include "sender.h"
#include "sk_park_parts.h"
#include "trap.h"

#include <pthread.h>

enum { BYTES = 4096 };

static struct sk_chunk *chunk_of(const void *unit)
{
    return sk_chunk_of(&sk_class_heaps[class_of(BYTES)],
                       sk_region_granule(unit));
}

static uint32_t list_of(struct sk_chunk *chunk)
{
    return sk_post_list(atomic_load(&chunk->post));
}

/* As a fork's child finds it: sealed, by a thread that was about to purge and
 * to mail it. */
static void ends_a_purge(void)
{
    void *unit = get_exact(BYTES);
    struct sk_chunk *chunk = chunk_of(unit);
    struct sk_state *self = sk_self;
    uint64_t calls;
    size_t dirty;
    bool is_free, is_all;

    REQUIRE(sk_region_word(sk_chunk_first(chunk)) >> SK_OWNER_SHIFT ==
            self->id);
    sk_state_enter(self);
    sk_state_flush_bins(self, 0, SK_HOME);
    sk_state_leave(self);
    REQUIRE(sk_chunk_post(chunk, unit, unit, 1, true, &is_free) == 0);
    REQUIRE(is_free && list_of(chunk) == SK_POST_SEALED);
    self->posting = sk_chunk_first(chunk) + 1;
    sk_mail_after_fork(self, false);
    self->posting = 0;
    REQUIRE(self->mail == sk_chunk_first(chunk) + 1);
    dirty = figures().dirty_bytes;
    calls = sk_os_called(SK_OS_PURGE);
    sk_state_enter(self);
    is_all = sk_state_read_mail(self);
    sk_state_leave(self);
    REQUIRE(is_all && self->mail == 0);
    REQUIRE(sk_os_called(SK_OS_PURGE) == calls + 1);
    REQUIRE(figures().dirty_bytes == dirty);
    REQUIRE(now()->heaps[class_of(BYTES)].chunks == 0);
    REQUIRE(sk_region_is_sound());
}

static void is_alone(uint64_t unused)
{
    (void)unused;
    sk_state_open((uint64_t)1 << 30);
    ends_a_purge();
}

static void the_owner_ends_the_purge_of_one_that_is_gone(void **state)
{
    (void)state;
    assert_in_child(is_alone, 0);
}

#ifdef HAS_TRAP

static struct sk_chunk *chunk;
static struct sk_state *parked;
static bool is_forking, was_there;

static void *leave_two(void *units)
{
    ((void **)units)[0] = get_exact(BYTES);
    ((void **)units)[1] = get_exact(BYTES);
    return NULL;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    if (list_of(chunk) != SK_POST_SEALED)
        return;
    *flags_of(context) &= ~TRAP_FLAG;
    was_there = true;
    if (is_forking) {
        sk_state_forget_purges();
        return;
    }
    /* As another sender does. */
    sk_state_file_parked(parked);
    REQUIRE(parked->mail != 0 && list_of(chunk) == SK_POST_SEALED);
}

/* Frees the last of two units of a parked state's chunk, which is in its mail
 * already, so that it purges the chunk. */
static void purge_interrupted(uint64_t how)
{
    struct sk_state *self;
    void *units[2] = {0};
    pthread_t id;

    is_forking = how;
    sk_state_open((uint64_t)1 << 30);
    REQUIRE(!pthread_create(&id, NULL, leave_two, units));
    pthread_join(id, NULL);
    chunk = chunk_of(units[0]);
    REQUIRE(chunk_of(units[1]) == chunk);
    parked = owner_of(units[0]);
    sk_state_trim(); /* its bins; and gives this thread no state */
    REQUIRE(sk_state_seize_parked(parked));
    self = sk_state_hide();
    sk_mail_send(chunk, units[0], units[0], 1, true);
    REQUIRE(parked->mail != 0);
    atomic_store(&parked->status, SK_PARKED);
    atomic_store(&parked->slack_bytes, 0);
    trap(on_step);
    send_self(SIGUSR1);
    sk_mail_send(chunk, units[1], units[1], 1, true);
    send_self(SIGUSR2);
    sk_state_show(self);
    REQUIRE(was_there);
    REQUIRE(parked->mail == 0);
    REQUIRE(now()->heaps[class_of(BYTES)].chunks == 0);
    ends_a_purge();
}

static void a_chunk_that_is_being_purged_stays_in_the_mail(void **state)
{
    (void)state;
    assert_in_child(purge_interrupted, false);
}

static void a_purge_that_a_handler_forked_in_is_not_counted(void **state)
{
    (void)state;
    assert_in_child(purge_interrupted, true);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_owner_ends_the_purge_of_one_that_is_gone),
        trap_unit_test(a_chunk_that_is_being_purged_stays_in_the_mail),
        trap_unit_test(a_purge_that_a_handler_forked_in_is_not_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
