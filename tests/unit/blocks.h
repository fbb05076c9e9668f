/*
 * blocks.h - blocks that grew, and what is in them.
 */
#ifndef BLOCKS_H
#define BLOCKS_H

#include "child.h"

#include "sk_grown.h"

enum { KIB = 1 << 10, MIB = 1 << 20, REGION_BYTES = 256 * MIB };

static inline struct sk_grown_figures figures(void)
{
    struct sk_grown_figures now;
    struct sk_state *self = sk_state_hide();

    sk_grown_read_figures(&now);
    sk_state_show(self);
    return now;
}

static inline void open_heaps(void)
{
    sk_state_open(REGION_BYTES);
    REQUIRE(sk_region_map);
}

/* Some bytes of every line: a sanitizer would take minutes for all. */
enum { STRIDE = 37 };

static inline void fill(void *p, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i += STRIDE)
        ((unsigned char *)p)[i] = (unsigned char)(seed * 31 + i * 7 + i / 4096);
}

static inline bool is_filled(const void *p, size_t bytes, unsigned seed)
{
    const unsigned char *byte = p;
    size_t i = 0;

    while (i < bytes &&
           byte[i] == (unsigned char)(seed * 31 + i * 7 + i / 4096))
        i += STRIDE;
    return i >= bytes;
}

static inline char *grown(size_t bytes, unsigned seed)
{
    char *p = sk_grown_alloc(bytes);

    REQUIRE(p && sk_region_has(p) && sk_grown_has(p));
    REQUIRE(sk_grown_usable(p) >= bytes);
    fill(p, sk_grown_usable(p), seed);
    return p;
}

#endif
