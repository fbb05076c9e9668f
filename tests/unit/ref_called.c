/*
 * ref_called.c - reference counts, where every ref is a call of the library's.
 */
#define SK_HEAP_NO_INLINE
#include "ref_tests.h"
