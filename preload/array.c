/*
 * array.c - reallocarray, in a file of its own.
 *
 * glibc's calls whatever realloc is the process's first, not its own.  So must
 * ours: a program that brings its own malloc, or a tool in front of us that
 * puts a header before each block (memusage), has realloc but not always
 * reallocarray, and the block is theirs.  In malloc.c the compiler would go
 * straight to our realloc.
 */
#include "preload.h"

#include <errno.h>

SKP_EXPORT void *reallocarray(void *p, size_t count, size_t bytes)
{
    size_t total;

    if (SK_UNLIKELY(__builtin_mul_overflow(count, bytes, &total))) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, total);
}
