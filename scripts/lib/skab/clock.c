/*
 * skab-clock: a sampled clock around malloc and free, preloaded in front of
 * whatever malloc a process has; for skab --explain, never for a comparison.
 *
 * One call in about 500 of each thread is timed, and asked whether the thread
 * gave up its CPU inside (a voluntary switch: it waited for a lock or for the
 * kernel).  The cost of the clock itself is measured at the start and taken
 * off.  Counters live in the file SKAB_CLOCK, shared by all processes, so
 * that a server that is killed has still told everything:
 *
 *   counts[0]         malloc   [0] calls sampled   [1] that blocked
 *   counts[1]         free     [2 + i] of duration bucket i
 *
 * C++'s operator new and delete are clocked where the allocator brings its own
 * (the shim does); where they are libstdc++'s, their malloc and free are.
 *
 * Bucket 8 * e + m holds durations of (8 + m) << (e - 1) ns and up (e >= 1);
 * below 8 ns the bucket is the duration.  Without the file every call is
 * handed on untimed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { BUCKETS = 8 * 40, EVERY = 512, EARLY = 16384 };

struct counts {
    _Atomic uint64_t sampled, blocked, bucket[BUCKETS];
};

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *p, size_t size);
void free(void *p);
void *_Znwm(size_t size);
void *_Znam(size_t size);
void _ZdlPv(void *p);
void _ZdaPv(void *p);
void _ZdlPvm(void *p, size_t size);
void _ZdaPvm(void *p, size_t size);

/* Tells the shim behind us that it is needed (preload/standdown.c). */
extern const char skpreload_is_next;
const char skpreload_is_next = 1;

static struct counts *shared; /* [0] malloc, [1] free */
static uint64_t clock_cost_ns;
static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);

/* Requests that dlsym itself makes; never given back. */
static _Alignas(16) char early[EARLY];
static size_t early_used;
static bool resolving;

static __thread uint32_t countdown, randomness;

static void *early_malloc(size_t size)
{
    size_t at = early_used;

    if (size > EARLY - 32 || at + size + 16 > EARLY)
        return NULL;
    early_used += (size + 15) & ~(size_t)15;
    return early + at;
}

static bool is_early(const void *p)
{
    return (uintptr_t)p - (uintptr_t)early < EARLY;
}

static void resolve(void)
{
    resolving = true;
    *(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
    *(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&next_free = dlsym(RTLD_NEXT, "free");
    resolving = false;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t switches(void)
{
    struct rusage u;

    return getrusage(RUSAGE_THREAD, &u) == 0 ? (uint64_t)u.ru_nvcsw : 0;
}

static size_t bucket_of(uint64_t ns)
{
    size_t top, b;

    if (ns < 8)
        return ns;
    top = 63 - (size_t)__builtin_clzll(ns); /* >= 3 */
    b = 8 * (top - 2) + ((ns >> (top - 3)) & 7);
    return b < BUCKETS ? b : BUCKETS - 1;
}

static void note(struct counts *c, uint64_t ns, bool blocked)
{
    ns = ns > clock_cost_ns ? ns - clock_cost_ns : 0;
    atomic_fetch_add_explicit(&c->sampled, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->bucket[bucket_of(ns)], 1,
                              memory_order_relaxed);
    if (blocked)
        atomic_fetch_add_explicit(&c->blocked, 1, memory_order_relaxed);
}

/* Is this call one to time?  The gaps are random, 1 to 1023, or a program's
 * own period would choose which of its calls are seen. */
static bool is_sampled(void)
{
    /* In this order: a call before begin() would use up the first count, and
     * that thread, often the only one, would not be seen for 2^32 calls. */
    if (!shared || __builtin_expect(countdown-- != 0, 1))
        return false;
    if (!randomness)
        randomness = (uint32_t)(uintptr_t)&randomness | 1;
    randomness ^= randomness << 13;
    randomness ^= randomness >> 17;
    randomness ^= randomness << 5;
    countdown = randomness % (2 * EVERY - 1);
    return true;
}

static void *timed_malloc(size_t size)
{
    uint64_t before = switches(), start = now_ns(), end;
    void *p = next_malloc(size);

    end = now_ns();
    note(&shared[0], end - start, switches() != before);
    return p;
}

static void timed_free(void *p)
{
    uint64_t before = switches(), start = now_ns(), end;

    next_free(p);
    end = now_ns();
    note(&shared[1], end - start, switches() != before);
}

void *malloc(size_t size)
{
    if (!next_malloc) {
        if (resolving)
            return early_malloc(size);
        resolve();
    }
    return is_sampled() ? timed_malloc(size) : next_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (!next_calloc) {
        if (resolving) /* early[] is zero, and used once */
            return early_malloc(count * size);
        resolve();
    }
    return next_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    void *q;

    if (!is_early(p)) {
        if (!next_realloc)
            resolve();
        return next_realloc(p, size);
    }
    q = malloc(size);
    if (q)
        memcpy(q, p,
               size < (size_t)(early + EARLY - (char *)p)
                   ? size
                   : (size_t)(early + EARLY - (char *)p));
    return q;
}

void free(void *p)
{
    if (!p || is_early(p))
        return;
    if (!next_free)
        resolve();
    if (is_sampled())
        timed_free(p);
    else
        next_free(p);
}

/* operator new of the next object, and whether that is malloc's own object:
 * one that calls malloc is clocked there, not twice. */
struct operator {
    void *_Atomic next;
    bool of_allocator;
};

static void find_operator(struct operator *op, const char *name)
{
    Dl_info here, mallocs;
    void *found = dlsym(RTLD_NEXT, name);

    if (!next_malloc)
        resolve();
    op->of_allocator = found && dladdr(found, &here) &&
                       dladdr(*(void **)&next_malloc, &mallocs) &&
                       here.dli_fbase == mallocs.dli_fbase;
    op->next = found;
}

static inline void *run_new(struct operator *op, const char *name, size_t size)
{
    uint64_t before, start, end;
    void *p;

    if (!op->next)
        find_operator(op, name);
    if (!op->of_allocator || !is_sampled())
        return ((void *(*)(size_t))op->next)(size);
    before = switches();
    start = now_ns();
    p = ((void *(*)(size_t))op->next)(size);
    end = now_ns();
    note(&shared[0], end - start, switches() != before);
    return p;
}

/* Sized deletes take their size along; an unsized one ignores it. */
static inline void run_delete(struct operator *op, const char *name, void *p,
                              size_t size)
{
    uint64_t before, start, end;

    if (!p || is_early(p))
        return;
    if (!op->next)
        find_operator(op, name);
    if (!op->of_allocator || !is_sampled()) {
        ((void (*)(void *, size_t))op->next)(p, size);
        return;
    }
    before = switches();
    start = now_ns();
    ((void (*)(void *, size_t))op->next)(p, size);
    end = now_ns();
    note(&shared[1], end - start, switches() != before);
}

void *_Znwm(size_t size)
{
    static struct operator op;

    return run_new(&op, "_Znwm", size);
}

void *_Znam(size_t size)
{
    static struct operator op;

    return run_new(&op, "_Znam", size);
}

void _ZdlPv(void *p)
{
    static struct operator op;

    run_delete(&op, "_ZdlPv", p, 0);
}

void _ZdaPv(void *p)
{
    static struct operator op;

    run_delete(&op, "_ZdaPv", p, 0);
}

void _ZdlPvm(void *p, size_t size)
{
    static struct operator op;

    run_delete(&op, "_ZdlPvm", p, size);
}

void _ZdaPvm(void *p, size_t size)
{
    static struct operator op;

    run_delete(&op, "_ZdaPvm", p, size);
}

static void measure_clock(void)
{
    uint64_t best = UINT64_MAX, start, took;

    for (int i = 0; i < 1000; i++) {
        start = now_ns();
        took = now_ns() - start;
        if (took < best)
            best = took;
    }
    clock_cost_ns = best;
}

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("SKAB_CLOCK");
    int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    void *map;

    if (fd < 0)
        return;
    measure_clock();
    map = mmap(NULL, 2 * sizeof(struct counts), PROT_READ | PROT_WRITE,
               MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        shared = map;
}
