/*
 * fails.h - a call that fails, and says why in errno.
 */
#ifndef FAILS_H
#define FAILS_H

#include "unit.h"

#include <errno.h>

#define assert_fails(call, answer, why)                                        \
    do {                                                                       \
        errno = 0;                                                             \
        assert_true((call) == (answer));                                       \
        assert_int_equal(errno, why);                                          \
    } while (0)

#endif
