/*
 * manytoone: N threads only allocate, one only frees; first blocks of one
 * size, then a mix.  Workers that feed a logger.
 */
#include "pipe.h"

static struct pipe pipes[BENCH_MAX_THREADS];
static long crates;

static void consume(void)
{
    long open = bench_threads, i;
    char is_open[BENCH_MAX_THREADS];
    memset(is_open, 1, sizeof is_open);
    while (open) {
        int found = 0;
        for (i = 0; i < bench_threads; i++) {
            if (!is_open[i] || pipe_is_empty(&pipes[i]))
                continue;
            found = 1;
            if (!pipe_drain_one(&pipes[i])) {
                is_open[i] = 0;
                open--;
            }
        }
        if (!found)
            sched_yield();
    }
}

static void body(long index)
{
    struct bench_rng rng = bench_rng_of((uint64_t)index);
    struct pipe *mine;
    long i, share = crates / bench_threads + 1;
    if (index == 0) {
        consume();
        return;
    }
    mine = &pipes[index - 1];
    for (i = 0; i < share; i++) {
        crate_fill(pipe_room(mine), &rng, i >= share / 2, (uint32_t)i);
        pipe_put(mine);
    }
    pipe_end(mine);
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 4;
    bench_options(argc, argv, "manytoone",
                  "--threads threads allocate, one frees.", NULL);
    crates = bench_scaled(2.5e5, 2);
    if (bench_threads == BENCH_MAX_THREADS)
        bench_die(BENCH_USAGE, "--threads wants room for one more");
    started = bench_now_ns();
    bench_run(bench_threads + 1, body);
    bench_report((double)bench_threads * (double)(crates / bench_threads + 1) *
                     CRATE_BLOCKS,
                 started);
    return 0;
}
