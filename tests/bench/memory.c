/*
 * memory: does memory come back?  One scenario a run, with RSS at marked
 * points as text or JSON; scripts/bench-memory draws RSS over time from
 * outside.
 *
 *   sleeper  main builds 1 GiB of 64-byte units and sleeps in join while a
 *            worker frees them all
 *   burst    500 MiB of 16 B to 32 KiB freed by their owner, which then
 *            allocates one block a second
 *   holes    90 % of 64-byte and 1 KiB units freed at random, then as many
 *            bytes of other sizes allocated
 *   bleed    four producers, one thread that only frees, a bounded live set
 *   trim     200 MiB of small blocks freed, then malloc_trim(0)
 *   night    64 threads keep 1000 units of 20 sizes each, of 4000
 *
 * live_kib is what the program itself holds at the mark, tables included.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <sys/mman.h>

#include "pipe.h"

static const char *scenario = "";
static double wait_seconds = -1;

static const struct bench_option options[] = {
    {"scenario", BENCH_TEXT, &scenario, 0, 0,
     "sleeper, burst, holes, bleed, trim or night"},
    {"seconds", BENCH_REAL, &wait_seconds, 0, 3600,
     "to watch RSS at the end [bleed: 30, others: 5]"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

/* --- marks ---------------------------------------------------------------- */

enum { MAX_MARKS = 4096 };

static struct {
    const char *at;
    double seconds;
    long rss_kib, live_kib;
} marks[MAX_MARKS];
static int marks_count;
static uint64_t started_ns;
static double live_bytes;

static void mark(const char *at)
{
    if (marks_count == MAX_MARKS)
        return;
    marks[marks_count].at = at;
    marks[marks_count].seconds = (double)(bench_now_ns() - started_ns) / 1e9;
    marks[marks_count].rss_kib = bench_rss_kib();
    marks[marks_count].live_kib = (long)(live_bytes / 1024);
    marks_count++;
}

static void marks_print(void)
{
    const char *between = "";
    int i;
    if (bench_json)
        printf("{\"scenario\":\"%s\",\"scale\":%g,\"peak_rss_kib\":%ld,"
               "\"marks\":[",
               scenario, bench_scale, bench_peak_rss_kib(RUSAGE_SELF));
    for (i = 0; i < marks_count; i++, between = ",") {
        const char *row =
            bench_json ? "%s{\"at\":\"%s\",\"seconds\":%.3f,\"rss_kib\":%ld,"
                         "\"live_kib\":%ld}"
                       : "%.0s%-10s %8.2f s  RSS %9ld KiB  live %9ld KiB\n";
        printf(row, between, marks[i].at, marks[i].seconds, marks[i].rss_kib,
               marks[i].live_kib);
    }
    if (bench_json)
        printf("]}\n");
}

static void pause_for(double seconds)
{
    struct timespec t;
    t.tv_sec = (time_t)seconds;
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

/* Marks RSS every half second while nothing happens; `tick` is called every
 * second, where there is one. */
static void watch(void (*tick)(void))
{
    long i, halves = (long)(wait_seconds * 2);
    for (i = 1; i <= halves; i++) {
        pause_for(0.5);
        if (tick && i % 2 == 0)
            tick();
        mark(i == halves ? "end" : "idle");
    }
}

/* --- tables of blocks, outside of the allocator --------------------------- */

struct table {
    struct slot *slot;
    long count;
};

static struct table table_new(long count)
{
    struct table t;
    size_t bytes = (size_t)count * sizeof(struct slot);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        bench_die(1, "no memory for a table of %ld blocks", count);
    t.slot = (struct slot *)at;
    t.count = count;
    return t;
}

/* A row counts as live from its first use on: its page stays. */
static void table_add(struct table *t, long at, size_t size)
{
    slot_fill(&t->slot[at], size, (uint32_t)at);
    live_bytes += (double)(size + sizeof(struct slot));
}

static void table_drop(struct table *t, long at)
{
    if (t->slot[at].block)
        live_bytes -= (double)t->slot[at].size;
    slot_empty(&t->slot[at]);
}

static void table_drop_all(struct table *t)
{
    long i;
    for (i = 0; i < t->count; i++)
        table_drop(t, i);
}

/* --- scenarios ------------------------------------------------------------ */

/* The units of `sleeper` are a list through themselves: no table of 16.7 M
 * rows beside them. */
struct unit {
    struct unit *next;
    uint64_t stamp[7];
};

static struct unit *units;

static void *sleeper_worker(void *arg)
{
    struct unit *next;
    (void)arg;
    for (; units; units = next) {
        next = units->next;
        if (units->stamp[0] != units->stamp[6])
            bench_die(1, "unit %p lost its pattern", (void *)units);
        free(units);
    }
    live_bytes = 0;
    mark("freed");
    watch(NULL);
    return NULL;
}

static void sleeper(void)
{
    long i, count = bench_scaled((double)(1 << 30) / sizeof(struct unit), 1);
    for (i = 0; i < count; i++) {
        struct unit *u = malloc(sizeof *u);
        if (!u)
            bench_die(1, "no memory for unit %ld", i);
        u->next = units;
        u->stamp[0] = u->stamp[6] = (uint64_t)i;
        units = u;
    }
    live_bytes = (double)count * sizeof(struct unit);
    mark("built");
    pthread_join(bench_start_thread(sleeper_worker, NULL), NULL);
}

static void one_block(void)
{
    bench_free(bench_malloc(100, 1), 100, 1);
}

/* Every power of two from 16 to 32768 has the same share of the blocks. */
static size_t spread_size(struct bench_rng *rng)
{
    size_t power = (size_t)16 << bench_below(rng, 11);
    return power + bench_below(rng, (uint32_t)power);
}

/* Blocks of `size_of` until they are BYTES together. */
static struct table build(double bytes, size_t least,
                          size_t (*size_of)(struct bench_rng *))
{
    struct bench_rng rng = bench_rng_of(1);
    struct table t = table_new((long)(bytes / (double)least) + 1);
    double sum = 0;
    long i;
    for (i = 0; i < t.count && sum < bytes; i++) {
        size_t size = size_of(&rng);
        table_add(&t, i, size);
        sum += (double)size;
    }
    t.count = i;
    return t;
}

static void burst(void)
{
    struct table t =
        build((double)bench_scaled(5.24e8, 4096), 2048, spread_size);
    mark("built");
    table_drop_all(&t);
    mark("freed");
    watch(one_block);
}

static size_t hole_size(struct bench_rng *rng)
{
    return bench_below(rng, 17) ? 64 : 1024; /* about half of the bytes each */
}

static size_t other_size(struct bench_rng *rng)
{
    static const size_t sizes[] = {96, 208, 496, 3000};
    return sizes[bench_below(rng, 4)];
}

static void holes(void)
{
    struct bench_rng rng = bench_rng_of(2);
    struct table old = build((double)bench_scaled(2.56e8, 4096), 64, hole_size);
    struct table new;
    double before = live_bytes;
    long i;
    mark("built");
    for (i = 0; i < old.count; i++)
        if (bench_below(&rng, 10))
            table_drop(&old, i);
    mark("holes");
    new = build(before - live_bytes, 96, other_size);
    mark("filled");
    watch(NULL);
    table_drop_all(&old);
    table_drop_all(&new);
}

enum { PRODUCERS = 4 };

static struct pipe pipes[PRODUCERS];
static _Atomic int is_over;

static void *bleed_producer(void *arg)
{
    struct pipe *mine = arg;
    struct bench_rng rng = bench_rng_of((uint64_t)(mine - pipes));
    uint32_t tag = 0;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        crate_fill(pipe_room(mine), &rng, 1, tag += CRATE_BLOCKS);
        pipe_put(mine);
    }
    pipe_end(mine);
    return NULL;
}

static void *bleed_consumer(void *arg)
{
    int is_open[PRODUCERS] = {1, 1, 1, 1}, open = PRODUCERS, i;
    (void)arg;
    while (open) {
        int found = 0;
        for (i = 0; i < PRODUCERS; i++) {
            if (!is_open[i] || pipe_is_empty(&pipes[i]))
                continue;
            found = 1;
            is_open[i] = pipe_drain_one(&pipes[i]);
            open -= !is_open[i];
        }
        if (!found)
            sched_yield();
    }
    return NULL;
}

static void bleed(void)
{
    pthread_t id[PRODUCERS + 1];
    int i;
    live_bytes = (double)PRODUCERS * PIPE_CRATES * CRATE_BLOCKS * 1032;
    for (i = 0; i < PRODUCERS; i++)
        id[i] = bench_start_thread(bleed_producer, &pipes[i]);
    id[PRODUCERS] = bench_start_thread(bleed_consumer, NULL);
    watch(NULL);
    atomic_store(&is_over, 1);
    for (i = 0; i <= PRODUCERS; i++)
        pthread_join(id[i], NULL);
}

static size_t small_size(struct bench_rng *rng)
{
    return bench_between(rng, 16, 512);
}

static void trim(void)
{
    struct table t = build((double)bench_scaled(2.1e8, 4096), 100, small_size);
    void *anchor = bench_malloc(64, 7); /* the top of glibc's heap is in use */
    mark("built");
    table_drop_all(&t);
    mark("freed");
    malloc_trim(0);
    mark("trimmed");
    watch(NULL);
    bench_free(anchor, 64, 7);
}

enum { NIGHT_THREADS = 64, NIGHT_BUSY = 4000, NIGHT_SIZES = 20 };

static pthread_barrier_t night_step;

static const size_t night_size[NIGHT_SIZES] = {
    16,  24,  32,  48,   64,   96,   128,  192,  256,  384,
    512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 8192};

static void *night_thread(void *arg)
{
    struct bench_rng rng = bench_rng_of((uint64_t)(uintptr_t)arg);
    struct slot *all = slots_new(NIGHT_BUSY);
    long i, busy = bench_scaled(NIGHT_BUSY, NIGHT_SIZES);
    if (busy > NIGHT_BUSY)
        busy = NIGHT_BUSY;
    for (i = 0; i < busy; i++)
        slot_fill(&all[i], night_size[i % NIGHT_SIZES], (uint32_t)i);
    pthread_barrier_wait(&night_step);
    pthread_barrier_wait(&night_step);
    for (i = 0; i < busy; i++)
        if (bench_below(&rng, 4))
            slot_empty(&all[i]);
    pthread_barrier_wait(&night_step);
    pthread_barrier_wait(&night_step);
    slots_empty(all, busy);
    free(all);
    return NULL;
}

static void night(void)
{
    pthread_t id[NIGHT_THREADS];
    double busy = (double)bench_scaled(NIGHT_BUSY, NIGHT_SIZES), sum = 0;
    long i;
    for (i = 0; i < NIGHT_SIZES; i++)
        sum += (double)night_size[i] * busy / NIGHT_SIZES * NIGHT_THREADS;
    pthread_barrier_init(&night_step, NULL, NIGHT_THREADS + 1);
    for (i = 0; i < NIGHT_THREADS; i++)
        id[i] = bench_start_thread(night_thread, (void *)i);
    pthread_barrier_wait(&night_step);
    live_bytes = sum;
    mark("busy");
    pthread_barrier_wait(&night_step);
    pthread_barrier_wait(&night_step);
    live_bytes = sum / 4;
    mark("night");
    watch(NULL);
    pthread_barrier_wait(&night_step);
    for (i = 0; i < NIGHT_THREADS; i++)
        pthread_join(id[i], NULL);
}

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {{"sleeper", sleeper}, {"burst", burst}, {"holes", holes},
                 {"bleed", bleed},     {"trim", trim},   {"night", night}};

int main(int argc, char **argv)
{
    const struct bench_option *tables[] = {bench_work, bench_common, options,
                                           NULL};
    size_t i;
    bench_options_of(argc, argv, "memory", "Does memory come back?", tables);
    if (wait_seconds < 0)
        wait_seconds = strcmp(scenario, "bleed") ? 5 : 30;
    for (i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(scenario, scenarios[i].name))
            continue;
        started_ns = bench_now_ns();
        mark("start");
        scenarios[i].run();
        marks_print();
        return 0;
    }
    bench_die(BENCH_USAGE,
              "--scenario wants sleeper, burst, holes, bleed, trim or night, "
              "not '%s'",
              scenario);
}
