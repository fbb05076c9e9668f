/*
 * config.c - the options of the environment: values, complaints word for
 * word, secure mode.
 */
#include "capture.h"

#include "sk_config.h"

#include <stdio.h>
#include <string.h>

static struct sk_config defaults;
static int errors;

/* Reads one environment into fresh options; returns what was said, without
 * the "skpreload[PID]: " that every line must begin with. */
static const char *read_entries(char **entries, bool is_secure)
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

static const char *read_one(const char *entry)
{
    return read_entries((char *[]){(char *)entry, NULL}, false);
}

#define ONE_IGNORED                                                            \
    "1 option ignored, running with defaults; strict:1 would stop here\n"

static void assert_complaint(const char *entry, const char *complaint)
{
    char expected[800];

    snprintf(expected, sizeof expected, "%s\n" ONE_IGNORED, complaint);
    assert_string_equal(read_one(entry), expected);
    assert_int_equal(errors, 1);
    assert_memory_equal(&sk_config, &defaults, sizeof defaults);
}

static void assert_silent(const char *entry)
{
    assert_string_equal(read_one(entry), "");
    assert_int_equal(errors, 0);
}

/* --- good values -------------------------------------------------------------- */

static void without_options_the_defaults_hold(void **state)
{
    char *entries[] = {"HOME=/", "SKPRELOAD", "SK=1", "", NULL};

    (void)state;
    assert_string_equal(read_entries(entries, false), "");
    assert_string_equal(read_entries(NULL, false), "");
    assert_memory_equal(&sk_config, &defaults, sizeof defaults);
    assert_int_equal(sk_config.mode, SK_MODE_ON);
    assert_int_equal(sk_config.max_small, 32768);
    assert_true(sk_config.reserve == UINT64_C(256) << 30);
    assert_true(sk_config.limit == UINT64_C(1) << 40);
    assert_int_equal(sk_config.purge_delay, 500);
    assert_false(sk_config.verbose || sk_config.strict);
    assert_string_equal(sk_config.stats, "");
}

static void every_mode_has_its_word(void **state)
{
    (void)state;
    assert_silent("SKPRELOAD_CONF=mode:pass");
    assert_int_equal(sk_config.mode, SK_MODE_PASS);
    assert_silent("SKPRELOAD_CONF=mode:off");
    assert_int_equal(sk_config.mode, SK_MODE_OFF);
    assert_silent("SKPRELOAD_CONF=mode:off,mode:on");
    assert_int_equal(sk_config.mode, SK_MODE_ON);
}

static void every_truth_has_four_words(void **state)
{
    static const char *const words[] = {"0",  "1",   "off",   "on",
                                        "no", "yes", "false", "true"};
    char entry[60];

    (void)state;
    for (int i = 0; i < 8; i++) {
        snprintf(entry, sizeof entry, "SKPRELOAD_CONF=verbose:%s", words[i]);
        assert_silent(entry);
        assert_int_equal(sk_config.verbose, i & 1);
        snprintf(entry, sizeof entry, "SKPRELOAD_CONF=strict:%s", words[i]);
        assert_silent(entry);
        assert_int_equal(sk_config.strict, i & 1);
        snprintf(entry, sizeof entry, "SKPRELOAD_VERBOSE=%s", words[i]);
        assert_silent(entry);
        assert_int_equal(sk_config.verbose, i & 1);
        snprintf(entry, sizeof entry, "SKPRELOAD_OFF=%s", words[i]);
        assert_silent(entry);
        assert_int_equal(sk_config.mode, i & 1 ? SK_MODE_OFF : SK_MODE_ON);
    }
}

static void a_size_is_digits_and_perhaps_a_unit(void **state)
{
    static const struct {
        const char *text;
        uint64_t size;
    } sizes[] = {
        {"0", 0},          {"1", 1},           {"007", 7},
        {"4096", 4096},    {"64K", 65536},     {"64k", 65536},
        {"3M", 3 << 20},   {"3m", 3 << 20},    {"2G", UINT64_C(2) << 30},
        {"2g", UINT64_C(2) << 30}, {"1T", UINT64_C(1) << 40},
        {"1t", UINT64_C(1) << 40}, {"1099511627776", UINT64_C(1) << 40},
    };
    char entry[60];

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(entry, sizeof entry, "SKPRELOAD_CONF=reserve:%s",
                 sizes[i].text);
        assert_silent(entry);
        assert_true(sk_config.reserve == sizes[i].size);
    }
    assert_silent("SKPRELOAD_CONF=max_small:32K");
    assert_int_equal(sk_config.max_small, 32768);
    assert_silent("SKPRELOAD_CONF=max_small:0");
    assert_int_equal(sk_config.max_small, 0);
    assert_silent("SKPRELOAD_CONF=limit:64M,purge_delay:0");
    assert_int_equal(sk_config.limit, 64 << 20);
    assert_int_equal(sk_config.purge_delay, 0);
}

static void a_list_sets_all_it_names_and_may_have_holes(void **state)
{
    (void)state;
    assert_silent("SKPRELOAD_CONF=,mode:pass,,max_small:1K,verbose:on,"
                  "reserve:1G,");
    assert_int_equal(sk_config.mode, SK_MODE_PASS);
    assert_int_equal(sk_config.max_small, 1024);
    assert_true(sk_config.verbose);
    assert_true(sk_config.reserve == 1 << 30);
    assert_silent("SKPRELOAD_CONF=");
}

static void a_file_name_is_kept_when_the_environment_is_overwritten(
    void **state)
{
    char entry[] = "SKPRELOAD_STATS=/tmp/a:b,c-%p";

    (void)state;
    assert_silent(entry);
    memset(entry, 'x', sizeof entry - 1);
    assert_string_equal(sk_config.stats, "/tmp/a:b,c-%p");
    assert_silent("SKPRELOAD_CONF=stats:d:e,mode:pass");
    assert_string_equal(sk_config.stats, "d:e");
    assert_int_equal(sk_config.mode, SK_MODE_PASS);
}

static void a_file_name_may_have_4095_bytes_and_no_more(void **state)
{
    static char entry[6000] = "SKPRELOAD_STATS=";
    size_t start = strlen(entry);

    (void)state;
    memset(entry + start, 'n', 4096);
    assert_complaint(entry, "option 'stats': a name of 4096 bytes is too long, "
                            "at most 4095 (SKPRELOAD_STATS, char 1)");
    entry[start + 4095] = '\0';
    assert_silent(entry);
    assert_int_equal(strlen(sk_config.stats), 4095);
}

/* --- bad values ---------------------------------------------------------------- */

static void an_unknown_option_is_answered_with_the_nearest(void **state)
{
    (void)state;
    assert_complaint("SKPRELOAD_CONF=mod:on",
                     "option 'mod' unknown, did you mean 'mode'? "
                     "(SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_CONF=mode:on,maxsmall:1",
                     "option 'maxsmall' unknown, did you mean 'max_small'? "
                     "(SKPRELOAD_CONF, char 9)");
    assert_complaint("SKPRELOAD_CONF=resrve:1",
                     "option 'resrve' unknown, did you mean 'reserve'? "
                     "(SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_CONF=stat:1",
                     "option 'stat' unknown, did you mean 'stats'? "
                     "(SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_CONF=verbos",
                     "option 'verbos' unknown, did you mean 'verbose'? "
                     "(SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_CONF=,stricct:1",
                     "option 'stricct' unknown, did you mean 'strict'? "
                     "(SKPRELOAD_CONF, char 2)");
}

static void an_option_without_a_value_is_told_how_to_write_it(void **state)
{
    (void)state;
    assert_complaint("SKPRELOAD_CONF=verbose",
                     "option 'verbose' has no value, write 'verbose:VALUE' "
                     "(SKPRELOAD_CONF, char 1)");
}

static void a_word_that_is_none_of_them_is_answered_with_all(void **state)
{
    (void)state;
    assert_complaint("SKPRELOAD_CONF=mode:On",
                     "option 'mode': value 'On' is not one of on, pass, off "
                     "(SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_CONF=mode:",
                     "option 'mode': value '' is not one of on, pass, off "
                     "(SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_CONF=verbose:2",
                     "option 'verbose': value '2' is not one of on, off, yes, "
                     "no, true, false, 1, 0 (SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_VERBOSE=",
                     "option 'verbose': value '' is not one of on, off, yes, "
                     "no, true, false, 1, 0 (SKPRELOAD_VERBOSE, char 1)");
    assert_complaint("SKPRELOAD_OFF=maybe",
                     "option 'mode': value 'maybe' is not one of on, off, yes, "
                     "no, true, false, 1, 0 (SKPRELOAD_OFF, char 1)");
}

static void a_size_that_is_none_leaves_the_default(void **state)
{
    static const char *const bad[] = {
        "",     "K",    "1KB",  "1.5M", "-1",   "+1", " 1",
        "0x10", "1E",   "1 K",  "33K",  "32769", "1T",
        "18446744073709551615", "18446744073709551616", "99999999999999999999",
        "18014398509481984K",   "18446744073709551615T",
    };
    char entry[100], expected[200];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(entry, sizeof entry, "SKPRELOAD_CONF=max_small:%s", bad[i]);
        snprintf(expected, sizeof expected,
                 "option 'max_small': value '%s' is not within 0..32K, using "
                 "32K (SKPRELOAD_CONF, char 1)",
                 bad[i]);
        assert_complaint(entry, expected);
    }
    assert_complaint("SKPRELOAD_CONF=max_grown:9M",
                     "option 'max_grown': value '9M' is not within 0..8M, "
                     "using 1M (SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_CONF=max_grown:on",
                     "option 'max_grown': value 'on' is not within 0..8M, "
                     "using 1M (SKPRELOAD_CONF, char 1)");
    assert_complaint("SKPRELOAD_CONF=reserve:1025G",
                     "option 'reserve': value '1025G' is not within 0..1T, "
                     "using 256G (SKPRELOAD_CONF, char 1)");
}

static void an_unknown_variable_is_answered_with_the_nearest(void **state)
{
    (void)state;
    assert_complaint("SKPRELOAD_STAT=1", "variable 'SKPRELOAD_STAT' unknown, "
                                         "did you mean 'SKPRELOAD_STATS'?");
    assert_complaint("SKPRELOAD_CONFIG=1",
                     "variable 'SKPRELOAD_CONFIG' unknown, did you mean "
                     "'SKPRELOAD_CONF'?");
    assert_complaint("SKPRELOAD_OF=1", "variable 'SKPRELOAD_OF' unknown, did "
                                       "you mean 'SKPRELOAD_OFF'?");
    assert_complaint("SKPRELOAD_verbose=1",
                     "variable 'SKPRELOAD_verbose' unknown, did you mean "
                     "'SKPRELOAD_CONF'?");
}

static void each_error_is_said_and_all_are_counted(void **state)
{
    char *entries[] = {"SKPRELOAD_CONF=mode:x,a:1,max_small:16",
                       "SKPRELOAD_OFF=7", NULL};

    (void)state;
    assert_string_equal(
        read_entries(entries, false),
        "option 'mode': value 'x' is not one of on, pass, off "
        "(SKPRELOAD_CONF, char 1)\n"
        "option 'a' unknown, did you mean 'mode'? (SKPRELOAD_CONF, char 8)\n"
        "option 'mode': value '7' is not one of on, off, yes, no, true, "
        "false, 1, 0 (SKPRELOAD_OFF, char 1)\n"
        "3 options ignored, running with defaults; strict:1 would stop "
        "here\n");
    assert_int_equal(errors, 3);
    assert_int_equal(sk_config.max_small, 16);
}

static void strict_says_that_it_stops(void **state)
{
    (void)state;
    assert_string_equal(
        read_one("SKPRELOAD_CONF=strict:1,mode:x"),
        "option 'mode': value 'x' is not one of on, pass, off "
        "(SKPRELOAD_CONF, char 10)\n"
        "1 option ignored, running with defaults; strict:1 stops here\n");
    assert_int_equal(errors, 1);
    assert_true(sk_config.strict);
}

static void a_monster_of_a_name_is_cut_in_the_message(void **state)
{
    static char entry[3000] = "SKPRELOAD_CONF=";

    (void)state;
    memset(entry + strlen(entry), 'm', 2000);
    assert_complaint(entry,
                     "option 'mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"
                     "mmmmmmmmmmmmmm' unknown, did you mean 'mode'? "
                     "(SKPRELOAD_CONF, char 1)");
}

/* --- other rights than the user's ------------------------------------------------ */

static void a_privileged_program_obeys_off_alone_and_says_nothing(void **state)
{
    char *hostile[] = {"SKPRELOAD_CONF=stats:/etc/x,verbose:1,strict:1,"
                       "max_small:1,reserve:0,mode:pass,bad:1,mode",
                       "SKPRELOAD_STATS=/etc/y", "SKPRELOAD_VERBOSE=1",
                       "SKPRELOAD_NONE=1", NULL};
    char *off[] = {"SKPRELOAD_CONF=mode:off,stats:/etc/x", NULL};
    char *off_by_hand[] = {"SKPRELOAD_OFF=1", NULL};

    (void)state;
    assert_string_equal(read_entries(hostile, true), "");
    assert_memory_equal(&sk_config, &defaults, sizeof defaults);
    assert_string_equal(read_entries(off, true), "");
    assert_int_equal(sk_config.mode, SK_MODE_OFF);
    assert_string_equal(sk_config.stats, "");
    assert_string_equal(read_entries(off_by_hand, true), "");
    assert_int_equal(sk_config.mode, SK_MODE_OFF);
}

/* --- names ------------------------------------------------------------------------ */

static void the_distance_counts_single_letter_edits(void **state)
{
    (void)state;
    assert_int_equal(sk_config_distance("mode", 4, "mode"), 0);
    assert_int_equal(sk_config_distance("mod", 3, "mode"), 1);
    assert_int_equal(sk_config_distance("modes", 5, "mode"), 1);
    assert_int_equal(sk_config_distance("made", 4, "mode"), 1);
    assert_int_equal(sk_config_distance("", 0, "mode"), 4);
    assert_int_equal(sk_config_distance("mode", 4, ""), 4);
    assert_int_equal(sk_config_distance("kitten", 6, "sitting"), 3);
    assert_int_equal(sk_config_distance("modexyz", 4, "mode"), 0);
    assert_true(sk_config_distance("x", 61, "mode") == UINT32_MAX);
}

static void the_effective_options_read_as_one_line(void **state)
{
    char buffer[300];
    struct sk_text text = {buffer, 0, sizeof buffer - 1};

    (void)state;
    assert_silent("SKPRELOAD_CONF=mode:pass,max_small:1000,reserve:64M,"
                  "verbose:1,stats:f-%p");
    sk_config_describe(&text);
    buffer[text.used] = '\0';
    assert_non_null(strstr(buffer, "mode pass, "));
    assert_non_null(strstr(buffer, ", max_small 1000, "));
    assert_non_null(strstr(buffer, ", reserve 64M, "));
    assert_non_null(strstr(buffer, ", limit 1T, "));
    assert_non_null(strstr(buffer, ", purge_delay 500, "));
    assert_non_null(strstr(buffer, ", verbose on, "));
    assert_non_null(strstr(buffer, ", strict off, "));
    assert_non_null(strstr(buffer, ", stats 'f-%p'"));
}

static int keep_defaults(void **state)
{
    (void)state;
    defaults = sk_config;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_the_defaults_hold),
        cmocka_unit_test(every_mode_has_its_word),
        cmocka_unit_test(every_truth_has_four_words),
        cmocka_unit_test(a_size_is_digits_and_perhaps_a_unit),
        cmocka_unit_test(a_list_sets_all_it_names_and_may_have_holes),
        cmocka_unit_test(
            a_file_name_is_kept_when_the_environment_is_overwritten),
        cmocka_unit_test(a_file_name_may_have_4095_bytes_and_no_more),
        cmocka_unit_test(an_unknown_option_is_answered_with_the_nearest),
        cmocka_unit_test(an_option_without_a_value_is_told_how_to_write_it),
        cmocka_unit_test(a_word_that_is_none_of_them_is_answered_with_all),
        cmocka_unit_test(a_size_that_is_none_leaves_the_default),
        cmocka_unit_test(an_unknown_variable_is_answered_with_the_nearest),
        cmocka_unit_test(each_error_is_said_and_all_are_counted),
        cmocka_unit_test(strict_says_that_it_stops),
        cmocka_unit_test(a_monster_of_a_name_is_cut_in_the_message),
        cmocka_unit_test(
            a_privileged_program_obeys_off_alone_and_says_nothing),
        cmocka_unit_test(the_distance_counts_single_letter_edits),
        cmocka_unit_test(the_effective_options_read_as_one_line),
    };

    return cmocka_run_group_tests(tests, keep_defaults, NULL);
}
