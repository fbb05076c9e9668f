/*
 * A table of blocks with random life times: the middle of several workloads.
 * The caller owns the table; nothing here is shared between threads.
 */
#ifndef SLOTS_H
#define SLOTS_H

#include "bench.h"

struct slot {
    void *block; /* NULL: empty */
    uint32_t size;
    uint32_t tag;
};

static inline void slot_fill(struct slot *s, size_t size, uint32_t tag)
{
    s->block = bench_malloc(size, tag);
    s->size = (uint32_t)size;
    s->tag = tag;
}

static inline void slot_empty(struct slot *s)
{
    if (s->block)
        bench_free(s->block, s->size, s->tag);
    s->block = NULL;
}

static inline void slots_empty(struct slot *all, long count)
{
    long i;
    for (i = 0; i < count; i++)
        slot_empty(&all[i]);
}

/* The memory of tables is not what is measured, but it is in RSS: keep them
 * small beside the blocks. */
static inline struct slot *slots_new(long count)
{
    struct slot *all = (struct slot *)calloc((size_t)count, sizeof *all);
    if (!all)
        bench_die(1, "no memory for %ld slots", count);
    return all;
}

#endif
