// A profiler's handler allocates and frees a thousand times a second, in two
// threads that do nothing but that: no block is harmed, nothing hangs.  POSIX
// does not promise it, and libc's malloc may hang here; programs do it all the
// same.  Argument: signals.
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include "expect.h"

enum { SLOTS = 2000 };

static _Atomic int is_over;
static _Atomic long signals;

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
    long wanted = argc > 1 ? strtol(argv[1], NULL, 0) : 3000;
    struct sigaction action = {.sa_handler = on_prof, .sa_flags = SA_RESTART};
    struct timespec every = {0, 500000};
    pthread_t threads[2];

    EXPECT(!sigaction(SIGPROF, &action, NULL), "errno %d", errno);
    for (uintptr_t i = 0; i < 2; i++)
        EXPECT(!pthread_create(&threads[i], NULL, churns, (void *)(i + 1)),
               "no thread");
    for (int i = 0; signals < wanted; i = !i) {
        nanosleep(&every, NULL);
        EXPECT(!pthread_kill(threads[i], SIGPROF), "no signal");
    }
    is_over = 1;
    for (int i = 0; i < 2; i++)
        EXPECT(!pthread_join(threads[i], NULL), "no join");
    return ok();
}
