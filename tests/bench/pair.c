/*
 * pair: malloc and free of one small block, again and again: what a program
 * pays at the very least.
 */
#include "bench.h"

static long size = 64;

static const struct bench_option options[] = {
    {"size", BENCH_WHOLE, &size, 1, 1 << 20, "of the block"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static long pairs;

static void body(long index)
{
    long i;
    for (i = 0; i < pairs; i++) {
        uint64_t tag = (uint64_t)(index + i);
        bench_free(bench_malloc((size_t)size, tag), (size_t)size, tag);
    }
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 1;
    bench_options(argc, argv, "pair", "One block, allocated and freed.",
                  options);
    pairs = bench_scaled(8e7, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)pairs, started);
    return 0;
}
