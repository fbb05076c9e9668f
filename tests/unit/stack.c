/*
 * stack.c - the full magazines that a thread keeps for itself.
 */
#include "getput.h"
#include "sk_depot.h"
#include "sk_state_parts.h"
#include "threads.h"

enum { CLASS = 8, BYTES = CLASS * 16, LISTS = SK_STACKED + 2 };

static void *units[LISTS];

static const struct sk_heap *heap(void)
{
    return &sk_class_heaps[CLASS];
}

/* A magazine of one unit. */
static struct sk_magazine magazine(int i)
{
    *(void **)units[i] = NULL;
    return (struct sk_magazine){units[i], 1};
}

static void *attach(void *arg)
{
    put(get(16));
    sk_state_park();
    return arg;
}

/* The only thread of a process keeps none, so there was another one. */
static int open_with_units(void **state)
{
    if (open_once(state) != 0)
        return -1;
    for (int i = 0; i < LISTS; i++)
        units[i] = get_exact(BYTES);
    run(attach, NULL);
    return sk_state_count() == 2 ? 0 : -1;
}

static void so_many_can_be_kept_again_and_again(void **state)
{
    struct sk_rack *rack = sk_state_rack(sk_self, heap());
    struct sk_magazine kept;

    (void)state;
    for (int round = 0; round < 3; round++) {
        rack->lent = 0;
        sk_bin_lend(rack, SK_STACKED + 1);
        for (int i = 0; i < SK_STACKED; i++) {
            kept = magazine(i);
            assert_true(sk_bin_stack(sk_self, heap(), &kept));
        }
        assert_int_equal(rack->lent, 1);
        assert_int_equal(sk_self->stack_bytes, SK_STACKED * BYTES);
        assert_int_equal(sk_bin_stacked_units(sk_self, CLASS), SK_STACKED);
        kept = magazine(SK_STACKED);
        assert_false(sk_bin_stack(sk_self, heap(), &kept));
        for (int i = SK_STACKED - 1; i >= 0; i--) {
            assert_true(sk_bin_unstack(sk_self, heap(), &kept));
            assert_ptr_equal(kept.list, units[i]);
        }
        assert_false(sk_bin_unstack(sk_self, heap(), &kept));
        assert_int_equal(sk_self->stack_bytes, 0);
    }
}

static void none_is_that_was_not_fetched_or_without_a_delay(void **state)
{
    struct sk_rack *rack = sk_state_rack(sk_self, heap());
    struct sk_magazine kept = magazine(0);

    (void)state;
    rack->lent = 0;
    assert_false(sk_bin_stack(sk_self, heap(), &kept));
    sk_bin_lend(rack, 1);
    sk_config.purge_delay = 0;
    assert_false(sk_bin_stack(sk_self, heap(), &kept));
    sk_config.purge_delay = 500;
    assert_true(sk_bin_stack(sk_self, heap(), &kept));
    assert_true(sk_bin_unstack(sk_self, heap(), &kept));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_can_be_kept_again_and_again),
        cmocka_unit_test(none_is_that_was_not_fetched_or_without_a_delay),
    };

    return cmocka_run_group_tests(tests, open_with_units, NULL);
}
