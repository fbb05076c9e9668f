/*
 * heap_bounded: threads fight over the 1000 units of a heap, each with some
 * in hand, and never are more live than that.
 *
 *   --maximum N   0: unlimited, for comparison
 *   --hold N      units that a thread has in hand at most
 *
 * An operation is a call: a unit got, refused or given back.
 */
#include "bench.h"

#include "sk_heap.h"

#include <stdatomic.h>

enum { HOLD_MOST = 4096 };

static long maximum = 1000, hold = 40, turns;
static sk_heap *heap;
static _Atomic uint64_t done, refused;

static const struct bench_option own[] = {
    {"maximum", BENCH_WHOLE, &maximum, 0, 1e9, "units of the heap"},
    {"hold", BENCH_WHOLE, &hold, 1, HOLD_MOST, "units in a thread's hand"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static void fight(long index)
{
    struct bench_rng rng = bench_rng_of((uint64_t)index);
    void *mine[HOLD_MOST] = {0};
    uint64_t got = 0, missed = 0;

    for (long i = 0; i < turns; i++) {
        void **slot = &mine[bench_below(&rng, (uint32_t)hold)];

        if (*slot) {
            sk_heap_unit_unref(*slot);
            *slot = NULL;
        } else if ((*slot = sk_heap_unit_allocate(heap))) {
            *(char *)*slot = 1;
            got++;
        } else {
            missed++;
        }
    }
    for (long i = 0; i < hold; i++)
        if (mine[i])
            sk_heap_unit_unref(mine[i]);
    atomic_fetch_add(&done, got);
    atomic_fetch_add(&refused, missed);
}

int main(int argc, char **argv)
{
    uint64_t started;

    bench_threads = 16;
    bench_options(argc, argv, "heap_bounded", "fights over a maximum", own);
    turns = bench_scaled(5e6, 1000);
    heap = sk_heap_new("bounded", 64, 64, (size_t)maximum,
                       maximum ? 0 : SK_HEAP_UNLIMITED);
    if (!heap)
        bench_die(1, "no heap: %s", strerror(errno));
    started = bench_now_ns();
    bench_run(bench_threads, fight);
    bench_report((double)turns * (double)bench_threads, started);
    if (!bench_json)
        printf("got %.0f, refused %.0f, units left in the heap %ld\n",
               (double)done, (double)refused, sk_heap_destroy(heap, 0));
    return 0;
}
