/*
 * new.c - operator new and delete, in all forms.
 *
 * Ours only save the way through libstdc++.  A request that cannot be met
 * goes to the next operator new in the chain, so new_handler and bad_alloc
 * are libstdc++'s own; sizes and alignments given to delete are ignored, as
 * libstdc++ does.  When the heaps stand down, both operators go on to the
 * next ones, so that they stay a pair.
 *
 * The next operators are looked up when first needed: libstdc++ may come
 * with a later dlopen.  A name that is not there is looked up in the global
 * scope too, for a library opened with RTLD_GLOBAL.
 */
#include "preload.h"
#include "aligned.h"

#include <dlfcn.h>

static void *next(_Atomic(void *) *found, const char *name)
{
    void *function = atomic_load_explicit(found, memory_order_relaxed);

    if (!function) {
        function = dlsym(RTLD_NEXT, name);
        atomic_store_explicit(found, function, memory_order_relaxed);
    }
    return function;
}

/* Calls the next function of this one's name, or returns `otherwise`. */
#define NEXT(name, type, otherwise, ...)                                       \
    do {                                                                       \
        static _Atomic(void *) found;                                          \
        type function = (type)next(&found, #name);                             \
        return function ? function(__VA_ARGS__) : otherwise;                   \
    } while (0)

typedef void *(*new_1)(size_t);
typedef void *(*new_2)(size_t, const void *);
typedef void *(*new_a)(size_t, size_t);
typedef void *(*new_3)(size_t, size_t, const void *);

/* The miss path's part that the heaps can do. */
static SK_COLD void *heaps_slow(size_t bytes)
{
    if (!skp_start())
        return skp_boot_alloc(bytes, 16);
    if (!skp_is_on)
        return NULL;
    return skp_malloc_slow(bytes);
}

#define NEW(name)                                                              \
    SKP_EXPORT void *name(size_t bytes);                                       \
    static SK_COLD void *name##_slow(size_t bytes)                             \
    {                                                                          \
        void *unit = heaps_slow(bytes);                                        \
        if (unit)                                                              \
            return unit;                                                       \
        NEXT(name, new_1, malloc(bytes), bytes);                               \
    }                                                                          \
    void *name(size_t bytes)                                                   \
    {                                                                          \
        void *unit = sk_state_alloc_hit(bytes);                                           \
        return SK_LIKELY(unit != NULL) ? unit : name##_slow(bytes);            \
    }

#define NEW_NOTHROW(name)                                                      \
    SKP_EXPORT void *name(size_t bytes, const void *nothrow);                  \
    static SK_COLD void *name##_slow(size_t bytes, const void *nothrow)        \
    {                                                                          \
        void *unit = heaps_slow(bytes);                                        \
        if (unit)                                                              \
            return unit;                                                       \
        NEXT(name, new_2, malloc(bytes), bytes, nothrow);                      \
    }                                                                          \
    void *name(size_t bytes, const void *nothrow)                              \
    {                                                                          \
        void *unit = sk_state_alloc_hit(bytes);                                           \
        return SK_LIKELY(unit != NULL) ? unit : name##_slow(bytes, nothrow);   \
    }

#define NEW_ALIGNED(name)                                                      \
    SKP_EXPORT void *name(size_t bytes, size_t alignment);                     \
    void *name(size_t bytes, size_t alignment)                                 \
    {                                                                          \
        void *unit = skp_aligned(alignment, bytes);                            \
        if (unit)                                                              \
            return unit;                                                       \
        NEXT(name, new_a, memalign(alignment, bytes), bytes, alignment);       \
    }

#define NEW_ALIGNED_NOTHROW(name)                                              \
    SKP_EXPORT void *name(size_t bytes, size_t alignment, const void *tag);    \
    void *name(size_t bytes, size_t alignment, const void *tag)                \
    {                                                                          \
        void *unit = skp_aligned(alignment, bytes);                            \
        if (unit)                                                              \
            return unit;                                                       \
        NEXT(name, new_3, memalign(alignment, bytes), bytes, alignment, tag);  \
    }

NEW(_Znwm)
NEW(_Znam)
NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
NEW_NOTHROW(_ZnamRKSt9nothrow_t)
NEW_ALIGNED(_ZnwmSt11align_val_t)
NEW_ALIGNED(_ZnamSt11align_val_t)
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)

/* All deletes are one: what is not ours goes to libc's free, or when standing
 * down to the next operator delete. */
static SK_COLD void delete_slow(void *p, enum sk_freed why)
{
    static _Atomic(void *) found;
    void (*function)(void *);

    if (why != SK_FREE_FOREIGN || skp_is_on || !p || skp_boot_has(p)) {
        skp_free_slow(p, why);
        return;
    }
    function = (void (*)(void *))next(&found, "_ZdlPv");
    (function ? function : free)(p);
}

static inline void delete(void *p)
{
    enum sk_freed freed = sk_state_free_hit(p);

    if (SK_UNLIKELY(freed != SK_FREED))
        delete_slow(p, freed);
}

#define DELETE(name, ...)                                                      \
    SKP_EXPORT void name(void *p __VA_OPT__(, ) __VA_ARGS__);                  \
    void name(void *p __VA_OPT__(, ) __VA_ARGS__)                              \
    {                                                                          \
        delete (p);                                                            \
    }
#define UNUSED __attribute__((unused))

DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm, size_t bytes UNUSED)
DELETE(_ZdaPvm, size_t bytes UNUSED)
DELETE(_ZdlPvRKSt9nothrow_t, const void *tag UNUSED)
DELETE(_ZdaPvRKSt9nothrow_t, const void *tag UNUSED)
DELETE(_ZdlPvSt11align_val_t, size_t alignment UNUSED)
DELETE(_ZdaPvSt11align_val_t, size_t alignment UNUSED)
DELETE(_ZdlPvmSt11align_val_t, size_t bytes UNUSED, size_t alignment UNUSED)
DELETE(_ZdaPvmSt11align_val_t, size_t bytes UNUSED, size_t alignment UNUSED)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, size_t alignment UNUSED,
       const void *tag UNUSED)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, size_t alignment UNUSED,
       const void *tag UNUSED)
