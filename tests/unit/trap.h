/*
 * trap.h - runs a handler of SIGTRAP after each instruction between SIGUSR1
 * and SIGUSR2, sent by the thread to itself.  No debugger: the handlers set and
 * clear the trap flag in the context that they return to.
 */
#ifndef TRAP_H
#define TRAP_H

#include "unit.h"

#if defined __x86_64__ && !defined __SANITIZE_ADDRESS__ &&                     \
    !defined __SANITIZE_THREAD__

#define HAS_TRAP 1

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TRAP_FLAG = 0x100 };

static greg_t *flags_of(void *context)
{
    return &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
}

static void on_start(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    *flags_of(context) |= TRAP_FLAG;
}

static void on_stop(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    *flags_of(context) &= ~TRAP_FLAG;
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

    assert_int_equal(sigaction(number, &action, NULL), 0);
}

/* raise() of a glibc before 2.36 blocks SIGTRAP, which then ends the
 * program. */
static void send_self(int number)
{
    syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), number);
}

static void trap(void (*on_step)(int, siginfo_t *, void *))
{
    handle(SIGTRAP, on_step);
    handle(SIGUSR1, on_start);
    handle(SIGUSR2, on_stop);
}

#define trap_unit_test(test) cmocka_unit_test(test)

#else

static void needs_a_trap(void **state)
{
    (void)state;
    skip();
}

/* The test itself need not be there. */
#define trap_unit_test(test) {#test, needs_a_trap, NULL, NULL, NULL}

#endif
#endif
