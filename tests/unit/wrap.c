/*
 * wrap.c - counters that come to their ends in a process that lives long.
 */
#include "unit.h"

#include "child.h"
#include "heaps.h"

static void meets_its_maximum(uint64_t tightness)
{
    sk_heap *heap = bounded(20);

    atomic_store(&heap->library->tightness, (uint32_t)tightness);
    take_exactly(heap, 20);
}

/* The number of times it got tight has 30 bits. */
static void a_maximum_may_be_met_any_number_of_times(void **state)
{
    (void)state;
    for (uint64_t before = 0; before < 4; before++)
        assert_in_child(meets_its_maximum,
                        UINT32_MAX / SK_TIGHTNESS_STEPS * SK_TIGHTNESS_STEPS -
                            before * SK_TIGHTNESS_STEPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_maximum_may_be_met_any_number_of_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
