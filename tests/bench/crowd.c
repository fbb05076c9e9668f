/*
 * crowd: 1000 live threads that take turns at a little work and keep a few
 * blocks meanwhile: what a thread costs that is there.
 */
#include "slots.h"

enum { KEPT = 50, TURN = 500 };

static long turns;
static pthread_barrier_t all_have_started;

static void body(long index)
{
    struct bench_rng rng = bench_rng_of((uint64_t)index);
    struct slot slot[KEPT];
    long turn, i;
    memset(slot, 0, sizeof slot);
    for (turn = 0; turn < turns; turn++) {
        for (i = 0; i < TURN; i++) {
            struct slot *s = &slot[bench_below(&rng, KEPT)];
            slot_empty(s);
            slot_fill(s, bench_between(&rng, 16, 1024), (uint32_t)i);
        }
        if (turn == 0)
            pthread_barrier_wait(&all_have_started);
        sched_yield();
    }
    slots_empty(slot, KEPT);
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 1000;
    bench_options(argc, argv, "crowd", "Many live threads.", NULL);
    turns = bench_scaled(2e7 / TURN / (double)bench_threads, 1);
    pthread_barrier_init(&all_have_started, NULL, (unsigned)bench_threads);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)turns * TURN, started);
    return 0;
}
