/*
 * preload.h - what the files of preload/ share.
 *
 * preload/ is libc's names and nothing else: each export is a few lines that
 * translate between libc's contract and the heaps'.
 */
#ifndef PRELOAD_H
#define PRELOAD_H

#include "sk_stats.h"

#include <malloc.h>

#define SKP_EXPORT __attribute__((visibility("default")))

/* The next functions in the chain: libc's, as a rule.  Found all together by
 * the first call that needs one; set once. */
struct skp_real {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*pvalloc)(size_t);
    size_t (*malloc_usable_size)(void *);
    int (*malloc_trim)(size_t);
    struct mallinfo (*mallinfo)(void);
    struct mallinfo2 (*mallinfo2)(void);
    void (*malloc_stats)(void);
    int (*malloc_info)(int, FILE *);
    int (*mallopt)(int, int);
    void *(*dlopen)(const char *, int);
    void *(*dlmopen)(long, const char *, int);
    int (*mlockall)(int);
    int (*setrlimit)(int, const void *);
    int (*prlimit)(int, int, const void *, void *);
};

extern struct skp_real skp_real;

/* Whether small requests are served here.  Set once, by the start. */
extern bool skp_is_on;

/* Makes sure that the start is over: options read, real functions found,
 * region reserved.  False while it is under way in this very thread: then
 * only the bootstrap buffer may serve. */
bool skp_start(void);

/* Why nothing is served, or "" (for the report and the banner). */
const char *skp_reason(void);

/* Whether a sanitizer is in this process, which must own malloc.  Calls
 * nothing. */
bool skp_has_sanitizer(void);

/* Why the heaps must leave this process alone, or NULL.  `entries` is its
 * environment.  Asked once, after the real functions were found. */
const char *skp_reason_to_pass(char **entries);

/* This process is the one whose memory limits are watched: at the start, and in
 * a fork's child. */
void skp_limits_own(void);

/* Serves requests that arrive while the start runs: a static zeroed buffer,
 * never reused.  NULL when it is full. */
void *skp_boot_alloc(size_t bytes, size_t alignment);
bool skp_boot_has(const void *p);
size_t skp_boot_usable(const void *p);

/* Is operator new, plain or aligned, of this library the one in use? */
bool skp_is_new_ours(void);
bool skp_is_aligned_new_ours(void);
void *skp_own_new(size_t bytes);
void *skp_own_aligned_new(size_t bytes, size_t alignment);
void *skp_own_malloc(size_t bytes);

/* The miss paths, complete: heaps, else libc, ENOMEM set by libc. */
void *skp_malloc_slow(size_t bytes);
void skp_free_slow(void *p, enum sk_freed why);

/* What the program may write to at an address in the region. */
static inline size_t skp_usable(const void *p)
{
    return SK_UNLIKELY(sk_grown_has(p)) ? sk_grown_usable(p)
                                        : sk_state_usable(p);
}

static inline void skp_free(void *p)
{
    enum sk_freed freed = sk_state_free_hit(p);

    if (SK_UNLIKELY(freed != SK_FREED))
        skp_free_slow(p, freed);
}

#endif
