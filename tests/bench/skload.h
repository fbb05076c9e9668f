/*
 * The load generator for skserver --listen: one thread a connection, whose
 * buffers are fixed, so that only the server's allocator is measured.
 */
#ifndef SKLOAD_H
#define SKLOAD_H

#include "skwire.h"

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
