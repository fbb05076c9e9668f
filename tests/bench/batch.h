/*
 * batch.h - a request that builds a small structure and drops it.
 */
#ifndef BATCH_H
#define BATCH_H

#include "bench.h"

enum { BATCH_BLOCKS = 500 };

/* So many mallocs, then as many frees in the order of their birth; ROUND is a
 * number that no other round of the workload has. */
static inline void batch_round(size_t size, uint64_t round)
{
    uint64_t tag = round * BATCH_BLOCKS;
    void *block[BATCH_BLOCKS];
    uint64_t i;
    for (i = 0; i < BATCH_BLOCKS; i++)
        block[i] = bench_malloc(size, tag + i);
    for (i = 0; i < BATCH_BLOCKS; i++)
        bench_free(block[i], size, tag + i);
}

#endif
