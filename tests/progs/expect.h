// What the test programs share.  Each shows one behaviour, says "ok" at its
// end, and knows nothing of the shim: what it asks holds on glibc too, unless
// a comment says otherwise.  Nothing in here allocates.
#ifndef EXPECT_H
#define EXPECT_H

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// EXPECT(condition, format, ...): ends the program with status 1, and says
// where, what and why, when the condition does not hold.
#define EXPECT(condition, ...)                                               \
    do {                                                                     \
        if (!(condition)) {                                                  \
            dprintf(2, "%s:%d: %s\n  ", __FILE__, __LINE__, #condition);     \
            dprintf(2, __VA_ARGS__);                                         \
            dprintf(2, "\n");                                                \
            _exit(1);                                                        \
        }                                                                    \
    } while (0)

// The shim's size classes: steps of 16 bytes to 1 KiB, then four for each
// doubling, up to 32 KiB.
#define CLASSES   84
#define MAX_SMALL 32768

static inline size_t class_size(size_t n)
{
    size_t top = 2048;

    if (n <= 1024)
        return n < 16 ? 16 : (n + 15) / 16 * 16;
    while (n > top)
        top *= 2;
    return (n + top / 8 - 1) / (top / 8) * (top / 8);
}

// The unit size of class i, counted from 0.
static inline size_t class_nth(size_t i)
{
    if (i < 64)
        return (i + 1) * 16;
    return (5 + i % 4) * (256u << ((i - 64) / 4));
}

// glibc's small blocks are 8 bytes short of a multiple of 16, ours are not.
static inline int is_ours(void *p)
{
    return malloc_usable_size(p) % 16 == 0;
}

// A pattern that tells one block from another, and a block from its shift.
static inline void fill(void *p, size_t size, unsigned seed)
{
    unsigned char *byte = p;

    for (size_t i = 0; i < size; i++)
        byte[i] = (unsigned char)(seed * 31 + i * 7 + 1);
}

static inline size_t first_fault(const void *p, size_t size, unsigned seed)
{
    const unsigned char *byte = p;
    size_t i = 0;

    while (i < size && byte[i] == (unsigned char)(seed * 31 + i * 7 + 1))
        i++;
    return i;
}

#define EXPECT_FILLED(p, size, seed)                                         \
    EXPECT(first_fault(p, size, seed) == (size_t)(size),                     \
           "block %p of %zu bytes is overwritten at %zu", (void *)(p),       \
           (size_t)(size), first_fault(p, size, seed))

// A small random number generator, so that a run can be repeated.
static inline unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

// The resident set in KiB, 0 when /proc does not say.
static inline long rss_kib(void)
{
    char text[128];
    long pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    sscanf(text, "%*s %ld", &pages);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static inline void *block(size_t size)
{
    void *p = malloc(size);

    EXPECT(p, "malloc(%zu) gave NULL, errno %d", size, errno);
    return p;
}

static inline int ok(void)
{
    static const char word[] = "ok\n";

    return write(1, word, sizeof word - 1) == 3 ? 0 : 1;
}

#endif
