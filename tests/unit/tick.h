/*
 * tick.h - lets this thread's tick come, where purge_delay is 1 ms.
 */
#ifndef TICK_H
#define TICK_H

#include "getput.h"

/* Slow paths enough, later than the delay. */
static inline void tick(void)
{
    static void *units[4096];

    sk_os_wait_ms(&(_Atomic uint32_t){0}, 0, 5);
    for (int turn = 0; turn < 4; turn++) {
        for (int i = 0; i < 4096; i++)
            units[i] = get(1024);
        for (int i = 0; i < 4096; i++)
            put(units[i]);
    }
}

#endif
