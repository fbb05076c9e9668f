/*
 * aligned.c - memalign and its kin.
 *
 * A class whose unit is a multiple of the alignment is aligned to it, since
 * chunks start at a multiple of 64 KiB; and rounding the request up to a
 * multiple of the alignment always ends in such a class (the classes of a
 * doubling lie a power of two apart).  What is not a plain case goes to libc
 * unchanged, so that errors and odd alignments are libc's own.
 */
#include "preload.h"
#include "aligned.h"

#include <errno.h>
#include <stdlib.h>

#define ALIGNMENT_MOST 4096

_Static_assert(SK_CLASS_BYTES % ALIGNMENT_MOST == 0,
               "what is rounded up is no more than that");

void *skp_aligned(size_t alignment, size_t bytes)
{
    size_t rounded;
    void *unit;

    if (alignment == 0 || alignment > ALIGNMENT_MOST ||
        alignment & (alignment - 1) || bytes > SK_CLASS_BYTES)
        return NULL;
    rounded = (bytes + alignment - 1) & ~(alignment - 1);
    if (rounded == 0)
        rounded = alignment;
    unit = sk_state_alloc_hit(rounded);
    if (SK_LIKELY(unit != NULL))
        return unit;
    if (!skp_start())
        return skp_boot_alloc(bytes, alignment < 16 ? 16 : alignment);
    if (!skp_is_on || rounded > sk_config.max_small)
        return NULL;
    return sk_state_alloc_unit(sk_class_slot(rounded));
}

/* Before a real function is called.  False while the start looks for it. */
static bool count_forwarded(size_t bytes)
{
    if (!skp_start())
        return false;
    sk_state_count_libc(bytes);
    return true;
}

static void *boot_aligned(size_t alignment, size_t bytes)
{
    if (alignment & (alignment - 1))
        return NULL;
    return skp_boot_alloc(bytes, alignment < 16 ? 16 : alignment);
}

SKP_EXPORT void *memalign(size_t alignment, size_t bytes)
{
    void *unit = skp_aligned(alignment, bytes);

    if (unit)
        return unit;
    if (!count_forwarded(bytes))
        return boot_aligned(alignment, bytes);
    return skp_real.memalign(alignment, bytes);
}

SKP_EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
    void *unit = skp_aligned(alignment, bytes);

    if (unit)
        return unit;
    if (!count_forwarded(bytes))
        return boot_aligned(alignment, bytes);
    return skp_real.aligned_alloc(alignment, bytes);
}

SKP_EXPORT int posix_memalign(void **p, size_t alignment, size_t bytes)
{
    void *unit = NULL;

    if (alignment >= sizeof(void *))
        unit = skp_aligned(alignment, bytes);
    if (unit) {
        *p = unit;
        return 0;
    }
    if (!count_forwarded(bytes)) {
        *p = boot_aligned(alignment, bytes);
        return *p ? 0 : ENOMEM;
    }
    return skp_real.posix_memalign(p, alignment, bytes);
}

SKP_EXPORT void *valloc(size_t bytes)
{
    return memalign(sk_os_page_bytes(), bytes);
}

SKP_EXPORT void *pvalloc(size_t bytes)
{
    size_t page = sk_os_page_bytes();

    if (!count_forwarded(bytes))
        return boot_aligned(page, (bytes + page - 1) & ~(page - 1));
    return skp_real.pvalloc(bytes);
}
