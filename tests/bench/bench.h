/*
 * What every bench program shares: options, clock, random numbers, patterns
 * in memory, threads that start together, one line of JSON.
 *
 * The programs know nothing of the shim: they call malloc and free, and the
 * same binary runs under whichever allocator the caller preloads.  Nothing in
 * here allocates while a workload is being measured.  C and C++ both read it.
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { BENCH_USAGE = 64, BENCH_MAX_THREADS = 1024 };

/* Every message ends the program: a bench that met a surprise has no figure
 * to give. */
static const char *bench_name = "bench";

__attribute__((format(printf, 2, 3), noreturn)) static inline void
bench_die(int status, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s: ", bench_name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

/* --- options --------------------------------------------------------------
 * A program's options are rows of a table that ends with a nameless row; the
 * rows a workload has (threads, scale) and every program has are below.
 */

enum bench_kind { BENCH_WHOLE, BENCH_REAL, BENCH_TEXT, BENCH_FLAG };

struct bench_option {
    const char *name;
    enum bench_kind kind;
    void *to; /* long, double, const char * or int, by kind */
    double least, most;
    const char *help;
};

static long bench_threads = 2;
static long bench_seed = 1;
static double bench_scale = 1.0;
static int bench_full = 0;
static int bench_json = 0;

static const struct bench_option bench_work[] = {
    {"threads", BENCH_WHOLE, &bench_threads, 1, BENCH_MAX_THREADS,
     "threads at work"},
    {"scale", BENCH_REAL, &bench_scale, 1e-6, 1000,
     "of the amount of work; 1 is 1 to 5 seconds on two cores"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static const struct bench_option bench_common[] = {
    {"seed", BENCH_WHOLE, &bench_seed, 0, 1e15, "of the random numbers"},
    {"full", BENCH_FLAG, &bench_full, 0, 0,
     "fill and check every byte, not only the ends of each block"},
    {"json", BENCH_FLAG, &bench_json, 0, 0, "one line of JSON, no text"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static inline void bench_help_rows(const struct bench_option *row)
{
    for (; row->name; row++) {
        printf("  --%-10s %s", row->name, row->help);
        if (row->kind == BENCH_WHOLE)
            printf(" [%ld]", *(long *)row->to);
        else if (row->kind == BENCH_REAL)
            printf(" [%g]", *(double *)row->to);
        putchar('\n');
    }
}

static inline const struct bench_option *
bench_find(const struct bench_option *row, const char *name, size_t length)
{
    for (; row->name; row++)
        if (strlen(row->name) == length && !strncmp(row->name, name, length))
            return row;
    return NULL;
}

static inline void bench_store(const struct bench_option *row,
                               const char *value)
{
    char *end = NULL;
    double number;
    if (row->kind == BENCH_TEXT) {
        *(const char **)row->to = value;
        return;
    }
    number = row->kind == BENCH_WHOLE ? (double)strtol(value, &end, 10)
                                      : strtod(value, &end);
    if (!*value || *end || !(number >= row->least && number <= row->most))
        bench_die(BENCH_USAGE,
                  "--%s wants a%s number from %.15g to %.15g, not '%s'",
                  row->name, row->kind == BENCH_WHOLE ? " whole" : "",
                  row->least, row->most, value);
    if (row->kind == BENCH_WHOLE)
        *(long *)row->to = (long)number;
    else
        *(double *)row->to = number;
}

/* Takes the argument at *at, and its value from the one after it where it is
 * not written --name=value. */
static inline void bench_take(const struct bench_option *const *tables,
                              char **argv, int *at)
{
    const char *arg = argv[*at];
    const char *equals = strchr(arg, '=');
    size_t length = equals ? (size_t)(equals - arg) : strlen(arg);
    const struct bench_option *row = NULL;

    if (length > 2 && arg[0] == '-' && arg[1] == '-')
        for (; !row && *tables; tables++)
            row = bench_find(*tables, arg + 2, length - 2);
    if (!row)
        bench_die(BENCH_USAGE, "'%s' is no option; --help lists them", arg);
    if (row->kind == BENCH_FLAG) {
        if (equals)
            bench_die(BENCH_USAGE, "--%s takes no value", row->name);
        *(int *)row->to = 1;
        return;
    }
    if (!equals && !argv[*at + 1])
        bench_die(BENCH_USAGE, "--%s wants a value", row->name);
    bench_store(row, equals ? equals + 1 : argv[++*at]);
}

/* Reads the options of a program called NAME; TABLES ends with NULL. */
static inline void bench_options_of(int argc, char **argv, const char *name,
                                    const char *about,
                                    const struct bench_option *const *tables)
{
    int at, table;
    bench_name = name;
    for (at = 1; at < argc; at++) {
        if (!strcmp(argv[at], "--help")) {
            printf("usage: %s [options]\n%s\n", name, about);
            for (table = 0; tables[table]; table++)
                bench_help_rows(tables[table]);
            exit(0);
        }
        bench_take(tables, argv, &at);
    }
}

/* The same for a workload, with rows of its OWN or NULL. */
static inline void bench_options(int argc, char **argv, const char *name,
                                 const char *about,
                                 const struct bench_option *own)
{
    const struct bench_option *tables[4] = {bench_work, bench_common, own,
                                            NULL};
    bench_options_of(argc, argv, name, about, tables);
}

/* COUNT pieces of work at scale 1; at least LEAST of them at any scale. */
static inline long bench_scaled(double count, long least)
{
    double scaled = count * bench_scale;
    return scaled < (double)least ? least : (long)scaled;
}

/* --- clock and random numbers --------------------------------------------- */

static inline uint64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* splitmix64: any state is a good state, so streams are seeded by number. */
struct bench_rng {
    uint64_t state;
};

static inline uint64_t bench_random(struct bench_rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline struct bench_rng bench_rng_of(uint64_t stream)
{
    struct bench_rng r;
    r.state = ((uint64_t)bench_seed << 32) ^ (stream * 0x2545f4914f6cdd1du);
    bench_random(&r);
    return r;
}

/* 0 .. limit - 1, by a multiplication: a division would cost as much as the
 * malloc it is there to choose. */
static inline uint32_t bench_below(struct bench_rng *r, uint32_t limit)
{
    return (uint32_t)(((bench_random(r) >> 32) * limit) >> 32);
}

/* least .. most */
static inline size_t bench_between(struct bench_rng *r, size_t least,
                                   size_t most)
{
    return least + bench_below(r, (uint32_t)(most - least + 1));
}

/* --- patterns --------------------------------------------------------------
 * A block is stamped when it is born and checked before it is freed.  The
 * stamp is a word at either end and one in each page between, so that a block
 * handed out twice, cut short or purged under its owner is found, and every
 * page counts in RSS, while the bench still measures the allocator and not
 * memset.  --full gives every byte a value of the tag instead.
 */

static inline uint64_t bench_stamp(size_t size, uint64_t tag)
{
    return ((tag + 1) * 0x9e3779b97f4a7c15u) ^ (size << 1);
}

static inline void bench_fill(void *block, size_t size, uint64_t tag)
{
    uint64_t stamp = bench_stamp(size, tag);
    char *p = (char *)block;
    size_t at;
    if (bench_full) {
        memset(block, (int)(stamp >> 56), size);
        return;
    }
    if (size < 16) {
        memcpy(p, &stamp, size < 8 ? size : 8);
        return;
    }
    memcpy(p, &stamp, 8);
    memcpy(p + size - 8, &stamp, 8);
    for (at = 4096; at + 16 <= size; at += 4096)
        memcpy(p + at, &stamp, 8);
}

/* Every byte of a block has the one value VALUE. */
static inline int bench_is_all(const void *block, size_t size, uint8_t value)
{
    const uint8_t *p = (const uint8_t *)block;
    return size == 0 || (p[0] == value && !memcmp(p, p + 1, size - 1));
}

static inline int bench_is_whole(const void *block, size_t size, uint64_t tag)
{
    uint64_t stamp = bench_stamp(size, tag);
    const char *p = (const char *)block;
    size_t at;
    if (bench_full)
        return bench_is_all(block, size, (uint8_t)(stamp >> 56));
    if (size < 16)
        return !memcmp(p, &stamp, size < 8 ? size : 8);
    for (at = 4096; at + 16 <= size; at += 4096)
        if (memcmp(p + at, &stamp, 8))
            return 0;
    return !memcmp(p, &stamp, 8) && !memcmp(p + size - 8, &stamp, 8);
}

static inline void bench_check(const void *block, size_t size, uint64_t tag)
{
    if (!bench_is_whole(block, size, tag))
        bench_die(1, "block %p of %zu bytes lost its pattern", block, size);
}

static inline void *bench_malloc(size_t size, uint64_t tag)
{
    void *block = malloc(size);
    if (!block)
        bench_die(1, "malloc(%zu) failed: %s", size, strerror(errno));
    bench_fill(block, size, tag);
    return block;
}

static inline void bench_free(void *block, size_t size, uint64_t tag)
{
    bench_check(block, size, tag);
    free(block);
}

/* --- threads --------------------------------------------------------------
 * bench_run starts N threads that wait for each other, runs body(index) in
 * each and joins them.  The clock of the workload is the caller's.
 */

typedef void (*bench_body)(long index);

struct bench_thread {
    pthread_t id;
    long index;
    bench_body body;
    pthread_barrier_t *start;
};

static inline void *bench_thread_main(void *arg)
{
    struct bench_thread *me = (struct bench_thread *)arg;
    pthread_barrier_wait(me->start);
    me->body(me->index);
    return NULL;
}

static inline pthread_t bench_start_thread(void *(*body)(void *), void *arg)
{
    pthread_t id;
    int error = pthread_create(&id, NULL, body, arg);
    if (error)
        bench_die(1, "no thread to be had: %s", strerror(error));
    return id;
}

static inline void bench_run(long threads, bench_body body)
{
    static struct bench_thread all[BENCH_MAX_THREADS];
    pthread_barrier_t start;
    long i;
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (i = 0; i < threads; i++) {
        all[i].index = i;
        all[i].body = body;
        all[i].start = &start;
        all[i].id = bench_start_thread(bench_thread_main, &all[i]);
    }
    for (i = 0; i < threads; i++)
        pthread_join(all[i].id, NULL);
    pthread_barrier_destroy(&start);
}

/* --- report --------------------------------------------------------------- */

/* The start of a file, "" when it cannot be read.  Without stdio, which would
 * allocate. */
static inline void bench_read(char *text, size_t bytes, const char *path)
{
    ssize_t length = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, text, bytes - 1);
        close(fd);
    }
    text[length > 0 ? length : 0] = 0;
}

/* VmHWM and not ru_maxrss for the process itself: the latter begins with what
 * the shell had before exec. */
static inline long bench_own_peak_kib(void)
{
    char text[4096];
    const char *row;
    bench_read(text, sizeof text, "/proc/self/status");
    row = strstr(text, "VmHWM:");
    return row ? strtol(row + 6, NULL, 10) : 0;
}

static inline long bench_rss_kib(void)
{
    char text[256];
    const char *second;
    bench_read(text, sizeof text, "/proc/self/statm");
    second = strchr(text, ' ');
    if (!second)
        bench_die(1, "cannot read /proc/self/statm");
    return strtol(second, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024);
}

static inline long bench_peak_rss_kib(int who)
{
    struct rusage usage;
    long own = who == RUSAGE_SELF ? bench_own_peak_kib() : 0;
    if (own)
        return own;
    getrusage(who, &usage);
    return usage.ru_maxrss;
}

static inline void bench_report_of(int who, double ops, uint64_t elapsed_ns)
{
    double seconds = (double)elapsed_ns / 1e9;
    long peak = bench_peak_rss_kib(who);
    if (bench_json)
        printf("{\"workload\":\"%s\",\"threads\":%ld,\"seed\":%ld,"
               "\"scale\":%g,\"ops\":%.0f,\"seconds\":%.6f,"
               "\"peak_rss_kib\":%ld}\n",
               bench_name, bench_threads, bench_seed, bench_scale, ops, seconds,
               peak);
    else
        printf("%-16s %ld threads  %.0f ops in %.3f s, %.1f ns each, "
               "peak RSS %.1f MiB\n",
               bench_name, bench_threads, ops, seconds,
               ops > 0 ? seconds * 1e9 / ops : 0.0, (double)peak / 1024);
}

/* One op is one malloc with its free, unless a workload says otherwise. */
static inline void bench_report(double ops, uint64_t started_ns)
{
    bench_report_of(RUSAGE_SELF, ops, bench_now_ns() - started_ns);
}

#endif
