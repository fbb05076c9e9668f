/*
 * figures.h - what the region has, now.
 */
#ifndef FIGURES_H
#define FIGURES_H

#include "sk_region.h"

static inline struct sk_region_figures figures(void)
{
    struct sk_region_figures now;

    sk_region_read_figures(&now);
    return now;
}

#endif
