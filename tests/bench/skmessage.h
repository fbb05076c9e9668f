/*
 * What skserver carries: a message is a header and a few parts, as a request
 * is a line and some fields; each is a malloc of its own.  Every part has one
 * of a few fixed sizes, and a pattern that says whose it is, checked before
 * it is freed.
 */
#ifndef SKMESSAGE_H
#define SKMESSAGE_H

#include "bench.h"
#include "skqueue.h"

enum { MAX_SIZES = 32, MAX_PARTS = 16, MAX_PART = 1 << 20 };

struct part {
    uint32_t size;
    void *data;
};

struct message {
    uint64_t id;
    uint32_t is_answer;
    uint32_t parts;
    struct part part[];
};

static const char *sizes_text = "64,256,1024,4096";
static uint32_t sizes[MAX_SIZES];
static uint32_t sizes_count;
static long parts_per_message = 4;

static void sizes_parse(void)
{
    const char *at = sizes_text;
    char *end;
    for (;; at = end + 1) {
        long size = strtol(at, &end, 10);
        if (end == at || size < 1 || size > MAX_PART || (*end && *end != ','))
            bench_die(BENCH_USAGE,
                      "--sizes wants numbers from 1 to %d with commas "
                      "between, not '%s'",
                      MAX_PART, sizes_text);
        if (sizes_count == MAX_SIZES)
            bench_die(BENCH_USAGE, "--sizes takes at most %d sizes", MAX_SIZES);
        sizes[sizes_count++] = (uint32_t)size;
        if (!*end)
            return;
    }
}

/* The tag of a part tells it from every other part on its way. */
static inline uint64_t part_tag(uint64_t id, uint32_t is_answer, uint32_t i)
{
    return id * (2 * MAX_PARTS) + is_answer * MAX_PARTS + i;
}

static inline struct message *message_hold(uint64_t id, uint32_t is_answer,
                                           uint32_t parts)
{
    struct message *m = malloc(sizeof *m + (size_t)parts * sizeof(struct part));
    if (!m)
        bench_die(1, "no memory for a message");
    m->id = id;
    m->is_answer = is_answer;
    m->parts = parts;
    return m;
}

/* The sizes of a message follow from its number: a run can be repeated. */
static inline void message_sizes(uint64_t id, uint32_t parts, uint32_t *to)
{
    struct bench_rng r = {id};
    uint64_t random = bench_random(&r);
    uint32_t i;
    for (i = 0; i < parts; i++) {
        to[i] = sizes[((random & 0xffff) * sizes_count) >> 16];
        random = (random >> 13) | (random << 51);
    }
}

static inline struct message *message_new(uint64_t id, uint32_t is_answer)
{
    uint32_t chosen[MAX_PARTS], i;
    struct message *m =
        message_hold(id, is_answer, (uint32_t)parts_per_message);
    message_sizes(id, m->parts, chosen);
    for (i = 0; i < m->parts; i++) {
        m->part[i].size = chosen[i];
        m->part[i].data = bench_malloc(chosen[i], part_tag(id, is_answer, i));
    }
    return m;
}

/* Checks and frees. */
static inline void message_free(struct message *m)
{
    uint32_t i;
    for (i = 0; i < m->parts; i++)
        bench_free(m->part[i].data, m->part[i].size,
                   part_tag(m->id, m->is_answer, i));
    free(m);
}

static inline struct entry *entry_new(struct message *m, void *reply_to,
                                      uint64_t put_ns)
{
    struct entry *e = malloc(sizeof *e);
    if (!e)
        bench_die(1, "no memory for a queue entry");
    e->message = m;
    e->reply_to = reply_to;
    e->put_ns = put_ns;
    return e;
}

/* An entry without a message: nothing comes after it. */
static inline void queue_put_end(struct queue *q)
{
    struct string s = {NULL, NULL};
    string_add(&s, entry_new(NULL, NULL, 0));
    queue_put(q, &s);
}

#endif
