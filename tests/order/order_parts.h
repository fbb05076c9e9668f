/*
 * order_parts.h - what the files of the run-time share.
 *
 * schedule.c has the threads, kernel.c the kernel, memory.c what a load may
 * return, races.c which plain accesses nothing orders.
 */
#ifndef ORDER_PARTS_H
#define ORDER_PARTS_H

#include "order.h"

/* Times of threads: what has happened before. */
struct order_times {
    uint32_t of[ORDER_THREADS];
};

static inline void order_times_join(struct order_times *to,
                                    const struct order_times *from)
{
    for (int i = 0; i < ORDER_THREADS; i++)
        if (to->of[i] < from->of[i])
            to->of[i] = from->of[i];
}

/* How much of each word's history is over: the number of its oldest store that
 * may still be read, 0 where there is none. */
struct order_view {
    uint32_t words;
    uint32_t *least;
};

/* What a thread knows; the parts of it that a fence has to come for. */
struct order_knowledge {
    struct order_times times;
    struct order_view view;
};

struct order_mind {
    struct order_knowledge now;
    struct order_knowledge acquired; /* by relaxed loads: for a fence */
    struct order_knowledge released; /* by the last fence: for relaxed stores */
};

/* The running thread's. */
struct order_mind *order_mind(void);
struct order_mind *order_mind_of(int thread);
int order_self(void);

/* How many there were at a time. */
int order_threads(void);

/* Another thread may go on here. */
void order_step(void);

/* Sleeps until somebody wakes the word, or the time is over; whether it was
 * woken.  Wakes so many at most, any of those that sleep: the kernel's order is
 * nobody's business; how many. */
bool order_sleep(const void *word, bool is_timed);
int order_wake(const void *word, uint32_t most);

/* A new thread begins with what its maker knows, and who joins it knows what
 * it did. */
void order_hand_over(int to, int from);

/* All threads pass a barrier. */
void order_barrier(int threads);

/* The value that a word has by now. */
uint32_t order_latest(const void *word);

/* Checks an access of the running thread against earlier ones. */
void order_access(const void *at, size_t bytes, bool is_write, bool is_atomic,
                  const void *from);

/* The content of pages is gone. */
void order_purge(const void *start, size_t bytes, const void *from);

bool order_is_traced(void);
void order_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
