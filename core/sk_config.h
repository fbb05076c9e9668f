/*
 * sk_config.h - the options of the environment.
 *
 * Layer: above sk_say.  SKPRELOAD_CONF="key:value,key:value", and
 * SKPRELOAD_OFF, SKPRELOAD_VERBOSE, SKPRELOAD_STATS for what is typed by
 * hand.  Read once, from the environment block itself: no getenv, which a
 * program may have replaced, and no malloc.  The library alone has no use for
 * mode, max_small, max_grown, verbose and stats.
 */
#ifndef SK_CONFIG_H
#define SK_CONFIG_H

#include "sk_say.h"

/* The values of options that are words, and the words. */
enum sk_mode { SK_MODE_ON, SK_MODE_PASS, SK_MODE_OFF };
enum sk_huge { SK_HUGE_OFF, SK_HUGE_ON, SK_HUGE_SYSTEM };
#define SK_MODE_WORDS "on", "pass", "off"
#define SK_HUGE_WORDS "off", "on", "system"

#define SK_TYPE_BOOL bool
#define SK_TYPE_SIZE uint64_t
#define SK_TYPE_MODE enum sk_mode
#define SK_TYPE_HUGE enum sk_huge
#define SK_TYPE_TEXT const char *

struct sk_config {
#define SK_OPTION(name, type, dflt, least, most, unit, help)                   \
    SK_TYPE_##type name;
#include "sk_config.def"
#undef SK_OPTION
};

/* The effective options.  Valid after sk_config_read; the texts in it are
 * static.  Written only before the first heap exists. */
extern struct sk_config sk_config;

/* Reads the options out of an environment block (NULL-terminated, as
 * environ).  `is_secure`: the process runs with other rights than its user's,
 * so only mode:off is obeyed.  Complaints are said once each; returns how
 * many settings were in error. */
int sk_config_read(char **environment, bool is_secure);

/* Reads the options of the process, once however often it is called; with
 * strict, one in error ends the process with status 127.  One caller at a
 * time. */
void sk_config_open(char **environment);

/* Appends "mode on, max_small 32K, ..." to a text. */
void sk_config_describe(struct sk_text *text);

/* The distance of two names in single-letter edits, the first one of so many
 * bytes; and the nearest of some names, each the first member of an element of
 * a table, for "did you mean". */
unsigned sk_config_distance(const char *a, size_t a_bytes, const char *b);
const char *sk_config_nearest(const char *name, size_t bytes, const void *table,
                              size_t element_bytes, size_t count);

#endif
