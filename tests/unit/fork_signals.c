/*
 * fork_signals.c - a handler that forks, at each instruction of a slow path;
 * the child returns from the handler and goes on, as a program of one thread
 * may (with glibc's malloc, too).
 */
#define _GNU_SOURCE
#include "child.h"
#include "figures.h"
#include "getput.h"
#include "threads.h"
#include "trap.h"

#include "sk_grown.h"


#ifdef HAS_TRAP

enum { UNITS = 120, BYTES = 3000, GROWN_BYTES = 50000 };

static volatile long steps, wanted;
static volatile bool is_child, is_within;
static pid_t child;
static void *unit, *block; /* at hand */

static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    /* Not within send_self(), where a child would go on to signal its parent. */
    if (!is_within || steps++ != wanted)
        return;
    *flags_of(context) &= ~TRAP_FLAG;
    child = fork();
    if (child != 0)
        return;
    is_child = true;
    alarm(20);
    sk_state_after_fork();
}

static bool is_whole(unsigned char **units)
{
    for (int i = 0; i < UNITS; i++)
        for (int k = 0; k < BYTES; k += 500)
            if (units[i][k] != (unsigned char)(i + k))
                return false;
    return true;
}

/* Whether all units are the caller's alone, and nothing is lost. */
static void *look(void *unused)
{
    unsigned char *units[UNITS];

    for (int i = 0; i < UNITS; i++) {
        units[i] = get(BYTES);
        REQUIRE(units[i]);
        for (int k = 0; k < BYTES; k += 500)
            units[i][k] = (unsigned char)(i + k);
    }
    REQUIRE(is_whole(units));
    for (int i = 0; i < UNITS; i++)
        put(units[i]);
    return unused;
}

static void *look_and_park(void *state_of_main)
{
    look(NULL);
    REQUIRE(sk_self != state_of_main);
    sk_state_park();
    return NULL;
}

static void have_nothing(void)
{
    if (unit)
        put(unit);
    unit = NULL;
    if (block)
        sk_grown_free(block);
    block = NULL;
    sk_state_trim();
}

static _Noreturn void end_child(void)
{
    pthread_t thread;

    REQUIRE(sk_region_is_sound());
    REQUIRE(sk_grown_is_sound());
    look(NULL);
    /* Which makes the list of parked states anew. */
    REQUIRE(pthread_create(&thread, NULL, look_and_park, sk_self) == 0);
    look(NULL);
    pthread_join(thread, NULL);
    have_nothing();
    REQUIRE(!sk_self->id || sk_state_is_sound(sk_self));
    REQUIRE(sk_region_is_sound());
    REQUIRE(sk_grown_is_sound());
    REQUIRE(figures().used_bytes == 0);
    _exit(0);
}

/* False when the call was over before the boundary. */
static bool fork_within(void (*prepare)(void), void (*call)(void),
                        long boundary)
{
    int status = -1;

    prepare();
    steps = 0;
    wanted = boundary;
    send_self(SIGUSR1);
    is_within = true;
    call();
    is_within = false;
    send_self(SIGUSR2);
    wanted = -1;
    if (is_child)
        end_child();
    if (steps <= boundary)
        return false;
    if (waitpid(child, &status, 0) != child || status != 0)
        fprintf(stderr, "at boundary %ld: status %x\n", boundary, status);
    REQUIRE(status == 0);
    return true;
}

static void (*preparation)(void), (*interrupted)(void);

static void fork_each(uint64_t stride)
{
    long boundary = 0;

    alarm(300);
    while (fork_within(preparation, interrupted, boundary))
        boundary += (long)stride;
    fprintf(stderr, "%ld instructions\n", boundary);
    REQUIRE(boundary > 100);
}

static void at_each(void (*prepare)(void), void (*call)(void), int stride)
{
    trap(on_step);
    preparation = prepare;
    interrupted = call;
    assert_in_child(fork_each, (uint64_t)stride);
}

/* --- a chunk comes, a chunk goes ------------------------------------------- */

static void take_chunk(void)
{
    unit = get(BYTES);
}

static void have_unit(void)
{
    have_nothing();
    unit = get(BYTES);
}

static void take_block(void)
{
    block = sk_grown_alloc(GROWN_BYTES);
}

static void have_block(void)
{
    have_nothing();
    take_block();
}

static void resize_block(void)
{
    sk_grown_resize(block, 3 * GROWN_BYTES);
    sk_grown_resize(block, GROWN_BYTES);
}

static void free_block(void)
{
    sk_grown_free(block);
    block = NULL;
}

static void a_chunk_that_comes(void **state)
{
    (void)state;
    at_each(have_nothing, take_chunk, 7);
}

/* The take purges another run, with its own in hand. */
static void have_an_old_run(void)
{
    have_nothing();
    sk_grown_free(sk_grown_alloc(GROWN_BYTES));
    sk_os_wait_ms(&(_Atomic uint32_t){0}, 0, 10);
}

static void a_chunk_that_comes_while_a_run_goes(void **state)
{
    (void)state;
    sk_config.purge_delay = 1;
    at_each(have_an_old_run, take_chunk, 7);
    sk_config.purge_delay = 500;
}

static void a_block_that_comes(void **state)
{
    (void)state;
    at_each(have_nothing, take_block, 7);
}

static void a_block_that_changes(void **state)
{
    (void)state;
    at_each(have_block, resize_block, 7);
}

static void a_block_that_goes(void **state)
{
    (void)state;
    at_each(have_block, free_block, 7);
}

static void trim(void)
{
    sk_state_trim();
}

static void a_trim(void **state)
{
    (void)state;
    at_each(have_unit, trim, 997);
}

/* --- a thread's first and last call ---------------------------------------- */

static void give_state_away(void)
{
    have_nothing();
    sk_state_park();
    sk_self = &sk_state_none;
}

static void a_thread_that_begins(void **state)
{
    (void)state;
    at_each(give_state_away, take_chunk, 7);
}

static void have_state(void)
{
    if (!sk_self->id)
        sk_self = &sk_state_none;
    have_unit();
}

static void end(void)
{
    sk_state_park();
    sk_self = &sk_state_none;
}

static void a_thread_that_ends(void **state)
{
    (void)state;
    at_each(have_state, end, 11);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        trap_unit_test(a_chunk_that_comes),
        trap_unit_test(a_chunk_that_comes_while_a_run_goes),
        trap_unit_test(a_block_that_comes),
        trap_unit_test(a_block_that_changes),
        trap_unit_test(a_block_that_goes),
        trap_unit_test(a_trim),
        trap_unit_test(a_thread_that_begins),
        trap_unit_test(a_thread_that_ends),
    };

    return cmocka_run_group_tests(tests, open_once, NULL);
}
