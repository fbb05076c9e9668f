/*
 * stats.c - the figures: exact counts, and the report's form.
 */
#include "unit.h"

#include "getput.h"
#include "stats.h"
#include "threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- counts -------------------------------------------------------------------- */

static void every_class_counts_what_it_hands_out_and_gets_back(void **state)
{
    enum { UNITS = 500 };
    void *units[UNITS];

    (void)state;
    for (uint32_t class = 1; class < SK_CLASSES; class++) {
        size_t bytes = sk_heap_of_bin(class)->unit_bytes;
        struct sk_heap_stats before = now()->heaps[class];
        struct sk_heap_stats *after;
        int taken = (int)(class * 37 % UNITS) + 1;

        for (int i = 0; i < taken; i++)
            units[i] = get(bytes);
        for (int i = 0; i < taken / 3; i++)
            put(units[i]);
        after = &now()->heaps[class];
        assert_int_equal(after->allocations - before.allocations, taken);
        assert_int_equal(after->in_use - before.in_use, taken - taken / 3);
        assert_int_equal(after->remote_frees, 0);
        assert_true(after->chunks >= 1);
        for (int i = taken / 3; i < taken; i++)
            put(units[i]);
        after = &now()->heaps[class];
        assert_int_equal(after->in_use, before.in_use);
        assert_int_equal(after->allocations - before.allocations, taken);
    }
}

static void the_sums_are_those_of_the_heaps(void **state)
{
    struct sk_stats *stats;
    uint64_t calls = 0, bytes = 0, in_use = 0, chunks = 0;
    void *kept[3] = {get(10), get(500), get(30000)};

    (void)state;
    stats = now();
    for (int bin = 1; bin < SK_BINS; bin++) {
        struct sk_heap_stats *heap = &stats->heaps[bin];

        calls += heap->allocations;
        bytes += heap->allocations * sk_heap_of_bin(bin)->unit_bytes;
        in_use += heap->in_use * sk_heap_of_bin(bin)->unit_bytes;
        chunks += heap->chunks * (SK_GRANULE_BYTES << sk_heap_of_bin(bin)->order);
    }
    assert_int_equal(stats->calls, calls);
    assert_int_equal(stats->bytes, bytes);
    assert_int_equal(stats->in_use_bytes, in_use);
    assert_int_equal(in_use, 16 + 512 + 32768);
    assert_int_equal(stats->chunk_bytes, chunks);
    assert_int_equal(stats->region.used_bytes, chunks);
    for (int i = 0; i < 3; i++)
        put(kept[i]);
}

struct load {
    size_t bytes;
    int units;
    void *unit[3000];
};

static void *free_load(void *arg)
{
    struct load *load = arg;

    for (int i = 0; i < load->units; i++)
        put(load->unit[i]);
    sk_state_park();
    return NULL;
}

static void *make_load(void *arg)
{
    struct load *load = arg;

    for (int i = 0; i < load->units; i++)
        load->unit[i] = get(load->bytes);
    sk_state_park();
    return NULL;
}

static void frees_by_other_threads_are_counted_once_each(void **state)
{
    static const size_t sizes[] = {16, 48, 64, 200, 1024, 5000, 32768};
    static struct load load;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t class = class_of(sizes[i]);
        struct sk_heap_stats before = now()->heaps[class];

        load.bytes = sizes[i];
        load.units = sizes[i] > 2000 ? 100 : 3000;
        for (int k = 0; k < load.units; k++)
            load.unit[k] = get_exact(sizes[i]);
        run(free_load, &load);
        assert_int_equal(now()->heaps[class].remote_frees -
                             before.remote_frees,
                         load.units);
        assert_int_equal(now()->heaps[class].in_use, before.in_use);
        assert_int_equal(now()->heaps[class].allocations -
                             before.allocations,
                         load.units);
    }
}

static void *free_after_parking(void *arg)
{
    put(get(16));
    sk_state_park();
    put(arg);
    put(((void **)arg)[1]);
    return NULL;
}

static void frees_after_a_threads_end_are_counted_too(void **state)
{
    uint32_t class = class_of(300);
    uint64_t before = now()->heaps[class].remote_frees;
    void **unit = get(300);

    (void)state;
    unit[1] = get(300);
    run(free_after_parking, unit);
    assert_int_equal(now()->heaps[class].remote_frees - before, 1 + 1);
    assert_int_equal(now()->heaps[class].in_use, 0);
}

static void what_an_ended_thread_did_stays_counted(void **state)
{
    static struct load load = {.bytes = 700, .units = 2000};
    uint32_t class = class_of(700);
    uint64_t before = now()->heaps[class].allocations;

    (void)state;
    run(make_load, &load);
    assert_int_equal(now()->heaps[class].allocations - before, 2000);
    assert_int_equal(now()->heaps[class].in_use, 2000);
    for (int i = 0; i < 2000; i++)
        put(load.unit[i]);
    sk_state_trim();
    assert_int_equal(now()->heaps[class].in_use, 0);
    assert_int_equal(now()->heaps[class].cached, 0);
    assert_int_equal(now()->heaps[class].chunks, 0);
}

static void *forward_without_a_state(void *unused)
{
    (void)unused;
    sk_state_count_libc(100);
    put(get(16));
    sk_state_count_libc(1000);
    sk_state_park();
    sk_state_count_libc(10000);
    return NULL;
}

static void requests_to_libc_are_counted_with_and_without_a_state(
    void **state)
{
    uint64_t calls = now()->libc_calls, bytes = now()->libc_bytes;

    (void)state;
    sk_state_count_libc(5);
    run(forward_without_a_state, NULL);
    assert_int_equal(now()->libc_calls - calls, 4);
    assert_int_equal(now()->libc_bytes - bytes, 11105);
}

/* --- the report ------------------------------------------------------------------ */

static char folder[] = "/tmp/sk-stats-XXXXXX";
static char path[300];

static const char *in_folder(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *content(const char *name)
{
    static char text[65536];
    FILE *file = fopen(in_folder(name), "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static int add_heaps(char *text, size_t room, const struct sk_stats *stats)
{
    const char *comma = "";
    int used = 0;

    for (int bin = 1; bin < SK_BINS; bin++) {
        const struct sk_heap_stats *heap = &stats->heaps[bin];

        if (heap->allocations == 0 && heap->chunks == 0)
            continue;
        used += snprintf(
            text + used, room - (size_t)used,
            "%s\n    {\"label\": \"%s\", \"unit_bytes\": %u, "
            "\"allocations\": %lu, \"frees\": %lu, \"remote_frees\": %lu, "
            "\"in_use\": %lu, \"cached\": %lu, \"chunks\": %lu}",
            comma, sk_heap_of_bin(bin)->label, sk_heap_of_bin(bin)->unit_bytes,
            heap->allocations, heap->allocations - heap->in_use,
            heap->remote_frees, heap->in_use, heap->cached, heap->chunks);
        comma = ",";
    }
    return used;
}

/* The report from after the version on, as the figures say it must be. */
static const char *expected_report(const char *program, const char *reason)
{
    static char text[65536];
    const struct sk_stats *stats = now();
    uint64_t calls = stats->calls * 1000 / (stats->calls + stats->libc_calls);
    uint64_t bytes = stats->bytes * 1000 / (stats->bytes + stats->libc_bytes);
    int used = snprintf(
        text, sizeof text,
        "\", \"pid\": %d, \"program\": \"%s\",\n  \"mode\": \"on\", "
        "\"reason\": \"%s\",\n  \"region\": {\"reserved_bytes\": %zu, "
        "\"committed_bytes\": %zu, \"used_bytes\": %zu, \"dirty_bytes\": %zu, "
        "\"takes\": %lu, \"refusals\": %lu, \"purges\": %lu},\n"
        "  \"threads\": %u,\n  \"heaps\": [",
        getpid(), program, reason, stats->region.reserved_bytes,
        stats->region.committed_bytes, stats->region.used_bytes,
        stats->region.dirty_bytes, stats->region.takes,
        stats->region.refusals, stats->region.purges,
        sk_state_count());

    used += add_heaps(text + used, sizeof text - (size_t)used, stats);
    snprintf(text + used, sizeof text - (size_t)used,
             "\n  ],\n  \"grown\": {\"allocations\": %lu, \"bytes\": %lu, "
             "\"in_use\": %lu, \"in_use_bytes\": %lu, "
             "\"spare_bytes\": %lu, \"residue_bytes\": %lu},\n"
             "  \"contention\": {\"magazine_moves\": %lu, "
             "\"batches_sent\": %lu, \"commons_holds\": %lu, "
             "\"region_locks\": %lu, \"lock_waits\": %lu},\n"
             "  \"libc\": {\"calls\": %lu, \"bytes\": %lu},\n"
             "  \"coverage\": {\"calls_percent\": %lu.%lu, "
             "\"bytes_percent\": %lu.%lu}\n}\n",
             stats->grown.allocations, stats->grown.bytes, stats->grown.in_use,
             stats->grown.in_use_bytes, stats->grown.spare_bytes,
             stats->grown.residue_bytes, stats->magazine_moves,
             stats->batches_sent, stats->commons_holds, stats->region.locks,
             stats->lock_waits, stats->libc_calls, stats->libc_bytes, calls / 10, calls % 10,
             bytes / 10, bytes % 10);
    return text;
}

static void assert_report(const char *name, const char *program,
                          const char *reason)
{
    static const char start[] =
        "{\n  \"schema\": \"skpreload-stats/1\", \"version\": \"";
    const char *text = content(name);

    assert_memory_equal(text, start, strlen(start));
    text += strlen(start);
    text += strcspn(text, "\"");
    assert_string_equal(text, expected_report(program, reason));
}

static void grown_blocks_count_in_the_sums(void **state)
{
    struct sk_stats before = *now(), *after;
    void *p = sk_grown_alloc(40000), *q = sk_grown_alloc(100000);

    (void)state;
    assert_true(p && q && sk_grown_resize(q, 200000));
    sk_grown_free(p);
    after = now();
    assert_int_equal(after->grown.allocations - before.grown.allocations, 2);
    assert_int_equal(after->grown.in_use, 1);
    assert_int_equal(after->grown.in_use_bytes, 224 << 10);
    assert_int_equal(after->grown.spare_bytes, 800 << 10);
    assert_int_equal(after->calls - before.calls, 2);
    assert_int_equal(after->bytes - before.bytes, (40 + 224) << 10);
    assert_int_equal(after->in_use_bytes - before.in_use_bytes, 224 << 10);
}

static void the_report_says_what_the_figures_say(void **state)
{
    void *kept = get(4000);

    (void)state;
    sk_state_count_libc(1 << 20);
    assert_true(sk_stats_write(in_folder("report"), "prog", "on", "because"));
    assert_report("report", "prog", "because");
    put(kept);
}

static void a_report_replaces_an_older_one_whole(void **state)
{
    struct stat file;

    (void)state;
    for (int i = 0; i < 3; i++) {
        int fd = open(in_folder("again"), O_WRONLY | O_CREAT, 0600);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 100000), 0);
        close(fd);
        assert_true(sk_stats_write(path, "p", "on", ""));
        assert_report("again", "p", "");
    }
    snprintf(path, sizeof path, "%s/again.%d.tmp", folder, getpid());
    assert_int_equal(stat(path, &file), -1);
}

static void the_name_bears_process_and_program(void **state)
{
    char name[64];

    (void)state;
    assert_true(sk_stats_write(in_folder("%e-%p-%%x"), "prog", "on", ""));
    snprintf(name, sizeof name, "prog-%d-%%%%x", getpid());
    assert_report(name, "prog", "");
}

static void a_programs_name_cannot_break_the_json(void **state)
{
    (void)state;
    assert_true(sk_stats_write(in_folder("odd"), "a\"b\\c\nd\x01", "on", ""));
    assert_report("odd", "a_b_c_d_", "");
}

static void a_file_that_cannot_be_written_is_false_and_leaves_nothing(
    void **state)
{
    static char too_long[5000];
    char there[300];
    struct stat file;

    (void)state;
    errno = 77;
    assert_false(sk_stats_write(in_folder("none/report"), "p", "on", ""));
    memset(too_long, 'x', sizeof too_long - 1);
    assert_false(sk_stats_write(too_long, "p", "on", ""));
    assert_int_equal(mkdir(in_folder("folder"), 0700), 0);
    errno = 77;
    assert_false(sk_stats_write(in_folder("folder"), "p", "on", ""));
    assert_int_equal(errno, 77);
    snprintf(there, sizeof there, "%s/folder.%d.tmp", folder, getpid());
    assert_int_equal(stat(there, &file), -1);
    rmdir(in_folder("folder"));
}

static void the_lines_for_people_name_every_heap_in_use(void **state)
{
    static char expected[65536], text[65536];
    int ends[2], used = 0;
    const struct sk_stats *stats;
    void *kept = get(100);
    ssize_t got;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    sk_stats_print(ends[1]);
    close(ends[1]);
    for (got = 0; used < 60000; used += (int)got)
        if ((got = read(ends[0], text + used, sizeof text - 1 -
                                                  (size_t)used)) <= 0)
            break;
    close(ends[0]);
    text[used] = '\0';
    stats = now();
    used = 0;
    for (int bin = 1; bin < SK_BINS; bin++)
        if (stats->heaps[bin].allocations > 0)
            used += snprintf(
                expected + used, sizeof expected - (size_t)used,
                "%s: in use %lu, cached %lu, chunks %lu, frees %lu\n",
                sk_heap_of_bin(bin)->label, stats->heaps[bin].in_use,
                stats->heaps[bin].cached, stats->heaps[bin].chunks,
                stats->heaps[bin].allocations - stats->heaps[bin].in_use);
    if (stats->grown.allocations > 0)
        used += snprintf(expected + used, sizeof expected - (size_t)used,
                         "grown: in use %lu, frees %lu\n", stats->grown.in_use,
                         stats->grown.allocations - stats->grown.in_use);
    snprintf(expected + used, sizeof expected - (size_t)used,
             "heaps: in use bytes = %lu, system bytes = %lu\n",
             stats->in_use_bytes, stats->chunk_bytes);
    assert_string_equal(text, expected);
    put(kept);
}

static int open_folder(void **state)
{
    return mkdtemp(folder) ? open_once(state) : -1;
}

static int remove_folder(void **state)
{
    char command[100];

    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_counts_what_it_hands_out_and_gets_back),
        cmocka_unit_test(the_sums_are_those_of_the_heaps),
        cmocka_unit_test(frees_by_other_threads_are_counted_once_each),
        cmocka_unit_test(frees_after_a_threads_end_are_counted_too),
        cmocka_unit_test(what_an_ended_thread_did_stays_counted),
        cmocka_unit_test(
            requests_to_libc_are_counted_with_and_without_a_state),
        cmocka_unit_test(grown_blocks_count_in_the_sums),
        cmocka_unit_test(the_report_says_what_the_figures_say),
        cmocka_unit_test(a_report_replaces_an_older_one_whole),
        cmocka_unit_test(the_name_bears_process_and_program),
        cmocka_unit_test(a_programs_name_cannot_break_the_json),
        cmocka_unit_test(
            a_file_that_cannot_be_written_is_false_and_leaves_nothing),
        cmocka_unit_test(the_lines_for_people_name_every_heap_in_use),
    };

    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
