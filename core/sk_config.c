/*
 * sk_config.c - the options of the environment.
 *
 * Layer: above sk_say.
 */
#include "sk_config.h"

#include <stdarg.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

enum type { BOOL, MODE, HUGE, SIZE, TEXT };

struct option {
    const char *name;
    enum type type;
    uint64_t least, most;
    size_t offset;
};

#define SK_OPTION(name, type, dflt, least, most, unit, help) .name = dflt,
struct sk_config sk_config = {
#include "sk_config.def"
};
#undef SK_OPTION

#define SK_OPTION(name, type, dflt, least, most, unit, help)                   \
    {#name, type, least, most, offsetof(struct sk_config, name)},
static const struct option options[] = {
#include "sk_config.def"
};
#undef SK_OPTION
#define OPTIONS (sizeof options / sizeof *options)

/* The words of a type, by its values; of the truths each true one stands
 * before its false one. */
#define WORDS_MOST 8
static const char *const words[][WORDS_MOST] = {
    [BOOL] = {"on", "off", "yes", "no", "true", "false", "1", "0"},
    [MODE] = {SK_MODE_WORDS},
    [HUGE] = {SK_HUGE_WORDS},
};

/* The list of options first, then the variables for what is typed by hand, and
 * the option each one sets. */
static const struct {
    const char *name;
    const char *option; /* NULL: a list of options */
    const char *text;   /* what a true value sets; NULL: the value itself */
} variables[] = {
    {"SKPRELOAD_CONF", NULL, NULL},
    {"SKPRELOAD_OFF", "mode", "off"},
    {"SKPRELOAD_VERBOSE", "verbose", NULL},
    {"SKPRELOAD_STATS", "stats", NULL},
};
#define VARIABLES (sizeof variables / sizeof *variables)

/* File names outlive the environment block, which programs overwrite. */
static SK_LARGE char stats_name[4096];

static struct {
    const char *variable; /* being read, for the complaints */
    bool is_secure;
    int errors;
} reader;

/* A piece of the environment: not terminated. */
struct piece {
    const char *start;
    size_t bytes;
};

static bool is_equal(struct piece a, const char *b)
{
    return strncmp(a.start, b, a.bytes) == 0 && b[a.bytes] == '\0';
}

/* A piece as a string, in one of a few rotating buffers, for a message. */
static const char *as_string(struct piece piece)
{
    static char buffers[2][64];
    static unsigned next;
    char *buffer = buffers[next++ % 2];
    size_t bytes = piece.bytes;

    if (bytes > sizeof buffers[0] - 1) {
        bytes = sizeof buffers[0] - 1;
        while (bytes > 0 && (piece.start[bytes] & 0xc0) == 0x80)
            bytes--; /* no part of a character */
    }
    memcpy(buffer, piece.start, bytes);
    buffer[bytes] = '\0';
    return buffer;
}

/* "(SKPRELOAD_CONF, char 5)": where a complaint belongs. */
static const char *place(size_t at)
{
    static char buffer[64];
    struct sk_text text = {buffer, 0, sizeof buffer - 1};

    sk_text_add(&text, "(%s, char %u)", reader.variable, (uint64_t)at);
    buffer[text.used] = '\0';
    return buffer;
}

/* Counts an error and says it; with other rights than the user's, nothing is
 * said, for the user must not make a privileged program write. */
static void complain(const char *format, ...)
{
    va_list args;

    reader.errors++;
    if (reader.is_secure)
        return;
    va_start(args, format);
    sk_vsay(format, args);
    va_end(args);
}

static const struct option *find_option(struct piece name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (is_equal(name, options[i].name))
            return &options[i];
    return NULL;
}

static void complain_option(struct piece name, size_t at)
{
    if (name.bytes == 0)
        complain("an option has no name, write 'NAME:VALUE' %s", place(at));
    else
        complain("option '%s' unknown, did you mean '%s'? %s",
                 as_string(name),
                 sk_config_nearest(name.start, name.bytes, options,
                                   sizeof *options, OPTIONS),
                 place(at));
}

/* Digits and a suffix K, M, G or T; false when it is none or too large. */
static bool parse_size(struct piece value, uint64_t *size)
{
    static const char suffixes[] = "KMGT";
    uint64_t number = 0;
    size_t i = 0;

    for (; i < value.bytes && value.start[i] >= '0' && value.start[i] <= '9';
         i++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, value.start[i] - '0', &number))
            return false;
    if (i == 0)
        return false;
    if (i < value.bytes) {
        char letter = value.start[i] & ~0x20;
        const char *suffix = letter ? strchr(suffixes, letter) : NULL;

        if (!suffix || i + 1 != value.bytes)
            return false;
        for (; suffix >= suffixes; suffix--)
            if (__builtin_mul_overflow(number, 1024, &number))
                return false;
    }
    *size = number;
    return true;
}

static void complain_size(const struct option *option, struct piece value,
                          size_t at, uint64_t used)
{
    complain("option '%s': value '%s' is not within %z..%z, using %z %s",
             option->name, as_string(value), option->least, option->most, used,
             place(at));
}

static void set_size(const struct option *option, struct piece value, size_t at,
                     uint64_t *field)
{
    uint64_t size;

    if (parse_size(value, &size) && size >= option->least &&
        size <= option->most)
        *field = size;
    else
        complain_size(option, value, at, *field);
}

/* "on, pass, off": the words of a type. */
static const char *all_words(enum type type)
{
    static char buffer[64];
    struct sk_text text = {buffer, 0, sizeof buffer - 1};

    for (int i = 0; i < WORDS_MOST && words[type][i]; i++)
        sk_text_add(&text, "%s%s", i > 0 ? ", " : "", words[type][i]);
    buffer[text.used] = '\0';
    return buffer;
}

static bool is_true(int word)
{
    return word % 2 == 0;
}

/* The index of a value among the words of a type, or -1 after a complaint
 * that names whose value it is: an option's, or a variable's that has other
 * words than the option it sets. */
static int word_index(const char *kind, const char *name, enum type type,
                      struct piece value, size_t at)
{
    for (int i = 0; i < WORDS_MOST && words[type][i]; i++)
        if (is_equal(value, words[type][i]))
            return i;
    complain("%s '%s': value '%s' is not one of %s %s", kind, name,
             as_string(value), all_words(type), place(at));
    return -1;
}

static void set_text(const struct option *option, struct piece value, size_t at,
                     const char **field)
{
    if (value.bytes >= sizeof stats_name) {
        complain("option '%s': a name of %u bytes is too long, at most %u %s",
                 option->name, (uint64_t)value.bytes,
                 (uint64_t)sizeof stats_name - 1, place(at));
        return;
    }
    memcpy(stats_name, value.start, value.bytes);
    stats_name[value.bytes] = '\0';
    *field = stats_name;
}

/* An enum is stored as an unsigned. */
_Static_assert(sizeof(enum sk_mode) == sizeof(unsigned) &&
                   sizeof(enum sk_huge) == sizeof(unsigned),
               "one case for all words");

static void set_option(const struct option *option, struct piece value,
                       size_t at)
{
    void *field = (char *)&sk_config + option->offset;
    int word;

    if (reader.is_secure &&
        !(option->type == MODE && is_equal(value, words[MODE][SK_MODE_OFF])))
        return;
    switch (option->type) {
    case BOOL:
    case MODE:
    case HUGE:
        word = word_index("option", option->name, option->type, value, at);
        if (word >= 0 && option->type == BOOL)
            *(bool *)field = is_true(word);
        else if (word >= 0)
            *(unsigned *)field = (unsigned)word;
        break;
    case SIZE:
        set_size(option, value, at, field);
        break;
    case TEXT:
        set_text(option, value, at, field);
        break;
    }
}

/* One "key:value" that starts at character `at` (from 1) of its variable. */
static void read_setting(struct piece setting, size_t at)
{
    const char *colon = memchr(setting.start, ':', setting.bytes);
    size_t name_bytes = colon ? (size_t)(colon - setting.start) : setting.bytes;
    struct piece name = {setting.start, name_bytes};
    const struct option *option = find_option(name);

    if (!option) {
        complain_option(name, at);
    } else if (!colon) {
        complain("option '%s' has no value, write '%s:VALUE' %s", option->name,
                 option->name, place(at));
    } else {
        set_option(option,
                   (struct piece){colon + 1, setting.bytes - name_bytes - 1},
                   at);
    }
}

static void read_list(const char *list)
{
    for (const char *at = list; *at;) {
        size_t bytes = strcspn(at, ",");

        if (bytes > 0)
            read_setting((struct piece){at, bytes}, (size_t)(at - list) + 1);
        at += bytes;
        at += *at == ',';
    }
}

static void read_variable(size_t i, const char *value)
{
    struct piece piece = {value, strlen(value)};
    struct piece name = {variables[i].option, 0};
    const struct option *option;
    int word;

    reader.variable = variables[i].name;
    if (!variables[i].option) {
        read_list(value);
        return;
    }
    name.bytes = strlen(variables[i].option);
    option = find_option(name);
    if (!*value) /* as `SKPRELOAD_OFF= command` takes a variable back */
        return;
    if (!variables[i].text) {
        set_option(option, piece, 1);
        return;
    }
    word = word_index("variable", reader.variable, BOOL, piece, 1);
    if (word >= 0 && is_true(word))
        set_option(option,
                   (struct piece){variables[i].text, strlen(variables[i].text)},
                   1);
}

static void complain_variable(struct piece name)
{
    complain("variable '%s' unknown, did you mean '%s'?", as_string(name),
             sk_config_nearest(name.start, name.bytes, variables,
                               sizeof *variables, VARIABLES));
}

/* The name of "NAME=value" of the environment, empty where that is none of
 * ours.  Most are not, and cost no page of libc that nothing else needs. */
static struct piece our_name(const char *entry)
{
    struct piece name = {entry, 0};

    if (strncmp(entry, "SKPRELOAD_", 10) == 0) {
        name.bytes = strcspn(entry, "=");
        if (entry[name.bytes] != '=')
            name.bytes = 0;
    }
    return name;
}

/* One entry of the environment: a list, or else a variable for one option. */
static void read_entry(const char *entry, bool is_list)
{
    struct piece name = our_name(entry);

    if (name.bytes == 0)
        return;
    for (size_t i = 0; i < VARIABLES; i++)
        if (is_equal(name, variables[i].name)) {
            if (is_list == !variables[i].option)
                read_variable(i, entry + name.bytes + 1);
            return;
        }
    if (!is_list)
        complain_variable(name);
}

int sk_config_read(char **environment, bool is_secure)
{
    reader.is_secure = is_secure;
    reader.errors = 0;
    /* What is typed by hand wins, wherever it stands in the environment. */
    for (char **entry = environment; entry && *entry; entry++)
        read_entry(*entry, true);
    for (char **entry = environment; entry && *entry; entry++)
        read_entry(*entry, false);
    if (reader.errors > 0 && !is_secure)
        sk_say("%d option%s ignored, running with defaults; %s", reader.errors,
               reader.errors == 1 ? "" : "s",
               sk_config.strict ? "strict:1 stops here"
                                : "strict:1 would stop here");
    return reader.errors;
}

static struct {
    bool can_say, has_read;
} start;

/* Early, for a library's first heap may come when descriptor 2 is a file of
 * the program's.  The shim's start was earlier. */
__attribute__((constructor)) static void open_say(void)
{
    if (!start.can_say)
        sk_say_open();
    start.can_say = true;
}

void sk_config_open(char **environment)
{
    if (start.has_read)
        return;
    start.has_read = true;
    open_say();
    if (sk_config_read(environment, getauxval(AT_SECURE) != 0) > 0 &&
        sk_config.strict)
        _exit(127);
}

static void describe(struct sk_text *text, const struct option *option)
{
    const void *field = (const char *)&sk_config + option->offset;

    sk_text_add(text, "%s%s ", option == options ? "" : ", ", option->name);
    switch (option->type) {
    case BOOL:
        sk_text_add(text, "%s", *(const bool *)field ? "on" : "off");
        break;
    case SIZE:
        sk_text_add(text, "%z", *(const uint64_t *)field);
        break;
    case MODE:
    case HUGE:
        sk_text_add(text, "%s",
                    words[option->type][*(const unsigned *)field]);
        break;
    case TEXT:
        sk_text_add(text, "'%s'", *(const char *const *)field);
        break;
    }
}

void sk_config_describe(struct sk_text *text)
{
    for (size_t i = 0; i < OPTIONS; i++)
        describe(text, &options[i]);
}
