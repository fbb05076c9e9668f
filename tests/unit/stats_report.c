/*
 * stats_report.c - the report of the figures: its form, its file, and the
 * lines for people.
 */
#include "content.h"
#include "getput.h"
#include "stats.h"
#include "threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/sk-stats-XXXXXX";
static char path[300];

static const char *in_folder(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
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
             stats->lock_waits, stats->libc_calls, stats->libc_bytes,
             calls / 10, calls % 10, bytes / 10, bytes % 10);
    return text;
}

static void assert_report(const char *name, const char *program,
                          const char *reason)
{
    static const char start[] =
        "{\n  \"schema\": \"skpreload-stats/1\", \"version\": \"";
    const char *text = content_of(fopen(in_folder(name), "r"));

    assert_memory_equal(text, start, strlen(start));
    text += strlen(start);
    text += strcspn(text, "\"");
    assert_string_equal(text, expected_report(program, reason));
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
    assert_int_equal(errno, 77);
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

static void *free_it(void *unit)
{
    put(unit);
    sk_state_park();
    return NULL;
}

/* Every heap, other threads, grown blocks and libc: a figure that is nothing
 * would not tell whether it is the right one. */
static int use_everything(void **state)
{
    void *freed, *grown;

    if (!mkdtemp(folder) || open_once(state) != 0)
        return -1;
    for (int round = 0; round < 2; round++) {
        sk_state_trim();
        for (uint32_t class = 1; class < SK_CLASSES; class++)
            run(free_it, get_exact(sk_heap_of_bin(class)->unit_bytes));
    }
    freed = sk_grown_alloc(40000);
    grown = sk_grown_alloc(200000);
    sk_grown_free(freed);
    sk_state_count_libc(100);
    return sk_grown_resize(grown, 40000) ? 0 : -1;
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
        cmocka_unit_test(the_report_says_what_the_figures_say),
        cmocka_unit_test(a_report_replaces_an_older_one_whole),
        cmocka_unit_test(the_name_bears_process_and_program),
        cmocka_unit_test(a_programs_name_cannot_break_the_json),
        cmocka_unit_test(
            a_file_that_cannot_be_written_is_false_and_leaves_nothing),
        cmocka_unit_test(the_lines_for_people_name_every_heap_in_use),
    };

    return cmocka_run_group_tests(tests, use_everything, remove_folder);
}
