/*
 * floor: the least that malloc and free can cost behind the PLT: one free
 * list of the thread, no size, no owner, no check.  Every block has room for
 * 28 KiB, nothing larger can be had, and what another thread frees it keeps.
 * No allocator, but the line that scripts/hotpath measures allocators from.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

enum { BLOCK = 32 << 10, AT_ONCE = 1 << 12 };

void *malloc(size_t size);
void free(void *block);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);

static __thread void *head __attribute__((tls_model("initial-exec")));

/* Links a fresh run of blocks; only the pages of links are touched. */
static __attribute__((noinline, cold)) void *more(void)
{
    char *run = mmap(NULL, (size_t)BLOCK * AT_ONCE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t i;
    if (run == MAP_FAILED)
        return NULL;
    for (i = 1; i < AT_ONCE; i++)
        *(void **)(run + i * BLOCK) =
            i + 1 < AT_ONCE ? run + (i + 1) * BLOCK : NULL;
    head = run + BLOCK;
    return run;
}

void *malloc(size_t size)
{
    void *block = head;
    (void)size;
    if (__builtin_expect(!block, 0))
        return more();
    head = *(void **)block;
    return block;
}

void free(void *block)
{
    if (!block)
        return;
    *(void **)block = head;
    head = block;
}

void *calloc(size_t count, size_t size)
{
    void *block = malloc(0);
    if (block)
        memset(block, 0, count * size);
    return block;
}

/* The old size is not known; what is copied too much stays in the block. */
void *realloc(void *block, size_t size)
{
    return block && size <= BLOCK ? block : malloc(size);
}
