/*
 * sk_depot.h - magazines that threads hand to each other.
 *
 * Layer: above sk_state.
 *
 * A magazine is a list of free units of one class, of any chunks, and their
 * number.  A thread whose bin overflows twice puts one into the class's depot;
 * a thread that needs units looks there before it cuts fresh ones.  So what
 * one thread frees another one hands out, for one atomic exchange each, and
 * nobody walks a list or touches a chunk; and threads together need no more
 * memory than the units that are out, plus what bins and depots may hold.
 *
 * A depot is a few words, each a magazine or 0.  It is filled from below and
 * emptied from above, so what is in the lower ones waits longest; what is
 * found twice by sk_depot_reap goes home.  To its chunk a unit in a depot is
 * out, like one in a bin.
 *
 * Only classes whose units fill a cache line have one: smaller units would
 * carry the line they share to another thread.  Nor has a process of one
 * thread, which has nobody to hand anything to, nor one with purge_delay:0.
 *
 * Threads: any, at any time.  No lock, so nothing to put right after a fork:
 * a child lacks the magazines that other threads had in their hands.
 */
#ifndef SK_DEPOT_H
#define SK_DEPOT_H

#include "sk_state.h"

struct sk_magazine {
    void *list; /* NULL: none */
    uint32_t units;
};

/* Puts a magazine in, if its class has a depot with room; else it is left in
 * *magazine.  One that is `part` times as large as others finds so much fewer
 * places. */
void sk_depot_put(const struct sk_heap *heap, struct sk_magazine *magazine,
                  uint32_t part);

/* Takes a magazine, or about `most` units off a larger one.  False when there
 * is none. */
bool sk_depot_take(const struct sk_heap *heap, uint32_t most,
                   struct sk_magazine *magazine);

/* Takes a magazine that lies there since the last call at least, or with
 * `is_all` any, starting with *at, which begins at 0; marks the others as
 * lying.  False when there is no more. */
bool sk_depot_reap(const struct sk_heap *heap, bool is_all, uint32_t *at,
                   struct sk_magazine *magazine);

/* Units in a class's depot; exact while nobody uses it. */
uint32_t sk_depot_units(uint32_t class);

/* Cuts `units` off the head of a longer list. */
struct sk_magazine sk_magazine_cut(struct sk_magazine *from, uint32_t units);

#endif
