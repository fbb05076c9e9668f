/*
 * breathe: a program that takes 32 MiB in blocks of many sizes, gives them
 * back, and rests with a malloc now and then; again and again.  What it pays
 * for each breath, and what it holds while it rests: the two sides of how long
 * an allocator keeps what is free (scripts/bench-delay).
 */
#include "slots.h"

enum { BREATH_BYTES = 32 << 20, SMALLEST = 64, LARGEST = 3000, LOOK_MS = 10 };
enum { BLOCKS = 2 * BREATH_BYTES / (SMALLEST + LARGEST) + 2048 };

static long period_ms = 300;

static const struct bench_option options[] = {
    {"period", BENCH_WHOLE, &period_ms, 1, 1e6, "ms from breath to breath"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static double cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static long breathe(struct slot *all, struct bench_rng *rng, uint32_t breath)
{
    size_t bytes = 0;
    long count = 0;
    while (bytes < BREATH_BYTES * (bench_scale < 1 ? bench_scale : 1) &&
           count < BLOCKS) {
        size_t size = bench_between(rng, SMALLEST, LARGEST);
        slot_fill(&all[count], size, breath + (uint32_t)count);
        bytes += size;
        count++;
    }
    slots_empty(all, count);
    return count;
}

int main(int argc, char **argv)
{
    uint64_t started, born;
    double ops = 0, held = 0;
    long looks = 0, breaths = 0, most;
    struct bench_rng rng;
    struct slot *all;
    bench_threads = 1;
    bench_options(argc, argv, "breathe", "32 MiB taken, freed, and a rest.",
                  options);
    if (bench_threads != 1)
        bench_die(BENCH_USAGE, "--threads can only be 1 here");
    most = bench_scaled(4000 / (double)period_ms, 1);
    rng = bench_rng_of(0);
    all = slots_new(BLOCKS);
    started = bench_now_ns();
    for (; breaths < most; breaths++) {
        born = bench_now_ns();
        ops += (double)breathe(all, &rng, (uint32_t)breaths);
        do {
            struct timespec look = {0, LOOK_MS * 1000000};
            nanosleep(&look, NULL);
            bench_free(bench_malloc(100, 1), 100, 1);
            held += (double)bench_rss_kib() / 1024;
            looks++;
        } while (bench_now_ns() - born < (uint64_t)period_ms * 1000000);
    }
    fprintf(stderr, "%.1f ms of CPU time a breath, %.1f MiB at rest\n",
            cpu_ms() / (double)breaths, held / (double)looks);
    bench_report(ops, started);
    free(all);
    return 0;
}
