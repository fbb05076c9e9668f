/*
 * Latencies in fixed memory: 32 steps to every doubling, so a percentile is
 * right to 3 %.  Plain data, merged by addition.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 32, HISTOGRAM_ROWS = 60 };

struct histogram {
    uint64_t total;
    uint64_t count[HISTOGRAM_ROWS * HISTOGRAM_STEPS];
};

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    int doublings = 0;
    h->total++;
    if (ns >= HISTOGRAM_STEPS)
        doublings = 63 - __builtin_clzll(ns) - 5;
    h->count[doublings * HISTOGRAM_STEPS + (ns >> doublings)]++;
}

static inline void histogram_merge(struct histogram *into,
                                   const struct histogram *from)
{
    int i;
    into->total += from->total;
    for (i = 0; i < HISTOGRAM_ROWS * HISTOGRAM_STEPS; i++)
        into->count[i] += from->count[i];
}

/* The least value that a share of the entries does not exceed, in us. */
static inline double histogram_at_us(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->total), seen = 0;
    int i, doublings;
    for (i = 0; i < HISTOGRAM_ROWS * HISTOGRAM_STEPS; i++) {
        seen += h->count[i];
        if (h->count[i] && seen >= wanted)
            break;
    }
    if (i == HISTOGRAM_ROWS * HISTOGRAM_STEPS)
        return 0;
    if (i < 2 * HISTOGRAM_STEPS)
        return i / 1e3;
    doublings = i / HISTOGRAM_STEPS - 1;
    return (double)((uint64_t)(i - doublings * HISTOGRAM_STEPS) << doublings) /
           1e3;
}

#endif
