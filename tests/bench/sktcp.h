/*
 * skserver over TCP.  Server: a thread for each connection reads requests and
 * puts them on the workers' queues, a second one writes the answers, so every
 * message crosses three threads.  Load generator: one thread a connection,
 * whose buffers are fixed, so only the server's allocator is measured.
 *
 * On the wire a message is a frame, its sizes and its parts, in the byte order
 * of the machine: both ends run on one.
 */
#ifndef SKTCP_H
#define SKTCP_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "skwork.h"

enum { STREAM_BYTES = 1 << 16, FRAME_MAGIC = 0x736b6d31 };

struct frame {
    uint32_t magic, full, parts, spare;
    uint64_t id, born_ns;
    uint32_t sizes[MAX_PARTS];
};

/* --- streams: a socket and one buffer ------------------------------------- */

struct stream {
    int fd;
    size_t at, end;
    char data[STREAM_BYTES];
};

/* A receive that timed out goes on until the program is to end. */
static int is_patient(int error)
{
    return (error == EAGAIN || error == EWOULDBLOCK) && !atomic_load(&stopping);
}

/* 0 when the other end has gone. */
static int stream_read(struct stream *s, void *into, size_t bytes)
{
    while (bytes) {
        size_t n = s->end - s->at;
        if (!n) {
            ssize_t got = recv(s->fd, s->data, sizeof s->data, 0);
            if (got < 0 && (errno == EINTR || is_patient(errno)))
                continue;
            if (got <= 0)
                return 0;
            s->at = 0;
            s->end = (size_t)got;
            continue;
        }
        if (n > bytes)
            n = bytes;
        memcpy(into, s->data + s->at, n);
        into = (char *)into + n;
        s->at += n;
        bytes -= n;
    }
    return 1;
}

static int stream_flush(struct stream *s)
{
    while (s->at < s->end) {
        ssize_t n = send(s->fd, s->data + s->at, s->end - s->at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        s->at += (size_t)n;
    }
    s->at = s->end = 0;
    return 1;
}

static int stream_write(struct stream *s, const void *from, size_t bytes)
{
    while (bytes) {
        size_t n = sizeof s->data - s->end;
        if (n > bytes)
            n = bytes;
        memcpy(s->data + s->end, from, n);
        s->end += n;
        from = (const char *)from + n;
        bytes -= n;
        if (s->end == sizeof s->data && !stream_flush(s))
            return 0;
    }
    return 1;
}

/* --- messages on the wire ------------------------------------------------- */

static int frame_is_sound(const struct frame *f)
{
    uint32_t i;
    if (f->magic != FRAME_MAGIC || f->parts < 1 || f->parts > MAX_PARTS ||
        f->full != (uint32_t)bench_full)
        return 0;
    for (i = 0; i < f->parts; i++)
        if (f->sizes[i] < 1 || f->sizes[i] > MAX_PART)
            return 0;
    return 1;
}

/* NULL when the stream is at its end or makes no sense, which is said. */
static struct message *message_read(struct stream *s, uint64_t *born_ns)
{
    struct frame f;
    struct message *m;
    uint32_t i;
    if (!stream_read(s, &f, sizeof f))
        return NULL;
    if (!frame_is_sound(&f)) {
        fprintf(stderr,
                "skserver: a client speaks another protocol, or %s "
                "--full; connection closed\n",
                bench_full ? "lacks" : "has");
        return NULL;
    }
    *born_ns = f.born_ns;
    m = message_hold(f.id, 0, f.parts);
    for (i = 0; i < f.parts; i++) {
        m->part[i].size = f.sizes[i];
        m->part[i].data = malloc(f.sizes[i]);
        if (!m->part[i].data)
            bench_die(1, "no memory for a part of %u bytes", f.sizes[i]);
        m->parts = i + 1;
        if (!stream_read(s, m->part[i].data, f.sizes[i]))
            break;
    }
    if (i == f.parts)
        return m;
    while (m->parts)
        free(m->part[--m->parts].data);
    free(m);
    return NULL;
}

static int message_write(struct stream *s, const struct message *m,
                         uint64_t born_ns)
{
    struct frame f = {
        FRAME_MAGIC, (uint32_t)bench_full, m->parts, 0, m->id, born_ns, {0}};
    uint32_t i;
    int ok;
    for (i = 0; i < m->parts; i++)
        f.sizes[i] = m->part[i].size;
    ok = stream_write(s, &f, sizeof f);
    for (i = 0; ok && i < m->parts; i++)
        ok = stream_write(s, m->part[i].data, m->part[i].size);
    return ok;
}

/* --- server --------------------------------------------------------------- */

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

/* --- load generator ------------------------------------------------------- */

static uint16_t tcp_load_port;
static _Atomic uint64_t tcp_unanswered;

struct load {
    struct client *client;
    struct stream out, in;
    char part[MAX_PART];
};

static int load_send(struct load *l)
{
    uint64_t share = share_of(l->client);
    while (has_more(l->client, share)) {
        uint64_t id = first_id_of(l->client) + l->client->sent++;
        struct frame f = {FRAME_MAGIC,
                          (uint32_t)bench_full,
                          (uint32_t)parts_per_message,
                          0,
                          id,
                          bench_now_ns(),
                          {0}};
        uint32_t i;
        int ok;
        message_sizes(id, f.parts, f.sizes);
        ok = stream_write(&l->out, &f, sizeof f);
        for (i = 0; ok && i < f.parts; i++) {
            bench_fill(l->part, f.sizes[i], part_tag(id, 0, i));
            ok = stream_write(&l->out, l->part, f.sizes[i]);
        }
        if (!ok)
            return 0;
    }
    return stream_flush(&l->out);
}

static int load_receive(struct load *l)
{
    struct frame f;
    uint32_t i;
    if (!stream_read(&l->in, &f, sizeof f))
        return 0;
    if (!frame_is_sound(&f))
        bench_die(1, "the server sent no message of this protocol");
    for (i = 0; i < f.parts; i++) {
        if (!stream_read(&l->in, l->part, f.sizes[i]))
            return 0;
        if (!bench_is_whole(l->part, f.sizes[i], part_tag(f.id, 1, i)))
            bench_die(1, "answer %" PRIu64 " came with wrong content", f.id);
    }
    l->client->answered++;
    histogram_add(&l->client->latency, bench_now_ns() - f.born_ns);
    return 1;
}

/* Sends when half of the depth is free, so that both ends work in batches. */
static int load_run(struct load *l)
{
    struct client *c = l->client;
    uint64_t half = (uint64_t)depth / 2;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        if (!load_send(l))
            return 0;
        if (c->sent == c->answered)
            return 1;
        while (c->sent - c->answered > half)
            if (!load_receive(l))
                return 0;
        while (half && c->sent > c->answered && c->sent == share_of(c))
            if (!load_receive(l))
                return 0;
    }
    while (c->answered < c->sent)
        if (!load_receive(l))
            return 0;
    return 1;
}

static int load_connect(void)
{
    struct timeval patience = {1, 0};
    struct sockaddr_in at = {.sin_family = AF_INET};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.sin_port = htons(tcp_load_port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at))
        bench_die(1, "cannot connect to 127.0.0.1:%u: %s", tcp_load_port,
                  strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void *tcp_load_main(void *arg)
{
    struct client *c = arg;
    struct load *l = calloc(1, sizeof *l);
    if (!l)
        bench_die(1, "no memory for a connection");
    l->client = c;
    l->in.fd = l->out.fd = load_connect();
    if (!load_run(l)) {
        fprintf(stderr,
                "skserver: the server went away, %" PRIu64
                " messages unanswered\n",
                c->sent - c->answered);
        atomic_fetch_add(&tcp_unanswered, c->sent - c->answered);
    }
    close(l->in.fd);
    free(l);
    client_ends();
    return NULL;
}

#endif
