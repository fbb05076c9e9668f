/*
 * startup: /bin/true 1000 times and python3 -c pass 50 times, one after the
 * other: what the allocator costs a shell script.  Both inherit the preload;
 * a status other than 0 ends the run, and python3 is left out where it is
 * not installed, which the count of ops shows.
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <sys/wait.h>

#include "bench.h"

extern char **environ;

/* Runs to its end; 0 when there is no such program. */
static int run(char *const *argv)
{
    pid_t pid;
    int status, error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
    if (error == ENOENT)
        return 0;
    if (error)
        bench_die(1, "cannot start %s: %s", argv[0], strerror(error));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            bench_die(1, "lost %s: %s", argv[0], strerror(errno));
    if (status)
        bench_die(1, "%s ended with wait status %d", argv[0], status);
    return 1;
}

static long run_times(long times, char *const *argv)
{
    long done = 0;
    while (done < times && run(argv))
        done++;
    return done;
}

int main(int argc, char **argv)
{
    static char *const small[] = {(char *)"/bin/true", NULL};
    static char *const python[] = {(char *)"python3", (char *)"-c",
                                   (char *)"pass", NULL};
    uint64_t started;
    long ops;
    bench_threads = 1;
    bench_options(argc, argv, "startup", "Short programs.", NULL);
    if (bench_threads != 1)
        bench_die(BENCH_USAGE, "--threads can only be 1 here");
    started = bench_now_ns();
    ops = run_times(bench_scaled(1000, 1), small);
    ops += run_times(bench_scaled(50, 1), python);
    bench_report_of(RUSAGE_CHILDREN, (double)ops, bench_now_ns() - started);
    return 0;
}
