/*
 * fanout: one message, several queues, a reference for each.
 *
 * A reader hands every message to a logger, a counter and a printer without
 * copying it; whoever is last to look at it frees it.
 */
#include <sk_queue.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { READERS = 3, MESSAGES = 10000 };

struct message {
    int number;
    char text[60];
};

static sk_queue *inboxes[READERS];
static uint64_t sums[READERS];

static void *read_inbox(void *which)
{
    struct message *message;
    int i = (int)(intptr_t)which;

    while ((message = sk_queue_get(inboxes[i]))) {
        sums[i] += (uint64_t)message->number + strlen(message->text);
        sk_heap_unit_unref(message);
    }
    return NULL;
}

int main(void)
{
    sk_heap *messages = sk_heap_new("message", sizeof(struct message), 256,
                                    4096, SK_HEAP_SHRINK);
    pthread_t readers[READERS];

    for (int i = 0; i < READERS; i++) {
        inboxes[i] = sk_queue_new("inbox", 512);
        pthread_create(&readers[i], NULL, read_inbox, (void *)(intptr_t)i);
    }
    for (int n = 0; n < MESSAGES; n++) {
        struct message *message = sk_heap_unit_allocate(messages);

        if (!message)
            return 1;
        message->number = n;
        snprintf(message->text, sizeof message->text, "message %d", n);
        for (int i = 0; i < READERS; i++)
            sk_queue_put(inboxes[i], sk_heap_unit_ref(message));
        sk_heap_unit_unref(message); /* our own */
    }
    for (int i = 0; i < READERS; i++) {
        sk_queue_close(inboxes[i]);
        pthread_join(readers[i], NULL);
        sk_queue_destroy(inboxes[i]);
        printf("reader %d: %llu\n", i, (unsigned long long)sums[i]);
    }
    printf("still out: %ld\n", sk_heap_destroy(messages, 0));
    return 0;
}
