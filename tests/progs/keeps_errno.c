// errno: 1234 before every call that succeeds, 1234 after it, on the first
// malloc, on hits, on refills, on flushes and on large blocks; free keeps it
// always; a failure sets ENOMEM.
#include <pthread.h>
#include "expect.h"

enum { BLOCKS = 3000 };

static void *blocks[BLOCKS];

#define KEEPS(call)                                                          \
    do {                                                                     \
        errno = 1234;                                                        \
        call;                                                                \
        EXPECT(errno == 1234, "%s left errno %d", #call, errno);             \
    } while (0)

static void size_is_kept(size_t size)
{
    volatile size_t none = 0;

    for (int i = 0; i < BLOCKS; i++)
        KEEPS(blocks[i] = malloc(size));
    for (int i = 0; i < BLOCKS; i++)
        KEEPS(blocks[i] = realloc(blocks[i], size + 16));
    for (int i = 0; i < BLOCKS; i++)
        KEEPS(free(blocks[i]));
    KEEPS(blocks[0] = calloc(3, size));
    KEEPS((void)malloc_usable_size(blocks[0]));
    KEEPS(blocks[1] = aligned_alloc(64, size / 64 * 64));
    KEEPS(blocks[2] = malloc(none));
    for (int i = 0; i < 3; i++)
        KEEPS(free(blocks[i]));
    KEEPS(free(NULL));
}

static void *frees_only(void *arg)
{
    (void)arg;
    for (int i = 0; i < BLOCKS; i++)
        KEEPS(free(blocks[i]));
    KEEPS(malloc_trim(0));
    return NULL;
}

static void failures_set_enomem(void)
{
    volatile size_t huge = PTRDIFF_MAX;
    void *p = block(24);

#define FAILS(call)                                                          \
    do {                                                                     \
        errno = 0;                                                           \
        EXPECT(!(call), "%s gave a block", #call);                           \
        EXPECT(errno == ENOMEM, "%s set errno %d", #call, errno);            \
    } while (0)
    FAILS(malloc(huge));
    FAILS(malloc(huge * 2));
    FAILS(calloc(huge, 4));
    FAILS(realloc(p, huge));
    FAILS(reallocarray(p, huge, 4));
    FAILS(memalign(64, huge));
    free(p);
}

int main(void)
{
    pthread_t thread;
    // A locale or gconv step may do what it likes; only ours is measured.
    static const size_t sizes[] = {1, 64, 1000, 4096, 32768, 50000, 200000};

    for (size_t i = 0; i < 5; i++)
        size_is_kept(sizes[i]);
    KEEPS(free(blocks[3] = malloc(sizes[5])));
    KEEPS(free(blocks[3] = malloc(sizes[6])));
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = block(256);
    EXPECT(!pthread_create(&thread, NULL, frees_only, NULL), "no thread");
    EXPECT(!pthread_join(thread, NULL), "no join");
    failures_set_enomem();
    return ok();
}
