/*
 * queues.c - queues: each entry once, in the order of its producer, nobody
 * sleeps for good, and what an entry points to has arrived with it.
 */
#include "order.h"

#include "../unit/unit.h"

#include "sk_queue.h"

#include <errno.h>
#include <stdatomic.h>

/* More than two segments have room for, so that one is used again. */
enum { PRODUCERS = 2, ENTRIES = 140, SUMS = PRODUCERS * ENTRIES };

struct message {
    int producer, number;
};

static sk_queue *queue;
static sk_heap *messages;
static _Atomic int got, seen[PRODUCERS][ENTRIES];

static struct message *message_of(int producer, int number)
{
    struct message *message = sk_heap_unit_allocate(messages);

    MUST(message);
    *message = (struct message){producer, number};
    return message;
}

static int put_somehow(struct message *message)
{
    switch (order_random(3)) {
    case 0:
        return sk_queue_try_put(queue, message);
    case 1:
        return sk_queue_put_within(queue, message, 1 + order_random(3));
    default:
        return sk_queue_put(queue, message);
    }
}

static void produce(void *producer)
{
    for (int i = 0; i < ENTRIES; i++) {
        struct message *message = message_of((int)(intptr_t)producer, i);

        while (put_somehow(message) != 0)
            MUST(errno == EAGAIN || errno == ETIMEDOUT);
    }
}

static size_t get_somehow(void **into)
{
    switch (order_random(4)) {
    case 0:
        *into = sk_queue_try_get(queue);
        break;
    case 1:
        *into = sk_queue_get_within(queue, 1 + order_random(3));
        break;
    case 2:
        return sk_queue_get_many(queue, into, 3);
    default:
        *into = sk_queue_get(queue);
    }
    return *into != NULL;
}

static void consume(void *last)
{
    void *entries[3];

    for (;;) {
        size_t many = get_somehow(entries);

        if (many == 0) {
            if (errno == EPIPE)
                return;
            MUST(errno == EAGAIN || errno == ETIMEDOUT);
        }
        for (size_t i = 0; i < many; i++) {
            struct message *message = entries[i];
            int *number = (int *)last + message->producer;

            MUST(message->number > *number);
            *number = message->number;
            MUST(atomic_fetch_add(
                     &seen[message->producer][message->number], 1) == 0);
            sk_heap_unit_unref(message);
            atomic_fetch_add(&got, 1);
        }
    }
}

static void carry(size_t maximum)
{
    int makers[PRODUCERS], takers[2], last[2][PRODUCERS] = {{-1, -1}, {-1, -1}};

    messages = sk_heap_new("messages", sizeof(struct message), 16, 0,
                           SK_HEAP_UNLIMITED);
    queue = sk_queue_new("queue", maximum);
    MUST(messages && queue);
    for (int i = 0; i < 2; i++)
        takers[i] = order_start(consume, last[i]);
    for (int i = 0; i < PRODUCERS; i++)
        makers[i] = order_start(produce, (void *)(intptr_t)i);
    for (int i = 0; i < PRODUCERS; i++)
        order_join(makers[i]);
    sk_queue_close(queue);
    for (int i = 0; i < 2; i++)
        order_join(takers[i]);
    MUST(atomic_load(&got) == SUMS);
    MUST(sk_queue_destroy(queue) == 0);
    MUST(sk_heap_destroy(messages, 0) == 0);
}

static void carry_few(void)
{
    carry(2);
}

static void carry_any(void)
{
    carry(0);
}

/* Closed while producers and consumers wait: nobody stays, nothing is lost. */
static void put_until_closed(void *put)
{
    while (sk_queue_put(queue, put) == 0)
        ++*(int *)put;
    MUST(errno == EPIPE);
}

static void get_until_closed(void *taken)
{
    while (sk_queue_get(queue))
        ++*(int *)taken;
    MUST(errno == EPIPE);
}

static void close_in_between(void)
{
    int put[2] = {0}, taken[2] = {0}, ids[4];

    queue = sk_queue_new("queue", 2);
    for (int i = 0; i < 2; i++) {
        ids[2 * i] = order_start(put_until_closed, &put[i]);
        ids[2 * i + 1] = order_start(get_until_closed, &taken[i]);
    }
    while (sk_queue_length(queue) == 0 || order_random(16) > 0)
        order_wait();
    sk_queue_close(queue);
    for (int i = 0; i < 4; i++)
        order_join(ids[i]);
    MUST(put[0] + put[1] == taken[0] + taken[1]);
    MUST(sk_queue_destroy(queue) == 0);
}

static void put_three_and_close(void *unused)
{
    static int entry;

    (void)unused;
    for (int i = 0; i < 3; i++)
        MUST(sk_queue_put(queue, &entry) == 0);
    sk_queue_close(queue);
}

/* Who sees that it is closed sees what was put before. */
static void close_at_the_end(void)
{
    int taken = 0, producer;

    queue = sk_queue_new("queue", 0);
    producer = order_start(put_three_and_close, NULL);
    get_until_closed(&taken);
    MUST(taken == 3);
    order_join(producer);
    MUST(sk_queue_destroy(queue) == 0);
}

static void a_queue_of_two_carries_each_entry_once(void **state)
{
    (void)state;
    order_explore(carry_few, 60);
}

static void a_queue_without_limit_carries_each_entry_once(void **state)
{
    (void)state;
    order_explore(carry_any, 60);
}

static void closing_ends_all_waits(void **state)
{
    (void)state;
    order_explore(close_in_between, 60);
    order_explore(close_at_the_end, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_of_two_carries_each_entry_once),
        cmocka_unit_test(a_queue_without_limit_carries_each_entry_once),
        cmocka_unit_test(closing_ends_all_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
