/*
 * batch: 500 mallocs, then 500 frees in the order of their birth: a request
 * that builds a small structure and drops it.
 */
#include "batch.h"

static long size = 64;

static const struct bench_option options[] = {
    {"size", BENCH_WHOLE, &size, 1, 1 << 20, "of the blocks"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static long rounds;

static void body(long index)
{
    long round;
    for (round = 0; round < rounds; round++)
        batch_round((size_t)size, (uint64_t)(index * rounds + round));
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 1;
    bench_options(argc, argv, "batch", "500 blocks allocated, then freed.",
                  options);
    rounds = bench_scaled(1.2e5, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)rounds * BATCH_BLOCKS,
                 started);
    return 0;
}
