// Four threads hold every other block of 64 MiB when the process forks.  The
// child has none of those threads, but their memory: four threads of its own
// fill the holes, and hardly anything is added to what is resident.
#include <pthread.h>
#include <sys/wait.h>
#include "expect.h"

enum { THREADS = 4, SIZE = 512, BLOCKS = 32768, REFILLS = BLOCKS * 2 / 5 };

static void *blocks[THREADS][BLOCKS], *refills[THREADS][REFILLS];
static pthread_barrier_t barrier;

static void *makes_holes(void *arg)
{
    void **mine = arg;

    for (int i = 0; i < BLOCKS; i++)
        fill(mine[i] = block(SIZE), SIZE, (unsigned)i);
    for (int i = 0; i < BLOCKS; i += 2) {
        free(mine[i]);
        mine[i] = NULL;
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); // forked
    return NULL;
}

// All four live at a time, so each has a state of its own.
static void *fills_holes(void *arg)
{
    void **mine = arg;

    mine[0] = block(SIZE);
    pthread_barrier_wait(&barrier);
    for (int i = 1; i < REFILLS; i++)
        mine[i] = block(SIZE);
    for (int i = 0; i < REFILLS; i++)
        fill(mine[i], SIZE, (unsigned)i + 9);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void start(pthread_t *threads, void *(*work)(void *), void *first,
                  size_t step)
{
    for (size_t i = 0; i < THREADS; i++)
        EXPECT(!pthread_create(&threads[i], NULL, work,
                               (char *)first + i * step),
               "no thread");
    pthread_barrier_wait(&barrier);
}

static void finish(pthread_t *threads)
{
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        EXPECT(!pthread_join(threads[i], NULL), "no join");
}

static void check_and_free(void **mine, int count, unsigned seed)
{
    for (int i = 0; i < count; i++) {
        if (mine[i])
            EXPECT_FILLED(mine[i], SIZE, (unsigned)i + seed);
        free(mine[i]);
    }
}

static void be_child(void)
{
    pthread_t threads[THREADS];
    long before = rss_kib(), after;

    alarm(40);
    EXPECT(!pthread_barrier_init(&barrier, NULL, THREADS + 1), "barrier");
    start(threads, fills_holes, refills, sizeof refills[0]);
    finish(threads);
    after = rss_kib();
    for (int i = 0; i < THREADS; i++) {
        check_and_free(blocks[i], BLOCKS, 0);
        check_and_free(refills[i], REFILLS, 9);
    }
    // 26 MiB were allocated; stacks and a few pages of lists are new.
    EXPECT(before > 60000 && after - before < 10000, "%ld KiB, then %ld",
           before, after);
    _exit(0);
}

int main(void)
{
    pthread_t threads[THREADS];
    int status;
    pid_t child;

    EXPECT(!pthread_barrier_init(&barrier, NULL, THREADS + 1), "barrier");
    start(threads, makes_holes, blocks, sizeof blocks[0]);
    child = fork();
    if (child == 0)
        be_child();
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0,
           "the child ended with status %#x", status);
    finish(threads);
    for (int i = 0; i < THREADS; i++)
        check_and_free(blocks[i], BLOCKS, 0);
    return ok();
}
