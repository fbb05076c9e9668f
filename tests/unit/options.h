/*
 * options.h - reads environments into options, and what is said of them.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "capture.h"

#include "sk_config.h"

#include <stdio.h>
#include <string.h>

static struct sk_config defaults;
static int errors;

/* Reads one environment into fresh options; returns what was said, without
 * the "skpreload[PID]: " that every line must begin with. */
static inline const char *read_entries(char **entries, bool is_secure)
{
    static char lines[65536];
    char start[32];
    size_t used = 0;
    const char *said;

    sk_config = defaults;
    capture_start();
    sk_say_open();
    errors = sk_config_read(entries, is_secure);
    snprintf(start, sizeof start, "skpreload[%d]: ", getpid());
    lines[0] = '\0';
    for (said = capture_end(); *said;) {
        size_t bytes = strcspn(said, "\n") + 1;

        assert_memory_equal(said, start, strlen(start));
        used += (size_t)snprintf(lines + used, sizeof lines - used, "%.*s",
                                 (int)(bytes - strlen(start)),
                                 said + strlen(start));
        said += bytes;
    }
    return lines;
}

static inline const char *read_one(const char *entry)
{
    return read_entries((char *[]){(char *)entry, NULL}, false);
}

static inline void assert_silent(const char *entry)
{
    assert_string_equal(read_one(entry), "");
    assert_int_equal(errors, 0);
}

/* What a group sets up for its tests. */
static inline int keep_defaults(void **state)
{
    (void)state;
    defaults = sk_config;
    return 0;
}

#endif
