/*
 * content.h - what is in a file, as a string.
 */
#ifndef CONTENT_H
#define CONTENT_H

#include "unit.h"

#include <stdio.h>

/* Closes it. */
static inline const char *content_of(FILE *file)
{
    static char text[65536];

    assert_non_null(file);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

#endif
