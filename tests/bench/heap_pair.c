/*
 * heap_pair: a unit allocated and unref'ed at once, one thread, against malloc
 * and free of the same bytes.
 *
 *   --how unit | malloc   --bytes N
 */
#include "bench.h"

#include "sk_heap.h"

static long bytes = 64;
static const char *how = "unit";

static const struct bench_option own[] = {
    {"bytes", BENCH_WHOLE, &bytes, 1, 1 << 20, "of a unit"},
    {"how", BENCH_TEXT, &how, 0, 0, "unit or malloc"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static void use_units(long turns)
{
    sk_heap *heap = sk_heap_new("pair", (size_t)bytes, 64, 0,
                                SK_HEAP_UNLIMITED);

    if (!heap)
        bench_die(1, "no heap: %s", strerror(errno));
    for (long i = 0; i < turns; i++) {
        char *volatile unit = sk_heap_unit_allocate(heap);

        *unit = 1;
        sk_heap_unit_unref(unit);
    }
}

static void use_malloc(long turns)
{
    for (long i = 0; i < turns; i++) {
        char *volatile block = malloc((size_t)bytes);

        *block = 1;
        free(block);
    }
}

int main(int argc, char **argv)
{
    long turns;
    uint64_t started;

    bench_options(argc, argv, "heap_pair",
                  "allocates and unrefs one unit, again and again", own);
    turns = bench_scaled(2e8, 1000);
    started = bench_now_ns();
    if (strcmp(how, "unit") == 0)
        use_units(turns);
    else if (strcmp(how, "malloc") == 0)
        use_malloc(turns);
    else
        bench_die(BENCH_USAGE, "--how wants unit or malloc, not '%s'", how);
    bench_threads = 1;
    bench_report((double)turns, started);
    return 0;
}
