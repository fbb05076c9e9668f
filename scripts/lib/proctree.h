/*
 * proctree: what a tree of processes has used, from /proc alone.
 *
 * Layer: the bottom of skab-minder; knows nothing of starting or ending.
 * Promise: a figure never falls.  A task that ends keeps the last value that
 * was seen of it, so what it did after the last look is lost: switches and
 * run-queue wait are "at least".  CPU time and faults are whole: an ended
 * thread's stay with its process, an ended process's with the parent that
 * waited for it, or with the caller, the subreaper.  Only under a parent that
 * ignores SIGCHLD the last value seen must do.
 *
 * Units are in the names: _ns, _s, _kb; switches and faults are counts.
 * One thread only.  Out of memory ends the program: it holds no user's data.
 */
#ifndef PROCTREE_H
#define PROCTREE_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum { PT_MAX_LIBS = 32 };

/* What the tree used since it was born. */
struct pt_sum {
    unsigned long long voluntary, involuntary; /* context switches */
    unsigned long long runwait_ns;             /* runnable, not running */
    double user_s, system_s;
    unsigned long long minor_faults, major_faults;
    unsigned long long rss_kb; /* now, summed over the processes */
    int processes, tasks;      /* alive now */
};

/* Libraries whose mapping is the proof of an arm: absolute paths. */
extern const char *pt_libs[PT_MAX_LIBS];
extern int pt_nlibs;

/* Looks at every descendant of `root` (not at `root`); fills *sum. */
void pt_sample(pid_t root, struct pt_sum *sum);

/* Looks at `pid` alone, a child: what is it called, and what has it mapped?
 * A fiftieth of the time of a whole look on a host with a hundred processes. */
void pt_witness(pid_t pid);

/* Most kilobytes resident at once, over all samples and all processes. */
unsigned long long pt_peak_rss_kb(void);

/* Writes the processes as a JSON array, ended ones included. */
void pt_print_processes(FILE *out);

/* Writes what a process that was seen is called, as a JSON string. */
void pt_print_name(FILE *out, pid_t pid);

/* Sends `sig` to every living descendant of `root`. */
void pt_signal_all(pid_t root, int sig);

#endif
