/*
 * batches: threads that have nothing to do with each other, each with 500
 * blocks of one size at a time, and another size in the next round: does one
 * thread's allocation cost another one something?
 */
#include "bench.h"

enum { BLOCKS = 500, LEAST = 64, DOUBLINGS = 8 };

static long rounds;

static void body(long index)
{
    void *block[BLOCKS];
    long round, i;
    for (round = 0; round < rounds; round++) {
        size_t size = (size_t)LEAST << (round / 64 + index) % DOUBLINGS;
        uint64_t tag = (uint64_t)(index * rounds + round) * BLOCKS;
        for (i = 0; i < BLOCKS; i++)
            block[i] = bench_malloc(size, tag + (uint64_t)i);
        for (i = 0; i < BLOCKS; i++)
            bench_free(block[i], size, tag + (uint64_t)i);
    }
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 4;
    bench_options(argc, argv, "batches",
                  "Threads that allocate 500 blocks, then free them.", NULL);
    rounds = bench_scaled(2e4, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)rounds * BLOCKS, started);
    return 0;
}
