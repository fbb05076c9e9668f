/*
 * malloc.c - malloc, calloc, realloc, free and their kin.
 *
 * A request of up to 32 KiB pops the caller's bin; everything else is the
 * slow path's.  Nothing of a foreign pointer is read: one compare sends it on
 * to libc.
 */
#include "preload.h"

#include <errno.h>
#include <string.h>

/* Above 1 KiB.  A function of its own: with two ways to the bin joining in
 * malloc, gcc needs one instruction more for the common one. */
static __attribute__((noinline)) void *malloc_medium(size_t bytes)
{
    void *unit = sk_state_alloc_hit(bytes);

    return SK_LIKELY(unit != NULL) ? unit : skp_malloc_slow(bytes);
}

/* gcc's own attributes: a callee whose unused argument is passed all the
 * same, and an alias that is declared like its target. */
#ifdef __clang__
#define SKP_WHOLE
#define SKP_LIKE(function)
#else
#define SKP_WHOLE          __attribute__((noipa))
#define SKP_LIKE(function) __attribute__((copy(function)))
#endif

/* Takes the bin it does not need, so that gcc keeps that in the register of
 * a second argument and the unit in the one of the result: one move less on
 * the hit path. */
static SK_COLD SKP_WHOLE void *malloc_miss(size_t bytes, struct sk_bin *bin)
{
    (void)bin;
    return skp_malloc_slow(bytes);
}

SKP_EXPORT void *malloc(size_t bytes)
{
    struct sk_bin *bin;
    void *unit;

    if (SK_UNLIKELY(bytes > SK_SMALL_BYTES))
        return malloc_medium(bytes);
    bin = sk_state_small_bin(bytes);
    unit = sk_bin_pop(bin);
    return SK_LIKELY(unit != NULL) ? unit : malloc_miss(bytes, bin);
}

/* By a name that no program can replace. */
extern void *skp_own_malloc(size_t bytes)
    __attribute__((alias("malloc"), visibility("hidden"))) SKP_LIKE(malloc);

SKP_EXPORT void free(void *p)
{
    skp_free(p);
}

static void *boot_or_enomem(size_t bytes, size_t alignment)
{
    void *p = skp_boot_alloc(bytes, alignment);

    if (!p)
        errno = ENOMEM;
    return p;
}

SK_COLD void *skp_malloc_slow(size_t bytes)
{
    void *unit;

    if (SK_UNLIKELY(!skp_start()))
        return boot_or_enomem(bytes, 16);
    if (skp_is_on && bytes <= sk_config.max_small) {
        unit = sk_state_alloc_slow(bytes);
        if (SK_LIKELY(unit != NULL))
            return unit;
    }
    sk_state_count_libc(bytes);
    return skp_real.malloc(bytes);
}

void skp_free_slow(void *p, enum sk_freed why)
{
    if (!p)
        return;
    if (why != SK_FREE_FOREIGN) {
        if (SK_UNLIKELY(sk_grown_has(p)))
            sk_grown_free(p);
        else
            sk_state_free_slow(p);
    } else if (skp_boot_has(p))
        return; /* never reused */
    else if (SK_LIKELY(skp_start()))
        skp_real.free(p);
}

/* All of the unit, not only what was asked for: a program may grow into the
 * rest by realloc, and expects zeros there (failures.md 37). */
static void *zero_unit(void *unit, size_t bytes)
{
    size_t class = sk_class_slot(bytes ? bytes : 1) / SK_BIN_BYTES;

    return memset(unit, 0, sk_class_heaps[class].unit_bytes);
}

SKP_EXPORT void *calloc(size_t count, size_t bytes)
{
    size_t total;
    void *unit;

    if (SK_UNLIKELY(__builtin_mul_overflow(count, bytes, &total))) {
        errno = ENOMEM;
        return NULL;
    }
    unit = sk_state_alloc_hit(total);
    if (SK_LIKELY(unit != NULL))
        return zero_unit(unit, total);
    if (SK_UNLIKELY(!skp_start()))
        return boot_or_enomem(total, 16);
    if (skp_is_on && total <= sk_config.max_small) {
        unit = sk_state_alloc_slow(total);
        if (SK_LIKELY(unit != NULL)) /* of this class or a larger one */
            return memset(unit, 0, sk_state_usable(unit));
    }
    sk_state_count_libc(total);
    return skp_real.calloc(count, bytes);
}

/* What grows beyond the largest class stays ours, up to max_grown. */
static void *grown_or_malloc(void *p, size_t bytes)
{
    void *new = NULL;

    if (bytes > SK_CLASS_BYTES && sk_config.max_small == SK_CLASS_BYTES &&
        sk_region_has(p))
        new = sk_grown_alloc(bytes);
    return new ? new : skp_own_malloc(bytes);
}

/* Out of the heaps or the boot buffer into a new block. */
static void *move(void *p, size_t usable, size_t bytes)
{
    void *new = grown_or_malloc(p, bytes);

    if (!new) /* making a block smaller never fails */
        return bytes <= usable ? p : NULL;
    memcpy(new, p, usable < bytes ? usable : bytes);
    skp_free(p);
    return new;
}

SKP_EXPORT void *realloc(void *p, size_t bytes)
{
    size_t usable;

    if (!p)
        return skp_own_malloc(bytes);
    if (!sk_region_has(p)) {
        if (SK_UNLIKELY(skp_boot_has(p)))
            return move(p, skp_boot_usable(p), bytes);
        skp_start();
        sk_state_count_libc(bytes);
        return skp_real.realloc(p, bytes);
    }
    if (bytes == 0) {
        skp_free(p);
        return NULL;
    }
    usable = skp_usable(p);
    /* Half empty is still cheaper than a copy. */
    if (bytes <= usable && bytes >= usable / 2)
        return p;
    if (bytes > SK_CLASS_BYTES && sk_grown_has(p) && sk_grown_resize(p, bytes))
        return p;
    return move(p, usable, bytes);
}

/* --- consumers under other names ------------------------------------------ */

SKP_EXPORT void cfree(void *p);
void cfree(void *p)
{
    skp_free(p);
}

/* C23.  Programs pass wrong sizes, and glibc ignores them too. */
SKP_EXPORT void free_sized(void *p, size_t bytes);
void free_sized(void *p, size_t bytes)
{
    (void)bytes;
    skp_free(p);
}

SKP_EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes);
void free_aligned_sized(void *p, size_t alignment, size_t bytes)
{
    (void)alignment;
    (void)bytes;
    skp_free(p);
}
