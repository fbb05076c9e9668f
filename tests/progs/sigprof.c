// A profiler's handler allocates a thousand times a second, in two threads
// that do nothing but that: no block is harmed, nothing hangs.  POSIX does not
// promise it, and libc's malloc may hang here; programs do it all the same.
//
//   sigprof balanced SIGNALS   the handler frees its block, of a size that the
//                              threads use too
//   sigprof queueing SIGNALS   it queues two blocks for another thread to
//                              free, of a size that is its own
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include "expect.h"

enum { SLOTS = 2000, QUEUED = 4096, OWN_SIZE = 720 };

static _Atomic int is_over;
static _Atomic long signals;
static void *_Atomic queued[QUEUED];
static _Atomic unsigned next_queued;

static void queue_block(void)
{
    void *p = malloc(OWN_SIZE), *none = NULL;
    void *_Atomic *place = &queued[next_queued++ % QUEUED];

    EXPECT(p, "malloc(%d) gave NULL in the handler", OWN_SIZE);
    fill(p, OWN_SIZE, (unsigned)(uintptr_t)p / 16);
    if (!atomic_compare_exchange_strong(place, &none, p))
        free(p); // still full: main is slow
}

static void on_prof_queue(int number)
{
    int kept = errno;

    (void)number;
    signals++;
    queue_block();
    queue_block();
    errno = kept;
}

static void free_queued(void)
{
    for (int i = 0; i < QUEUED; i++) {
        unsigned char *p = atomic_exchange(&queued[i], NULL);

        if (p)
            EXPECT_FILLED(p, OWN_SIZE, (unsigned)(uintptr_t)p / 16);
        free(p);
    }
}

static void on_prof(int number)
{
    int kept = errno;
    unsigned char *p = malloc(32);

    (void)number;
    signals++;
    EXPECT(p, "malloc(32) gave NULL in the handler");
    fill(p, 32, 77);
    EXPECT_FILLED(p, 32, 77);
    free(p);
    errno = kept;
}

// Sizes of which a third are the handler's, in bursts long enough that bins
// overflow and run dry.
static void *churns(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;
    struct {
        unsigned char *at;
        size_t size;
    } slots[SLOTS] = {0};

    while (!is_over)
        for (int i = 0; i < SLOTS; i++) {
            unsigned random = next_random(&state);

            if (slots[i].at) {
                EXPECT_FILLED(slots[i].at, slots[i].size, (unsigned)i);
                free(slots[i].at);
            }
            slots[i].size = random % 3 ? random / 3 % 700 + 1 : 32;
            fill(slots[i].at = block(slots[i].size), slots[i].size,
                 (unsigned)i);
        }
    for (int i = 0; i < SLOTS; i++) {
        EXPECT_FILLED(slots[i].at, slots[i].size, (unsigned)i);
        free(slots[i].at);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int is_queueing = argc > 1 && !strcmp(argv[1], "queueing");
    long wanted = argc > 2 ? strtol(argv[2], NULL, 0) : 3000;
    struct sigaction action = {.sa_handler =
                                   is_queueing ? on_prof_queue : on_prof,
                               .sa_flags = SA_RESTART};
    struct timespec every = {0, 500000};
    pthread_t threads[2];

    EXPECT(!sigaction(SIGPROF, &action, NULL), "errno %d", errno);
    for (uintptr_t i = 0; i < 2; i++)
        EXPECT(!pthread_create(&threads[i], NULL, churns, (void *)(i + 1)),
               "no thread");
    for (int i = 0; signals < wanted; i = !i) {
        nanosleep(&every, NULL);
        EXPECT(!pthread_kill(threads[i], SIGPROF), "no signal");
        if (signals % 500 == 0)
            free_queued();
    }
    is_over = 1;
    for (int i = 0; i < 2; i++)
        EXPECT(!pthread_join(threads[i], NULL), "no join");
    free_queued();
    return ok();
}
