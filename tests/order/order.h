/*
 * order.h - runs a scene of a few threads in many orders, on a processor that
 * is as weak as C11 allows, or nearly.
 *
 * Core and scene are compiled as for ThreadSanitizer, but its run-time is ours:
 * one thread runs at a time, each atomic operation may be followed by another
 * thread's, and a load may return an older value of its word wherever C11 says
 * so.  x86 never does that, aarch64 does.  What a seed did it does again.
 *
 *   ORDER_SEEDS=5000 build/order/unit/NAME        more of them than in CI
 *   ORDER_SEED=17 ORDER_TRACE=1 build/order/unit/NAME   one, step by step
 *
 * Left out: loads that see stores from their own future, and stores of one word
 * that threads see in an order other than that of their execution.  The kernel
 * is taken for a full barrier nowhere but in membarrier.
 */
#ifndef ORDER_H
#define ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ORDER_THREADS = 8 }; /* the scene's first one included */

/* Runs the scene once for each seed, in a process of its own; fails the cmocka
 * test that calls it, with the first seed that failed. */
void order_explore(void (*scene)(void), unsigned seeds);

/* Does one of so many seeds fail?  Says nothing of it. */
bool order_fails(void (*scene)(void), unsigned seeds);

/* A thread of the scene, from 1 on. */
int order_start(void (*body)(void *), void *with);
void order_join(int thread);

/* Lets the others go on. */
void order_wait(void);

/* A number below `most`, by the seed. */
uint32_t order_random(uint32_t most);

/* Ends the scene as failed. */
_Noreturn void order_fail(const char *file, int line, const char *what);
#define MUST(what) ((what) ? (void)0 : order_fail(__FILE__, __LINE__, #what))

#endif
