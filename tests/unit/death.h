/*
 * death.h - runs a function that must end the program, in a child, and
 * looks at its last words.
 */
#ifndef DEATH_H
#define DEATH_H

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sk_say.h"

/* Only while no other thread runs: a sanitizer's child would hang. */
static inline void dies_saying(void (*body)(void *), void *with,
                               const char *words)
{
    char said[4096];
    size_t used = 0;
    ssize_t got;
    int pipe_of[2], status;
    pid_t child;

    assert_int_equal(pipe(pipe_of), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(pipe_of[1], 2);
        sk_say_open();
        signal(SIGABRT, SIG_DFL);
        body(with);
        _exit(0);
    }
    close(pipe_of[1]);
    while ((got = read(pipe_of[0], said + used, sizeof said - 1 - used)) > 0)
        used += (size_t)got;
    said[used] = '\0';
    close(pipe_of[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT ||
        !strstr(said, words))
        fail_msg("status %#x, wanted '%s', said:\n%s", (unsigned)status, words,
                 said);
}

#endif
