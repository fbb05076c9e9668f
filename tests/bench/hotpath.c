/*
 * hotpath: the loops that scripts/hotpath counts instructions in.  Nothing is
 * stamped or checked here: every instruction beside malloc and free would be
 * counted with them.  What the loop itself costs is what `floor` costs.
 */
#include "bench.h"

enum { SLOTS = 1000, BATCH = 500 };

static const char *shape = "";
static long count = 100000;

static const struct bench_option options[] = {
    {"shape", BENCH_TEXT, &shape, 0, 0, "pair, batch, small or large"},
    {"count", BENCH_WHOLE, &count, 1, 1e12, "of mallocs, each with a free"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static void pair(void)
{
    long i;
    for (i = 0; i < count; i++)
        free(malloc(64));
}

static void batch(void)
{
    static void *block[BATCH];
    long i, j;
    for (i = 0; i < count; i += BATCH) {
        for (j = 0; j < BATCH; j++)
            block[j] = malloc(64);
        for (j = 0; j < BATCH; j++)
            free(block[j]);
    }
}

static inline uint64_t draw(uint64_t *state)
{
    return *state = *state * 6364136223846793005u + 1442695040888963407u;
}

/* A random slot of 1000 is freed and filled with 16 .. 16 + range - 1 bytes,
 * both by a draw of their own. */
static void random_slots(uint64_t range)
{
    static void *slot[SLOTS];
    uint64_t state = (uint64_t)bench_seed + 1;
    long i;
    for (i = 0; i < count; i++) {
        void **s = &slot[((draw(&state) >> 32) * SLOTS) >> 32];
        free(*s);
        *s = malloc(16 + ((draw(&state) >> 32) * range >> 32));
    }
}

static void small(void)
{
    random_slots(1001);
}

static void large(void)
{
    random_slots(28 * 1024 - 15);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } shapes[] = {
        {"pair", pair}, {"batch", batch}, {"small", small}, {"large", large}};
    const struct bench_option *tables[] = {options, bench_common, NULL};
    size_t i;
    bench_options_of(argc, argv, "hotpath", "Loops to be counted.", tables);
    for (i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shape, shapes[i].name))
            continue;
        shapes[i].run();
        return 0;
    }
    bench_die(BENCH_USAGE,
              "--shape wants pair, batch, small or large, not '%s'", shape);
}
