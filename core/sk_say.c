/*
 * sk_say.c - one line to the user, without stdio and without malloc.
 *
 * Layer: above sk_os.
 */
#include "sk_say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

static struct {
    bool known;
    dev_t device;
    ino_t inode;
} stderr_file;

static void add_char(struct sk_text *text, char c)
{
    if (text->used < text->room)
        text->start[text->used++] = c;
}

static void add_string(struct sk_text *text, const char *string)
{
    for (; *string; string++)
        add_char(text, *string);
}

static void add_number(struct sk_text *text, uint64_t value, unsigned base)
{
    char digits[24];
    int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (n > 0)
        add_char(text, digits[--n]);
}

static void add_bytes(struct sk_text *text, uint64_t bytes)
{
    static const char units[] = "KMGT";
    char unit = 0;

    for (int i = 0; units[i] && bytes > 0 && bytes % 1024 == 0; i++) {
        bytes /= 1024;
        unit = units[i];
    }
    add_number(text, bytes, 10);
    if (unit)
        add_char(text, unit);
}

static void add_int(struct sk_text *text, int value)
{
    if (value < 0)
        add_char(text, '-');
    add_number(text, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

void sk_text_vadd(struct sk_text *text, const char *format,
                  __builtin_va_list args)
{
    for (; *format; format++) {
        if (*format != '%') {
            add_char(text, *format);
            continue;
        }
        switch (*++format) {
        case 's':
            add_string(text, va_arg(args, const char *));
            break;
        case 'u':
            add_number(text, va_arg(args, uint64_t), 10);
            break;
        case 'd':
            add_int(text, va_arg(args, int));
            break;
        case 'z':
            add_bytes(text, va_arg(args, uint64_t));
            break;
        case 'p':
            add_string(text, "0x");
            add_number(text, (uintptr_t)va_arg(args, void *), 16);
            break;
        case '\0':
            return;
        default:
            add_char(text, *format);
        }
    }
}

void sk_text_add(struct sk_text *text, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sk_text_vadd(text, format, args);
    va_end(args);
}

/* Bytes of the UTF-8 character that a string begins with; 0: a strict reader
 * takes it for none, as also the shapes that are longer than they need be,
 * halves of UTF-16 pairs, and what is beyond U+10FFFF. */
static size_t character_bytes(const unsigned char *at)
{
    unsigned least = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80;
    unsigned most = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf;
    size_t bytes = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if (at[i] < least || at[i] > most)
            return 0;
        least = 0x80;
        most = 0xbf;
    }
    return bytes;
}

void sk_text_add_name(struct sk_text *text, const char *name)
{
    const unsigned char *at = (const unsigned char *)name;

    while (*at) {
        size_t bytes = character_bytes(at);
        bool is_kept = bytes > 0 && *at >= ' ' && *at != '"' && *at != '\\';

        if (!is_kept)
            bytes = 1;
        if (bytes > text->room - text->used)
            return;
        for (; bytes > 0; bytes--, at++)
            add_char(text, is_kept ? (char)*at : '_');
    }
}

static bool stat_stderr(struct stat *now)
{
    int kept = errno;
    /* fstat() hands the kernel an empty path in a page of libc's that a start
     * does not touch otherwise. */
    bool done = fstatat(2, "", now, AT_EMPTY_PATH) == 0;

    errno = kept;
    return done;
}

void sk_say_open(void)
{
    struct stat now;

    stderr_file.known = stat_stderr(&now);
    if (stderr_file.known) {
        stderr_file.device = now.st_dev;
        stderr_file.inode = now.st_ino;
    }
}

static bool is_stderr_ours(void)
{
    struct stat now;

    return stderr_file.known && stat_stderr(&now) &&
           now.st_dev == stderr_file.device && now.st_ino == stderr_file.inode;
}

static void write_line(const char *format, va_list args)
{
    char line[512];
    struct sk_text text = {line, 0, sizeof line - 1};

    sk_text_add(&text, "skpreload[%d]: ", sk_os_pid());
    sk_text_vadd(&text, format, args);
    line[text.used++] = '\n';
    sk_os_write_quietly(2, line, text.used);
}

void sk_vsay(const char *format, va_list args)
{
    if (is_stderr_ours())
        write_line(format, args);
}

void sk_say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sk_vsay(format, args);
    va_end(args);
}

_Noreturn void sk_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sk_vsay(format, args);
    va_end(args);
    sk_os_abort();
}
