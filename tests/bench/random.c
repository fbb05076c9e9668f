/*
 * random: a random slot of 1000 is freed and filled anew with 16 to 1000
 * bytes: sizes and life times that no allocator can guess.
 */
#include "slots.h"

static long slots = 1000;
static long least = 16;
static long most = 1000;

static const struct bench_option options[] = {
    {"slots", BENCH_WHOLE, &slots, 1, 1e8, "live blocks"},
    {"least", BENCH_WHOLE, &least, 1, 1e8, "size"},
    {"most", BENCH_WHOLE, &most, 1, 1e8, "size"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static long steps;

static void body(long index)
{
    struct bench_rng rng = bench_rng_of((uint64_t)index);
    struct slot *all = slots_new(slots);
    long i;
    for (i = 0; i < steps; i++) {
        struct slot *s = &all[bench_below(&rng, (uint32_t)slots)];
        slot_empty(s);
        slot_fill(s, bench_between(&rng, (size_t)least, (size_t)most),
                  (uint32_t)i);
    }
    slots_empty(all, slots);
    free(all);
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_threads = 1;
    bench_options(argc, argv, "random", "A random slot is freed and filled.",
                  options);
    if (least > most)
        bench_die(BENCH_USAGE, "--least %ld is above --most %ld", least, most);
    steps = bench_scaled(4e7, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)steps, started);
    return 0;
}
