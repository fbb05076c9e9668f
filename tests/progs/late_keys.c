// Destructors of thread keys, made before and after the allocator made its
// own, and re-armed to the last round, allocate and free; then glibc frees the
// thread.  10 000 such threads leave no memory behind.
#include <limits.h>
#include <pthread.h>
#include "expect.h"

enum { KEYS = 20, THREADS = 10000 };

static pthread_key_t keys[KEYS];
static int rounds[KEYS]; // one thread lives at a time

static void destroy(void *value)
{
    int i = *(int *)value;

    for (size_t c = 0; c < CLASSES; c += 5)
        free(block(class_nth(c)));
    free(value);
    if (++rounds[i] < PTHREAD_DESTRUCTOR_ITERATIONS) {
        int *again = block(sizeof *again + (size_t)i * 16);

        *again = i;
        pthread_setspecific(keys[i], again);
    }
}

__attribute__((constructor)) static void make_first_half(void)
{
    for (int i = 0; i < KEYS / 2; i++)
        pthread_key_create(&keys[i], destroy);
}

static void *sets(void *arg)
{
    for (int i = 0; i < KEYS; i++) {
        int *value = block(sizeof *value);

        *value = i;
        rounds[i] = 0;
        pthread_setspecific(keys[i], value);
    }
    return arg;
}

static void run_threads(int n)
{
    for (int i = 0; i < n; i++) {
        pthread_t thread;

        EXPECT(!pthread_create(&thread, NULL, sets, NULL), "no thread");
        EXPECT(!pthread_join(thread, NULL), "no join");
        EXPECT(rounds[0] == PTHREAD_DESTRUCTOR_ITERATIONS, "%d", rounds[0]);
    }
}

int main(void)
{
    long before;

    free(block(100));
    for (int i = KEYS / 2; i < KEYS; i++)
        EXPECT(!pthread_key_create(&keys[i], destroy), "no key");
    run_threads(500);
    before = rss_kib();
    run_threads(THREADS);
    EXPECT(rss_kib() < before + 4096, "RSS went from %ld to %ld KiB", before,
           rss_kib());
    return ok();
}
