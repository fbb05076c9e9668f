// BUILD: -nostdlib
// A shared object without DT_NEEDED libc: its imports carry no version, so
// they bind to whoever comes first.
#include <stddef.h>

void *aligned_alloc(size_t alignment, size_t size);
void *realloc(void *p, size_t size);
void free(void *p);
void *unbound_aligned(size_t alignment, size_t size);
void *unbound_realloc(void *p, size_t size);
void unbound_free(void *p);

void *unbound_aligned(size_t alignment, size_t size)
{
    return aligned_alloc(alignment, size);
}

void *unbound_realloc(void *p, size_t size)
{
    return realloc(p, size);
}

void unbound_free(void *p)
{
    free(p);
}
