/*
 * proctree: the samples behind proctree.h.
 *
 *   procs[]  one entry per process seen: CPU time, faults, memory, maps
 *   tasks[]  one entry per thread seen: switches, run-queue wait
 *
 * /proc is read anew for each sample: a subreaper's descendants are found by
 * their parent ids, which survives daemons that fork twice.
 */
#define _GNU_SOURCE
#include "proctree.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

const char *pt_libs[PT_MAX_LIBS];
int pt_nlibs;

struct proc {
    pid_t pid, ppid;
    char comm[17], state;
    unsigned long long start_ticks; /* tells a reused pid from the first */
    double user_s, system_s;
    unsigned long long minor_faults, major_faults, rss_kb, hwm_kb;
    /* of its children that ended and were waited for, and of theirs */
    double gone_user_s, gone_system_s;
    unsigned long long gone_minor_faults, gone_major_faults;
    bool mapped[PT_MAX_LIBS], ours, alive;
    bool maps_seen; /* a zombie has none: it proves nothing either way */
};

struct task {
    pid_t pid, tid;
    unsigned long long voluntary, involuntary, runwait_ns;
    unsigned long long gone_voluntary, gone_involuntary, gone_runwait_ns;
};

static struct proc *procs;
static struct task *tasks;
static size_t nprocs, ntasks, nkept; /* procs[0..nkept): seen before */
static unsigned long long peak_rss_kb;

static void *grown(void *old, size_t count, size_t size)
{
    void *p = old;

    if (count % 64 == 0)
        p = realloc(old, (count + 64) * size);
    if (!p) {
        perror("skab-minder");
        exit(70);
    }
    memset((char *)p + count * size, 0, size);
    return p;
}

/* Reads a whole small file of /proc; false when the process has gone. */
static bool slurp(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n, got = 0;

    if (fd < 0)
        return false;
    while ((n = read(fd, buf + got, size - 1 - got)) > 0)
        got += n;
    close(fd);
    buf[got] = '\0';
    return got > 0;
}

/* /proc/PID/status of a task that is in as many groups as there may be, 65536
 * of them: they stand in front of what is wanted. */
static const char *slurp_status(const char *path)
{
    static char buf[1 << 20];

    return slurp(path, buf, sizeof buf) ? buf : NULL;
}

static unsigned long long field(const char *text, const char *name)
{
    const char *p = strstr(text, name);

    return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

static struct proc *proc_of(pid_t pid, unsigned long long start_ticks)
{
    struct proc *p;

    /* a look meets each id once: only an earlier look can have entered it */
    for (size_t i = 0; i < nkept; i++)
        if (procs[i].pid == pid && procs[i].start_ticks == start_ticks)
            return &procs[i];
    procs = grown(procs, nprocs, sizeof *procs);
    p = &procs[nprocs++];
    p->pid = pid;
    p->start_ticks = start_ticks;
    return p;
}

/* /proc/PID/stat: the name stands in parentheses and may hold any byte, so
 * the fields are counted from the last ')'. */
static void read_stat(pid_t pid)
{
    char path[64], buf[1024], *open, *close;
    unsigned long long minor, cminor, major, cmajor, user, sys, start;
    long long cuser, csys;
    const double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    struct proc *p;
    int ppid;
    char state;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!slurp(path, buf, sizeof buf) || !(open = strchr(buf, '(')) ||
        !(close = strrchr(buf, ')')))
        return;
    *close = '\0';
    if (sscanf(close + 1,
               " %c %d %*d %*d %*d %*d %*u %llu %llu %llu %llu %llu %llu"
               " %lld %lld %*d %*d %*d %*d %llu",
               &state, &ppid, &minor, &cminor, &major, &cmajor, &user, &sys,
               &cuser, &csys, &start) != 11)
        return;
    p = proc_of(pid, start);
    if (strncmp(p->comm, open + 1, sizeof p->comm - 1) != 0) {
        /* exec: what the old image had mapped proves nothing for this one */
        memset(p->mapped, 0, sizeof p->mapped);
        p->maps_seen = false;
        snprintf(p->comm, sizeof p->comm, "%.16s", open + 1);
    }
    p->ppid = ppid;
    p->state = state;
    p->alive = true;
    p->minor_faults = minor;
    p->major_faults = major;
    p->user_s = (double)user * tick_s;
    p->system_s = (double)sys * tick_s;
    p->gone_minor_faults = cminor;
    p->gone_major_faults = cmajor;
    p->gone_user_s = (double)cuser * tick_s;
    p->gone_system_s = (double)csys * tick_s;
}

static void read_all_stats(void)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;

    for (size_t i = 0; i < nprocs; i++)
        procs[i].alive = false;
    if (!dir)
        return;
    while ((e = readdir(dir)))
        if (isdigit((unsigned char)e->d_name[0]))
            read_stat(atoi(e->d_name));
    closedir(dir);
}

static bool has_parent_in(const size_t *ours, size_t nours, pid_t ppid)
{
    for (size_t i = 0; i < nours; i++)
        if (procs[ours[i]].pid == ppid && procs[ours[i]].alive)
            return true;
    return false;
}

/* Parents may stand behind their children in the table: repeat until no
 * further process is found to be ours. */
static void mark_descendants(pid_t root)
{
    size_t *ours = calloc(nprocs + 1, sizeof *ours), nours = 0, before;

    if (!ours)
        exit(70);
    for (size_t i = 0; i < nprocs; i++)
        if (procs[i].ours)
            ours[nours++] = i;
    do {
        before = nours;
        for (size_t i = 0; i < nprocs; i++) {
            struct proc *p = &procs[i];

            if (p->ours || !p->alive)
                continue;
            p->ours = p->ppid == root || has_parent_in(ours, nours, p->ppid);
            if (p->ours)
                ours[nours++] = i;
        }
    } while (nours > before);
    free(ours);
}

static void read_memory(struct proc *p)
{
    char path[64];
    const char *status;
    unsigned long long hwm;

    p->rss_kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", p->pid);
    status = slurp_status(path);
    if (!status)
        return;
    p->rss_kb = field(status, "VmRSS:");
    hwm = field(status, "VmHWM:");
    if (hwm > p->hwm_kb)
        p->hwm_kb = hwm;
}

static void read_maps(struct proc *p)
{
    char path[64], *line = NULL, *name;
    size_t room = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/maps", p->pid);
    if (!(f = fopen(path, "re")))
        return;
    while (getline(&line, &room, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        p->maps_seen = true;
        name = strchr(line, '/');
        for (int i = 0; name && i < pt_nlibs; i++)
            if (strcmp(name, pt_libs[i]) == 0)
                p->mapped[i] = true;
    }
    free(line);
    fclose(f);
}

/* Is a library mapped?  Asked until the answer is yes: maps is dear to read
 * in a process with many mappings. */
static bool is_asked(const struct proc *p)
{
    int missing = 0;

    for (int i = 0; i < pt_nlibs; i++)
        missing += !p->mapped[i];
    return missing > 0;
}

static struct task *task_of(pid_t pid, pid_t tid)
{
    struct task *t;

    for (size_t i = 0; i < ntasks; i++)
        if (tasks[i].tid == tid && tasks[i].pid == pid)
            return &tasks[i];
    tasks = grown(tasks, ntasks, sizeof *tasks);
    t = &tasks[ntasks++];
    t->pid = pid;
    t->tid = tid;
    return t;
}

static void read_task(pid_t pid, pid_t tid)
{
    char path[96], buf[128];
    const char *status;
    unsigned long long vol, invol, wait = 0;
    struct task *t;

    snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
    status = slurp_status(path);
    if (!status)
        return;
    vol = field(status, "\nvoluntary_ctxt_switches:");
    invol = field(status, "\nnonvoluntary_ctxt_switches:");
    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", pid, tid);
    if (slurp(path, buf, sizeof buf))
        sscanf(buf, "%*u %llu", &wait);
    t = task_of(pid, tid);
    if (vol < t->voluntary) { /* the id was used again */
        t->gone_voluntary += t->voluntary;
        t->gone_involuntary += t->involuntary;
        t->gone_runwait_ns += t->runwait_ns;
    }
    t->voluntary = vol;
    t->involuntary = invol;
    t->runwait_ns = wait;
}

static int read_tasks(pid_t pid)
{
    char path[64];
    struct dirent *e;
    DIR *dir;
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    if (!(dir = opendir(path)))
        return 0;
    while ((e = readdir(dir)))
        if (isdigit((unsigned char)e->d_name[0])) {
            read_task(pid, atoi(e->d_name));
            count++;
        }
    closedir(dir);
    return count;
}

static double larger_s(double a, double b)
{
    return a > b ? a : b;
}

static unsigned long long larger(unsigned long long a, unsigned long long b)
{
    return a > b ? a : b;
}

/* What the kernel itself has added up: the living, what they have waited for,
 * and what has come to us.  Nothing is lost between two looks there, but a
 * parent that ignores SIGCHLD gets no account of its children. */
static void add_up_accounts(struct pt_sum *sum)
{
    struct rusage u;

    getrusage(RUSAGE_CHILDREN, &u);
    sum->user_s = (double)u.ru_utime.tv_sec + 1e-6 * (double)u.ru_utime.tv_usec;
    sum->system_s =
        (double)u.ru_stime.tv_sec + 1e-6 * (double)u.ru_stime.tv_usec;
    sum->minor_faults = (unsigned long long)u.ru_minflt;
    sum->major_faults = (unsigned long long)u.ru_majflt;
    for (size_t i = 0; i < nprocs; i++) {
        if (!procs[i].alive)
            continue;
        sum->user_s += procs[i].user_s + procs[i].gone_user_s;
        sum->system_s += procs[i].system_s + procs[i].gone_system_s;
        sum->minor_faults += procs[i].minor_faults + procs[i].gone_minor_faults;
        sum->major_faults += procs[i].major_faults + procs[i].gone_major_faults;
    }
}

/* What was seen of every process at its last look. */
static void add_up_looks(struct pt_sum *sum)
{
    for (size_t i = 0; i < nprocs; i++) {
        sum->user_s += procs[i].user_s;
        sum->system_s += procs[i].system_s;
        sum->minor_faults += procs[i].minor_faults;
        sum->major_faults += procs[i].major_faults;
        if (procs[i].alive)
            sum->rss_kb += procs[i].rss_kb;
    }
}

static void add_up(struct pt_sum *sum)
{
    static struct pt_sum most;
    struct pt_sum accounts = {0};

    add_up_looks(sum);
    add_up_accounts(&accounts);
    most.user_s = larger_s(most.user_s, larger_s(sum->user_s, accounts.user_s));
    most.system_s =
        larger_s(most.system_s, larger_s(sum->system_s, accounts.system_s));
    most.minor_faults =
        larger(most.minor_faults,
               larger(sum->minor_faults, accounts.minor_faults));
    most.major_faults =
        larger(most.major_faults,
               larger(sum->major_faults, accounts.major_faults));
    sum->user_s = most.user_s;
    sum->system_s = most.system_s;
    sum->minor_faults = most.minor_faults;
    sum->major_faults = most.major_faults;
    for (size_t i = 0; i < ntasks; i++) {
        sum->voluntary += tasks[i].voluntary + tasks[i].gone_voluntary;
        sum->involuntary += tasks[i].involuntary + tasks[i].gone_involuntary;
        sum->runwait_ns += tasks[i].runwait_ns + tasks[i].gone_runwait_ns;
    }
}

/* The host's other processes were read only to find the parents. */
static void forget_strangers(void)
{
    size_t kept = 0;

    for (size_t i = 0; i < nprocs; i++)
        if (procs[i].ours)
            procs[kept++] = procs[i];
    /* grown() makes room at every 64th entry: come back to such a place */
    nprocs = nkept = kept;
    procs = realloc(procs, (nprocs / 64 + 1) * 64 * sizeof *procs);
    if (!procs)
        exit(70);
}

static void look(pid_t root)
{
    read_all_stats();
    mark_descendants(root);
    forget_strangers();
}

void pt_sample(pid_t root, struct pt_sum *sum)
{
    memset(sum, 0, sizeof *sum);
    look(root);
    for (size_t i = 0; i < nprocs; i++) {
        struct proc *p = &procs[i];

        if (!p->alive || p->state == 'Z')
            continue;
        read_memory(p);
        if (is_asked(p))
            read_maps(p);
        sum->tasks += read_tasks(p->pid);
        sum->processes++;
        if (p->hwm_kb > peak_rss_kb)
            peak_rss_kb = p->hwm_kb;
    }
    add_up(sum);
    if (sum->rss_kb > peak_rss_kb)
        peak_rss_kb = sum->rss_kb;
}

/* The maps are read whatever is known of them: an arm whose library was found
 * must not be disturbed less than the others. */
void pt_witness(pid_t pid)
{
    struct proc *p;

    read_stat(pid);
    nkept = nprocs;
    for (size_t i = 0; pt_nlibs > 0 && i < nprocs; i++) {
        p = &procs[i];
        if (p->pid == pid && p->alive && p->state != 'Z') {
            p->ours = true;
            read_maps(p);
        }
    }
}

unsigned long long pt_peak_rss_kb(void)
{
    return peak_rss_kb;
}

static void print_name(FILE *out, const char *name)
{
    fputc('"', out);
    for (; *name; name++)
        if (*name == '"' || *name == '\\')
            fprintf(out, "\\%c", *name);
        else
            fputc(isprint((unsigned char)*name) ? *name : '?', out);
    fputc('"', out);
}

void pt_print_name(FILE *out, pid_t pid)
{
    const char *name = "a process";

    for (size_t i = 0; i < nprocs; i++)
        if (procs[i].pid == pid)
            name = procs[i].comm;
    print_name(out, name);
}

void pt_print_processes(FILE *out)
{
    fputc('[', out);
    for (size_t i = 0; i < nprocs; i++) {
        const struct proc *p = &procs[i];

        fprintf(out, "%s{\"pid\":%d,\"name\":", i ? "," : "", p->pid);
        print_name(out, p->comm);
        fprintf(out, ",\"cpu_s\":%.2f,\"hwm_kb\":%llu,\"mapped\":[",
                p->user_s + p->system_s, p->hwm_kb);
        for (int l = 0; l < pt_nlibs; l++)
            fprintf(out, "%s%s", l ? "," : "", p->mapped[l] ? "true" : "false");
        fprintf(out, "],\"maps_seen\":%s}", p->maps_seen ? "true" : "false");
    }
    fputc(']', out);
}

void pt_signal_all(pid_t root, int sig)
{
    look(root);
    for (size_t i = 0; i < nprocs; i++)
        if (procs[i].alive && procs[i].state != 'Z')
            kill(procs[i].pid, sig);
}
