// Blocks that realloc grows from a few bytes to sizes that malloc would ask
// libc for.  Argument: what to show; `many` prints its peak in KiB, `interior`,
// `rest`, `twice` and `resized` free or resize what they must not, and say the
// pointer first.
#include <pthread.h>
#include <sys/wait.h>
#include "expect.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

static void *grown(size_t size)
{
    void *p = realloc(block(100), size);

    EXPECT(p, "realloc from 100 to %zu gave NULL", size);
    return p;
}

// --- one block ---------------------------------------------------------------

static const size_t edges[] = {
    100,       32768,    32769,       40960,       40961,   65535,
    65536,     65537,    131072,      524289,      MIB - 1,
    MIB,       MIB + 1,  2 * MIB + 5, 8 * MIB, 8 * MIB + 1,
};
enum { EDGES = sizeof edges / sizeof *edges };

static void step(size_t from, size_t to)
{
    unsigned char *p = grown(from), *neighbour = grown(from), *q;
    size_t both = from < to ? from : to;

    fill(p, from, 5);
    memset(neighbour, 6, from);
    errno = 77;
    q = realloc(p, to);
    EXPECT(q && errno == 77, "realloc from %zu to %zu: %p, errno %d", from, to,
           (void *)q, errno);
    EXPECT((uintptr_t)q % 16 == 0, "%p is not aligned", (void *)q);
    EXPECT(malloc_usable_size(q) >= to, "usable %zu of %zu",
           malloc_usable_size(q), to);
    EXPECT_FILLED(q, both, 5);
    memset(q, 7, malloc_usable_size(q));
    for (size_t i = 0; i < from; i += 509)
        EXPECT(neighbour[i] == 6, "neighbour overwritten at %zu", i);
    free(neighbour);
    for (size_t i = 0; i < to; i += 509)
        EXPECT(q[i] == 7, "block overwritten at %zu", i);
    free(q);
    EXPECT(errno == 77, "errno is %d", errno);
}

static int matrix(void)
{
    for (size_t from = 0; from < EDGES; from++)
        for (size_t to = 0; to < EDGES; to++)
            step(edges[from], edges[to]);
    return ok();
}

// All of the usable size is the program's, it does not change by itself, and
// it is no more than a quarter above what was asked for.
static int usable(void)
{
    for (size_t size = 33000; size <= MIB; size += 7001) {
        unsigned char *p = grown(size), *q = grown(size);
        size_t bytes = malloc_usable_size(p);

        EXPECT(bytes >= size && bytes <= size + size / 4 + 4096,
               "usable %zu of %zu", bytes, size);
        fill(p, bytes, 1);
        fill(q, malloc_usable_size(q), 2);
        EXPECT_FILLED(p, bytes, 1);
        EXPECT(malloc_usable_size(p) == bytes, "it changed to %zu",
               malloc_usable_size(p));
        p = realloc(p, bytes);
        EXPECT(p, "realloc within its own size gave NULL");
        EXPECT_FILLED(p, bytes, 1);
        free(p);
        free(q);
    }
    return ok();
}

// Prints how often a block that grows by a half is moved (libc may).
static int moves(void)
{
    void *p = grown(33000), *q;
    int moved = 0;

    for (size_t size = 40000; size <= MIB; size += size / 2, p = q) {
        q = realloc(p, size);
        EXPECT(q, "realloc to %zu gave NULL", size);
        moved += q != p;
    }
    free(p);
    printf("%d\n", moved);
    return 0;
}

// What cannot be had leaves the block as it was; 0 frees it.
static int refused(void)
{
    unsigned char *p = grown(100000);
    volatile size_t huge = SIZE_MAX / 2;

    fill(p, 100000, 3);
    errno = 0;
    EXPECT(!realloc(p, huge) && errno == ENOMEM, "errno %d", errno);
    errno = 0;
    EXPECT(!reallocarray(p, huge, 3) && errno == ENOMEM, "errno %d",
           errno);
    EXPECT_FILLED(p, 100000, 3);
    EXPECT(!realloc(p, 0), "realloc to 0 gave a block");
    return ok();
}

// --- many blocks ------------------------------------------------------------

// Buffers that stay: as much is resident as was written to.
static int many(void)
{
    enum { BUFFERS = 1500 };
    static unsigned char *buffers[BUFFERS];
    static size_t sizes[BUFFERS];
    unsigned state = 3;

    for (int i = 0; i < BUFFERS; i++) {
        size_t most = 33000 + next_random(&state) % 100000;

        for (size_t size = 24; size < most; size += size / 2) {
            buffers[i] = realloc(buffers[i], size);
            EXPECT(buffers[i], "realloc to %zu gave NULL", size);
            fill(buffers[i] + sizes[i], size - sizes[i], (unsigned)i);
            sizes[i] = size;
        }
    }
    printf("%ld\n", rss_kib());
    for (int i = 0; i < BUFFERS; i++) {
        EXPECT_FILLED(buffers[i], 24, (unsigned)i);
        EXPECT(malloc_usable_size(buffers[i]) >= sizes[i], "it shrank");
        free(buffers[i]);
    }
    return 0;
}

enum { SLOTS = 16 };
static unsigned char *_Atomic slots[SLOTS];
static _Atomic int is_over;

static void change(unsigned *state, unsigned steps)
{
    for (unsigned n = 0; n < steps; n++) {
        unsigned i = next_random(state) % SLOTS;
        size_t size = next_random(state) % 4 ? next_random(state) % 150000
                                             : next_random(state) % 1500000;
        unsigned char *p = __atomic_exchange_n(&slots[i], NULL,
                                               __ATOMIC_ACQ_REL);

        if (p)
            EXPECT(p[1] == (p[0] ^ 0xff) && p[2] == 42, "overwritten");
        if (n % 2) { // a block that went to libc stays there
            free(p);
            p = block(100);
        }
        p = realloc(p, size + 4);
        EXPECT(p, "realloc to %zu gave NULL", size + 4);
        p[size + 3] = 1;
        p[0] = (unsigned char)n;
        p[1] = p[0] ^ 0xff;
        p[2] = 42;
        if (n % 64 == 0)
            malloc_trim(0);
        p = __atomic_exchange_n(&slots[i], p, __ATOMIC_ACQ_REL);
        free(p);
    }
}

static void *changer(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;

    do
        change(&state, 2000);
    while (arg == NULL && !is_over);
    return NULL;
}

static int threads(void)
{
    pthread_t thread[4];

    for (uintptr_t i = 0; i < 4; i++)
        EXPECT(!pthread_create(&thread[i], NULL, changer, (void *)(i + 1)),
               "no thread");
    for (int i = 0; i < 4; i++)
        EXPECT(!pthread_join(thread[i], NULL), "no join");
    for (int i = 0; i < SLOTS; i++)
        free(slots[i]);
    return ok();
}

// Children of a process whose threads grow and free blocks use the blocks
// there are and take their own.
static int children(void)
{
    unsigned char *p = grown(300000);
    pthread_t thread[2];
    unsigned state = 9;

    fill(p, 300000, 4);
    for (int i = 0; i < 2; i++)
        EXPECT(!pthread_create(&thread[i], NULL, changer, NULL), "no thread");
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        int status;

        EXPECT(child >= 0, "no child");
        if (child == 0) {
            alarm(20);
            EXPECT_FILLED(p, 300000, 4);
            p = realloc(p, 700000);
            EXPECT(p, "realloc gave NULL");
            EXPECT_FILLED(p, 300000, 4);
            free(p);
            change(&state, 30);
            _exit(0);
        }
        EXPECT(waitpid(child, &status, 0) == child && status == 0,
               "child %d ended with %#x", i, status);
    }
    is_over = 1;
    for (int i = 0; i < 2; i++)
        EXPECT(!pthread_join(thread[i], NULL), "no join");
    EXPECT_FILLED(p, 300000, 4);
    return ok();
}

// --- broken programs ----------------------------------------------------------

static int misuse(const char *what)
{
    unsigned char *volatile p = grown(40000);
    unsigned char *volatile bad = p;

    if (!strcmp(what, "interior") || !strcmp(what, "resized"))
        bad = p + 4096;
    else if (!strcmp(what, "rest"))
        bad = p + 65536;
    printf("%p %p\n", (void *)bad, (void *)p);
    fflush(stdout);
    if (!strcmp(what, "resized"))
        free(realloc(bad, 50000));
    free(bad);
    free(bad);
    puts("unnoticed");
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (!strcmp(what, "matrix"))
        return matrix();
    if (!strcmp(what, "usable"))
        return usable();
    if (!strcmp(what, "moves"))
        return moves();
    if (!strcmp(what, "refused"))
        return refused();
    if (!strcmp(what, "many"))
        return many();
    if (!strcmp(what, "threads"))
        return threads();
    if (!strcmp(what, "children"))
        return children();
    return misuse(what);
}
