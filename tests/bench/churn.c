/*
 * churn: 100 000 short threads that allocate 100 blocks each: what a thread's
 * first malloc and its end cost.
 */
#include "slots.h"

enum { BLOCKS = 100 };

static long threads_each;

static void *short_life(void *arg)
{
    struct bench_rng rng = bench_rng_of((uint64_t)(uintptr_t)arg);
    struct slot slot[BLOCKS];
    long i;
    for (i = 0; i < BLOCKS; i++)
        slot_fill(&slot[i], bench_between(&rng, 16, 512), (uint32_t)i);
    slots_empty(slot, BLOCKS);
    return NULL;
}

static void body(long index)
{
    long i;
    for (i = 0; i < threads_each; i++)
        pthread_join(
            bench_start_thread(short_life, (void *)(index * threads_each + i)),
            NULL);
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_options(argc, argv, "churn",
                  "Short threads, 100 blocks each, --threads at a time.", NULL);
    threads_each = bench_scaled(1e5 / (double)bench_threads, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)threads_each * BLOCKS,
                 started);
    return 0;
}
