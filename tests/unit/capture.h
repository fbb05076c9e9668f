/*
 * capture.h - what is written to descriptor 2, as a string.
 *
 * capture_start() puts a pipe in place of descriptor 2, capture_end() puts
 * the old one back and returns the text.  A text longer than a pipe's 64 KiB
 * would block its writer.
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include "unit.h"

#include <unistd.h>

static struct {
    int kept, ends[2];
    char text[65536];
} capture;

static void capture_start(void)
{
    assert_int_equal(pipe(capture.ends), 0);
    capture.kept = dup(2);
    assert_int_equal(dup2(capture.ends[1], 2), 2);
    close(capture.ends[1]);
}

static const char *capture_end(void)
{
    size_t used = 0;
    ssize_t got;

    dup2(capture.kept, 2);
    close(capture.kept);
    while ((got = read(capture.ends[0], capture.text + used,
                       sizeof capture.text - 1 - used)) > 0)
        used += (size_t)got;
    close(capture.ends[0]);
    capture.text[used] = '\0';
    return capture.text;
}

#endif
