// Threads swap blocks through a shared table, check what another thread wrote
// into them, and free or resize them; threads end all the time while others
// still hold their blocks, and new threads take their places.
#include <pthread.h>
#include <stdatomic.h>
#include "expect.h"

enum { SLOTS = 4096, STEPS = 20000, THREADS = 4, GENERATIONS = 25 };

struct parcel {
    uint32_t size;
    uint32_t seed;
    unsigned char bytes[];
};

static _Atomic(struct parcel *) table[SLOTS];

static struct parcel *pack(unsigned *state)
{
    unsigned kind = next_random(state) % 64;
    uint32_t size = next_random(state) % (kind == 0 ? 40000 : 600);
    struct parcel *parcel = block(sizeof *parcel + size);

    parcel->size = size;
    parcel->seed = next_random(state);
    fill(parcel->bytes, size, parcel->seed);
    return parcel;
}

static void unpack(struct parcel *parcel, unsigned *state)
{
    if (!parcel)
        return;
    EXPECT_FILLED(parcel->bytes, parcel->size, parcel->seed);
    if (next_random(state) % 8 == 0) {
        parcel = realloc(parcel, sizeof *parcel + parcel->size + 40);
        EXPECT(parcel, "realloc gave NULL");
        EXPECT_FILLED(parcel->bytes, parcel->size, parcel->seed);
    }
    free(parcel);
}

static void *swaps(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg * 7919;

    for (int i = 0; i < STEPS; i++) {
        unsigned slot = next_random(&state) % SLOTS;

        unpack(atomic_exchange(&table[slot], pack(&state)), &state);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    unsigned state = 1;

    for (uintptr_t g = 1; g <= GENERATIONS; g++) {
        for (uintptr_t i = 0; i < THREADS; i++)
            EXPECT(!pthread_create(&threads[i], NULL, swaps,
                                   (void *)(g * THREADS + i)), "no thread");
        for (int i = 0; i < THREADS; i++)
            EXPECT(!pthread_join(threads[i], NULL), "no join");
    }
    for (int i = 0; i < SLOTS; i++)
        unpack(table[i], &state);
    EXPECT(rss_kib() < 64 * 1024, "RSS is %ld KiB", rss_kib());
    return ok();
}
