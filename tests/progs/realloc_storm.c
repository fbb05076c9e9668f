// A hundred thousand steps of malloc, realloc, calloc and free in random order
// and of random size, in two threads, with every content checked.
#include <pthread.h>
#include "expect.h"

enum { SLOTS = 500, STEPS = 60000 };

static size_t random_size(unsigned *state)
{
    unsigned kind = next_random(state) % 16;

    if (kind == 0)
        return next_random(state) % 200000;
    if (kind < 4)
        return next_random(state) % 34000;
    return next_random(state) % 1100;
}

static void *storm(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;
    unsigned char *blocks[SLOTS] = {NULL};
    size_t sizes[SLOTS] = {0};

    for (int step = 0; step < STEPS; step++) {
        unsigned i = next_random(&state) % SLOTS;
        size_t size = random_size(&state);
        size_t common = size < sizes[i] ? size : sizes[i];

        if (next_random(&state) % 3) {
            if (blocks[i])
                EXPECT_FILLED(blocks[i], sizes[i], i);
            free(blocks[i]);
            blocks[i] = step % 2 ? block(size) : calloc(1, size);
            EXPECT(blocks[i], "calloc(1, %zu) gave NULL", size);
        } else {
            blocks[i] = realloc(blocks[i], size + 1);
            EXPECT(blocks[i], "realloc to %zu gave NULL", size);
            EXPECT_FILLED(blocks[i], common, i);
        }
        sizes[i] = size;
        fill(blocks[i], size, i);
    }
    for (int i = 0; i < SLOTS; i++)
        free(blocks[i]);
    return NULL;
}

int main(void)
{
    pthread_t thread;

    EXPECT(!pthread_create(&thread, NULL, storm, (void *)1), "no thread");
    storm((void *)2);
    EXPECT(!pthread_join(thread, NULL), "no join");
    return ok();
}
