/*
 * config.c - the options of the environment: values, secure mode, names.
 */
#include "options.h"

/* --- good values ---------------------------------------------------------- */

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

/* --- other rights than the user's ----------------------------------------- */

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

/* --- names ---------------------------------------------------------------- */

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
        cmocka_unit_test(a_privileged_program_obeys_off_alone_and_says_nothing),
        cmocka_unit_test(the_distance_counts_single_letter_edits),
        cmocka_unit_test(the_effective_options_read_as_one_line),
    };

    return cmocka_run_group_tests(tests, keep_defaults, NULL);
}
