/*
 * say.c - lines to the user: formats, full buffers, a descriptor 2 that is
 * another file by now.
 */
#include "capture.h"

#include "sk_say.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static char buffer[600];

/* What a format yields, as a string. */
static const char *formatted(const char *format, ...)
{
    struct sk_text text = {buffer, 0, sizeof buffer - 1};
    va_list args;

    va_start(args, format);
    sk_text_vadd(&text, format, args);
    va_end(args);
    buffer[text.used] = '\0';
    return buffer;
}

static void every_conversion_prints_its_type(void **state)
{
    (void)state;
    assert_string_equal(formatted(""), "");
    assert_string_equal(formatted("plain"), "plain");
    assert_string_equal(formatted("a %s b", "text"), "a text b");
    assert_string_equal(formatted("%s%s", "", "x"), "x");
    assert_string_equal(formatted("%u", (uint64_t)0), "0");
    assert_string_equal(formatted("%u", UINT64_MAX), "18446744073709551615");
    assert_string_equal(formatted("%d %d %d", 0, -1, 42), "0 -1 42");
    assert_string_equal(formatted("%d", INT32_MIN), "-2147483648");
    assert_string_equal(formatted("%d", INT32_MAX), "2147483647");
    assert_string_equal(formatted("%p", (void *)0xdeadbeef), "0xdeadbeef");
    assert_string_equal(formatted("%p", NULL), "0x0");
    assert_string_equal(formatted("%p", (void *)UINTPTR_MAX),
                        "0xffffffffffffffff");
    assert_string_equal(formatted("100%%"), "100%");
    assert_string_equal(formatted("cut %"), "cut ");
}

static void bytes_are_said_in_the_largest_whole_unit(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *said;
    } expected[] = {
        {0, "0"},
        {1, "1"},
        {1023, "1023"},
        {1024, "1K"},
        {1025, "1025"},
        {32768, "32K"},
        {1 << 20, "1M"},
        {(1 << 20) + 1024, "1025K"},
        {UINT64_C(256) << 30, "256G"},
        {UINT64_C(1) << 40, "1T"},
        {UINT64_C(1) << 50, "1024T"},
        {UINT64_MAX, "18446744073709551615"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_string_equal(formatted("%z", expected[i].bytes),
                            expected[i].said);
}

static void a_full_buffer_cuts_and_is_never_overrun(void **state)
{
    (void)state;
    for (size_t room = 0; room < 24; room++) {
        char around[32];
        struct sk_text text = {around + 1, 0, room};

        memset(around, '#', sizeof around);
        sk_text_add(&text, "%s-%u-%p", "abcdefgh", (uint64_t)12345,
                    (void *)0x1234);
        assert_int_equal(text.used, room < 21 ? room : 21);
        assert_memory_equal(around + 1, "abcdefgh-12345-0x1234", text.used);
        assert_int_equal(around[0], '#');
        for (size_t i = 1 + text.used; i < sizeof around; i++)
            assert_int_equal(around[i], '#');
        sk_text_add(&text, "more");
        assert_true(text.used <= room);
        assert_int_equal(around[1 + room], '#');
    }
}

static void texts_are_added_to_what_is_there(void **state)
{
    struct sk_text text = {buffer, 0, sizeof buffer - 1};

    (void)state;
    sk_text_add(&text, "one");
    sk_text_add(&text, ", %d", 2);
    assert_int_equal(text.used, 6);
    assert_memory_equal(buffer, "one, 2", 6);
}

static const char *name_of(const char *bytes, size_t room)
{
    struct sk_text text = {buffer, 0, room};

    sk_text_add_name(&text, bytes);
    assert_true(text.used <= room);
    buffer[text.used] = '\0';
    return buffer;
}

static void a_name_is_sound_json_whatever_its_bytes(void **state)
{
    static const char *const kept[] = {
        "", "plain ~\x7f", "\u00e9\u07ff", "\u0800\xed\x9f\xbf\ue000\uffff",
        "\U00010000\U0010ffff", "\u20ac",
    };
    static const char *const others[][2] = {
        {"a\"b\\c\n\x1f", "a_b_c__"},
        {"\x80\xbf", "__"},                 /* no beginning */
        {"\xc3", "_"},                      /* no end */
        {"\xc3x\xe2\x82", "_x__"},          /* the next one too early */
        {"\xf0\x9f\x98", "___"},
        {"\xc0\xaf\xc1\xbf", "____"},      /* longer than need be */
        {"\xe0\x9f\xbf", "___"},
        {"\xf0\x8f\xbf\xbf", "____"},
        {"\xed\xa0\x80", "___"},            /* half of a pair */
        {"\xf4\x90\x80\x80\xff", "_____"}, /* beyond the last */
        {"M\xfcnchen", "M_nchen"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_string_equal(name_of(kept[i], 100), kept[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_string_equal(name_of(others[i][0], 100), others[i][1]);
}

static void a_name_is_cut_between_two_characters(void **state)
{
    static const size_t used[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

    (void)state;
    for (size_t room = 0; room < sizeof used / sizeof *used; room++)
        assert_int_equal(
            strlen(name_of("a\u00e9\u20ac\U0001f600z", room)), used[room]);
    assert_string_equal(name_of("ab\xff\xffz", 3), "ab_");
}

/* --- descriptor 2 --------------------------------------------------------- */

static void a_line_bears_the_process_id_and_ends(void **state)
{
    char expected[100];

    (void)state;
    capture_start();
    sk_say_open();
    sk_say("option '%s' of %u", "x", (uint64_t)7);
    snprintf(expected, sizeof expected, "skpreload[%d]: option 'x' of 7\n",
             getpid());
    assert_string_equal(capture_end(), expected);
}

static void a_line_too_long_is_cut_but_still_ends(void **state)
{
    char long_text[2000];
    const char *said;

    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    capture_start();
    sk_say_open();
    sk_say("%s", long_text);
    said = capture_end();
    assert_int_equal(strlen(said), 512);
    assert_int_equal(said[511], '\n');
    assert_int_equal(said[510], 'x');
}

static void nothing_is_said_into_a_file_that_took_the_place_of_stderr(
    void **state)
{
    (void)state;
    capture_start();
    sk_say_open();
    assert_string_equal(capture_end(), "");
    capture_start(); /* another pipe: the program's own file by now */
    errno = 77;
    sk_say("must not be seen");
    assert_int_equal(errno, 77);
    assert_string_equal(capture_end(), "");
}

static void nothing_is_said_where_stderr_was_closed_from_the_start(
    void **state)
{
    int kept = dup(2);

    (void)state;
    close(2);
    errno = 78;
    sk_say_open();
    sk_say("nobody hears");
    assert_int_equal(errno, 78);
    dup2(kept, 2);
    close(kept);
    capture_start();
    sk_say("nor now: this is another file");
    assert_string_equal(capture_end(), "");
}

static void what_is_said_comes_back_with_stderr(void **state)
{
    int kept;

    (void)state;
    capture_start();
    sk_say_open();
    kept = dup(2);
    dup2(open("/dev/null", O_WRONLY), 2);
    sk_say("lost");
    dup2(kept, 2);
    close(kept);
    sk_say("found");
    assert_non_null(strstr(capture_end(), "]: found\n"));
}

static void dying_says_its_line_and_aborts(void **state)
{
    char expected[100];
    int status;
    pid_t child;

    (void)state;
    capture_start();
    sk_say_open();
    child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_IGN);
        sk_die("free(): %p", (void *)0x10);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    snprintf(expected, sizeof expected, "skpreload[%d]: free(): 0x10\n",
             child);
    assert_string_equal(capture_end(), expected);
}

/* Said into a pipe that nobody reads: no signal, also none that waits. */
static void a_failed_write_leaves_signals_as_they_were(void **state)
{
    sigset_t pipe_only, before, waiting;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    errno = 33;
    assert_false(sk_os_write_quietly(ends[1], "x", 1));
    assert_int_equal(errno, 33);
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    assert_false(sigismember(&before, SIGPIPE));
    assert_false(sk_os_write_quietly(ends[1], "x", 1));
    sigpending(&waiting);
    assert_false(sigismember(&waiting, SIGPIPE));
    raise(SIGPIPE);
    assert_false(sk_os_write_quietly(ends[1], "x", 1));
    assert_int_equal(sigtimedwait(&pipe_only, NULL, &(struct timespec){0}),
                     SIGPIPE);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
}

static void *writes_while_cancelled(void *broken)
{
    pthread_cancel(pthread_self());
    return sk_os_write_quietly(*(int *)broken, "x", 1) ? NULL : broken;
}

static void nobody_is_cancelled_in_a_write(void **state)
{
    int ends[2];
    pthread_t thread;
    void *result;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(
        pthread_create(&thread, NULL, writes_while_cancelled, &ends[1]), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &ends[1]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_conversion_prints_its_type),
        cmocka_unit_test(bytes_are_said_in_the_largest_whole_unit),
        cmocka_unit_test(a_full_buffer_cuts_and_is_never_overrun),
        cmocka_unit_test(texts_are_added_to_what_is_there),
        cmocka_unit_test(a_name_is_sound_json_whatever_its_bytes),
        cmocka_unit_test(a_name_is_cut_between_two_characters),
        cmocka_unit_test(a_line_bears_the_process_id_and_ends),
        cmocka_unit_test(a_line_too_long_is_cut_but_still_ends),
        cmocka_unit_test(
            nothing_is_said_into_a_file_that_took_the_place_of_stderr),
        cmocka_unit_test(
            nothing_is_said_where_stderr_was_closed_from_the_start),
        cmocka_unit_test(what_is_said_comes_back_with_stderr),
        cmocka_unit_test(a_failed_write_leaves_signals_as_they_were),
        cmocka_unit_test(nobody_is_cancelled_in_a_write),
        cmocka_unit_test(dying_says_its_line_and_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
