/*
 * A pipe of blocks from one thread to one other: a ring of crates, each with
 * up to 64 blocks, so that passing costs little beside malloc and free.  What
 * it may hold bounds the live set.
 */
#ifndef PIPE_H
#define PIPE_H

#include <sched.h>
#include <stdatomic.h>

#include "slots.h"

enum { CRATE_BLOCKS = 64, PIPE_CRATES = 16 };

struct crate {
    long count; /* 0: the end, nothing comes after it */
    struct slot block[CRATE_BLOCKS];
};

struct pipe {
    _Alignas(64) _Atomic uint64_t put;
    _Alignas(64) _Atomic uint64_t taken;
    struct crate crate[PIPE_CRATES];
};

static inline int pipe_is_full(const struct pipe *p)
{
    return atomic_load_explicit(&p->put, memory_order_relaxed) -
               atomic_load_explicit(&p->taken, memory_order_acquire) ==
           PIPE_CRATES;
}

static inline int pipe_is_empty(const struct pipe *p)
{
    return atomic_load_explicit(&p->put, memory_order_acquire) ==
           atomic_load_explicit(&p->taken, memory_order_relaxed);
}

/* The crate to be filled; waits for room. */
static inline struct crate *pipe_room(struct pipe *p)
{
    while (pipe_is_full(p))
        sched_yield();
    return &p->crate[atomic_load_explicit(&p->put, memory_order_relaxed) %
                     PIPE_CRATES];
}

static inline void pipe_put(struct pipe *p)
{
    atomic_fetch_add_explicit(&p->put, 1, memory_order_release);
}

static inline void pipe_end(struct pipe *p)
{
    pipe_room(p)->count = 0;
    pipe_put(p);
}

/* Frees the blocks of one crate; 0 when it was the end mark. */
static inline int pipe_drain_one(struct pipe *p)
{
    uint64_t at = atomic_load_explicit(&p->taken, memory_order_relaxed);
    struct crate *c = &p->crate[at % PIPE_CRATES];
    long count = c->count;
    slots_empty(c->block, count);
    atomic_store_explicit(&p->taken, at + 1, memory_order_release);
    return count > 0;
}

/* The sizes of the two halves of a run: a fixed one, then a mix. */
static inline size_t pipe_size(struct bench_rng *rng, int is_mixed)
{
    return is_mixed ? bench_between(rng, 16, 2048) : 128;
}

static inline void crate_fill(struct crate *c, struct bench_rng *rng,
                              int is_mixed, uint32_t tag)
{
    long i;
    for (i = 0; i < CRATE_BLOCKS; i++)
        slot_fill(&c->block[i], pipe_size(rng, is_mixed), tag + (uint32_t)i);
    c->count = CRATE_BLOCKS;
}

#endif
