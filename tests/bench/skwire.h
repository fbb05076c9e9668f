/*
 * What skserver's TCP server and its load generator share: a socket with a
 * buffer, and messages on the wire.  There a message is a frame, its sizes and
 * its parts, in the byte order of the machine: both ends run on one.
 */
#ifndef SKWIRE_H
#define SKWIRE_H

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

#endif
