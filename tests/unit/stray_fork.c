/*
 * stray_fork.c - a fork in the midst of a thread without a state that sends a
 * unit home: the child's owner finds it.
 */
#define _GNU_SOURCE
#include "sender.h"
#include "stepfork.h"

#ifdef HAS_TRAP

enum { BYTES = 4096 };

static struct sk_state *_Atomic owner;
static struct sk_chunk *chunk;
static void *unit;
static _Atomic bool is_over;
static int unmailed;

static bool is_posted(void)
{
    return sk_post_list(atomic_load(&chunk->post)) != 0;
}

static bool is_mailed(void)
{
    return atomic_load(&owner)->mail == sk_chunk_first(chunk) + 1;
}

static void *own_a_chunk(void *unused)
{
    unit = get_exact(BYTES);
    chunk = sk_chunk_of(&sk_class_heaps[class_of(BYTES)],
                        sk_region_granule(unit));
    atomic_store(&owner, owner_of(unit));
    while (!atomic_load(&is_over))
        usleep(1000);
    return unused;
}

static void is_mailed_in_child(uint64_t unused)
{
    (void)unused;
    sk_state_after_fork();
    REQUIRE(is_posted() == is_mailed());
    REQUIRE(atomic_load(&chunk->mail_next) == 0);
}

static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    unmailed += is_posted() && !is_mailed();
    have_forked();
}

static void sends(uint64_t unused)
{
    pthread_t id;

    (void)unused;
    sk_state_open((uint64_t)1 << 30);
    start_threads(&id, 1, own_a_chunk);
    while (!atomic_load(&owner))
        usleep(100);
    start_forker(is_mailed_in_child);
    sk_self = &sk_state_dead;
    trap(on_step);
    send_self(SIGUSR1);
    put(unit);
    send_self(SIGUSR2);
    end_forker();
    atomic_store(&is_over, true);
    join_threads(&id, 1);
    REQUIRE(unmailed > 0);
    require_good_forks(100);
}

static void a_child_has_what_a_thread_without_a_state_sent(void **state)
{
    (void)state;
    assert_in_child(sends, 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        trap_unit_test(a_child_has_what_a_thread_without_a_state_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
