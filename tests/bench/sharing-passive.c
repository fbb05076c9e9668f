/*
 * sharing-passive: one thread allocates small objects, neighbours on a cache
 * line, and hands one to each of N threads; they free it and go on with
 * objects of their own.  Does the line stay shared after the hand-over?
 */
#include "sharing.h"

static void *handed[BENCH_MAX_THREADS];
static long objects;

static void body(long index)
{
    object_work(handed[index]);
    object_free(handed[index]);
    objects_turn_over(objects);
}

int main(int argc, char **argv)
{
    uint64_t started;
    long i;
    bench_options(argc, argv, "sharing-passive",
                  "Small objects, handed to other threads and freed there.",
                  NULL);
    objects = bench_scaled(2e6, 1);
    started = bench_now_ns();
    for (i = 0; i < bench_threads; i++)
        handed[i] = object_new();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)(objects + 1), started);
    return 0;
}
