// 10 000 threads, 50 (or argv[2]) at a time, each with 1 MiB of small blocks,
// end.  One in a hundred leaves its blocks to main, the others free them: what
// is resident is what is live, a tenth, and a few MiB of the program and its
// stacks.
#include <pthread.h>
#include "expect.h"

enum { THREADS = 10000, WAVE = 50, WAVE_MOST = 100,
       KEEPERS = 100, SHARE = 1 << 20 };

struct link {
    struct link *next;
    size_t size;
};

static struct link *kept;
static size_t kept_bytes;

static void drop(struct link *all)
{
    while (all) {
        struct link *next = all->next;

        EXPECT(all->size >= sizeof *all && all->size < 1024,
               "a block's size is now %zu", all->size);
        free(all);
        all = next;
    }
}

static void *allocates(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;
    struct link *all = NULL;

    for (size_t n = 0; n < SHARE;) {
        size_t size = sizeof *all + next_random(&state) % 1000;
        struct link *link = block(size);

        memset(link, 1, size);
        link->next = all;
        link->size = size;
        all = link;
        n += size;
    }
    if ((uintptr_t)arg % KEEPERS == 0)
        return all;
    drop(all);
    return NULL;
}

static void keep(struct link *all)
{
    while (all) {
        struct link *next = all->next;

        all->next = kept;
        kept = all;
        kept_bytes += all->size;
        all = next;
    }
}

static void wave(uintptr_t from, uintptr_t count)
{
    pthread_t threads[WAVE_MOST];
    void *all;

    for (uintptr_t i = 0; i < count; i++)
        EXPECT(!pthread_create(&threads[i], NULL, allocates,
                               (void *)(from + i)),
               "no thread");
    for (uintptr_t i = 0; i < count; i++) {
        EXPECT(!pthread_join(threads[i], &all), "no join");
        keep(all);
    }
}

int main(int argc, char **argv)
{
    long slack_kib = argc > 1 ? strtol(argv[1], NULL, 0) : 8192;
    long count = argc > 2 ? strtol(argv[2], NULL, 0) : WAVE;
    long live_kib;

    EXPECT(count > 0 && count <= WAVE_MOST && THREADS % count == 0,
           "%ld at a time", count);
    for (uintptr_t i = 0; i < THREADS; i += (uintptr_t)count)
        wave(i, (uintptr_t)count);
    live_kib = (long)(kept_bytes / 1024);
    EXPECT(live_kib > THREADS / KEEPERS * 1000, "%ld KiB live", live_kib);
    dprintf(1, "live %ld KiB, resident %ld KiB\n", live_kib, rss_kib());
    EXPECT(rss_kib() < live_kib + live_kib / 10 + slack_kib,
           "%ld KiB live, %ld KiB resident", live_kib, rss_kib());
    drop(kept);
    return ok();
}
