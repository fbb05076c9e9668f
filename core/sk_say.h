/*
 * sk_say.h - one line to the user, without stdio and without malloc.
 *
 * Layer: above sk_os.  Text is built in a buffer of the caller's and cut,
 * never overrun, when it is full.  Any thread, any time, also from a signal
 * handler and before the first constructor.
 */
#ifndef SK_SAY_H
#define SK_SAY_H

#include "sk_os.h"

struct sk_text {
    char *start;
    size_t used;
    size_t room;
};

/* Appends by a small format: %s string, %u uint64_t, %d int, %p pointer,
 * %z bytes as 4K, 16M, 256G when whole (uint64_t), %% itself. */
void sk_text_add(struct sk_text *text, const char *format, ...);
void sk_text_vadd(struct sk_text *text, const char *format,
                  __builtin_va_list args);

/* Appends a name as it may stand in JSON: what is no UTF-8, control characters,
 * quotes and backslashes become _.  Cut between two characters. */
void sk_text_add_name(struct sk_text *text, const char *name);

/* Remembers which file descriptor 2 is now: lines said later go there only
 * while it still is that file (failures.md 55).  Called once, at the start. */
void sk_say_open(void);

/* One line `skpreload[PID]: ...` on descriptor 2, by one write. */
void sk_say(const char *format, ...);
void sk_vsay(const char *format, __builtin_va_list args);

/* The program is broken: the line, then SIGABRT, which tells even where the
 * line has nowhere to go. */
_Noreturn void sk_die(const char *format, ...);

#endif
