/* aligned.h - aligned requests, for malloc's and operator new's aligned forms.
 */
#ifndef ALIGNED_H
#define ALIGNED_H

#include <stddef.h>

/* A unit, or NULL: then libc decides, about success as about the error. */
void *skp_aligned(size_t alignment, size_t bytes);

#endif
