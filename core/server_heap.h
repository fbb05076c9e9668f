/*
 * server_heap.h - the heap calls of ServerKit 2.0 (2007), on sk_heap.h.
 *
 * Layer: above sk_heap.  Names, arguments and meanings are those of its API
 * reference; the memory that SERVER_HEAP_SHRINK promised to give back is
 * given back here.
 */
#ifndef SERVER_HEAP_H
#define SERVER_HEAP_H

#include "sk_heap.h"

typedef sk_heap server_heap_t;

#define SERVER_HEAP_GROW_EXPONENTIALLY SK_HEAP_GROW_EXPONENTIALLY
#define SERVER_HEAP_UNLIMITED          SK_HEAP_UNLIMITED
#define SERVER_HEAP_SHRINK             SK_HEAP_SHRINK

static inline server_heap_t *server_heap_new(const char *label,
                                             size_t unit_size,
                                             size_t units_per_chunk,
                                             size_t maximum_units,
                                             unsigned options)
{
    return sk_heap_new(label, unit_size, units_per_chunk, maximum_units,
                       options);
}

static inline void *server_heap_unit_allocate(server_heap_t *heap)
{
    return sk_heap_unit_allocate(heap);
}

static inline void *server_heap_unit_ref(void *unit)
{
    return sk_heap_unit_ref(unit);
}

static inline void server_heap_unit_unref(void *unit)
{
    sk_heap_unit_unref(unit);
}

#endif
