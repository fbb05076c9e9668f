/*
 * skserver over TCP: a thread for each connection reads requests and puts
 * them on the workers' queues, a second one writes the answers, so every
 * message crosses three threads.
 */
#ifndef SKTCP_H
#define SKTCP_H

#include "skwire.h"

struct connection {
    struct client client; /* first: what workers reply to */
    struct connection *next;
    pthread_t writer;
    _Atomic uint64_t received; /* UINT64_MAX until the reader has ended */
    _Atomic int is_done;
    struct outbox out;
    struct stream in, answers;
};

struct tcp_server {
    int fd;
    pthread_t acceptor;
    struct connection *connections;
    struct connection *ended; /* to be used again */
    uint64_t first_ns;        /* when the first client came */
};

/* Latency here is from the client's stamp to the answer's way out: both
 * ends have one clock. */
static int answers_write(struct connection *c, struct entry *e, int ok)
{
    uint64_t now = bench_now_ns();
    struct entry *next;
    for (; e; e = next) {
        next = e->next;
        if (e->message) {
            ok = ok && message_write(&c->answers, e->message, e->put_ns);
            histogram_add(&c->client.latency,
                          now > e->put_ns ? now - e->put_ns : 0);
            message_free(e->message);
            c->client.answered++;
        }
        free(e);
    }
    return ok && stream_flush(&c->answers);
}

/* Goes on after a failed write: what was asked is answered and freed. */
static void *writer_main(void *arg)
{
    struct connection *c = arg;
    int ok = 1;
    while (c->client.answered != atomic_load(&c->received)) {
        struct entry *e = queue_take(&c->client.answers);
        if (e)
            ok = answers_write(c, e, ok);
        else
            queue_sleep(&c->client.answers);
    }
    return NULL;
}

/* Requests go to the workers before the reader would have to wait. */
static void *reader_main(void *arg)
{
    struct connection *c = arg;
    struct message *m;
    uint64_t born_ns, sent = 0;
    c->writer = bench_start_thread(writer_main, c);
    while ((m = message_read(&c->in, &born_ns)) != NULL) {
        outbox_add(&c->out, entry_new(m, c, born_ns));
        sent++;
        if (c->in.at == c->in.end)
            outbox_put(&c->out);
    }
    outbox_put(&c->out);
    atomic_store(&c->received, sent);
    queue_put_end(&c->client.answers);
    pthread_join(c->writer, NULL);
    shutdown(c->in.fd, SHUT_RDWR);
    atomic_store(&c->is_done, 1);
    return NULL;
}

/* The end mark of the reader may still lie in the queue.  The connection is
 * kept, for a worker may yet look whether the queue it has put its last
 * answer on sleeps. */
static void connection_end(struct connection *c)
{
    pthread_join(c->client.thread, NULL);
    answers_write(c, queue_take(&c->client.answers), 0);
    histogram_merge(&latency, &c->client.latency);
    close(c->in.fd);
}

/* Collects the connections that have ended, or waits for all. */
static void connections_reap(struct tcp_server *server, int all)
{
    struct connection **at = &server->connections, *c;
    while ((c = *at) != NULL) {
        if (!all && !atomic_load(&c->is_done)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        connection_end(c);
        c->next = server->ended;
        server->ended = c;
    }
}

static struct connection *connection_new(struct tcp_server *server)
{
    struct connection *c = server->ended;
    if (!c) {
        c = aligned_alloc(64, sizeof *c);
        if (!c)
            bench_die(1, "no memory for a connection");
        memset(c, 0, sizeof *c);
        return c;
    }
    server->ended = c->next;
    c->client.answered = 0;
    memset(&c->client.latency, 0, sizeof c->client.latency);
    c->in.at = c->in.end = c->answers.at = c->answers.end = 0;
    atomic_store(&c->is_done, 0);
    return c;
}

static void connection_start(struct tcp_server *server, int fd)
{
    struct timeval patience = {2, 0};
    int yes = 1;
    struct connection *c = connection_new(server);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    c->in.fd = c->answers.fd = fd;
    atomic_store(&c->received, UINT64_MAX);
    c->next = server->connections;
    server->connections = c;
    c->client.thread = bench_start_thread(reader_main, c);
}

static void *acceptor_main(void *arg)
{
    struct tcp_server *server = arg;
    struct connection *c;
    for (;;) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && atomic_load(&stopping))
            break;
        if (fd < 0)
            continue;
        if (!server->first_ns)
            server->first_ns = bench_now_ns();
        connections_reap(server, 0);
        connection_start(server, fd);
    }
    for (c = server->connections; c; c = c->next)
        shutdown(c->in.fd, SHUT_RD);
    connections_reap(server, 1);
    return NULL;
}

static struct tcp_server *tcp_server_start(uint16_t port)
{
    static struct tcp_server server;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t length = sizeof at;
    int yes = 1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(server.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server.fd, (struct sockaddr *)&at, sizeof at) ||
        listen(server.fd, 128) ||
        getsockname(server.fd, (struct sockaddr *)&at, &length))
        bench_die(1, "cannot listen on 127.0.0.1:%u: %s", port,
                  strerror(errno));
    fprintf(stderr, "skserver: listening on 127.0.0.1:%u\n",
            ntohs(at.sin_port));
    server.acceptor = bench_start_thread(acceptor_main, &server);
    return &server;
}

/* Answers what was read, and gives the time the first client came. */
static uint64_t tcp_server_end(struct tcp_server *server, uint64_t started_ns)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->acceptor, NULL);
    close(server->fd);
    return server->first_ns ? server->first_ns : started_ns;
}

/* Once the workers have ended. */
static void tcp_server_free(struct tcp_server *server)
{
    struct connection *c;
    while ((c = server->ended) != NULL) {
        server->ended = c->next;
        free(c);
    }
}

#endif
