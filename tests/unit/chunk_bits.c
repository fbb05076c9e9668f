/*
 * chunk_bits.c - the bits of what is free: order, double frees, their memory.
 */
#include "chunks.h"
#include "death.h"
#include "resident.h"

static void units_come_again_in_the_order_of_addresses(void **state)
{
    (void)state;
    for (int class = 1; class < SK_CLASSES; class++) {
        const struct sk_heap *heap = sk_heap_of_bin(class);
        struct sk_chunk *chunk = new_chunk(heap);
        uint32_t all = heap->chunk_units, seen = 0;
        char *last = NULL;
        void *list = NULL;

        for (uint32_t i = 0; i < all; i++) {
            void *unit, *one;

            /* Every other one from the front, then the rest from behind. */
            carve(chunk, 1, &unit);
            one = unit;
            if (i % 2)
                sk_chunk_put(chunk, &one);
            else
                *(void **)unit = list, list = unit;
        }
        assert_int_equal(sk_chunk_put(chunk, &list), all - all / 2);
        assert_true(sk_chunk_is_free(chunk) && sk_chunk_is_sound(chunk));
        while (seen < all) {
            uint32_t most = 1 + seen / 3;
            uint32_t units = all - seen < most ? all - seen : most;

            assert_int_equal(sk_chunk_at_hand(chunk), all - seen);
            sk_chunk_take_out(chunk, units);
            for (char *unit = sk_chunk_take(chunk, units); unit; seen++) {
                assert_true(unit > last);
                last = unit;
                unit = *(char **)unit;
            }
            assert_true(sk_chunk_is_sound(chunk));
        }
        assert_int_equal(out_of(chunk), all);
        give_chunk(chunk);
    }
}

/* As chunks of an aligned heap of the library have it: the first unit comes
 * after some other bytes. */
static void units_behind_a_lead_come_back_where_they_were(void **state)
{
    struct sk_heap heap = sk_class_heaps[13];
    uint32_t all = heap.chunk_units - 1;
    struct sk_chunk *chunk;
    void *list;
    char *first;

    (void)state;
    heap.lead_bytes = 48;
    heap.chunk_units = all;
    chunk = new_chunk(&heap);
    assert_int_equal(carve(chunk, all, &list), all);
    first = list;
    assert_ptr_equal(first, sk_chunk_start(chunk) + 48);
    assert_int_equal(sk_chunk_put(chunk, &list), all);
    sk_chunk_take_out(chunk, all);
    list = sk_chunk_take(chunk, all);
    for (uint32_t i = 0; i < all; i++, list = *(void **)list)
        assert_ptr_equal(list, first + (size_t)i * heap.unit_bytes);
    assert_null(list);
    give_chunk(chunk);
}

/* Each chunk has bits of its own, to the last. */
static void neighbours_do_not_meet(void **state)
{
    enum { CHUNKS = 8 };
    struct sk_chunk *chunks[CHUNKS];
    void *list;

    (void)state;
    for (int i = 0; i < CHUNKS; i++) {
        const struct sk_heap *heap = &sk_class_heaps[1 + i % 4];

        chunks[i] = new_chunk(heap);
        carve(chunks[i], heap->chunk_units, &list);
        sk_chunk_put(chunks[i], &list);
    }
    for (int i = 0; i < CHUNKS; i++) {
        assert_true(sk_chunk_is_sound(chunks[i]));
        assert_int_equal(chunks[i]->free_units,
                         chunks[i]->heap->chunk_units);
    }
    for (int i = 0; i < CHUNKS; i++)
        give_chunk(chunks[i]);
}

static void what_is_not_the_chunks_stays_in_the_list(void **state)
{
    const struct sk_heap *heap = &sk_class_heaps[4];
    struct sk_chunk *one = new_chunk(heap), *other = new_chunk(heap);
    void *list, *rest;

    (void)state;
    carve(one, 3, &list);
    carve(other, 1, &rest);
    *(void **)((char *)list + 2 * heap->unit_bytes) = rest;
    assert_int_equal(sk_chunk_put(one, &list), 3);
    assert_ptr_equal(list, rest);
    assert_int_equal(sk_chunk_put(one, &list), 0);
    assert_ptr_equal(list, rest);
    give_chunk(one);
    give_chunk(other);
}

static struct sk_chunk *victim;

static void put_it(void *unit)
{
    sk_chunk_put(victim, &unit);
}

static void put_a_ring(void *unit)
{
    *(void **)unit = unit;
    put_it(unit);
}

static void merge_it(void *unit)
{
    bool is_free;

    sk_chunk_post(victim, unit, unit, 1, false, &is_free);
    sk_chunk_collect(victim);
    sk_chunk_merge_home(victim);
}

static void a_unit_that_is_free_ends_the_program_with_its_name(void **state)
{
    void *first, *list;
    char words[100];

    (void)state;
    victim = new_chunk(&sk_class_heaps[4]);
    carve(victim, 5, &first);
    list = (char *)first + 64;
    snprintf(words, sizeof words, "free(): freed twice: %p (heap malloc-64)\n",
             list);
    dies_saying(put_a_ring, list, words);
    sk_chunk_put(victim, &list);
    *(void **)first = NULL;
    snprintf(words, sizeof words, "free(): freed twice: %p (heap malloc-64)\n",
             (void *)((char *)first + 64));
    dies_saying(put_it, (char *)first + 64, words);
    dies_saying(merge_it, (char *)first + 64, words);
    give_chunk(victim);
}

/* A heap that only grows pays nothing for what only the free ones need; and
 * nothing of it remains when memory goes back as asked. */
static void bits_have_memory_only_where_units_came_back(void **state)
{
    const struct sk_heap *heap = &sk_class_heaps[1];
    size_t page = sk_os_page_bytes();
    struct sk_chunk *chunks[80];
    uint32_t n = 0, resident = 0;
    char *bits;
    void *list, *unit;
    bool is_free;

    (void)state;
    /* Eight in a row, whose bits are a page that nobody used. */
    do {
        chunks[n] = sk_chunk_new(heap, 7);
        assert_non_null(chunks[n]);
        bits = (char *)sk_chunk_bits(chunks[n++]);
        resident = (uint32_t)resident_in((void *)((uintptr_t)bits & -page),
                                         page);
    } while (n < 63 && (resident > 0 || (uintptr_t)bits % page > 0));
    assert_int_equal(resident, 0);
    carve(chunks[n - 1], heap->chunk_units, &list);
    /* One that has its units back by post. */
    chunks[n] = sk_chunk_new(heap, 7);
    assert_non_null(chunks[n]);
    carve(chunks[n], 1, &unit);
    sk_chunk_post(chunks[n], unit, unit, 1, false, &is_free);
    sk_chunk_collect(chunks[n]);
    assert_true(sk_chunk_is_free(chunks[n]));
    give_chunk(chunks[n]);
    assert_int_equal(resident_in(bits, page), 0);
    assert_int_equal(sk_chunk_put(chunks[n - 1], &list), heap->chunk_units);
    assert_int_equal(resident_in(bits, page), 1);
    /* Eight more, so that all of the page is free in the end. */
    for (uint32_t most = n + 8; n < most; n++) {
        chunks[n] = sk_chunk_new(heap, 7);
        assert_non_null(chunks[n]);
    }
    while (n > 0)
        give_chunk(chunks[--n]);
    for (size_t i = 0; i < page; i++)
        assert_int_equal(bits[i], 0);
    sk_region_purge(true);
    assert_int_equal(resident_in(bits, page), 0);
    assert_true(sk_region_is_sound());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, where the bits were not touched yet. */
        cmocka_unit_test(bits_have_memory_only_where_units_came_back),
        cmocka_unit_test(units_come_again_in_the_order_of_addresses),
        cmocka_unit_test(units_behind_a_lead_come_back_where_they_were),
        cmocka_unit_test(neighbours_do_not_meet),
        cmocka_unit_test(what_is_not_the_chunks_stays_in_the_list),
        cmocka_unit_test(a_unit_that_is_free_ends_the_program_with_its_name),
    };

    return cmocka_run_group_tests(tests, open_region, NULL);
}
