/*
 * mixed: N threads, sizes from 8 to 16000 bytes that fall off linearly, life
 * times at random, and every tenth block is freed by the next thread: the
 * closest to an ordinary server.
 */
#include "pipe.h"

enum { SLOTS = 4000, LEAST = 8, MOST = 16000 };

static struct pipe pipes[BENCH_MAX_THREADS];
static long steps;

/* The smaller of two draws has a density that falls linearly to 0. */
static size_t size_of(struct bench_rng *rng)
{
    uint64_t r = bench_random(rng);
    uint32_t a = (uint32_t)(r >> 32), b = (uint32_t)r;
    return LEAST + (((uint64_t)(a < b ? a : b) * (MOST - LEAST)) >> 32);
}

/* Hands a block to the next thread, or frees it where the pipe is full. */
static void hand_over(struct pipe *out, struct crate *crate, struct slot *s)
{
    crate->block[crate->count++] = *s;
    s->block = NULL;
    if (crate->count < CRATE_BLOCKS)
        return;
    if (pipe_is_full(out)) {
        slots_empty(crate->block, crate->count);
    } else {
        *pipe_room(out) = *crate;
        pipe_put(out);
    }
    crate->count = 0;
}

static void finish(struct pipe *out, struct pipe *in)
{
    int is_open = 1, is_told = 0;
    while (is_open || !is_told) {
        if (!is_told && !pipe_is_full(out)) {
            pipe_end(out);
            is_told = 1;
        }
        if (is_open && !pipe_is_empty(in))
            is_open = pipe_drain_one(in);
        else
            sched_yield();
    }
}

static void body(long index)
{
    struct bench_rng rng = bench_rng_of((uint64_t)index);
    struct pipe *out = &pipes[index];
    struct pipe *in = &pipes[(index + bench_threads - 1) % bench_threads];
    struct slot *all = slots_new(SLOTS);
    struct crate crate = {0};
    long i;
    int is_open = 1;
    for (i = 0; i < steps; i++) {
        struct slot *s = &all[bench_below(&rng, SLOTS)];
        if (s->block && bench_below(&rng, 10) == 0)
            hand_over(out, &crate, s);
        slot_empty(s);
        slot_fill(s, size_of(&rng), (uint32_t)i);
        if (i % 256 == 0 && is_open && !pipe_is_empty(in))
            is_open = pipe_drain_one(in);
    }
    slots_empty(all, SLOTS);
    slots_empty(crate.block, crate.count);
    free(all);
    if (is_open)
        finish(out, in);
    else
        pipe_end(out);
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 4;
    bench_options(argc, argv, "mixed",
                  "Random sizes and life times, a tenth freed elsewhere.",
                  NULL);
    steps = bench_scaled(1.2e7 / (double)bench_threads, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)steps, started);
    return 0;
}
