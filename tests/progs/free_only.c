// Four threads allocate, one thread only frees what they made; never more
// than 16 MiB are live.  The resident set follows what is live, not what
// went through.
#include <pthread.h>
#include <semaphore.h>
#include "expect.h"

enum { PRODUCERS = 4, EACH = 400000, LIVE = 16384, LARGEST = 1024 };

static void *ring[LIVE];
static sem_t room, filled;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned head;

static void *produces(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < EACH; i++) {
        size_t size = next_random(&state) % LARGEST + 1;
        char *p = block(size);

        p[0] = p[size - 1] = 1;
        sem_wait(&room);
        pthread_mutex_lock(&mutex);
        ring[head++ % LIVE] = p;
        pthread_mutex_unlock(&mutex);
        sem_post(&filled);
    }
    return NULL;
}

static void *only_frees(void *arg)
{
    for (unsigned i = 0; i < PRODUCERS * EACH; i++) {
        sem_wait(&filled);
        pthread_mutex_lock(&mutex);
        void *p = ring[i % LIVE];
        pthread_mutex_unlock(&mutex);
        free(p);
        sem_post(&room);
    }
    return arg;
}

int main(void)
{
    pthread_t threads[PRODUCERS + 1];

    sem_init(&room, 0, LIVE);
    sem_init(&filled, 0, 0);
    pthread_create(&threads[PRODUCERS], NULL, only_frees, NULL);
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        EXPECT(!pthread_create(&threads[i], NULL, produces, (void *)(i + 1)),
               "no thread");
    for (int i = 0; i <= PRODUCERS; i++)
        EXPECT(!pthread_join(threads[i], NULL), "no join");
    EXPECT(rss_kib() < 64 * 1024, "RSS is %ld KiB", rss_kib());
    return ok();
}
