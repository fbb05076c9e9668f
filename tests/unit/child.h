/*
 * child.h - a test body in a process of its own.
 *
 * The region and the options are one per process, so a test that wants them
 * fresh runs its body in a fork's child.  There REQUIRE takes the place of
 * cmocka's asserts, which would carry on with the next test in the child.
 */
#ifndef CHILD_H
#define CHILD_H

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(x)                                                             \
    do {                                                                       \
        if (!(x)) {                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x);    \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

/* The status the body's process ends with; -1 for one that was killed, by
 * its alarm for instance. */
__attribute__((unused)) static int status_of(void (*body)(uint64_t),
                                             uint64_t arg)
{
    int status = -1;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka takes it for its own */
        signal(SIGBUS, SIG_DFL);
        signal(SIGFPE, SIG_DFL);
        signal(SIGILL, SIG_DFL);
        alarm(60);
        body(arg);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define assert_in_child(body, arg) assert_int_equal(status_of(body, arg), 0)

#endif
