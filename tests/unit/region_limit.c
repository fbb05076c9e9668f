/*
 * region_limit.c - a region whose memory is refused, by the system or by
 * option limit.
 */
#include "runs.h"

/* --- refused memory ------------------------------------------------------- */

static void survives_refused_commit(uint64_t mask)
{
    enum { MOST = 400 }; /* fit into half of it */
    uint32_t taken = 0;
    uint32_t firsts[MOST];

    sk_os_fail(SK_OS_COMMIT, mask);
    if (!sk_region_open(64 << 20)) {
        REQUIRE(!sk_region_has(NULL));
        return;
    }
    for (int i = 0; i < MOST; i++) {
        uint32_t first = take(0, 1);

        if (first == SK_NONE)
            continue;
        *(char *)sk_region_address(first) = 1;
        firsts[taken++] = first;
        REQUIRE(sk_region_is_sound());
        if (i % 40 == 0)
            sk_region_commit_state((uint32_t)i);
    }
    sk_os_fail(SK_OS_COMMIT, 0);
    while (taken > 0)
        give(firsts[--taken], 0, 1, true);
    REQUIRE(sk_region_is_sound() && figures().used_bytes == 0);
    for (uint32_t i = 0; i < MOST; i++)
        *(char *)sk_region_address(take(0, 1)) = 2;
}

static void every_commit_may_be_refused_once_or_from_then_on(void **state)
{
    (void)state;
    for (int call = 0; call < 20; call++) {
        assert_in_child(survives_refused_commit, UINT64_C(1) << call);
        assert_in_child(survives_refused_commit, UINT64_MAX << call);
    }
}

static void commits_states(uint64_t unused)
{
    (void)unused;
    REQUIRE(sk_region_open(16 << 20));
    REQUIRE(!sk_region_commit_state((uint32_t)sk_region.states_max));
    REQUIRE(!sk_region_commit_state(UINT32_MAX));
    for (uint32_t i = 0; i < sk_region.states_max; i++) {
        REQUIRE(sk_region_commit_state(i));
        memset(sk_region.states + (size_t)i * SK_STATE_BYTES, 1,
               SK_STATE_BYTES);
    }
    REQUIRE(sk_region_word(0) == 0);
}

static void thread_states_are_committed_up_to_their_number(void **state)
{
    (void)state;
    assert_in_child(commits_states, 0);
}

/* --- the soft limit ------------------------------------------------------- */

static void holds_no_more(uint64_t limit)
{
    uint32_t most = (uint32_t)(limit / SK_GRANULE_BYTES);

    sk_config.limit = limit;
    REQUIRE(sk_region_open(64 << 20));
    for (uint32_t i = 0; i < most; i++)
        REQUIRE(take(0, 1) == i);
    for (int i = 0; i < 3; i++)
        REQUIRE(sk_region_take(0) == SK_NONE);
    REQUIRE(figures().refusals == 3 && figures().used_bytes == limit);
    if (most == 0)
        return;
    give(0, 0, 1, false);
    REQUIRE(sk_region_take(1) == SK_NONE);
    REQUIRE(take(0, 1) == 0);
    REQUIRE(sk_region_take(0) == SK_NONE && sk_region_is_sound());
}

static void no_more_is_handed_out_than_the_limit(void **state)
{
    (void)state;
    assert_in_child(holds_no_more, 0);
    assert_in_child(holds_no_more, SK_GRANULE_BYTES);
    assert_in_child(holds_no_more, 8 << 20);
}

static void purges_for_room(uint64_t unused)
{
    (void)unused;
    sk_config.limit = 16 * SK_GRANULE_BYTES;
    REQUIRE(sk_region_open(64 << 20));
    for (uint32_t i = 0; i < 16; i++)
        REQUIRE(take(0, 1) == i);
    for (uint32_t i = 0; i < 8; i++)
        give(i, 0, 1, false);
    REQUIRE(figures().dirty_bytes == 8 * SK_GRANULE_BYTES);
    REQUIRE(take(2, 1) != SK_NONE);
    REQUIRE(figures().dirty_bytes <= 4 * SK_GRANULE_BYTES);
    REQUIRE(take(2, 1) != SK_NONE && sk_region_take(0) == SK_NONE);
    REQUIRE(figures().dirty_bytes == 0 && sk_region_is_sound());
}

static void dirty_runs_make_way_for_others_under_the_limit(void **state)
{
    (void)state;
    assert_in_child(purges_for_room, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_commit_may_be_refused_once_or_from_then_on),
        cmocka_unit_test(thread_states_are_committed_up_to_their_number),
        cmocka_unit_test(no_more_is_handed_out_than_the_limit),
        cmocka_unit_test(dirty_runs_make_way_for_others_under_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
