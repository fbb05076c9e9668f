// Any entry point may be the first that a thread calls: a thread for each.
#include <pthread.h>
#include "expect.h"

static void *given; // a block of the main thread's, for each thread anew

static void *by_malloc(void *p)
{
    free(malloc(100));
    return p;
}

static void *by_calloc(void *p)
{
    char *q = calloc(10, 10);

    EXPECT(q && !q[99], "calloc");
    free(q);
    return p;
}

static void *by_realloc(void *p)
{
    p = realloc(p, 5000);
    EXPECT(p, "realloc gave NULL");
    EXPECT_FILLED(p, 100, 9);
    return p;
}

static void *by_realloc_of_null(void *p)
{
    free(realloc(NULL, 100));
    return p;
}

static void *by_realloc_to_0(void *p)
{
    EXPECT(!realloc(p, 0), "realloc to 0 gave a block");
    return NULL;
}

static void *by_reallocarray(void *p)
{
    p = reallocarray(p, 100, 100);
    EXPECT(p, "reallocarray gave NULL");
    EXPECT_FILLED(p, 100, 9);
    return p;
}

static void *by_free(void *p)
{
    free(p);
    return NULL;
}

static void *by_free_of_null(void *p)
{
    free(NULL);
    return p;
}

static void *by_memalign(void *p)
{
    free(memalign(64, 100));
    return p;
}

static void *by_posix_memalign(void *p)
{
    void *q;

    EXPECT(!posix_memalign(&q, 64, 100), "posix_memalign");
    free(q);
    return p;
}

static void *by_valloc(void *p)
{
    free(valloc(100));
    return p;
}

static void *by_usable_size(void *p)
{
    EXPECT(malloc_usable_size(p) >= 100, "%zu", malloc_usable_size(p));
    return p;
}

static void *by_trim(void *p)
{
    malloc_trim(0);
    return p;
}

static void *by_mallinfo(void *p)
{
    (void)mallinfo2();
    return p;
}

int main(void)
{
    void *(*const calls[])(void *) = {
        by_malloc,       by_calloc,  by_realloc,      by_realloc_of_null,
        by_realloc_to_0, by_reallocarray, by_free,    by_free_of_null,
        by_memalign,     by_posix_memalign, by_valloc, by_usable_size,
        by_trim,         by_mallinfo};

    for (size_t size = 100; size < 100000; size *= 9)
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
            pthread_t thread;

            given = block(size);
            fill(given, size, 9);
            EXPECT(!pthread_create(&thread, NULL, calls[i], given),
                   "no thread");
            EXPECT(!pthread_join(thread, &given), "no join");
            free(given);
        }
    return ok();
}
