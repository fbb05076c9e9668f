/*
 * races.c - plain accesses, and whether something orders them.
 *
 * Of each eight bytes the last few accesses are known, by thread and time.  Two
 * of which one is a write, and one is plain, must be ordered.
 */
#include "order_parts.h"

#include <stdlib.h>

enum { PLACES = 1 << 18, KEPT = 4 };

struct seen {
    const void *from;
    uint32_t time;
    uint8_t thread, bytes; /* a bit for each byte; 0: none yet */
    bool is_write, is_atomic;
};

static struct place {
    uintptr_t at; /* address / 8 */
    struct seen seen[KEPT];
} *places;
static uint32_t used;

static struct place *find(uintptr_t at)
{
    size_t i = at * 0x9e3779b97f4a7c15u >> 46;

    if (!places)
        places = calloc(PLACES, sizeof *places);
    while (places[i % PLACES].at && places[i % PLACES].at != at)
        i++;
    return &places[i % PLACES];
}

static bool is_ordered(const struct seen *seen)
{
    return seen->thread == order_self() ||
           seen->time <= order_mind()->now.times.of[seen->thread];
}

static void must_be_ordered(const struct place *place, const struct seen *seen,
                            const struct seen *now)
{
    if (!(seen->bytes & now->bytes) || !(seen->is_write || now->is_write) ||
        (seen->is_atomic && now->is_atomic) || is_ordered(seen))
        return;
    order_say("thread %d %s at %p and thread %d %s at %p: %p\n", seen->thread,
              seen->is_write ? "wrote" : "read", seen->from, order_self(),
              now->is_write ? "wrote" : "read", now->from,
              (void *)(place->at * 8));
    order_fail(__FILE__, __LINE__, "two accesses that nothing orders");
}

/* Over one of the same thread and kind, a free place, or any. */
static void note(struct place *place, const struct seen *now)
{
    struct seen *into = &place->seen[order_random(KEPT)];

    for (int i = KEPT - 1; i >= 0; i--) {
        struct seen *seen = &place->seen[i];

        if (!seen->bytes ||
            (seen->thread == now->thread && seen->bytes == now->bytes &&
             seen->is_write == now->is_write &&
             seen->is_atomic == now->is_atomic))
            into = seen;
    }
    *into = *now;
}

static void access(uintptr_t at, struct seen *now)
{
    struct place *place = find(at);

    if (!place->at) {
        if (++used > PLACES / 2)
            order_fail(__FILE__, __LINE__, "too much memory for one scene");
        place->at = at;
    }
    for (int i = 0; i < KEPT; i++)
        must_be_ordered(place, &place->seen[i], now);
    note(place, now);
}

void order_access(const void *p, size_t bytes, bool is_write, bool is_atomic,
                  const void *from)
{
    uintptr_t at = (uintptr_t)p, end = at + bytes;

    while (at < end) {
        uintptr_t next = at / 8 * 8 + 8;
        uintptr_t to = next < end ? next : end;
        struct seen now = {
            .from = from,
            .time = order_mind()->now.times.of[order_self()],
            .thread = (uint8_t)order_self(),
            .bytes = (uint8_t)(((1u << (to - at)) - 1) << at % 8),
            .is_write = is_write,
            .is_atomic = is_atomic,
        };

        access(at / 8, &now);
        at = next;
    }
}

/* A purge is a write to all that was ever touched there. */
void order_purge(const void *start, size_t bytes, const void *from)
{
    uintptr_t first = (uintptr_t)start / 8;

    for (uintptr_t at = first; at < first + bytes / 8; at++)
        if (find(at)->at)
            order_access((const void *)(at * 8), 8, true, false, from);
}

/* --- what the compiler calls ---------------------------------------------- */

#define FROM __builtin_return_address(0)

#define ACCESS(name, bytes)                                                    \
    void __tsan_read##name(void *p)                                            \
    {                                                                          \
        order_access(p, bytes, false, false, FROM);                            \
    }                                                                          \
    void __tsan_write##name(void *p)                                           \
    {                                                                          \
        order_access(p, bytes, true, false, FROM);                             \
    }

ACCESS(1, 1)
ACCESS(2, 2)
ACCESS(4, 4)
ACCESS(8, 8)
ACCESS(16, 16)

void __tsan_read_range(void *p, size_t bytes)
{
    order_access(p, bytes, false, false, FROM);
}

void __tsan_write_range(void *p, size_t bytes)
{
    order_access(p, bytes, true, false, FROM);
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *from)
{
    (void)from;
}

void __tsan_func_exit(void)
{
}
