/*
 * sk_os_lock.c - who finds a lock held waits for it.
 *
 * Layer: lowest.  All spins are short and bounded: on few cores the holder is
 * as likely not running at all, and waiting for it by spinning is what
 * livelocks (failures.md 31).
 */
#include "sk_os.h"

#include <sched.h>

#define SPINS 64

/* Of who waits for a brief lock, before it sleeps. */
#define BRIEF_SPINS  64
#define BRIEF_YIELDS 4

/* At a lock, for figures, a millisecond each. */
#define LOOK_WAITS 100

_Atomic uint64_t sk_lock_waits;

bool sk_lock_to_look(struct sk_lock *lock)
{
    if (sk_lock_try(lock))
        return true;
    for (int i = 0; i < LOOK_WAITS; i++) {
        if (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) == 0)
            return true;
        sk_os_wait_ms(&lock->word, 2, 1);
    }
    return false;
}

void sk_lock_slow(struct sk_lock *lock)
{
    atomic_fetch_add_explicit(&sk_lock_waits, 1, memory_order_relaxed);
    for (int spin = 0; spin < SPINS; spin++)
        if (sk_lock_try(lock))
            return;
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        sk_os_wait(&lock->word, 2);
}

void sk_brief_slow(struct sk_brief *lock)
{
    atomic_fetch_add_explicit(&sk_lock_waits, 1, memory_order_relaxed);
    for (int turn = 0;; turn++) {
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
            sk_brief_try(lock))
            return;
        if (turn >= BRIEF_SPINS + BRIEF_YIELDS)
            sk_os_wait_ms(&lock->word, 1, 1);
        else if (turn >= BRIEF_SPINS)
            sched_yield();
    }
}
