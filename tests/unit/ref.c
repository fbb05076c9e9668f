/*
 * ref.c - reference counts, where a ref is compiled into the program.
 */
#include "ref_tests.h"
