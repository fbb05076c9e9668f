/*
 * batches: threads that have nothing to do with each other, each with 500
 * blocks of one size at a time, and another size every 64 rounds: does one
 * thread's allocation cost another one something?
 */
#include "batch.h"

enum { LEAST = 64, DOUBLINGS = 8 };

static long rounds;

static void body(long index)
{
    long round;
    for (round = 0; round < rounds; round++)
        batch_round((size_t)LEAST << (round / 64 + index) % DOUBLINGS,
                    (uint64_t)(index * rounds + round));
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
    bench_report((double)bench_threads * (double)rounds * BATCH_BLOCKS,
                 started);
    return 0;
}
