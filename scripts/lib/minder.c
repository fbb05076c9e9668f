/*
 * skab-minder: starts one command, watches its whole tree of processes, and
 * leaves none of it behind.
 *
 *   skab-minder -o FILE [-c FIFO] [-w] [-i MS] [-t SECONDS] [-m LIB]...
 *               [-e NAME=VALUE]... -- CMD...
 *
 * Job: a shell can neither adopt a daemon's orphans (PR_SET_CHILD_SUBREAPER)
 * nor read hundreds of /proc files without becoming the noise it measures.
 * Promise: whatever ends it short of SIGKILL, and also when the writer of
 * FIFO has gone, every descendant is ended first.
 *
 * FIFO takes lines: "mark NAME" writes a sample, "stop SIGNAL SECONDS" sends
 * the signal to the command's process group and, after the grace, SIGKILL to
 * what is left.  FILE gets one JSON object a line: start, mark, exit, crash
 * (of another process that came to us), end.
 * -w: one command; what outlives it is ended.  -m: report whether LIB is
 * mapped.  -t: end everything after so many seconds.
 */
#define _GNU_SOURCE
#include "proctree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_LOOK_MS = 2, KILL_EVERY_MS = 20, LEAST_REST = 50 };
enum { LOG_MOST = 16 << 20, LOG_KEPT = 1 << 20 };

static struct {
    const char *out, *fifo;
    char **env; /* as many as there are arguments, at most */
    int nenv, interval_ms;
    double timeout_s;
    bool one_command;
    char **argv;
} opt = {.interval_ms = 200};

static FILE *out;
static pid_t self, command;
static double started_s, kill_at_s;
static bool command_ended, stopping, timed_out, was_killed;
static int command_status;
static _Atomic double ended_s;
static struct pt_sum last;

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    fprintf(stderr, "skab-minder: %s: %s\n", what, strerror(errno));
    exit(70);
}

/* The moment the command ends, taken by a thread that does nothing else: the
 * main loop may be in the middle of a sample. */
static void *keep_time(void *unused)
{
    siginfo_t info;

    (void)unused;
    while (waitid(P_PID, (id_t)command, &info, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR)
        ;
    ended_s = now_s();
    return NULL;
}

static void become_command(const sigset_t *mask)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};

    /* a shell starts background jobs with SIGINT and SIGQUIT ignored */
    for (int sig = 1; sig < NSIG; sig++)
        sigaction(sig, &dfl, NULL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    setpgid(0, 0);
    for (int i = 0; i < opt.nenv; i++)
        putenv(opt.env[i]);
    execvp(opt.argv[0], opt.argv);
    fprintf(stderr, "skab: cannot run %s: %s\n", opt.argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static void start_command(const sigset_t *mask)
{
    pthread_t keeper;

    started_s = now_s();
    command = fork();
    if (command < 0)
        die("fork");
    if (command == 0)
        become_command(mask);
    setpgid(command, command);
    if (pthread_create(&keeper, NULL, keep_time, NULL) != 0)
        die("pthread_create");
    pthread_detach(keeper);
    fprintf(out, "{\"event\":\"start\",\"pid\":%d}\n", command);
    fflush(out);
}

static void print_sum(const struct pt_sum *s)
{
    fprintf(out,
            "\"voluntary\":%llu,\"involuntary\":%llu,\"runwait_s\":%.6f,"
            "\"user_s\":%.3f,\"system_s\":%.3f,\"minor_faults\":%llu,"
            "\"major_faults\":%llu,\"rss_kb\":%llu,\"processes\":%d,"
            "\"tasks\":%d",
            s->voluntary, s->involuntary, (double)s->runwait_ns * 1e-9,
            s->user_s, s->system_s, s->minor_faults, s->major_faults, s->rss_kb,
            s->processes, s->tasks);
}

/* What the command prints is in a file, our standard output, of which the end
 * is read: the rest of what a talkative server says need not fill the disk. */
static void trim_log(void)
{
    struct stat log;

    if (fstat(STDOUT_FILENO, &log) == 0 && S_ISREG(log.st_mode) &&
        log.st_blocks > LOG_MOST / 512)
        fallocate(STDOUT_FILENO, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                  log.st_size - LOG_KEPT);
}

static void sample(void)
{
    struct pt_sum sum;

    trim_log();
    pt_sample(self, &sum);
    if (sum.processes > 0)
        last = sum;
}

static void mark(const char *name)
{
    sample();
    fprintf(out, "{\"event\":\"mark\",\"name\":\"%s\",\"at_s\":%.6f,", name,
            now_s() - started_s);
    print_sum(&last);
    fprintf(out, ",\"peak_rss_kb\":%llu,\"tree\":", pt_peak_rss_kb());
    pt_print_processes(out);
    fputs("}\n", out);
    fflush(out);
}

static void stop(int sig, double grace_s)
{
    if (!command_ended || !opt.one_command)
        sample();
    stopping = true;
    kill_at_s = now_s() + grace_s;
    if (command_ended || kill(-command, sig) < 0)
        pt_signal_all(self, sig);
}

/* Of names those that skab has in its own words; it sends others as numbers. */
static int signal_of(const char *name)
{
    if (strcmp(name, "KILL") == 0)
        return SIGKILL;
    if (strcmp(name, "INT") == 0)
        return SIGINT;
    return atoi(name) > 0 ? atoi(name) : SIGTERM;
}

static void obey(char *line)
{
    char name[32];
    double grace_s = 5;

    if (sscanf(line, "mark %31[a-z0-9_-]", name) == 1)
        mark(name);
    else if (sscanf(line, "stop %31s %lf", name, &grace_s) >= 1)
        stop(signal_of(name), grace_s);
}

/* Lines from the FIFO; its writer's end, false, is the end of the run. */
static bool listen_to(int fd)
{
    static char buf[512];
    static size_t have;
    ssize_t n;
    char *end;

    n = read(fd, buf + have, sizeof buf - 1 - have);
    if (n == 0) {
        stop(SIGKILL, 0);
        return false;
    }
    if (n > 0)
        have += (size_t)n;
    buf[have] = '\0';
    while ((end = strchr(buf, '\n'))) {
        *end = '\0';
        obey(buf);
        have -= (size_t)(end + 1 - buf);
        memmove(buf, end + 1, have + 1);
    }
    if (have == sizeof buf - 1)
        have = 0;
    return true;
}

static bool is_crash(int sig)
{
    return sig == SIGSEGV || sig == SIGABRT || sig == SIGBUS ||
           sig == SIGILL || sig == SIGFPE || sig == SIGTRAP || sig == SIGSYS;
}

/* A daemon's end, or that of a child whose parent has gone. */
static void note_crash(pid_t pid, int status)
{
    if (WIFSIGNALED(status) && is_crash(WTERMSIG(status))) {
        fprintf(out, "{\"event\":\"crash\",\"pid\":%d,\"signal\":%d,\"name\":",
                pid, WTERMSIG(status));
        pt_print_name(out, pid);
        fputs("}\n", out);
    }
}

/* Takes in whoever has ended; true while a child is left.  Orphans become
 * our children, so no child means no descendant. */
static bool reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != command) {
            note_crash(pid, status);
            continue;
        }
        command_ended = true;
        command_status = status;
        while (ended_s == 0)
            sched_yield();
        fprintf(out, "{\"event\":\"exit\",\"wall_s\":%.6f}\n",
                ended_s - started_s);
        fflush(out);
    }
    return pid == 0;
}

static void hear_signals(int fd)
{
    struct signalfd_siginfo info;

    while (read(fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            stop(SIGTERM, 2);
}

static void print_end(void)
{
    struct rusage u;
    double wall_s = (command_ended ? ended_s : now_s()) - started_s;

    getrusage(RUSAGE_CHILDREN, &u);
    fputs("{\"event\":\"end\",\"status\":", out);
    if (command_ended && WIFEXITED(command_status))
        fprintf(out, "%d,\"signal\":null", WEXITSTATUS(command_status));
    else
        fprintf(out, "null,\"signal\":%d", WTERMSIG(command_status));
    fprintf(out, ",\"wall_s\":%.6f,\"timed_out\":%s,\"killed\":%s,\"total\":{",
            wall_s, timed_out ? "true" : "false",
            was_killed ? "true" : "false");
    /* exact where the kernel adds up what has ended; the rest as sampled */
    last.voluntary = (unsigned long long)u.ru_nvcsw;
    last.involuntary = (unsigned long long)u.ru_nivcsw;
    last.minor_faults = (unsigned long long)u.ru_minflt;
    last.major_faults = (unsigned long long)u.ru_majflt;
    last.user_s = (double)u.ru_utime.tv_sec + 1e-6 * (double)u.ru_utime.tv_usec;
    last.system_s =
        (double)u.ru_stime.tv_sec + 1e-6 * (double)u.ru_stime.tv_usec;
    print_sum(&last);
    fprintf(out, "},\"peak_rss_kb\":%llu,\"tree\":",
            (unsigned long long)u.ru_maxrss > pt_peak_rss_kb()
                ? (unsigned long long)u.ru_maxrss
                : pt_peak_rss_kb());
    pt_print_processes(out);
    fputs("}\n", out);
}

/* Ended, with nobody left?  Past the grace, whoever is left is killed. */
static bool is_over(void)
{
    if (!reap())
        return true;
    if (command_ended && opt.one_command && !stopping)
        stop(SIGKILL, 0);
    if (stopping && now_s() >= kill_at_s) {
        was_killed = was_killed || !command_ended;
        pt_signal_all(self, SIGKILL);
    }
    return false;
}

/* Until whole samples come regularly, the command is looked at alone, each
 * time when it is half as old again: it may map its libraries and end between
 * the first two samples, which are a tenth of a second apart on a busy host.
 * Returns when the next look is due. */
static double witness(double due_s)
{
    double age_s = now_s() - started_s;

    if (command_ended || age_s > opt.interval_ms * 1e-3)
        return HUGE_VAL;
    if (now_s() < due_s)
        return due_s;
    pt_witness(command);
    return started_s + 1.5 * (now_s() - started_s);
}

static void watch(int signals, int control)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                           {.fd = control, .events = POLLIN}};
    double due_s = now_s() + FIRST_LOOK_MS * 1e-3, look_s = due_s;
    int gap_ms = FIRST_LOOK_MS, wait_ms;
    double began_s;

    while (!is_over()) {
        wait_ms = (int)((fmin(due_s, look_s) - now_s()) * 1e3) + 1;
        poll(fds, 2, stopping ? KILL_EVERY_MS : wait_ms > 0 ? wait_ms : 0);
        look_s = witness(look_s);
        if (fds[1].revents && !listen_to(control))
            fds[1].fd = -1;
        hear_signals(signals);
        if (opt.timeout_s > 0 && now_s() - started_s > opt.timeout_s &&
            !stopping) {
            timed_out = true;
            stop(SIGTERM, 2);
        }
        if (now_s() < due_s || stopping)
            continue;
        began_s = now_s();
        sample();
        gap_ms = gap_ms * 2 < opt.interval_ms ? gap_ms * 2 : opt.interval_ms;
        due_s = now_s() + gap_ms * 1e-3;
        /* on a host with thousands of processes: 2 % of a CPU at most */
        if (due_s < now_s() + LEAST_REST * (now_s() - began_s))
            due_s = now_s() + LEAST_REST * (now_s() - began_s);
    }
}

static void usage(void)
{
    fputs("usage: skab-minder -o FILE [-c FIFO] [-w] [-i MS] [-t SECONDS]"
          " [-m LIB]... [-e NAME=VALUE]... -- CMD...\n",
          stderr);
    exit(64);
}

static void parse(int argc, char **argv)
{
    int c;

    if (!(opt.env = calloc((size_t)argc, sizeof *opt.env)))
        die("calloc");
    while ((c = getopt(argc, argv, "+o:c:wi:t:m:e:")) != -1)
        if (c == 'o')
            opt.out = optarg;
        else if (c == 'c')
            opt.fifo = optarg;
        else if (c == 'w')
            opt.one_command = true;
        else if (c == 'i')
            opt.interval_ms = atoi(optarg);
        else if (c == 't')
            opt.timeout_s = atof(optarg);
        else if (c == 'm' && pt_nlibs < PT_MAX_LIBS)
            pt_libs[pt_nlibs++] = optarg;
        else if (c == 'e')
            opt.env[opt.nenv++] = optarg;
        else
            usage();
    opt.argv = argv + optind;
    if (!opt.out || !opt.argv[0])
        usage();
}

/* What skab or its caller has open is none of the server's.  close_range()
 * would want Linux 5.9. */
static void close_others(void)
{
    DIR *open_files = opendir("/proc/self/fd");
    struct dirent *entry;

    while (open_files && (entry = readdir(open_files)))
        if (atoi(entry->d_name) > 2 &&
            atoi(entry->d_name) != dirfd(open_files))
            close(atoi(entry->d_name));
    if (open_files)
        closedir(open_files);
}

int main(int argc, char **argv)
{
    sigset_t heard, before;
    int signals, control = -1;

    parse(argc, argv);
    self = getpid();
    close_others();
    if (!(out = fopen(opt.out, "we")))
        die(opt.out);
    if (opt.fifo &&
        (control = open(opt.fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
        die(opt.fifo);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGINT, SIG_IGN); /* skab has it too, and says what to stop */
    sigemptyset(&heard);
    sigaddset(&heard, SIGCHLD);
    sigaddset(&heard, SIGTERM);
    sigaddset(&heard, SIGHUP);
    sigprocmask(SIG_BLOCK, &heard, &before);
    sigdelset(&before, SIGCHLD);
    if ((signals = signalfd(-1, &heard, SFD_NONBLOCK | SFD_CLOEXEC)) < 0)
        die("signalfd");
    start_command(&before);
    watch(signals, control);
    print_end();
    return fclose(out) == 0 ? 0 : 74;
}
