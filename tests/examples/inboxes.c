/*
 * inboxes: a heap for each queue's messages, against one global malloc.
 *
 *   inboxes heap | malloc
 *
 * Workers send each other letters.  With a heap per inbox the report says
 * which inbox holds what, and a flood into one of them stops at its limit;
 * with malloc it is all one.  Both count the same letters.
 */
#include <sk_queue.h>

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 4, LETTERS = 20000, LIMIT = 1000 };

static int has_heaps;
static sk_heap *paper[WORKERS];
static sk_queue *inbox[WORKERS];
static uint64_t read_by[WORKERS];
static _Atomic int finished;

struct letter {
    int from, number;
    char text[100];
};

static struct letter *take_paper(int to)
{
    return has_heaps ? sk_heap_unit_allocate(paper[to])
                     : malloc(sizeof(struct letter));
}

static void throw_away(struct letter *letter)
{
    if (has_heaps)
        sk_heap_unit_unref(letter);
    else
        free(letter);
}

static int read_one(int me, int waits)
{
    struct letter *letter =
        waits ? sk_queue_get(inbox[me]) : sk_queue_try_get(inbox[me]);

    if (!letter)
        return 0;
    read_by[me] += (uint64_t)letter->number;
    throw_away(letter);
    return 1;
}

static void send(int me, int number)
{
    int to = (me + 1 + number % (WORKERS - 1)) % WORKERS;
    struct letter *letter;

    while (!(letter = take_paper(to))) /* their inbox is full */
        if (!read_one(me, 0))
            sched_yield();
    letter->from = me;
    letter->number = number;
    memset(letter->text, 'x', sizeof letter->text);
    sk_queue_put(inbox[to], letter);
}

static void *work(void *which)
{
    int me = (int)(intptr_t)which;

    for (int n = 0; n < LETTERS; n++) {
        send(me, n);
        read_one(me, 0);
    }
    finished++;
    while (finished < WORKERS) /* others may wait for room in mine */
        if (!read_one(me, 0))
            sched_yield();
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t workers[WORKERS];
    uint64_t sum = 0;

    has_heaps = argc > 1 && strcmp(argv[1], "heap") == 0;
    for (int i = 0; i < WORKERS; i++) {
        char label[32];

        snprintf(label, sizeof label, "paper of %d", i);
        paper[i] = sk_heap_new(label, sizeof(struct letter), 64, LIMIT, 0);
        inbox[i] = sk_queue_new("inbox", 0);
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, work, (void *)(intptr_t)i);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    for (int i = 0; i < WORKERS; i++) {
        sk_queue_close(inbox[i]);
        while (sk_queue_length(inbox[i]) > 0)
            read_one(i, 1);
        sum += read_by[i];
    }
    printf("letters read add up to %llu\n", (unsigned long long)sum);
    fflush(stdout);
    if (has_heaps)
        sk_heap_report(NULL, 1, SK_HEAP_TEXT);
    return 0;
}
