/*
 * realloc: buffers that grow from 16 bytes to 1 MiB, several side by side, as
 * when responses are collected.  The content must survive every step.
 */
#include "bench.h"

enum { BUFFERS = 8, LEAST = 16, MOST = 1 << 20 };

struct buffer {
    char *data;
    size_t size;
};

static long rounds;
static uint64_t steps;

/* The first and the last byte of every step, by its size. */
static char mark_of(size_t size)
{
    return (char)(size * 167 >> 3);
}

static void buffer_grow(struct buffer *b, size_t size)
{
    char *data = realloc(b->data, size);
    if (!data)
        bench_die(1, "realloc(%zu) failed", size);
    if (b->size &&
        (data[0] != mark_of(LEAST) || data[b->size - 1] != mark_of(b->size) ||
         (bench_full &&
          !bench_is_all(data + LEAST / 2, LEAST / 4, (uint8_t)mark_of(LEAST)))))
        bench_die(1, "realloc from %zu to %zu lost content", b->size, size);
    if (!b->size)
        memset(data, mark_of(LEAST), size);
    data[size - 1] = mark_of(size);
    b->data = data;
    b->size = size;
    __atomic_fetch_add(&steps, 1, __ATOMIC_RELAXED);
}

/* Grows by a third on the average: what string builders and vectors do. */
static size_t next_size(struct bench_rng *rng, size_t size)
{
    size_t next = size + size / 4 + bench_below(rng, (uint32_t)size / 4 + 16);
    return next < MOST ? next : MOST;
}

static void body(long index)
{
    struct bench_rng rng = bench_rng_of((uint64_t)index);
    struct buffer buffer[BUFFERS];
    long round, i;
    memset(buffer, 0, sizeof buffer);
    for (round = 0; round < rounds; round++) {
        struct buffer *b = &buffer[bench_below(&rng, BUFFERS)];
        if (b->size == MOST) {
            free(b->data);
            memset(b, 0, sizeof *b);
        }
        buffer_grow(b, b->size ? next_size(&rng, b->size) : LEAST);
    }
    for (i = 0; i < BUFFERS; i++)
        free(buffer[i].data);
}

int main(int argc, char **argv)
{
    uint64_t started;
    bench_options(argc, argv, "realloc", "Buffers that grow to 1 MiB.", NULL);
    rounds = bench_scaled(1e5, 100);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report((double)steps, started);
    return 0;
}
