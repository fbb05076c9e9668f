/*
 * sharing-active: threads allocate small objects at the same time and write
 * them.  Does the allocator give two threads one cache line at birth?
 */
#include "sharing.h"

static long objects;

static void body(long index)
{
    (void)index;
    objects_turn_over(objects);
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_options(argc, argv, "sharing-active",
                  "Small objects, written by the thread they were born in.",
                  NULL);
    objects = bench_scaled(4e6, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)bench_threads * (double)objects, started);
    return 0;
}
