/*
 * stepfork.h - forks while a thread steps (trap.h): by another thread, which it
 * waits for, or by the handler itself.
 */
#ifndef STEPFORK_H
#define STEPFORK_H

#include "child.h"
#include "threads.h"
#include "trap.h"

#ifdef HAS_TRAP

static struct {
    _Atomic bool is_wanted, is_over;
    int count, failures;
    pthread_t forker;
    void (*in_child)(uint64_t);
    bool is_child;
} forks;

static void count_fork(bool has_failed)
{
    forks.count++;
    forks.failures += has_failed;
}

/* Ends in a child whose forks all went well. */
__attribute__((unused)) static void require_good_forks(int least)
{
    REQUIRE(forks.failures == 0);
    REQUIRE(forks.count >= least);
}

/* --- by another thread ----------------------------------------------------- */

static void *fork_when_wanted(void *unused)
{
    (void)unused;
    while (!atomic_load(&forks.is_over)) {
        if (atomic_load(&forks.is_wanted)) {
            count_fork(status_of(forks.in_child, 0) != 0);
            atomic_store(&forks.is_wanted, false);
        }
        usleep(20);
    }
    return NULL;
}

/* From the handler of a step. */
__attribute__((unused)) static void have_forked(void)
{
    atomic_store(&forks.is_wanted, true);
    while (atomic_load(&forks.is_wanted))
        usleep(20);
}

__attribute__((unused)) static void start_forker(void (*in_child)(uint64_t))
{
    forks.in_child = in_child;
    start_threads(&forks.forker, 1, fork_when_wanted);
}

__attribute__((unused)) static void end_forker(void)
{
    atomic_store(&forks.is_over, true);
    join_threads(&forks.forker, 1);
}

/* --- by the handler -------------------------------------------------------- */

/* The child steps no more, and goes on where its parent was; it has to _exit(0)
 * before long.  True there. */
__attribute__((unused)) static bool fork_here(void *context)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        forks.is_child = true;
        alarm(20);
        *flags_of(context) &= ~TRAP_FLAG;
        return true;
    }
    count_fork(waitpid(child, &status, 0) != child || status != 0);
    return false;
}

#endif
#endif
