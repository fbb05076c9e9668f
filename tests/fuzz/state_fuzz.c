/*
 * state_fuzz.c - thread states against a model, driven by a tape of bytes.
 *
 * The tape is read in steps of four bytes: what to do, with which of 256
 * slots, and a number (low byte first).  A slot remembers address, size and
 * fill of its unit; whoever frees or moves the unit checks every byte first,
 * so an overlap, a lost link or a purge of a unit in use is seen.  A second
 * thread takes and frees too, ends and is born again.  After every tape
 * nothing may be in use, and all lists must be sound.
 *
 * Built with clang's -fsanitize=fuzzer it looks for tapes; with replay.c it
 * runs those of corpus/.
 */
#include "fuzz.h"

#include "sk_stats.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 256, REGION_BYTES = 64 << 20 };

static struct slot {
    unsigned char *p;
    size_t bytes;
    unsigned char fill;
} slots[SLOTS];

static bool is_failing; /* commits are refused: NULL is right */

/* --- what malloc and free do ------------------------------------------------ */

static void *get(size_t bytes)
{
    void *p = sk_state_alloc_hit(bytes);

    return p ? p : sk_state_alloc_slow(bytes);
}

static void put(void *p)
{
    enum sk_freed freed = sk_state_free_hit(p);

    REQUIRE(freed != SK_FREE_FOREIGN);
    if (freed == SK_FREED)
        return;
    if (sk_grown_has(p))
        sk_grown_free(p);
    else
        sk_state_free_slow(p);
}

static size_t usable(const void *p)
{
    return sk_grown_has(p) ? sk_grown_usable(p) : sk_state_usable(p);
}

static void check_slot(const struct slot *slot)
{
    REQUIRE(usable(slot->p) >= slot->bytes);
    for (size_t i = 0; i < slot->bytes; i++)
        REQUIRE(slot->p[i] == slot->fill);
}

static void free_slot(struct slot *slot)
{
    if (!slot->p)
        return;
    check_slot(slot);
    put(slot->p);
    slot->p = NULL;
}

static void fill_slot(struct slot *slot, unsigned char *p, size_t bytes)
{
    static unsigned char fill;

    REQUIRE(p || is_failing);
    *slot = (struct slot){p, bytes, ++fill};
    if (!p)
        return;
    REQUIRE((uintptr_t)p % 16 == 0 && sk_region_has(p));
    REQUIRE(sk_region_has(p + usable(p) - 1));
    memset(p, fill, bytes);
}

static void alloc_slot(struct slot *slot, size_t bytes)
{
    free_slot(slot);
    fill_slot(slot, get(bytes), bytes);
}

static bool resizes_in_place(void *p, size_t bytes)
{
    if (!sk_grown_has(p) || bytes <= SK_CLASS_BYTES)
        return bytes <= usable(p);
    return sk_grown_resize(p, bytes);
}

/* As realloc: in place when it fits, else moved.  A grown block may always be
 * refused, by a region that is as small as this. */
static void resize_slot(struct slot *slot, size_t bytes)
{
    struct slot old = *slot;
    size_t both = bytes < old.bytes ? bytes : old.bytes;
    unsigned char *p;

    if (!old.p)
        return;
    check_slot(slot);
    if (resizes_in_place(old.p, bytes)) {
        for (size_t i = 0; i < both; i++)
            REQUIRE(old.p[i] == old.fill);
        fill_slot(slot, old.p, bytes);
        return;
    }
    p = bytes > SK_CLASS_BYTES ? sk_grown_alloc(bytes) : get(bytes);
    if (!p) {
        REQUIRE(is_failing || bytes > SK_CLASS_BYTES);
        check_slot(slot);
        return;
    }
    memcpy(p, old.p, both);
    for (size_t i = 0; i < both; i++)
        REQUIRE(p[i] == old.fill);
    free_slot(slot);
    fill_slot(slot, p, bytes);
}

/* --- the second thread -------------------------------------------------------- */

enum work { NO_WORK, ALLOC, FREE, PARK, FREE_AFTER_PARK, ALLOC_AFTER_PARK };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t turn;
    pthread_t thread;
    bool is_running;
    enum work work;
    struct slot *slot;
    size_t bytes;
} second = {.mutex = PTHREAD_MUTEX_INITIALIZER,
            .turn = PTHREAD_COND_INITIALIZER};

/* A dead thread gets nothing, whatever it asks for. */
static void alloc_after_park(size_t bytes)
{
    void *p = get(bytes);

    if (p)
        put(p);
    sk_state_park();
    REQUIRE(sk_self != &sk_state_dead || !get(bytes));
}

static void do_work(void)
{
    switch (second.work) {
    case ALLOC:
        alloc_slot(second.slot, second.bytes);
        break;
    case FREE:
        free_slot(second.slot);
        break;
    case FREE_AFTER_PARK:
        sk_state_park();
        free_slot(second.slot);
        break;
    case ALLOC_AFTER_PARK:
        alloc_after_park(second.bytes);
        break;
    case PARK:
    case NO_WORK:
        break;
    }
}

static void *run_second(void *unused)
{
    bool is_over = false;

    pthread_mutex_lock(&second.mutex);
    while (!is_over) {
        while (second.work == NO_WORK)
            pthread_cond_wait(&second.turn, &second.mutex);
        is_over = second.work >= PARK;
        do_work();
        second.work = NO_WORK;
        pthread_cond_broadcast(&second.turn);
    }
    sk_state_park();
    pthread_mutex_unlock(&second.mutex);
    return unused;
}

/* Has the second thread do something, and waits for it. */
static void have_done(enum work work, struct slot *slot, size_t bytes)
{
    if (!second.is_running) {
        REQUIRE(pthread_create(&second.thread, NULL, run_second, NULL) == 0);
        second.is_running = true;
    }
    pthread_mutex_lock(&second.mutex);
    second.work = work;
    second.slot = slot;
    second.bytes = bytes;
    pthread_cond_broadcast(&second.turn);
    while (second.work != NO_WORK)
        pthread_cond_wait(&second.turn, &second.mutex);
    pthread_mutex_unlock(&second.mutex);
    if (work >= PARK) {
        pthread_join(second.thread, NULL);
        second.is_running = false;
    }
}

/* --- the tape ------------------------------------------------------------------ */

static void fail(enum sk_os_call call, uint32_t number)
{
    uint64_t mask = number & 0x8000 ? UINT64_MAX << (number & 63)
                                    : (uint64_t)number << (number & 31);

    if (call == SK_OS_COMMIT)
        is_failing = mask != 0;
    sk_os_fail(call, mask);
}

static void fill_many(struct slot *from, size_t bytes)
{
    for (; from < slots + SLOTS; from += 3)
        alloc_slot(from, bytes);
}

static void free_many(struct slot *from, bool by_second)
{
    for (; from < slots + SLOTS; from += 2) {
        if (by_second)
            have_done(FREE, from, 0);
        else
            free_slot(from);
    }
}

static void step(uint8_t what, struct slot *slot, uint32_t number)
{
    /* Small sizes as often as large ones. */
    size_t bytes = what & 0x80 ? number % (SK_CLASS_BYTES + 1) : number % 1100;

    switch (what % 16) {
    case 0:
    case 1:
        alloc_slot(slot, bytes);
        break;
    case 2:
    case 3:
        free_slot(slot);
        break;
    case 4:
        resize_slot(slot, what == 0x44 ? (size_t)number * 2 : bytes);
        break;
    case 5:
        have_done(ALLOC, slot, bytes);
        break;
    case 6:
    case 7:
        have_done(FREE, slot, 0);
        break;
    case 8:
        have_done(PARK, NULL, 0);
        break;
    case 9:
        have_done(FREE_AFTER_PARK, slot, 0);
        break;
    case 10:
        have_done(ALLOC_AFTER_PARK, NULL, bytes);
        break;
    case 11:
        sk_state_trim();
        sk_grown_trim();
        break;
    case 12:
        fail(number & 1 ? SK_OS_COMMIT : SK_OS_PURGE, number >> 1);
        break;
    case 13:
        fill_many(slot, bytes);
        break;
    case 14:
        free_many(slot, false);
        break;
    case 15:
        free_many(slot, true);
        break;
    }
}

static void open_once(void)
{
    if (sk_region_map)
        return;
    sk_state_open(REGION_BYTES);
    REQUIRE(sk_region_map);
}

/* Everything is freed: is all of it back? */
static void check_end(void)
{
    static struct sk_stats stats;

    sk_os_fail(SK_OS_COMMIT, 0);
    sk_os_fail(SK_OS_PURGE, 0);
    is_failing = false;
    for (int i = 0; i < SLOTS; i++)
        free_slot(&slots[i]);
    if (second.is_running)
        have_done(PARK, NULL, 0);
    sk_state_trim();
    sk_stats_read(&stats);
    REQUIRE(stats.in_use_bytes == 0);
    REQUIRE(stats.chunk_bytes == 0 && stats.region.used_bytes == 0);
    REQUIRE(stats.region.dirty_bytes == 0);
    REQUIRE(sk_region_is_sound() && sk_grown_is_sound());
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        REQUIRE(sk_state_is_sound(sk_state_at(id)));
}

int LLVMFuzzerTestOneInput(const uint8_t *tape, size_t bytes)
{
    open_once();
    for (size_t i = 0; i + 4 <= bytes; i += 4)
        step(tape[i], &slots[tape[i + 1]],
             tape[i + 2] | (uint32_t)tape[i + 3] << 8);
    check_end();
    return 0;
}
