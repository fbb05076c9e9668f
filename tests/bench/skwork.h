/*
 * The middle of skserver: clients ask, workers answer.  A client is a
 * producer thread of this process or a TCP connection; a worker cannot tell.
 */
#ifndef SKWORK_H
#define SKWORK_H

#include <signal.h>

#include "bench.h"
#include "histogram.h"
#include "skmessage.h"
#include "skqueue.h"

enum { MAX_WORKERS = 256, MAX_PRODUCERS = 256, MAX_DEPTH = 1 << 20 };

static long producers = 4;
static long workers = 4;
static long depth = 256;
static long messages_wanted;

/* Whoever sends requests and is answered.  `sent` and `answered` belong to
 * the threads of the client; workers touch `answers` alone. */
struct client {
    struct queue answers;
    long index;
    pthread_t thread;
    uint64_t sent, answered;
    struct histogram latency;
};

static struct queue requests[MAX_WORKERS];
static pthread_t worker_threads[MAX_WORKERS];
static _Atomic int stopping;
static _Atomic long clients_at_work;
static struct histogram latency;

/* Requests of one client, one string for each worker, until they are put. */
struct outbox {
    struct string to[MAX_WORKERS];
};

/* Messages spread over the workers by a hash of their number. */
static inline void outbox_add(struct outbox *out, struct entry *e)
{
    uint64_t hash = e->message->id * 0x9e3779b97f4a7c15u;
    string_add(&out->to[((hash >> 32) * (uint64_t)workers) >> 32], e);
}

static inline void outbox_put(struct outbox *out)
{
    long i;
    for (i = 0; i < workers; i++)
        queue_put(&requests[i], &out->to[i]);
}

/* Answers E and frees it; the answer goes on S, which is for one client. */
static void answer(struct entry *e, struct string *s)
{
    struct client *to = e->reply_to;
    uint64_t id = e->message->id, put_ns = e->put_ns;
    message_free(e->message);
    free(e);
    string_add(s, entry_new(message_new(id, 1), to, put_ns));
}

static void *worker_main(void *arg)
{
    struct queue *mine = arg;
    for (;;) {
        struct entry *e = queue_take(mine), *next;
        struct string s = {NULL, NULL};
        struct client *to = NULL;
        if (!e)
            queue_sleep(mine);
        for (; e; e = next) {
            next = e->next;
            if (s.newest && (!e->message || e->reply_to != to))
                queue_put(&to->answers, &s);
            if (!e->message) {
                free(e);
                return NULL;
            }
            to = e->reply_to;
            answer(e, &s);
        }
        if (s.newest)
            queue_put(&to->answers, &s);
    }
}

static void workers_start(void)
{
    long i;
    for (i = 0; i < workers; i++)
        worker_threads[i] = bench_start_thread(worker_main, &requests[i]);
}

/* Every client has ended: the end mark is the last of each queue. */
static void workers_end(void)
{
    long i;
    for (i = 0; i < workers; i++)
        queue_put_end(&requests[i]);
    for (i = 0; i < workers; i++)
        pthread_join(worker_threads[i], NULL);
}

/* The last client at work tells main, which waits for signals. */
static void client_ends(void)
{
    if (atomic_fetch_sub(&clients_at_work, 1) == 1)
        kill(getpid(), SIGUSR1);
}

/* How many messages of --messages are this client's. */
static uint64_t share_of(const struct client *c)
{
    uint64_t all = (uint64_t)messages_wanted, n = (uint64_t)producers;
    if (!messages_wanted)
        return UINT64_MAX;
    return all / n + ((uint64_t)c->index < all % n);
}

static uint64_t first_id_of(const struct client *c)
{
    return ((uint64_t)bench_seed << 40) + ((uint64_t)c->index << 32);
}

/* Room for one more on its way, and one more to send? */
static int has_more(const struct client *c, uint64_t share)
{
    return c->sent - c->answered < (uint64_t)depth && c->sent < share;
}

#endif
