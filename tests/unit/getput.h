/*
 * getput.h - what malloc and free do, without libc behind them.
 */
#ifndef GETPUT_H
#define GETPUT_H

#include "sk_state.h"

static inline void *get(size_t bytes)
{
    void *p = sk_state_alloc_hit(bytes);

    return p ? p : sk_state_alloc_slow(bytes);
}

/* Of this very class, as an aligned request is served. */
static inline void *get_exact(size_t bytes)
{
    void *p = sk_state_alloc_hit(bytes);

    return p ? p : sk_state_alloc_unit(sk_class_slot(bytes));
}

static inline void put(void *p)
{
    enum sk_freed freed = sk_state_free_hit(p);

    if (freed == SK_FREE_FOREIGN)
        sk_die("put(): %p is none of ours", p);
    if (freed == SK_FREE_SLOW)
        sk_state_free_slow(p);
}

/* A list, linked by the first word of each. */
static inline void put_list(void *list)
{
    while (list) {
        void *next = *(void **)list;

        put(list);
        list = next;
    }
}

/* What a group sets up for its tests: a region, and a state of this thread. */
static inline int open_once(void **state)
{
    (void)state;
    sk_state_open((uint64_t)1 << 30);
    put(get(16));
    return sk_self->id ? 0 : -1;
}

#endif
