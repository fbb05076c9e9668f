/*
 * boot.c - memory for requests that arrive while the start runs.
 *
 * dlsym may allocate (failures.md 1), and whoever got memory then frees it
 * later, so free, realloc and malloc_usable_size know these addresses.
 */
#include "preload.h"

#define BOOT_BYTES 65536

/* A block is its size in a 16-byte header, then the bytes. */
static SK_LARGE struct {
    char bytes[BOOT_BYTES] __attribute__((aligned(16)));
    _Atomic size_t used;
} boot;

void *skp_boot_alloc(size_t bytes, size_t alignment)
{
    size_t used = atomic_load(&boot.used);
    size_t start, end;

    do {
        start = (size_t)boot.bytes + used + 16;
        start = (start + alignment - 1) & ~(alignment - 1);
        start -= (size_t)boot.bytes;
        if (start > BOOT_BYTES || bytes > BOOT_BYTES - start)
            return NULL;
        end = start + ((bytes + 15) & ~(size_t)15);
    } while (!atomic_compare_exchange_weak(&boot.used, &used, end));
    *(size_t *)(boot.bytes + start - 16) = bytes;
    return boot.bytes + start;
}

bool skp_boot_has(const void *p)
{
    return (uintptr_t)p - (uintptr_t)boot.bytes < BOOT_BYTES;
}

size_t skp_boot_usable(const void *p)
{
    return ((const size_t *)p)[-2];
}
