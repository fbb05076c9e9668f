/*
 * heap_destructor.c - what a destructor may ask of the library.
 */
#include "child.h"
#include "heaps.h"

static sk_heap *other; /* beyond the bins */
static int called;

static int never(sk_heap *heap, void *context)
{
    (void)heap, (void)context;
    _exit(9);
}

/* The caller may hold the lock of the unit's heap, and no other lock comes
 * after that one. */
static void ask_and_meddle(void *unit, void *context)
{
    struct sk_heap_info info;

    (void)unit;
    REQUIRE(sk_heap_read(*(sk_heap **)context, &info) == 0);
    REQUIRE(info.unit_size == sk_heap_of_unit(unit)->library->unit_size);
    REQUIRE(sk_heap_read(other, &info) == 0 && info.live_units == 1);
    for (int turn = 0; turn < 2; turn++) {
        errno = 0;
        REQUIRE(!sk_heap_new("meddler", 8, 8, 8, 0) && errno == EBUSY);
        errno = 0;
        REQUIRE(sk_heap_each(never, NULL) == -1 && errno == EBUSY);
        errno = 0;
        REQUIRE(sk_heap_destroy(other, 1) == -1 && errno == EBUSY);
        REQUIRE(sk_heap_report(NULL, -1, SK_HEAP_TEXT) == -1);
    }
    called++;
}

static void asks(uint64_t unit_bytes)
{
    static sk_heap *heap;
    struct sk_heap_attributes how = {.label = "asking",
                                     .unit_size = unit_bytes,
                                     .units_per_chunk = 4,
                                     .options = SK_HEAP_UNLIMITED,
                                     .destruct = ask_and_meddle,
                                     .context = &heap};
    void *units[80];

    REQUIRE((other = sk_heap_new("other", 50000, 4, 4, 0)) != NULL);
    REQUIRE(sk_heap_unit_allocate(other));
    REQUIRE((heap = sk_heap_new_with(&how)) != NULL);
    for (int i = 0; i < 80; i++)
        REQUIRE((units[i] = sk_heap_unit_allocate(heap)) != NULL);
    for (int i = 0; i < 80; i++)
        sk_heap_unit_unref(units[i]);
    sk_heap_trim(heap);
    REQUIRE(called > 0);
    REQUIRE(sk_heap_unit_allocate(heap));
    called = 0;
    REQUIRE(sk_heap_destroy(heap, 1) == 0 && called > 0);
    REQUIRE(sk_heap_new("later", 8, 8, 8, 0));
}

static void a_destructor_may_ask_but_not_meddle(void **state)
{
    (void)state;
    assert_in_child(asks, 40);
    assert_in_child(asks, 70000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_destructor_may_ask_but_not_meddle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
