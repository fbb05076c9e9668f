/*
 * skserver: a message server as they are written every day, and the load for
 * comparing allocators.  It knows nothing of the shim.
 *
 * Producers allocate messages and queue entries and put them on the queues of
 * workers; workers check and free them, allocate an answer and put that on
 * the producer's own queue.  So every block is freed by another thread than
 * the one that allocated it, and both sides allocate.
 *
 *   producer 0 ──┐  requests  ┌── worker 0 ──┐  answers
 *   producer 1 ──┼───────────>┼── worker 1 ──┼─────────> who asked
 *   producer 2 ──┘            └── worker 2 ──┘
 *
 * With --listen the producers are TCP connections (sktcp.h), and --connect is
 * the load generator for it (skload.h).  skwork.h has the workers,
 * skmessage.h what they carry, skqueue.h the queues.
 */
#define _GNU_SOURCE
#include "bench.h"
#include "histogram.h"
#include "skload.h"
#include "skmessage.h"
#include "skqueue.h"
#include "sktcp.h"
#include "skwork.h"

static double seconds = -1;
static long listen_port = -1;
static long connect_port = -1;

static const struct bench_option options[] = {
    {"producers", BENCH_WHOLE, &producers, 1, MAX_PRODUCERS,
     "threads that send (connections, with --connect)"},
    {"workers", BENCH_WHOLE, &workers, 1, MAX_WORKERS, "threads that answer"},
    {"sizes", BENCH_TEXT, &sizes_text, 0, 0,
     "of the parts of a message [64,256,1024,4096]"},
    {"parts", BENCH_WHOLE, &parts_per_message, 1, MAX_PARTS,
     "allocations of a message beside header and queue entry"},
    {"depth", BENCH_WHOLE, &depth, 1, MAX_DEPTH,
     "messages a producer has on their way"},
    {"seconds", BENCH_REAL, &seconds, 0, 1e6,
     "to run; 0: until SIGTERM [5; --listen, --messages: 0]"},
    {"messages", BENCH_WHOLE, &messages_wanted, 0, 1e15,
     "to send in all; 0: no limit"},
    {"listen", BENCH_WHOLE, &listen_port, 0, 65535,
     "serve TCP on 127.0.0.1; port 0 picks one and says which"},
    {"connect", BENCH_WHOLE, &connect_port, 1, 65535,
     "be the load generator of a --listen server"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

/* --- producers in this process -------------------------------------------- */

/* Sends until DEPTH messages are on their way. */
static void producer_send(struct client *c, struct outbox *out)
{
    uint64_t share = share_of(c), now = bench_now_ns();
    while (has_more(c, share)) {
        uint64_t id = first_id_of(c) + c->sent++;
        outbox_add(out, entry_new(message_new(id, 0), c, now));
    }
    outbox_put(out);
}

/* Takes what was answered; sleeps where there is nothing. */
static void producer_receive(struct client *c)
{
    struct entry *e = queue_take(&c->answers), *next;
    uint64_t now;
    if (!e) {
        queue_sleep(&c->answers);
        return;
    }
    now = bench_now_ns();
    for (; e; e = next) {
        next = e->next;
        histogram_add(&c->latency, now - e->put_ns);
        message_free(e->message);
        free(e);
        c->answered++;
    }
}

static void *producer_main(void *arg)
{
    struct client *c = arg;
    struct outbox out;
    memset(&out, 0, sizeof out);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        producer_send(c, &out);
        if (c->sent == c->answered)
            break;
        producer_receive(c);
    }
    while (c->answered < c->sent)
        producer_receive(c);
    client_ends();
    return NULL;
}

/* --- the run -------------------------------------------------------------- */

/* Waits for SIGTERM, SIGINT, the end of the clients or of the time. */
static void wait_for_the_end(const sigset_t *signals)
{
    struct timespec t;
    t.tv_sec = (time_t)seconds;
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    while ((seconds > 0 ? sigtimedwait(signals, NULL, &t)
                        : sigwaitinfo(signals, NULL)) < 0 &&
           errno == EINTR)
        ;
    atomic_store(&stopping, 1);
}

static void clients_run(void *(*body)(void *), const sigset_t *signals)
{
    static struct client clients[MAX_PRODUCERS];
    long i;
    atomic_store(&clients_at_work, producers);
    for (i = 0; i < producers; i++) {
        clients[i].index = i;
        clients[i].thread = bench_start_thread(body, &clients[i]);
    }
    wait_for_the_end(signals);
    for (i = 0; i < producers; i++) {
        pthread_join(clients[i].thread, NULL);
        histogram_merge(&latency, &clients[i].latency);
    }
}

static void report(double elapsed)
{
    double rate = (double)latency.total / elapsed;
    double p50 = histogram_at_us(&latency, 0.5);
    double p99 = histogram_at_us(&latency, 0.99);
    double p999 = histogram_at_us(&latency, 0.999);
    long peak = bench_peak_rss_kib(RUSAGE_SELF);
    if (bench_json)
        printf("{\"workload\":\"skserver\",\"producers\":%ld,"
               "\"workers\":%ld,\"sizes\":[%s],\"parts\":%ld,\"depth\":%ld,"
               "\"seed\":%ld,\"ops\":%" PRIu64 ",\"seconds\":%.6f,"
               "\"messages_per_s\":%.1f,\"p50_us\":%.3f,\"p99_us\":%.3f,"
               "\"p99_9_us\":%.3f,\"peak_rss_kib\":%ld}\n",
               producers, workers, sizes_text, parts_per_message, depth,
               bench_seed, latency.total, elapsed, rate, p50, p99, p999, peak);
    else
        printf("%" PRIu64 " messages in %.3f s\n%.0f messages/s\n"
               "latency  p50 %.1f us  p99 %.1f us  p99.9 %.1f us\n"
               "peak RSS %.1f MiB\n",
               latency.total, elapsed, rate, p50, p99, p999,
               (double)peak / 1024);
}

/* SIGTERM, SIGINT and the clients' own SIGUSR1 are waited for, never
 * delivered: a server that is told to end still reports. */
static void signals_block(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
}

static void options_read(int argc, char **argv)
{
    const struct bench_option *tables[] = {options, bench_common, NULL};
    bench_options_of(argc, argv, "skserver",
                     "A message server and its load in one process.", tables);
    sizes_parse();
    if (listen_port >= 0 && connect_port >= 0)
        bench_die(BENCH_USAGE, "--listen and --connect are two programs");
    if (listen_port >= 0 && messages_wanted)
        bench_die(BENCH_USAGE, "--messages is for the side that sends");
    if (seconds < 0)
        seconds = listen_port >= 0 || messages_wanted ? 0 : 5;
}

int main(int argc, char **argv)
{
    sigset_t signals;
    struct tcp_server *server = NULL;
    uint64_t started;

    options_read(argc, argv);
    signals_block(&signals);
    started = bench_now_ns();
    if (connect_port >= 0) {
        tcp_load_port = (uint16_t)connect_port;
        clients_run(tcp_load_main, &signals);
    } else if (listen_port >= 0) {
        workers_start();
        server = tcp_server_start((uint16_t)listen_port);
        wait_for_the_end(&signals);
        started = tcp_server_end(server, started);
        workers_end();
        tcp_server_free(server);
    } else {
        workers_start();
        clients_run(producer_main, &signals);
        workers_end();
    }
    report((double)(bench_now_ns() - started) / 1e9);
    return atomic_load(&tcp_unanswered) ? 1 : 0;
}
