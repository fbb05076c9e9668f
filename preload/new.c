/*
 * new.c - operator new and delete, the forms that all others call.
 *
 * new_forms.c has those others.  Ours only save the way through libstdc++.  A
 * request that cannot be met goes to the next operator new in the chain, so
 * new_handler and bad_alloc are libstdc++'s own; sizes and alignments given to
 * delete are ignored, as libstdc++ does.  When the heaps stand down, both
 * operators go on to the next ones, so that they stay a pair.
 *
 * The next operators are looked up when first needed: libstdc++ may come
 * with a later dlopen.  Opened with RTLD_LOCAL, as every C++ extension of
 * Python's is, it is next to nobody; then libc's malloc serves, and when that
 * refuses, the caller's object is asked for its operator new, for the caller
 * wants an exception.
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

static void *of_object(const char *file, const char *name)
{
    void *object = skp_real.dlopen(file, RTLD_NOLOAD | RTLD_LAZY);
    void *function = object ? dlsym(object, name) : NULL;

    if (object)
        dlclose(object);
    return function;
}

/* What the caller would call without us; or libstdc++'s, if an array form in
 * here is the caller. */
static void *of_caller(const char *name, const void *caller, const void *ours)
{
    Dl_info info;
    void *function = NULL;

    if (dladdr(caller, &info) && info.dli_fname)
        function = of_object(info.dli_fname, name);
    if (!function || function == ours)
        function = of_object("libstdc++.so.6", name);
    return function != ours ? function : NULL;
}

/* Calls the next function of this one's name; without one, returns `otherwise`,
 * or if that is NULL what the caller's own gives. */
#define NEXT(name, type, caller, ours, otherwise, ...)                         \
    do {                                                                       \
        static _Atomic(void *) found;                                          \
        type function = (type)next(&found, #name);                             \
        void *unit;                                                            \
                                                                               \
        if (function)                                                          \
            return function(__VA_ARGS__);                                      \
        unit = otherwise;                                                      \
        if (unit)                                                              \
            return unit;                                                       \
        function = (type)of_caller(#name, caller, (const void *)ours);         \
        return function ? function(__VA_ARGS__) : NULL;                        \
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

SKP_EXPORT void *_Znwm(size_t bytes);
static SK_COLD void *new_slow(size_t bytes, const void *caller)
{
    void *slow = heaps_slow(bytes);

    if (slow)
        return slow;
    NEXT(_Znwm, new_1, caller, skp_own_new, malloc(bytes), bytes);
}

void *_Znwm(size_t bytes)
{
    void *unit = sk_state_alloc_hit(bytes);

    return SK_LIKELY(unit != NULL)
               ? unit
               : new_slow(bytes, __builtin_return_address(0));
}

SKP_EXPORT void *_ZnwmSt11align_val_t(size_t bytes, size_t alignment);
void *_ZnwmSt11align_val_t(size_t bytes, size_t alignment)
{
    void *aligned = skp_aligned(alignment, bytes);

    if (aligned)
        return aligned;
    NEXT(_ZnwmSt11align_val_t, new_a, __builtin_return_address(0),
         skp_own_aligned_new, memalign(alignment, bytes), bytes, alignment);
}

/* Without an exception: libstdc++'s own forms catch it, and they call the
 * program's operator new where it has one, so they are asked whenever ours
 * cannot serve or is not the one in use. */
SKP_EXPORT void *_ZnwmRKSt9nothrow_t(size_t bytes, const void *tag);
void *_ZnwmRKSt9nothrow_t(size_t bytes, const void *tag)
{
    void *ours = skp_is_new_ours() ? sk_state_alloc_hit(bytes) : NULL;

    if (!ours && skp_is_new_ours())
        ours = heaps_slow(bytes);
    if (ours)
        return ours;
    NEXT(_ZnwmRKSt9nothrow_t, new_2, __builtin_return_address(0),
         _ZnwmRKSt9nothrow_t, malloc(bytes), bytes, tag);
}

SKP_EXPORT void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t bytes,
                                                    size_t alignment,
                                                    const void *tag);
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t bytes, size_t alignment,
                                         const void *tag)
{
    void *aligned =
        skp_is_aligned_new_ours() ? skp_aligned(alignment, bytes) : NULL;

    if (aligned)
        return aligned;
    NEXT(_ZnwmSt11align_val_tRKSt9nothrow_t, new_3,
         __builtin_return_address(0), _ZnwmSt11align_val_tRKSt9nothrow_t,
         memalign(alignment, bytes), bytes, alignment, tag);
}

/* What is not ours goes to libc's free, or when standing down to the next
 * operator delete. */
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

static inline void delete (void *p)
{
    enum sk_freed freed = sk_state_free_hit(p);

    if (SK_UNLIKELY(freed != SK_FREED))
        delete_slow(p, freed);
}

SKP_EXPORT void _ZdlPv(void *p);
void _ZdlPv(void *p)
{
    delete (p);
}

SKP_EXPORT void _ZdlPvSt11align_val_t(void *p, size_t alignment);
void _ZdlPvSt11align_val_t(void *p, size_t alignment)
{
    (void)alignment;
    delete (p);
}

/* Our own forms, by names that nobody can replace. */
#define OWN(name) __attribute__((alias(#name), visibility("hidden")))
extern void *skp_own_new(size_t bytes) OWN(_Znwm);
extern void *skp_own_aligned_new(size_t bytes, size_t alignment)
    OWN(_ZnwmSt11align_val_t);
