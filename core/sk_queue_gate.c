/*
 * sk_queue_gate.c - where threads wait at a queue.
 *
 * Layer: with sk_queue.  Why nobody sleeps for good: see README.md.
 */
#define SK_HEAP_NO_INLINE
#include "sk_queue_parts.h"

#define NS_PER_MS 1000000

/* The event first: who is on the count after an event then sleeps only if
 * nothing happened since it. */
uint32_t sk_gate_enter(struct sk_gate *gate)
{
    uint32_t event = atomic_load(&gate->event);

    atomic_fetch_add(&gate->sleepers, 1);
    return event;
}

static bool take_sleeper(struct sk_gate *gate)
{
    uint32_t sleepers = atomic_load(&gate->sleepers);

    while (sleepers > 0)
        if (atomic_compare_exchange_weak(&gate->sleepers, &sleepers,
                                         sleepers - 1))
            return true;
    return false;
}

/* Who enters between the first two lines need not sleep, and leaves a count
 * too many. */
void sk_gate_open(struct sk_gate *gate)
{
    atomic_store(&gate->sleepers, 0);
    atomic_fetch_add(&gate->event, 1);
    sk_os_wake(&gate->event, INT32_MAX);
}

/* Off the count before the event: after it, the count taken could be that of
 * one who came later, who would sleep on in spite of the wake and whom nobody
 * would look for. */
bool sk_gate_wake_one_slow(struct sk_gate *gate)
{
    if (!take_sleeper(gate))
        return false;
    atomic_fetch_add(&gate->event, 1);
    sk_os_wake(&gate->event, 1);
    return true;
}

/* For who entered and does not sleep (any more), but was not woken.  Without
 * an event every count off was taken for a wake that is still to come, and one
 * of those who stay may lose theirs for ours.  With an event ours may be the
 * one that was taken off, and then this one was another's, whom no wake will
 * find: all look again. */
void sk_gate_leave(struct sk_gate *gate, uint32_t event)
{
    take_sleeper(gate);
    if (atomic_load(&gate->event) != event)
        sk_gate_open(gate);
}

uint64_t sk_gate_deadline(uint64_t milliseconds)
{
    return milliseconds == SK_GATE_FOREVER
               ? SK_GATE_FOREVER
               : sk_os_now_ns() + milliseconds * NS_PER_MS;
}

/* Milliseconds left until a deadline, the last one begun counts: nobody wakes
 * early. */
static uint64_t time_left(uint64_t deadline)
{
    uint64_t now = sk_os_now_ns();

    return now < deadline ? (deadline - now + NS_PER_MS - 1) / NS_PER_MS : 0;
}

/* The kernel may wake one who came after the event instead of one it was meant
 * for: it has the wake then, and looks, and the other one has its count. */
bool sk_gate_sleep(struct sk_gate *gate, uint32_t event, uint64_t deadline)
{
    bool is_woken = false;
    uint64_t left;

    atomic_fetch_add_explicit(&gate->sleeps, 1, memory_order_relaxed);
    while (!is_woken && atomic_load(&gate->event) == event) {
        if (deadline == SK_GATE_FOREVER) {
            is_woken = sk_os_wait(&gate->event, event);
            continue;
        }
        left = time_left(deadline);
        if (left == 0) {
            sk_gate_leave(gate, event);
            return false;
        }
        is_woken = sk_os_wait_ms(&gate->event, event, left);
    }
    return true;
}
