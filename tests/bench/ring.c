/*
 * ring: each of N threads allocates for its right neighbour and frees what
 * its left neighbour allocated: a pipeline of stages.
 */
#include "pipe.h"

static struct pipe pipes[BENCH_MAX_THREADS];
static long crates;

/* Puts when there is room and takes when there is something, so that no two
 * neighbours can wait for each other. */
static void body(long index)
{
    struct bench_rng rng = bench_rng_of((uint64_t)index);
    struct pipe *out = &pipes[index];
    struct pipe *in = &pipes[(index + bench_threads - 1) % bench_threads];
    long left = crates;
    int is_open = 1;
    while (left >= 0 || is_open) {
        int idle = 1;
        if (left > 0 && !pipe_is_full(out)) {
            crate_fill(pipe_room(out), &rng, left & 1, (uint32_t)left);
            pipe_put(out);
            left--;
            idle = 0;
        } else if (left == 0 && !pipe_is_full(out)) {
            pipe_end(out);
            left--;
        }
        if (is_open && !pipe_is_empty(in)) {
            is_open = pipe_drain_one(in);
            idle = 0;
        }
        if (idle)
            sched_yield();
    }
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 4;
    bench_options(argc, argv, "ring",
                  "Each thread frees what its left neighbour allocated.", NULL);
    crates = bench_scaled(3e5 / (double)bench_threads, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)crates * CRATE_BLOCKS,
                 started);
    return 0;
}
