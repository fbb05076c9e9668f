/*
 * calloc: zeroed blocks of 16 bytes to 32 KiB in random slots.  A block that
 * is not zero where it was written before ends the run.
 */
#include "slots.h"

enum { SLOTS = 400, SMALLEST = 4, LARGEST = 15 };

static long steps;

/* Every power of two has the same chance, so small ones are not lost among
 * the bytes of large ones. */
static size_t size_of(struct bench_rng *rng)
{
    size_t power = (size_t)1 << bench_between(rng, SMALLEST, LARGEST);
    size_t size = power / 2 + bench_below(rng, (uint32_t)power / 2) + 1;
    return size < 16 ? 16 : size;
}

/* bench_fill writes the ends and one word in each page; with --full every
 * byte was written and every byte is looked at. */
static int is_zero(const char *block, size_t size)
{
    static const char zero[8];
    size_t at;
    if (bench_full)
        return bench_is_all(block, size, 0);
    for (at = 0; at + 8 <= size; at += 256)
        if (memcmp(block + at, zero, 8))
            return 0;
    return !memcmp(block + size - 8, zero, 8);
}

static void slot_calloc(struct slot *s, size_t size, uint32_t tag)
{
    s->block = calloc(1, size);
    s->size = (uint32_t)size;
    s->tag = tag;
    if (!s->block)
        bench_die(1, "calloc(%zu) failed", size);
    if (!is_zero(s->block, size))
        bench_die(1, "calloc(%zu) gave a block that is not zero", size);
    bench_fill(s->block, size, tag);
}

static void body(long index)
{
    struct bench_rng rng = bench_rng_of((uint64_t)index);
    struct slot *all = slots_new(SLOTS);
    long i;
    for (i = 0; i < steps; i++) {
        struct slot *s = &all[bench_below(&rng, SLOTS)];
        slot_empty(s);
        slot_calloc(s, size_of(&rng), (uint32_t)i);
    }
    slots_empty(all, SLOTS);
    free(all);
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_options(argc, argv, "calloc", "Zeroed blocks, 16 B to 32 KiB.", NULL);
    steps = bench_scaled(5e6, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)steps, started);
    return 0;
}
