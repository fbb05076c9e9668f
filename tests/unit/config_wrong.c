/*
 * config_wrong.c - options that are wrong: complaints, word for word.
 */
#include "options.h"

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

static void a_long_value_is_cut_between_two_characters(void **state)
{
    static const char e_acute[] = "\xc3\xa9";
    char entry[200] = "SKPRELOAD_CONF=mode:", complaint[300];
    char value[64];

    (void)state;
    memset(value, 'm', 62);
    value[62] = '\0';
    strcat(entry, value);
    strcat(entry, e_acute);
    snprintf(complaint, sizeof complaint,
             "option 'mode': value '%s' is not one of on, pass, off "
             "(SKPRELOAD_CONF, char 1)",
             value);
    assert_complaint(entry, complaint);
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
    assert_complaint("SKPRELOAD_VERBOSE=2",
                     "option 'verbose': value '2' is not one of on, off, yes, "
                     "no, true, false, 1, 0 (SKPRELOAD_VERBOSE, char 1)");
    assert_complaint("SKPRELOAD_OFF=maybe",
                     "variable 'SKPRELOAD_OFF': value 'maybe' is not one of on, "
                     "off, yes, no, true, false, 1, 0 (SKPRELOAD_OFF, char 1)");
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
        "variable 'SKPRELOAD_OFF': value '7' is not one of on, off, yes, no, "
        "true, false, 1, 0 (SKPRELOAD_OFF, char 1)\n"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_name_may_have_4095_bytes_and_no_more),
        cmocka_unit_test(an_unknown_option_is_answered_with_the_nearest),
        cmocka_unit_test(a_long_value_is_cut_between_two_characters),
        cmocka_unit_test(an_option_without_a_value_is_told_how_to_write_it),
        cmocka_unit_test(a_word_that_is_none_of_them_is_answered_with_all),
        cmocka_unit_test(a_size_that_is_none_leaves_the_default),
        cmocka_unit_test(an_unknown_variable_is_answered_with_the_nearest),
        cmocka_unit_test(each_error_is_said_and_all_are_counted),
        cmocka_unit_test(strict_says_that_it_stops),
        cmocka_unit_test(a_monster_of_a_name_is_cut_in_the_message),
    };

    return cmocka_run_group_tests(tests, keep_defaults, NULL);
}
