/*
 * heap_more.c - heaps beyond the bins: their chunks, a handler's part in them,
 * and where they are described.
 */
#include "child.h"
#include "heaps.h"
#include "random.h"
#include "sk_region_parts.h"

#include <string.h>

static sk_heap *heap;

static sk_heap *large(size_t maximum, unsigned options)
{
    sk_heap *made = sk_heap_new("large", 40000, 1, maximum, options);

    assert_non_null(made);
    assert_true(made->library->is_more);
    return made;
}

static uint64_t chunks(void)
{
    return info_of(heap).chunk_bytes / (SK_GRANULE_BYTES << heap->order);
}

/* --- chunks ---------------------------------------------------------------- */

static void one_free_chunk_stays_for_the_next_unit(void **state)
{
    void *units[100];

    (void)state;
    heap = large(0, SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);
    for (int i = 0; i < 3; i++) {
        use_and_drop(heap, 1);
        assert_int_equal(chunks(), 1);
    }
    for (int i = 0; i < 100; i++)
        units[i] = sk_heap_unit_allocate(heap);
    assert_true(chunks() > 5);
    for (int i = 0; i < 100; i++)
        sk_heap_unit_unref(units[i]);
    assert_int_equal(chunks(), 1);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

/* Those with a unit to take, and no others; so many of them wholly free. */
static void check_partial(int free_most)
{
    struct sk_library *lib = heap->library;
    uint32_t first = sk_library_chunk(heap, 0), before = 0;
    int partial = 0, listed = 0;

    for (; first != SK_NONE; first = sk_library_chunk(heap, first + 1)) {
        struct sk_chunk *chunk = sk_chunk_at(first);
        bool has = chunk->home || chunk->carved_units < heap->chunk_units;

        assert_int_equal(chunk->is_listed, has);
        partial += has;
        free_most -= sk_chunk_is_free(chunk);
    }
    for (uint32_t name = lib->partial; name; name = sk_chunk_at(name - 1)->next) {
        assert_int_equal(sk_chunk_at(name - 1)->prev, before);
        before = name;
        listed++;
    }
    assert_int_equal(listed, partial);
    assert_true(free_most >= 0);
}

static void its_list_has_every_chunk_with_a_unit_to_take(void **state)
{
    enum { UNITS = 60, STEPS = 3000 };
    void *units[UNITS] = {0};
    uint32_t seed = 1;
    size_t live = 0;

    (void)state;
    for (int is_kept = 0; is_kept < 2; is_kept++) {
        heap = large(0, SK_HEAP_UNLIMITED | (is_kept ? 0 : SK_HEAP_SHRINK));
        for (int step = 0; step < STEPS; step++) {
            void **unit = &units[next_random(&seed) % UNITS];

            if (*unit)
                sk_heap_unit_unref(*unit);
            live += *unit ? -1 : 1;
            *unit = *unit ? NULL : sk_heap_unit_allocate(heap);
            check_partial(is_kept ? UNITS : 1);
            if (step % 100 == 0) {
                sk_heap_trim(heap);
                check_partial(0);
            }
            assert_int_equal(info_of(heap).live_units, live);
        }
        for (int i = 0; i < UNITS; i++)
            if (units[i])
                sk_heap_unit_unref(units[i]);
        for (int i = live = 0; i < UNITS; i++)
            units[i] = NULL;
        sk_heap_trim(heap);
        assert_int_equal(chunks(), 0);
        assert_int_equal(info_of(heap).grown_units, 0);
        assert_int_equal(sk_heap_destroy(heap, 0), 0);
    }
}

static void growth_is_counted_as_in_others(void **state)
{
    (void)state;
    heap = sk_heap_new("growing", 40000, 10, 0, SK_HEAP_UNLIMITED);
    for (int i = 0; i < 100; i++)
        assert_non_null(sk_heap_unit_allocate(heap));
    assert_int_equal(info_of(heap).growths, 10);
    assert_int_equal(info_of(heap).grown_units, 100);
    assert_int_equal(sk_heap_destroy(heap, 1), 0);
}

static void without_memory_none_is_had(void **state)
{
    sk_heap *hog = large(0, SK_HEAP_UNLIMITED);

    (void)state;
    heap = large(0, SK_HEAP_UNLIMITED);
    sk_os_fail(SK_OS_COMMIT, ~UINT64_C(0));
    while (sk_heap_unit_allocate(hog))
        ;
    assert_fails(sk_heap_unit_allocate(heap), NULL, ENOMEM);
    sk_os_fail(SK_OS_COMMIT, 0);
    assert_int_equal(info_of(heap).live_units, 0);
    use_and_drop(heap, 100);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
    assert_int_equal(sk_heap_destroy(hog, 1), 0);
}

/* --- destructors ----------------------------------------------------------- */

static int destructed;

static void check_content(void *unit, void *content)
{
    assert_ptr_equal(*(void **)unit, content);
    destructed++;
}

static sk_heap *with_destructor(size_t bytes, size_t alignment,
                                void (*destruct)(void *, void *))
{
    const struct sk_heap_attributes how = {
        .label = "destructed", .unit_size = bytes, .alignment = alignment,
        .units_per_chunk = 8, .options = SK_HEAP_UNLIMITED,
        .destruct = destruct, .context = &destructed};
    sk_heap *made = sk_heap_new_with(&how);

    assert_non_null(made);
    return made;
}

/* Its chunk is a run in which somebody left what looks like units. */
static void no_destructor_is_called_for_what_was_never_used(void **state)
{
    (void)state;
    for (size_t alignment = 16; alignment <= 4096; alignment *= 16)
        for (size_t bytes = 50; bytes <= 50000; bytes *= 1000) {
            void **unit;
            uint32_t run;

            heap = with_destructor(bytes, alignment, check_content);
            sk_region_purge(true);
            run = sk_region_take(heap->order);
            memset(sk_region_address(run), 0xff,
                   SK_GRANULE_BYTES << heap->order);
            sk_region_give(run, heap->order, false);
            assert_non_null(unit = sk_heap_unit_allocate(heap));
            assert_int_equal(sk_library_chunk(heap, 0), run);
            *unit = &destructed;
            destructed = 0;
            assert_int_equal(sk_heap_destroy(heap, 1), 0);
            assert_int_equal(destructed, 1);
        }
}

static void look_at_own_heap(void *unit, void *unused)
{
    (void)unit, (void)unused;
    assert_int_equal(info_of(heap).live_units, 0);
    assert_int_equal(heap->library->guard.lock.word, 1);
    assert_ptr_equal(heap->library->guard.changer, sk_os_thread());
    destructed++;
}

static void a_destructor_that_looks_leaves_the_lock_held(void **state)
{
    (void)state;
    heap = with_destructor(50000, 16, look_at_own_heap);
    use_and_drop(heap, 8);
    destructed = 0;
    sk_heap_trim(heap);
    assert_int_equal(destructed, 8);
    assert_null(heap->library->guard.changer);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

/* --- in a handler ---------------------------------------------------------- */

/* It may have interrupted who holds the lock. */
static void unref_in_a_handler(void *unit)
{
    struct sk_state *self = sk_state_hide();

    heap->library->guard.lock.word = 1;
    sk_heap_unit_unref(unit);
    assert_fails(sk_heap_unit_allocate(heap), NULL, ENOMEM);
    assert_int_equal(sk_more_trim(heap->library), 0);
    heap->library->guard.lock.word = 0;
    sk_state_show(self);
}

static void what_a_handler_frees_is_there_for_the_next_call(void **state)
{
    void *unit;

    (void)state;
    heap = large(1, SK_HEAP_SHRINK);
    unit = sk_heap_unit_allocate(heap);
    unref_in_a_handler(unit);
    assert_non_null(unit = sk_heap_unit_allocate(heap));
    unref_in_a_handler(unit);
    assert_int_equal(info_of(heap).live_units, 0);
    assert_non_null(unit = sk_heap_unit_allocate(heap));
    unref_in_a_handler(unit);
    assert_true(sk_heap_trim(heap) > 0);
    assert_int_equal(chunks(), 0);
    assert_int_equal(sk_heap_destroy(heap, 0), 0);
}

/* --- after a fork ---------------------------------------------------------- */

/* As in the child of a fork, but for one: another thread was at it. */
static void a_chunk_that_is_not_used_to_its_end_is_found_again(void **state)
{
    uint64_t units;

    (void)state;
    heap = large(0, SK_HEAP_UNLIMITED);
    assert_in_range(heap->chunk_units, 2, 20);
    for (units = 0; units < heap->chunk_units + 1; units++)
        sk_heap_unit_allocate(heap);
    heap->library->guard.changer = &units;
    sk_more_after_fork(heap->library);
    check_partial(0);
    for (; units < 2 * heap->chunk_units; units++)
        sk_heap_unit_allocate(heap);
    assert_int_equal(chunks(), 2);
    assert_int_equal(info_of(heap).live_units, units);
    assert_int_equal(heap->library->carved_units, units);
    assert_int_equal(sk_heap_destroy(heap, 1), 0);
}

static void rights_can_be_collected_that_were_being_collected(void **state)
{
    (void)state;
    heap = bounded(20);
    heap->library->tighten.word = 1;
    heap->library->tightness = 3 * SK_TIGHTNESS_STEPS + SK_TIGHTENING;
    sk_more_after_fork(heap->library);
    assert_int_equal(heap->library->tightness,
                     3 * SK_TIGHTNESS_STEPS + SK_LOOSE);
    assert_int_equal(heap->library->tighten.word, 0);
    take_exactly(heap, 20);
}

/* --- their descriptions ---------------------------------------------------- */

/* In a run that was used before, and has no owner. */
static void lives_in_a_used_run(uint64_t unused)
{
    uint32_t used, first;
    size_t granule;
    void *unit;

    (void)unused;
    for (int i = SK_CLASSES; i < SK_BINS; i++)
        plain("filler", 16);
    REQUIRE((used = sk_region_take(0)) != SK_NONE);
    memset(sk_region_address(used), 0xa5, SK_GRANULE_BYTES);
    sk_region_give(used, 0, false);
    heap = plain("described", 16);
    REQUIRE(heap->library->is_more);
    granule = sk_region_granule(heap->library);
    REQUIRE(granule == used);
    REQUIRE((unit = sk_heap_unit_allocate(heap)) != NULL);
    REQUIRE(sk_heap_of_unit(unit) == heap);
    REQUIRE(!sk_heap_of_unit(heap->library) && errno == EINVAL);
    sk_heap_unit_unref(unit);
    REQUIRE(info_of(heap).allocations == 1 && info_of(heap).refused == 0);
    sk_pool.guard.changer = &unit;
    sk_region_after_fork(false);
    while ((first = sk_region_take(0)) != SK_NONE)
        REQUIRE(first != granule);
}

static void a_description_may_lie_anywhere_and_stays_there(void **state)
{
    (void)state;
    assert_in_child(lives_in_a_used_run, 0);
}

static void an_ended_heap_is_none(void **state)
{
    static const size_t sizes[] = {40, 40000};

    (void)state;
    for (int i = 0; i < 2; i++) {
        void *unit;

        heap = plain("ended", sizes[i]);
        unit = sk_heap_unit_allocate(heap);
        assert_int_equal(sk_heap_destroy(heap, 1), 0);
        assert_fails(sk_heap_of_unit(unit), NULL, EINVAL);
        assert_fails(sk_heap_unit_allocate(heap), NULL, EINVAL);
        assert_fails(sk_heap_destroy(heap, 1), -1, EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* While there is no heap of the kind. */
        cmocka_unit_test(a_description_may_lie_anywhere_and_stays_there),
        cmocka_unit_test(one_free_chunk_stays_for_the_next_unit),
        cmocka_unit_test(its_list_has_every_chunk_with_a_unit_to_take),
        cmocka_unit_test(growth_is_counted_as_in_others),
        cmocka_unit_test(without_memory_none_is_had),
        cmocka_unit_test(no_destructor_is_called_for_what_was_never_used),
        cmocka_unit_test(a_destructor_that_looks_leaves_the_lock_held),
        cmocka_unit_test(what_a_handler_frees_is_there_for_the_next_call),
        cmocka_unit_test(a_chunk_that_is_not_used_to_its_end_is_found_again),
        cmocka_unit_test(rights_can_be_collected_that_were_being_collected),
        cmocka_unit_test(an_ended_heap_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
