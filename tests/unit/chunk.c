/*
 * chunk.c - units in and out of one chunk: addresses, equations, the seal.
 */
#include "chunks.h"

#include <string.h>

/* --- addresses ------------------------------------------------------------ */

static void a_unit_is_known_by_a_multiplication_at_every_offset(void **state)
{
    (void)state;
    for (int class = 1; class < SK_CLASSES; class++) {
        const struct sk_heap *heap = sk_heap_of_bin(class);
        struct sk_chunk *chunk = new_chunk(heap);
        const char *start = sk_chunk_start(chunk);
        size_t bytes = SK_GRANULE_BYTES << heap->order;

        for (size_t at = 0; at < bytes; at++) {
            bool is_unit = at % heap->unit_bytes == 0 &&
                           at / heap->unit_bytes < heap->chunk_units;

            if (sk_chunk_has_unit(heap, chunk, start + at) != is_unit)
                fail_msg("%s: offset %zu", heap->label, at);
        }
        assert_false(sk_chunk_has_unit(heap, chunk, start - 16));
        give_chunk(chunk);
    }
}

static void every_granule_of_a_chunk_leads_to_it(void **state)
{
    (void)state;
    for (int class = 1; class < SK_CLASSES; class++) {
        const struct sk_heap *heap = sk_heap_of_bin(class);
        struct sk_chunk *chunk = new_chunk(heap);
        uint32_t first = sk_chunk_first(chunk);

        assert_ptr_equal(sk_chunk_at(first), chunk);
        for (uint32_t i = first; i < first + (1u << heap->order); i++) {
            assert_ptr_equal(sk_chunk_of(heap, i), chunk);
            assert_int_equal(sk_region_word(i),
                             7u << SK_OWNER_SHIFT | heap->slot);
        }
        give_chunk(chunk);
    }
}

static void units_are_carved_once_in_order_and_to_the_last(void **state)
{
    (void)state;
    for (int class = 1; class < SK_CLASSES; class += 3) {
        const struct sk_heap *heap = sk_heap_of_bin(class);
        struct sk_chunk *chunk = new_chunk(heap);
        char *expected = sk_chunk_start(chunk);
        uint32_t carved = 0;
        void *list;

        while (chunk->carved_units < heap->chunk_units) {
            carved += carve(chunk, heap->carve_units, &list);
            for (; list; list = *(void **)list) {
                assert_ptr_equal(list, expected);
                expected += heap->unit_bytes;
            }
            assert_int_equal(out_of(chunk), carved);
            assert_true(sk_chunk_is_sound(chunk));
        }
        assert_int_equal(carved, heap->chunk_units);
        give_chunk(chunk);
    }
}

/* --- the equations -------------------------------------------------------- */

/* out units wait in `held`; every step the chunk's own figures are compared. */
struct model {
    struct sk_chunk *chunk;
    void *held[4096];
    uint32_t out, free, home, posted;
};

static void hold(struct model *model, void *list)
{
    for (; list; list = *(void **)list)
        model->held[model->out++] = list;
}

/* Some of what is held, as a list. */
static uint32_t pick(struct model *model, uint32_t most, void **first,
                     void **last)
{
    uint32_t units = model->out < most ? model->out : most;

    *first = *last = model->held[model->out - 1];
    for (uint32_t i = 1; i < units; i++) {
        *(void **)*last = model->held[model->out - 1 - i];
        *last = model->held[model->out - 1 - i];
    }
    *(void **)*last = NULL;
    model->out -= units;
    return units;
}

static void check(struct model *model)
{
    struct sk_chunk *chunk = model->chunk;

    assert_true(sk_chunk_is_sound(chunk));
    assert_int_equal(out_of(chunk), model->out);
    assert_int_equal(chunk->free_units, model->free);
    assert_int_equal(chunk->home_units, model->home);
    assert_int_equal(chunk->carved_units,
                     model->out + model->free + model->home + model->posted);
    assert_int_equal(sk_chunk_is_free(chunk),
                     model->out == 0 && model->posted == 0);
    assert_int_equal(sk_chunk_has_free(chunk), model->free + model->home > 0);
    assert_int_equal(sk_post_list(atomic_load(&chunk->post)) != 0,
                     model->posted > 0);
}

static void step_take(struct model *model, uint32_t most)
{
    uint32_t *from = model->free > 0 ? &model->free : &model->home;
    uint32_t units = *from < most ? *from : most;

    assert_int_equal(sk_chunk_at_hand(model->chunk), *from);
    if (units == 0)
        return;
    assert_true(sk_chunk_take_out(model->chunk, units));
    *from -= units;
    units += model->out;
    hold(model, sk_chunk_take(model->chunk, units - model->out));
    assert_int_equal(model->out, units);
}

static void step_put(struct model *model, uint32_t most)
{
    void *first, *last;
    uint32_t units;

    if (model->out == 0)
        return;
    units = pick(model, most, &first, &last);
    assert_int_equal(sk_chunk_put(model->chunk, &first), units);
    assert_null(first);
    model->free += units;
}

static void step_post(struct model *model, uint32_t most)
{
    void *first, *last;
    bool is_free;
    uint32_t units, before;

    if (model->out == 0)
        return;
    units = pick(model, most, &first, &last);
    before = sk_chunk_post(model->chunk, first, last, units, false, &is_free);
    assert_int_equal(before != 0, model->posted > 0);
    assert_int_equal(is_free, model->out == 0);
    model->posted += units;
}

static void step(struct model *model, uint32_t random)
{
    uint32_t units;
    void *list;

    switch (random % 5) {
    case 0:
        units = random >> 3 & 31;
        if (units > 0 &&
            model->chunk->carved_units < model->chunk->heap->chunk_units) {
            carve(model->chunk, units, &list);
            hold(model, list);
        }
        break;
    case 1:
        step_take(model, 1 + (random >> 3 & 255));
        break;
    case 2:
        step_put(model, 1 + (random >> 3 & 63));
        break;
    case 3:
        step_post(model, 1 + (random >> 3 & 63));
        break;
    case 4:
        if (model->posted > 0) { /* what was home before joins `free` */
            model->free += model->home;
            model->home = model->posted;
            model->posted = 0;
        }
        assert_int_equal(sk_chunk_collect(model->chunk), 0);
        break;
    }
}

static void the_equations_hold_after_every_step(void **state)
{
    static const int classes[] = {1, 2, 4, 30, 64, 70, 84};
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        static struct model model;

        model = (struct model){.chunk = new_chunk(&sk_class_heaps[classes[i]])};
        for (int turn = 0; turn < 4000; turn++) {
            seed = seed * 1664525 + 1013904223;
            step(&model, seed >> 8);
            check(&model);
        }
        give_chunk(model.chunk);
    }
}

/* --- the seal ------------------------------------------------------------- */

static void only_the_last_unit_home_seals_and_then_nothing_can_be_taken(
    void **state)
{
    const struct sk_heap *heap = &sk_class_heaps[16];
    struct sk_chunk *chunk = new_chunk(heap);
    void *list, *second;
    uint64_t calls;
    bool is_free;

    (void)state;
    assert_int_equal(carve(chunk, 2, &list), 2);
    second = *(void **)list;
    assert_int_equal(sk_chunk_post(chunk, list, list, 1, true, &is_free), 0);
    assert_false(is_free);
    assert_true(sk_chunk_post(chunk, second, second, 1, true, &is_free) > 0);
    assert_true(is_free);
    assert_true(sk_chunk_is_sound(chunk));
    assert_int_equal(sk_chunk_collect(chunk), SK_POST_SEALED);
    assert_false(sk_chunk_take_out(chunk, 1));
    calls = sk_os_called(SK_OS_PURGE);
    memset(sk_chunk_start(chunk) + 5000, 1, 60000);
    sk_chunk_purge_sealed(heap, chunk);
    assert_int_equal(sk_os_called(SK_OS_PURGE), calls + 1);
    for (int i = 0; i < 60000; i++)
        assert_int_equal(sk_chunk_start(chunk)[5000 + i], 0);
    assert_int_equal(sk_chunk_collect(chunk), SK_POST_PURGED);
    assert_false(sk_chunk_take_out(chunk, 1));
    assert_int_equal(out_of(chunk), 0);
    sk_chunk_give(chunk, true);
}

static void units_put_back_by_the_owner_count_for_the_seal(void **state)
{
    struct sk_chunk *chunk = new_chunk(&sk_class_heaps[16]);
    void *list, *second;
    bool is_free;

    (void)state;
    carve(chunk, 2, &list);
    second = *(void **)list;
    assert_int_equal(sk_chunk_put(chunk, &second), 1);
    sk_chunk_post(chunk, list, list, 1, true, &is_free);
    assert_true(is_free);
    assert_int_equal(sk_chunk_collect(chunk), SK_POST_SEALED);
    sk_chunk_purge_sealed(chunk->heap, chunk);
    sk_chunk_give(chunk, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unit_is_known_by_a_multiplication_at_every_offset),
        cmocka_unit_test(every_granule_of_a_chunk_leads_to_it),
        cmocka_unit_test(units_are_carved_once_in_order_and_to_the_last),
        cmocka_unit_test(the_equations_hold_after_every_step),
        cmocka_unit_test(
            only_the_last_unit_home_seals_and_then_nothing_can_be_taken),
        cmocka_unit_test(units_put_back_by_the_owner_count_for_the_seal),
    };

    return cmocka_run_group_tests(tests, open_region, NULL);
}
