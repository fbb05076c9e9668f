/*
 * handoff: a server that bleeds.  Each of N lines of threads has an array of
 * blocks; a thread replaces random ones, hands the array to a new thread and
 * ends.  So memory outlives the threads that allocated it.
 */
#include <semaphore.h>

#include "slots.h"

enum { SLOTS = 1000, STEPS = 20000 };

struct line {
    struct slot slot[SLOTS];
    struct bench_rng rng;
    long generations;
};

static struct line lines[BENCH_MAX_THREADS];
static sem_t ended;

static void *generation_main(void *arg)
{
    struct line *line = arg;
    long i;
    for (i = 0; i < STEPS; i++) {
        struct slot *s = &line->slot[bench_below(&line->rng, SLOTS)];
        slot_empty(s);
        slot_fill(s, bench_between(&line->rng, 16, 1000), (uint32_t)i);
    }
    if (--line->generations > 0)
        pthread_detach(bench_start_thread(generation_main, line));
    else
        sem_post(&ended);
    return NULL;
}

int main(int argc, char **argv)
{
    uint64_t started;
    long i, generations;
    bench_threads = 8;
    bench_options(argc, argv, "handoff",
                  "Threads replace blocks of an array and hand it on.", NULL);
    generations = bench_scaled(200, 2);
    sem_init(&ended, 0, 0);
    started = bench_now_ns();
    for (i = 0; i < bench_threads; i++) {
        lines[i].rng = bench_rng_of((uint64_t)i);
        lines[i].generations = generations;
        pthread_detach(bench_start_thread(generation_main, &lines[i]));
    }
    for (i = 0; i < bench_threads; i++)
        while (sem_wait(&ended))
            ;
    for (i = 0; i < bench_threads; i++)
        slots_empty(lines[i].slot, SLOTS);
    bench_report((double)bench_threads * (double)generations * STEPS, started);
    return 0;
}
