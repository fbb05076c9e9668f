/*
 * random.h - numbers that look random and are the same in every run.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>

static inline uint32_t next_random(uint32_t *seed)
{
    return (*seed = *seed * 1664525 + 1013904223) >> 8;
}

#endif
