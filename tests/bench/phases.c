/*
 * phases: builds a large structure, frees nine tenths of it at random, builds
 * another of other sizes, and so on: fragmentation, which peak RSS shows.
 */
#include "slots.h"

enum { PHASES = 4 };

/* Each phase has sizes that the holes of the one before do not fit well. */
static const struct {
    size_t least, most;
} sizes[PHASES] = {{16, 128}, {200, 600}, {32, 64}, {700, 3000}};

static long bytes_each;

static long phase_blocks(int phase)
{
    return bytes_each * 2 / (long)(sizes[phase].least + sizes[phase].most) + 1;
}

static struct slot *phase_build(int phase, struct bench_rng *rng)
{
    long count = phase_blocks(phase), i;
    struct slot *all = slots_new(count);
    for (i = 0; i < count; i++)
        slot_fill(&all[i],
                  bench_between(rng, sizes[phase].least, sizes[phase].most),
                  (uint32_t)i);
    return all;
}

/* Visits every block once, in an order that strides through memory. */
static void phase_thin_out(struct slot *all, long count, struct bench_rng *rng)
{
    long i;
    for (i = count - 1; i > 0; i--) {
        uint32_t j = bench_below(rng, (uint32_t)i + 1);
        struct slot s = all[i];
        all[i] = all[j];
        all[j] = s;
    }
    slots_empty(all, count - count / 10);
}

static double run(uint64_t stream)
{
    struct bench_rng rng = bench_rng_of(stream);
    struct slot *built[PHASES];
    double blocks = 0;
    int phase;
    for (phase = 0; phase < PHASES; phase++) {
        built[phase] = phase_build(phase, &rng);
        phase_thin_out(built[phase], phase_blocks(phase), &rng);
        blocks += (double)phase_blocks(phase);
    }
    for (phase = 0; phase < PHASES; phase++) {
        slots_empty(built[phase], phase_blocks(phase));
        free(built[phase]);
    }
    return blocks;
}

int main(int argc, char **argv)
{
    uint64_t started;
    double blocks = 0;
    int i;
    bench_threads = 1;
    bench_options(argc, argv, "phases",
                  "Structures of other sizes in each other's holes.", NULL);
    if (bench_threads != 1)
        bench_die(BENCH_USAGE, "--threads can only be 1 here");
    bytes_each = bench_scaled(6.4e7, 4096);
    started = bench_now_ns();
    for (i = 0; i < 3; i++)
        blocks += run((uint64_t)i);
    bench_report(blocks, started);
    return 0;
}
