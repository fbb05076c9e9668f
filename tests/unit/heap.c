/*
 * heap.c - the library's heaps: what their contract says, one by one.
 */
#include "child.h"
#include "death.h"
#include "heaps.h"
#include "resident.h"

#include <stdlib.h>
#include <sys/time.h>

/* --- one thread ------------------------------------------------------------ */

static void a_unit_lives_until_its_last_unref(void **state)
{
    sk_heap *heap = plain("lives", 100);
    void *unit = sk_heap_unit_allocate(heap);

    (void)state;
    assert_non_null(unit);
    assert_int_equal(info_of(heap).live_units, 1);
    assert_ptr_equal(sk_heap_unit_ref(unit), unit);
    sk_heap_unit_unref(unit);
    assert_int_equal(info_of(heap).live_units, 1);
    sk_heap_unit_unref(unit);
    assert_int_equal(info_of(heap).live_units, 0);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

static void fill_and_check(sk_heap *heap, size_t bytes, size_t alignment)
{
    enum { UNITS = 40 };
    unsigned char *units[UNITS];

    for (int i = 0; i < UNITS; i++) {
        units[i] = sk_heap_unit_allocate(heap);
        assert_non_null(units[i]);
        assert_int_equal((uintptr_t)units[i] % alignment, 0);
        assert_ptr_equal(sk_heap_of_unit(units[i]), heap);
        memset(units[i], i, bytes);
    }
    for (int i = 0; i < UNITS; i++) {
        for (size_t k = 0; k < bytes; k += 1 + bytes / 8)
            assert_int_equal(units[i][k], i);
        assert_int_equal(units[i][bytes - 1], i);
        sk_heap_unit_unref(units[i]);
    }
}

static void every_size_and_alignment_is_served(void **state)
{
    static const size_t sizes[] = {1,    2,    8,     15,    16,     17,
                                   48,   64,   100,   1000,  4096,   5000,
                                   8192, 9999, 32768, 36864, 100000, 1 << 20};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
            const struct sk_heap_attributes how = {
                .label = "sizes",
                .unit_size = sizes[i],
                .alignment = alignment,
                .units_per_chunk = 10,
                .options = SK_HEAP_UNLIMITED | SK_HEAP_SHRINK,
            };
            sk_heap *heap = sk_heap_new_with(&how);

            assert_non_null(heap);
            fill_and_check(heap, sizes[i], alignment);
            assert_int_equal(info_of(heap).live_units, 0);
            assert_int_equal(sk_heap_destroy(heap, 0), 0);
        }
}

static void wrong_arguments_are_null_and_einval(void **state)
{
    static const struct sk_heap_attributes wrong[] = {
        {.unit_size = 8, .units_per_chunk = 1, .maximum_units = 1},
        {.label = "", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1},
        {.label = "x", .units_per_chunk = 1, .maximum_units = 1},
        {.label = "x", .unit_size = (1 << 20) + 1, .units_per_chunk = 1,
         .maximum_units = 1},
        {.label = "x", .unit_size = 8, .maximum_units = 1},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1, .alignment = 24},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1, .alignment = 8192},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1, .options = 1u << 20},
        {.label = "x", .unit_size = 8, .units_per_chunk = 1,
         .maximum_units = 1, .source = SK_HEAP_POPULATED + 1},
    };
    struct sk_heap_info info;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(sk_heap_new_with(&wrong[i]), NULL, EINVAL);
    assert_fails(sk_heap_new_with(NULL), NULL, EINVAL);
    assert_fails(sk_heap_unit_allocate(NULL), NULL, EINVAL);
    assert_fails(sk_heap_destroy(NULL, 0), -1, EINVAL);
    assert_fails(sk_heap_of_unit(&errno), NULL, EINVAL);
    assert_fails(sk_heap_of_unit(NULL), NULL, EINVAL);
    assert_fails(sk_heap_trim(NULL), 0, EINVAL);
    assert_fails(sk_heap_read(NULL, &info), -1, EINVAL);
    assert_fails(sk_heap_each(NULL, NULL), -1, EINVAL);
}

static void the_maximum_is_exact(void **state)
{
    static const size_t maxima[] = {1, 2, 7, 16, 17, 100, 1000, 5000};

    (void)state;
    for (size_t i = 0; i < sizeof maxima / sizeof *maxima; i++)
        take_exactly(bounded(maxima[i]), maxima[i]);
    take_exactly(sk_heap_new("large", 100000, 1, 9, 0), 9);
    take_all_bins();
    take_exactly(bounded(333), 333);
    release_all_bins();
}

static void growth_is_by_chunks_and_doubles_when_asked(void **state)
{
    sk_heap *even = sk_heap_new("even", 64, 10, 0, SK_HEAP_UNLIMITED);
    sk_heap *doubling =
        sk_heap_new("doubling", 64, 10, 0,
                    SK_HEAP_UNLIMITED | SK_HEAP_GROW_EXPONENTIALLY);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_non_null(sk_heap_unit_allocate(even));
        assert_non_null(sk_heap_unit_allocate(doubling));
    }
    assert_int_equal(info_of(even).grown_units,
                     10 * info_of(even).growths);
    assert_in_range(info_of(even).grown_units, 1000, 1100);
    assert_int_equal(info_of(doubling).grown_units,
                     10 * ((1u << info_of(doubling).growths) - 1));
    assert_int_equal(info_of(doubling).growths, 7);
    assert_int_equal(sk_heap_destroy(even, 1), 0);
    assert_int_equal(sk_heap_destroy(doubling, 1), 0);
}

static void memory_is_kept_unless_the_heap_shrinks(void **state)
{
    sk_heap *kept = plain("kept", 256);
    sk_heap *shrinking = sk_heap_new("shrinking", 256, 64, 0,
                                     SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);
    uint64_t bytes;

    (void)state;
    use_and_drop(kept, 20000);
    use_and_drop(shrinking, 20000);
    bytes = info_of(kept).chunk_bytes;
    assert_true(bytes >= 20000 * 272);
    assert_true(info_of(shrinking).chunk_bytes < bytes / 4);
    use_and_drop(kept, 20000);
    assert_int_equal(info_of(kept).chunk_bytes, bytes);
    assert_true(sk_heap_trim(kept) >= bytes / 2);
    assert_int_equal(info_of(kept).chunk_bytes, 0);
    use_and_drop(kept, 100);
    assert_int_equal(sk_heap_destroy(kept, 0), 0);
    assert_int_equal(sk_heap_destroy(shrinking, 0), 0);
}

static void large_units_come_and_go_with_their_memory(void **state)
{
    sk_heap *kept = plain("kept", 1 << 18);
    sk_heap *shrinking = sk_heap_new("shrinking", 1 << 18, 4, 0,
                                     SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);

    (void)state;
    use_and_drop(kept, 64);
    use_and_drop(shrinking, 64);
    assert_true(info_of(kept).chunk_bytes >= 64u << 18);
    assert_true(info_of(shrinking).chunk_bytes < 16u << 18);
    assert_true(sk_heap_trim(kept) > 0);
    assert_int_equal(info_of(kept).chunk_bytes, 0);
    assert_int_equal(sk_heap_destroy(kept, 0), 0);
    assert_int_equal(sk_heap_destroy(shrinking, 0), 0);
}

static int constructed, destructed;

static void construct(void *unit, void *context)
{
    constructed++;
    *(void **)unit = context;
}

static void destruct(void *unit, void *context)
{
    assert_ptr_equal(*(void **)unit, context);
    destructed++;
}

static void constructed_state_survives_being_free(void **state)
{
    struct sk_heap_attributes how = {
        .label = "constructed",
        .unit_size = 80,
        .units_per_chunk = 16,
        .options = SK_HEAP_UNLIMITED,
        .construct = construct,
        .destruct = destruct,
        .context = &constructed,
    };
    void *units[300];
    sk_heap *heap;

    (void)state;
    for (int round = 0; round < 3; round++) {
        how.unit_size = round == 2 ? 50000 : 80;
        if (round == 1)
            how.options |= SK_HEAP_SHRINK;
        constructed = destructed = 0;
        assert_non_null(heap = sk_heap_new_with(&how));
        for (int turn = 0; turn < 5; turn++) {
            for (int i = 0; i < 300; i++) {
                units[i] = sk_heap_unit_allocate(heap);
                assert_ptr_equal(*(void **)units[i], &constructed);
            }
            for (int i = 0; i < 300; i++)
                sk_heap_unit_unref(units[i]);
        }
        assert_int_equal(constructed - destructed, 300);
        assert_int_equal(destructed, 0);
        sk_heap_trim(heap);
        assert_true(destructed > 0);
        use_and_drop(plain("other", 8), 1);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
        assert_int_equal(constructed, destructed);
    }
}

static void a_zeroing_heap_hands_out_zeros(void **state)
{
    sk_heap *heap =
        sk_heap_new("zeros", 200, 8, 0, SK_HEAP_UNLIMITED | SK_HEAP_ZERO);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        unsigned char *unit = sk_heap_unit_allocate(heap);

        for (int k = 0; k < 200; k++)
            assert_int_equal(unit[k], 0);
        memset(unit, 0xff, 200);
        sk_heap_unit_unref(unit);
    }
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

static sk_heap *with_source(enum sk_heap_source source)
{
    struct sk_heap_attributes how = {
        .label = "populated",
        .unit_size = 2000,
        .units_per_chunk = 30,
        .options = SK_HEAP_UNLIMITED,
        .source = source,
    };
    sk_heap *heap = sk_heap_new_with(&how);

    assert_non_null(heap);
    return heap;
}

static void a_populated_heap_has_its_memory_before_it_is_touched(void **state)
{

    (void)state;
    if (!has_populate())
        skip();
    sk_region_purge(true);
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = with_source(i == 0 ? SK_HEAP_ON_DEMAND
                                           : SK_HEAP_POPULATED);
        uintptr_t unit = (uintptr_t)sk_heap_unit_allocate(heap);

        if (i == 0)
            assert_in_range(resident_in((void *)(unit & ~65535ul), 65536), 1,
                            4);
        else
            assert_int_equal(resident_in((void *)(unit & ~65535ul), 65536),
                             16);
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
        sk_region_purge(true);
        assert_int_equal(resident_in((void *)(unit & ~65535ul), 65536), 0);
    }
}

/* Its chunk is a run that somebody gave back, with a page in memory. */
static void a_populated_heap_gets_the_rest_of_a_used_run(void **state)
{
    void *runs[2];

    (void)state;
    if (!has_populate())
        skip();
    sk_region_purge(true);
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = with_source(i == 0 ? SK_HEAP_ON_DEMAND
                                           : SK_HEAP_POPULATED);
        uintptr_t unit = (uintptr_t)sk_heap_unit_allocate(heap);

        runs[i] = (void *)(unit & ~65535ul);
        if (i == 1)
            assert_int_equal(resident_in(runs[1], 65536), 16);
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
    }
    assert_ptr_equal(runs[0], runs[1]);
    sk_region_purge(true);
}

/* --- many heaps ------------------------------------------------------------ */

static int count_heap(sk_heap *heap, void *count)
{
    assert_non_null(heap);
    ++*(int *)count;
    return 0;
}

static void thousands_of_heaps_live_at_once(void **state)
{
    enum { HEAPS = 3000 };
    static sk_heap *heaps[HEAPS];
    static void *units[HEAPS];
    int before = 0, count = 0;

    (void)state;
    sk_heap_each(count_heap, &before);
    for (int i = 0; i < HEAPS; i++) {
        heaps[i] = plain("one of many", 24);
        assert_non_null(units[i] = sk_heap_unit_allocate(heaps[i]));
    }
    sk_heap_each(count_heap, &count);
    assert_int_equal(count - before, HEAPS);
    for (int i = 0; i < HEAPS; i++) {
        assert_ptr_equal(sk_heap_of_unit(units[i]), heaps[i]);
        sk_heap_unit_unref(units[i]);
        assert_int_equal(info_of(heaps[i]).live_units, 0);
    }
    for (int i = 0; i < HEAPS; i++)
        assert_int_equal(sk_heap_destroy(heaps[i], 0), 0);
}

/* A thread's accounts: what it may cache would be used up, or endless. */
static void heaps_come_and_go_and_leave_nothing_on_account(void **state)
{
    size_t magazine_bytes = sk_self->magazine_bytes;
    size_t carved_bytes = sk_self->carved_bytes;

    (void)state;
    for (int i = 0; i < 100; i++) {
        sk_heap *heap = plain("short-lived", 1000);
        void *units[100];

        for (int k = 0; k < 100; k++)
            units[k] = sk_heap_unit_allocate(heap);
        for (int k = 0; k < 100; k++)
            sk_heap_unit_unref(units[k]);
        assert_true(sk_self->carved_bytes > carved_bytes);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
    assert_int_equal(sk_self->magazine_bytes, magazine_bytes);
    assert_int_equal(sk_self->carved_bytes, carved_bytes);
}

static void a_heap_with_units_out_is_not_destroyed_unless_forced(void **state)
{
    static const size_t sizes[] = {64, 100000};

    (void)state;
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = plain("stays", sizes[i]);
        void *units[5];

        for (int k = 0; k < 5; k++)
            units[k] = sk_heap_unit_allocate(heap);
        sk_heap_unit_unref(units[4]);
        assert_int_equal(sk_heap_destroy(heap, 0), 4);
        assert_int_equal(info_of(heap).live_units, 4);
        sk_heap_unit_unref(units[3]);
        assert_int_equal(sk_heap_destroy(heap, 0), 3);
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
    }
}

/* --- broken programs ------------------------------------------------------- */

static void unref_it(void *unit)
{
    sk_heap_unit_unref(unit);
}

static void free_it(void *unit)
{
    sk_state_free_slow(sk_header_of(unit));
}

static void broken_programs_are_told_what_is_wrong(void **state)
{
    static const size_t sizes[] = {64, 100000};
    int local = 0;

    (void)state;
    for (int i = 0; i < 2; i++) {
        sk_heap *heap = sk_heap_new("fragile", sizes[i], 4, i ? 9 : 0,
                                    i ? 0 : SK_HEAP_UNLIMITED);
        char *unit = sk_heap_unit_allocate(heap);
        char *gone = sk_heap_unit_allocate(heap);

        sk_heap_unit_unref(gone);
        dies_saying(unref_it, gone, "is free (heap 'fragile')");
        dies_saying(unref_it, unit + 16,
                    "is not the start of a unit (heap 'fragile')");
        dies_saying(free_it, unit,
                    "is a unit of heap 'fragile', freed by "
                    "sk_heap_unit_unref() alone");
        memset(unit - 8, 0x41, 8);
        dies_saying(unref_it, unit,
                    "lost its header, something wrote in front of it "
                    "(heap 'fragile')");
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
        dies_saying(unref_it, gone, "sk_heap_unit_unref(): 0x");
    }
    dies_saying(unref_it, &local, "is no unit of any heap");
    dies_saying(unref_it, NULL, "0x0 is no unit of any heap");
    dies_saying(unref_it, sk_state_alloc_slow(100), "is no unit of any heap");
}

static int visits;

static int look_and_meddle(sk_heap *heap, void *first)
{
    char *unit = sk_heap_unit_allocate(heap);

    visits++;
    assert_non_null(unit);
    sk_heap_unit_unref(unit);
    assert_fails(sk_heap_new("meddler", 8, 8, 8, 0), NULL, EBUSY);
    assert_fails(sk_heap_destroy(heap, 0), -1, EBUSY);
    if (*(bool *)first) {
        *(bool *)first = false;
        assert_int_equal(sk_heap_each(look_and_meddle, first), 0);
    }
    return 0;
}

static void visitors_may_use_heaps_and_look_again_but_not_meddle(void **state)
{
    sk_heap *one = plain("one", 10), *two = plain("two", 100000);
    bool first = true;
    int status;
    pid_t child;

    (void)state;
    visits = 0;
    assert_int_equal(sk_heap_each(look_and_meddle, &first), 0);
    assert_true(visits >= 4 && visits % 2 == 0);
    assert_int_equal(sk_heap_destroy(one, 0), 0);
    child = fork();
    if (child == 0)
        _exit(sk_heap_destroy(two, 0) != 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(sk_heap_destroy(two, 0), 0);
}

/* --- signals ---------------------------------------------------------------- */

static _Atomic int handled;

/* As malloc and free of the shim, on top of whatever was interrupted: fills
 * chunks, so that the region is asked. */
static void allocate_in_handler(int signal)
{
    void *units[80];

    (void)signal;
    for (int i = 0; i < 80; i++)
        units[i] = sk_state_alloc_slow(32768);
    for (int i = 0; i < 80; i++)
        if (units[i])
            sk_state_free_slow(units[i]);
    atomic_fetch_add(&handled, 1);
}

static void heaps_come_and_go_under_a_handler_that_allocates(void **state)
{
    const struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = allocate_in_handler};
    struct sk_heap_info info;
    uint64_t end;

    (void)state;
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(sigaction(SIGVTALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_VIRTUAL, &often, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    /* A sanitizer hands few signals over, and late: not for longer than 5 s. */
    end = sk_os_now_ms() + 5000;
    for (int turn = 0; (atomic_load(&handled) < 4000 || turn < 2000) &&
                       sk_os_now_ms() < end;
         turn++) {
        sk_heap *heap = sk_heap_new("brief", turn % 2 ? 100 : 100000, 8, 8, 0);

        assert_non_null(heap);
        assert_int_equal(sk_heap_read(heap, &info), 0);
        sk_heap_trim(heap);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_int_equal(setitimer(ITIMER_VIRTUAL, &never, NULL), 0);
    assert_true(atomic_load(&handled) > 0);
}

static void reports_name_every_heap(void **state)
{
    sk_heap *heap = sk_heap_new("with \"quotes\"", 64, 4, 7, 0);
    char text[4096];
    FILE *file = tmpfile();
    size_t got;

    (void)state;
    use_and_drop(heap, 5);
    assert_int_equal(sk_heap_report(NULL, fileno(file), SK_HEAP_JSON), 0);
    assert_int_equal(sk_heap_report(heap, fileno(file), SK_HEAP_TEXT), 0);
    rewind(file);
    got = fread(text, 1, sizeof text - 1, file);
    text[got] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "\"schema\": \"skheap-report/1\""));
    assert_non_null(strstr(text, "\"label\": \"with _quotes_\""));
    assert_non_null(strstr(text, "\"maximum_units\": 7"));
    assert_non_null(strstr(text, "\"allocations\": 5"));
    assert_non_null(strstr(text, "\nwith _quotes_"));
    assert_int_equal(sk_heap_report(heap, -1, SK_HEAP_TEXT), -1);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

static void refused_memory_is_enomem_and_harms_nothing(void **state)
{
    sk_heap *heap = plain("starved", 30000);
    void **list = NULL, **unit;

    (void)state;
    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    errno = 0;
    while ((unit = sk_heap_unit_allocate(heap))) {
        *unit = list;
        list = unit;
    }
    assert_int_equal(errno, ENOMEM);
    sk_os_fail(SK_OS_COMMIT, 0);
    assert_non_null(unit = sk_heap_unit_allocate(heap));
    sk_heap_unit_unref(unit);
    for (; list; list = unit) {
        unit = *list;
        sk_heap_unit_unref(list);
    }
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
    assert_true(sk_region_is_sound());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unit_lives_until_its_last_unref),
        cmocka_unit_test(every_size_and_alignment_is_served),
        cmocka_unit_test(wrong_arguments_are_null_and_einval),
        cmocka_unit_test(the_maximum_is_exact),
        cmocka_unit_test(growth_is_by_chunks_and_doubles_when_asked),
        cmocka_unit_test(memory_is_kept_unless_the_heap_shrinks),
        cmocka_unit_test(large_units_come_and_go_with_their_memory),
        cmocka_unit_test(constructed_state_survives_being_free),
        cmocka_unit_test(a_zeroing_heap_hands_out_zeros),
        cmocka_unit_test(a_populated_heap_has_its_memory_before_it_is_touched),
        cmocka_unit_test(a_populated_heap_gets_the_rest_of_a_used_run),
        cmocka_unit_test(thousands_of_heaps_live_at_once),
        cmocka_unit_test(heaps_come_and_go_and_leave_nothing_on_account),
        cmocka_unit_test(a_heap_with_units_out_is_not_destroyed_unless_forced),
        cmocka_unit_test(broken_programs_are_told_what_is_wrong),
        cmocka_unit_test(visitors_may_use_heaps_and_look_again_but_not_meddle),
        cmocka_unit_test(heaps_come_and_go_under_a_handler_that_allocates),
        cmocka_unit_test(reports_name_every_heap),
        cmocka_unit_test(refused_memory_is_enomem_and_harms_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
