/*
 * heap_scene: the scene ServerKit was made for.  As many threads produce as
 * consume, each consumer from a queue of its own; every message goes to one
 * queue, in turn.
 *
 *   --queue sk      units of a heap, sk_queue
 *           many    the same, up to 64 messages per get
 *           mutex   malloc'ed messages and entries, mutex and condition
 *           urcu    malloc'ed messages and nodes, liburcu's wfcqueue
 *           ck      malloc'ed messages, libck's ring for many producers
 *
 * The last two do not block by themselves: who finds them empty, or full,
 * yields.  A library that is not there ends the program with status 77.
 */
#include "bench.h"

#include "sk_queue.h"

#include <sched.h>

#if __has_include(<urcu/wfcqueue.h>)
#define _LGPL_SOURCE
#include <urcu/wfcqueue.h>
#define HAS_URCU 1
#else
#define HAS_URCU 0
#endif

#if __has_include(<ck_ring.h>)
#include <ck_ring.h>
#define HAS_CK 1
#else
#define HAS_CK 0
#endif

enum { QUEUES_MOST = 64, ABSENT = 77, RING = 1024 };

struct message {
    uint64_t from, number;
    char text[48];
};

static const char *queue_name = "sk";
static long bound; /* of sk_queue; 0: none */
static long each; /* messages of a producer */
static uint64_t wanted[QUEUES_MOST];

static const struct bench_option own[] = {
    {"queue", BENCH_TEXT, &queue_name, 0, 0, "sk, many, mutex, urcu or ck"},
    {"bound", BENCH_WHOLE, &bound, 0, 1e9, "entries in an sk_queue"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

/* --- messages ------------------------------------------------------------- */

static void fill(struct message *message, long from, long number)
{
    if (!message)
        bench_die(1, "no message: %s", strerror(errno));
    message->from = (uint64_t)from;
    message->number = (uint64_t)number;
    memset(message->text, (int)number & 0x7f, sizeof message->text);
}

static void check(const struct message *message)
{
    if (message->text[0] != (char)(message->number & 0x7f) ||
        message->text[47] != message->text[0])
        bench_die(1, "message %" PRIu64 " of %" PRIu64 " is damaged",
                  message->number, message->from);
}

static struct message *malloced(long from, long number)
{
    struct message *message = malloc(sizeof *message);

    fill(message, from, number);
    return message;
}

/* --- sk ------------------------------------------------------------------- */

static sk_heap *heap;
static sk_queue *sk_queues[QUEUES_MOST];

static void sk_open(void)
{
    heap = sk_heap_new("message", sizeof(struct message), 512, 0,
                       SK_HEAP_UNLIMITED);
    for (long i = 0; i < bench_threads; i++)
        sk_queues[i] = sk_queue_new("inbox", (size_t)bound);
}

static void sk_put(long to, long from, long number)
{
    struct message *message = sk_heap_unit_allocate(heap);

    fill(message, from, number);
    sk_queue_put(sk_queues[to], message);
}

static void sk_consume(long index)
{
    for (uint64_t i = 0; i < wanted[index]; i++) {
        struct message *message = sk_queue_get(sk_queues[index]);

        check(message);
        sk_heap_unit_unref(message);
    }
}

static void many_consume(long index)
{
    void *into[64];

    for (uint64_t i = 0; i < wanted[index];) {
        size_t got = sk_queue_get_many(sk_queues[index], into, 64);

        for (size_t k = 0; k < got; k++) {
            check(into[k]);
            sk_heap_unit_unref(into[k]);
        }
        i += got;
    }
}

/* --- mutex ---------------------------------------------------------------- */

struct entry {
    struct entry *next;
    void *payload;
};

static struct locked {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct entry *first, **end;
} __attribute__((aligned(64))) locked[QUEUES_MOST];

static void mutex_open(void)
{
    for (long i = 0; i < bench_threads; i++) {
        pthread_mutex_init(&locked[i].mutex, NULL);
        pthread_cond_init(&locked[i].filled, NULL);
        locked[i].end = &locked[i].first;
    }
}

static void mutex_put(long to, long from, long number)
{
    struct entry *entry = malloc(sizeof *entry);

    *entry = (struct entry){NULL, malloced(from, number)};
    pthread_mutex_lock(&locked[to].mutex);
    *locked[to].end = entry;
    locked[to].end = &entry->next;
    pthread_cond_signal(&locked[to].filled);
    pthread_mutex_unlock(&locked[to].mutex);
}

static void mutex_consume(long index)
{
    struct locked *queue = &locked[index];

    for (uint64_t i = 0; i < wanted[index]; i++) {
        struct entry *entry;

        pthread_mutex_lock(&queue->mutex);
        while (!(entry = queue->first))
            pthread_cond_wait(&queue->filled, &queue->mutex);
        queue->first = entry->next;
        if (!queue->first)
            queue->end = &queue->first;
        pthread_mutex_unlock(&queue->mutex);
        check(entry->payload);
        free(entry->payload);
        free(entry);
    }
}

/* --- urcu ----------------------------------------------------------------- */

#if HAS_URCU
struct node {
    struct cds_wfcq_node node;
    void *payload;
};

static struct {
    struct cds_wfcq_tail tail __attribute__((aligned(64)));
    struct __cds_wfcq_head head __attribute__((aligned(64)));
} wfcqs[QUEUES_MOST];

static void urcu_open(void)
{
    for (long i = 0; i < bench_threads; i++)
        __cds_wfcq_init(&wfcqs[i].head, &wfcqs[i].tail);
}

static void urcu_put(long to, long from, long number)
{
    struct node *node = malloc(sizeof *node);

    cds_wfcq_node_init(&node->node);
    node->payload = malloced(from, number);
    cds_wfcq_enqueue(&wfcqs[to].head, &wfcqs[to].tail, &node->node);
}

static void urcu_consume(long index)
{
    for (uint64_t i = 0; i < wanted[index];) {
        struct cds_wfcq_node *got = __cds_wfcq_dequeue_blocking(
            &wfcqs[index].head, &wfcqs[index].tail);
        struct node *node;

        if (!got) {
            sched_yield();
            continue;
        }
        node = caa_container_of(got, struct node, node);
        check(node->payload);
        free(node->payload);
        free(node);
        i++;
    }
}
#endif

/* --- ck ------------------------------------------------------------------- */

#if HAS_CK
static struct {
    ck_ring_t ring __attribute__((aligned(64)));
    ck_ring_buffer_t buffer[RING];
} rings[QUEUES_MOST];

static void ck_open(void)
{
    for (long i = 0; i < bench_threads; i++)
        ck_ring_init(&rings[i].ring, RING);
}

static void ck_put(long to, long from, long number)
{
    struct message *message = malloced(from, number);

    while (!ck_ring_enqueue_mpsc(&rings[to].ring, rings[to].buffer, message))
        sched_yield();
}

static void ck_consume(long index)
{
    for (uint64_t i = 0; i < wanted[index];) {
        void *message;

        if (!ck_ring_dequeue_mpsc(&rings[index].ring, rings[index].buffer,
                                  &message)) {
            sched_yield();
            continue;
        }
        check(message);
        free(message);
        i++;
    }
}
#endif

/* --- the scene ------------------------------------------------------------ */

struct kind {
    const char *name;
    void (*open)(void);
    void (*put)(long to, long from, long number);
    void (*consume)(long index);
};

static const struct kind kinds[] = {
    {"sk", sk_open, sk_put, sk_consume},
    {"many", sk_open, sk_put, many_consume},
    {"mutex", mutex_open, mutex_put, mutex_consume},
#if HAS_URCU
    {"urcu", urcu_open, urcu_put, urcu_consume},
#endif
#if HAS_CK
    {"ck", ck_open, ck_put, ck_consume},
#endif
};

static const struct kind *kind;

/* The first half consumes. */
static void play(long index)
{
    long from = index - bench_threads;

    if (index < bench_threads) {
        kind->consume(index);
        return;
    }
    for (long i = 0; i < each; i++)
        kind->put((from + i) % bench_threads, from, i);
}

int main(int argc, char **argv)
{
    uint64_t started;

    bench_threads = 8;
    bench_options(argc, argv, "heap_scene",
                  "as many producers as consumers with a queue each", own);
    if (bench_threads > QUEUES_MOST)
        bench_die(BENCH_USAGE, "at most %d threads", QUEUES_MOST);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, queue_name) == 0)
            kind = &kinds[i];
    if (!kind)
        bench_die(ABSENT, "no queue '%s' on this machine", queue_name);
    each = bench_scaled(2e5, 100);
    for (long from = 0; from < bench_threads; from++)
        for (long i = 0; i < each; i++)
            wanted[(from + i) % bench_threads]++;
    kind->open();
    started = bench_now_ns();
    bench_run(2 * bench_threads, play);
    bench_report((double)each * (double)bench_threads, started);
    return 0;
}
