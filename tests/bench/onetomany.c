/*
 * onetomany: one thread only allocates, N threads only free; first blocks of
 * one size, then a mix.  A reader that feeds workers.
 */
#include "pipe.h"

static struct pipe pipes[BENCH_MAX_THREADS];
static long crates;

static void produce(void)
{
    struct bench_rng rng = bench_rng_of(0);
    long i, to;
    for (i = 0; i < crates; i++) {
        struct pipe *p = &pipes[i % bench_threads];
        crate_fill(pipe_room(p), &rng, i >= crates / 2, (uint32_t)i);
        pipe_put(p);
    }
    for (to = 0; to < bench_threads; to++)
        pipe_end(&pipes[to]);
}

static void body(long index)
{
    struct pipe *mine;
    if (index == 0) {
        produce();
        return;
    }
    mine = &pipes[index - 1];
    do
        while (pipe_is_empty(mine))
            sched_yield();
    while (pipe_drain_one(mine));
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 4;
    bench_options(argc, argv, "onetomany",
                  "One thread allocates, --threads threads free.", NULL);
    crates = bench_scaled(2.5e5, 2);
    started = bench_now_ns();
    if (bench_threads == BENCH_MAX_THREADS)
        bench_die(BENCH_USAGE, "--threads wants room for one more");
    bench_run(bench_threads + 1, body);
    bench_report((double)crates * CRATE_BLOCKS, started);
    return 0;
}
