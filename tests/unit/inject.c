/*
 * inject.c - the system refuses to commit or to purge at the 1st, 2nd, ... nth
 * call, or has larger pages: requests fail, memory stays, and what the units
 * hold is unharmed.
 *
 * Each run is a process of its own.  An uninjected run counts the calls there
 * are to refuse.
 */
#include "child.h"
#include "figures.h"
#include "random.h"

#include "sk_state.h"

#include <pthread.h>
#include <string.h>

enum { UNITS = 4000, THREAD_UNITS = 1000 };

#ifdef __SANITIZE_THREAD__
enum { MOST_CALLS = 8 }; /* thirty times as slow */
#else
enum { MOST_CALLS = 48 };
#endif

struct unit {
    unsigned char *at;
    size_t bytes;
};

static struct unit units[UNITS], far[THREAD_UNITS];
static uint64_t refused;

/* Most sizes small, so that every class has partial chunks; every fiftieth
 * up to the largest, so that runs of all orders come and go. */
static void get(struct unit *unit, uint32_t *seed)
{
    uint32_t random = next_random(seed);

    unit->bytes = random % 50 ? random / 50 % 900 + 1
                              : random / 50 % SK_CLASS_BYTES + 1;
    unit->at = sk_state_alloc_hit(unit->bytes);
    if (!unit->at)
        unit->at = sk_state_alloc_slow(unit->bytes);
    if (unit->at)
        memset(unit->at, (int)(unit->bytes % 251), unit->bytes);
    refused += !unit->at;
}

static void check(const struct unit *unit)
{
    for (size_t i = 0; unit->at && i < unit->bytes; i++)
        REQUIRE(unit->at[i] == unit->bytes % 251);
}

static void put(struct unit *unit)
{
    enum sk_freed freed;

    if (!unit->at)
        return;
    check(unit);
    freed = sk_state_free_hit(unit->at);
    REQUIRE(freed != SK_FREE_FOREIGN);
    if (freed == SK_FREE_SLOW)
        sk_state_free_slow(unit->at);
    unit->at = NULL;
}

static void require_sound(void)
{
    REQUIRE(!sk_self->id || sk_state_is_sound(sk_self));
    REQUIRE(sk_region_is_sound());
    for (int i = 0; i < UNITS; i++)
        check(&units[i]);
}

/* Another thread: it frees a third of main's units and leaves some of its
 * own. */
static void *visit(void *arg)
{
    uint32_t seed = (uint32_t)(uintptr_t)arg;

    for (int i = 0; i < THREAD_UNITS; i++) {
        put(&far[i]);
        get(&far[i], &seed);
    }
    for (int i = 0; i < UNITS; i += 3)
        put(&units[i]);
    for (int i = 0; i < THREAD_UNITS; i += 2)
        put(&far[i]);
    sk_state_park();
    return NULL;
}

static void live(uint64_t rounds)
{
    uint32_t seed = 1;

    for (uint64_t round = 0; round < rounds; round++) {
        pthread_t id;

        for (int i = 0; i < UNITS; i++)
            if (!units[i].at)
                get(&units[i], &seed);
        require_sound();
        REQUIRE(pthread_create(&id, NULL, visit,
                               (void *)(uintptr_t)(round + 9)) == 0);
        pthread_join(id, NULL);
        require_sound();
        for (int i = 1; i < UNITS; i += 2)
            put(&units[i]);
        require_sound();
        sk_state_trim();
        require_sound();
    }
}

/* Everything given back: no unit and no run is lost. */
static void put_all(void)
{
    for (int i = 0; i < UNITS; i++)
        put(&units[i]);
    for (int i = 0; i < THREAD_UNITS; i++)
        put(&far[i]);
    sk_state_trim();
    require_sound();
    REQUIRE(figures().used_bytes == 0 && figures().dirty_bytes == 0);
}

static enum sk_os_call what_fails;

static void survives(uint64_t mask)
{
    uint32_t seed = 2;

    sk_os_fail(what_fails, mask);
    sk_state_open((uint64_t)256 << 20);
    if (!sk_region_map)
        return; /* no region: every pointer is libc's */
    live(3);
    sk_os_fail(what_fails, 0);
    if (what_fails == SK_OS_PURGE)
        REQUIRE(refused == 0);
    /* The system has it again: everything can be had. */
    refused = 0;
    live(1);
    REQUIRE(refused == 0);
    get(&far[0], &seed);
    put_all();
}

/* The number of calls that an unharmed run makes, as its status. */
static void counts(uint64_t unused)
{
    uint64_t calls;

    (void)unused;
    sk_state_open((uint64_t)256 << 20);
    live(3);
    REQUIRE(refused == 0);
    calls = sk_os_called(what_fails);
    _exit(calls < 255 ? (int)calls : 255);
}

static void survive_each_call(enum sk_os_call what, int at_least)
{
    int calls;

    what_fails = what;
    calls = status_of(counts, 0);
    fprintf(stderr, "%d calls to refuse\n", calls);
    assert_true(calls >= at_least);
    calls = calls < MOST_CALLS ? calls : MOST_CALLS;
    for (int call = 0; call < calls; call++) {
        assert_in_child(survives, UINT64_C(1) << call);
        assert_in_child(survives, UINT64_MAX << call);
    }
    assert_in_child(survives, UINT64_C(0x5555555555555555));
}

static void any_commit_may_be_refused_and_no_unit_is_harmed(void **state)
{
    (void)state;
    survive_each_call(SK_OS_COMMIT, 4);
}

static void any_purge_may_be_refused_and_no_unit_is_harmed(void **state)
{
    (void)state;
    survive_each_call(SK_OS_PURGE, 10);
}

/* --- larger pages --------------------------------------------------------- */

static void lives_on_pages(uint64_t page_bytes)
{
    sk_os_pretend_page(page_bytes);
    sk_state_open((uint64_t)256 << 20);
    REQUIRE(sk_os_page_bytes() == page_bytes && sk_region_map);
    live(4);
    put_all();
    sk_region_give_back(page_bytes == 4096);
    live(1);
    REQUIRE(refused == 0 && sk_os_misaligned() == 0);
}

static void pages_of_4_16_and_64_kib_are_never_cut(void **state)
{
    (void)state;
    for (uint64_t page = 4096; page <= 65536; page *= 4)
        assert_in_child(lives_on_pages, page);
    /* Larger than a granule: this very test would notice. */
    assert_int_not_equal(status_of(lives_on_pages, 256 << 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_commit_may_be_refused_and_no_unit_is_harmed),
        cmocka_unit_test(any_purge_may_be_refused_and_no_unit_is_harmed),
        cmocka_unit_test(pages_of_4_16_and_64_kib_are_never_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
