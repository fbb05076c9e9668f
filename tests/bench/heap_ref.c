/*
 * heap_ref: ref and unref of one unit from all threads, against a bare C11
 * atomic add and subtract on a line of its own.
 *
 *   --how unit | atomic
 */
#include "bench.h"

#include "sk_heap.h"

#include <stdatomic.h>

static const char *how = "unit";
static long turns;
static void *unit;
static _Alignas(64) _Atomic uint64_t bare = 1;

static const struct bench_option own[] = {
    {"how", BENCH_TEXT, &how, 0, 0, "unit or atomic"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static void ref_unit(long index)
{
    (void)index;
    for (long i = 0; i < turns; i++) {
        sk_heap_unit_ref(unit);
        sk_heap_unit_unref(unit);
    }
}

static void add_bare(long index)
{
    (void)index;
    for (long i = 0; i < turns; i++) {
        atomic_fetch_add(&bare, 1);
        atomic_fetch_sub(&bare, 1);
    }
}

int main(int argc, char **argv)
{
    sk_heap *heap;
    uint64_t started;

    bench_options(argc, argv, "heap_ref", "counts up and down", own);
    turns = bench_scaled(2e7, 1000);
    heap = sk_heap_new("ref", 64, 64, 0, SK_HEAP_UNLIMITED);
    unit = sk_heap_unit_allocate(heap);
    if (!unit)
        bench_die(1, "no unit: %s", strerror(errno));
    started = bench_now_ns();
    if (strcmp(how, "unit") == 0)
        bench_run(bench_threads, ref_unit);
    else if (strcmp(how, "atomic") == 0)
        bench_run(bench_threads, add_bare);
    else
        bench_die(BENCH_USAGE, "--how wants unit or atomic, not '%s'", how);
    bench_report((double)turns * (double)bench_threads, started);
    return 0;
}
