/*
 * sk_heap_bounded.c - units of heaps with a maximum, and a bin.
 *
 * Layer: with sk_heap.  A unit in a bin is also the right to hand it out, so
 * a thread that has some asks nobody.  When rights run out while others hold
 * some in their bins, they are collected (the heap gets tight), and until
 * there is plenty again every right is taken from, and given back to, the one
 * counter.  So a refusal means that exactly the maximum is live; or that there
 * is no memory, and no chunk of the heap is wholly free with another thread.
 *
 * Bins are read by the collector too, so a pop and a push here are short slow
 * paths: the thread is busy while it is at it.
 */
#include "sk_heap_parts.h"

#define HOARD_MOST 16 /* rights in a bin after a refill, or a flush */

/* Takes rights, up to `most` and to an eighth of what is left. */
static uint32_t take_rights(struct sk_library *lib, uint32_t most)
{
    int64_t left = atomic_load(&lib->left);
    int64_t taken;

    do {
        taken = left / 8 < most ? left / 8 : most;
        taken = taken < 1 && left > 0 ? 1 : taken;
        if (taken <= 0)
            return 0;
    } while (!atomic_compare_exchange_weak(&lib->left, &left, left - taken));
    return (uint32_t)taken;
}

static inline enum sk_tightness state_of(uint32_t tightness)
{
    return (enum sk_tightness)(tightness % SK_TIGHTNESS_STEPS);
}

static void collect_state(struct sk_state *state, bool is_broken, void *with)
{
    struct sk_library *lib = with;

    /* A broken state's rights are lost: a bin in mid-change tells nothing. */
    if (!is_broken)
        atomic_fetch_add(&lib->left,
                         sk_state_flush_bin(state, lib->heap, false));
}

/* False when it cannot be done here.  Hidden, or a signal handler that wants
 * units of the heap would wait for the lock of the code that it interrupted. */
static bool collect(struct sk_library *lib)
{
    struct sk_state *self = sk_state_hide();
    bool done = true;
    uint32_t loose;

    sk_lock(&lib->tighten);
    loose = atomic_load(&lib->tightness);
    if (state_of(loose) == SK_LOOSE) {
        loose += SK_TIGHTNESS_STEPS;
        atomic_store(&lib->tightness, loose + SK_TIGHTENING);
        done = sk_state_visit_hidden(self, collect_state, lib);
        atomic_store(&lib->tightness, loose + (done ? SK_TIGHT : SK_LOOSE));
    }
    sk_unlock(&lib->tighten);
    sk_state_show(self);
    return done;
}

/* The bin's `units` are gone, and its room. */
static void clear(struct sk_state *self, struct sk_library *lib,
                  uint32_t units)
{
    struct sk_bin *bin = sk_state_bin(self, lib->heap->slot);
    struct sk_rack *rack = sk_state_rack(self, lib->heap);

    sk_bin_settle_meter(bin, rack, units, true);
    rack->limit = 0;
    bin->head = NULL;
    bin->meter = 0;
}

/* Puts units into the empty bin. */
static void fill(struct sk_state *self, struct sk_library *lib, void *list,
                 uint32_t units, uint32_t room)
{
    struct sk_bin *bin = sk_state_bin(self, lib->heap->slot);
    struct sk_rack *rack = sk_state_rack(self, lib->heap);

    clear(self, lib, 0);
    rack->limit = units + room;
    bin->head = list;
    bin->meter = (int64_t)room << SK_ROOM_SHIFT;
}

/* Sets *unit, or says whether that is final. */
enum refilling { REFILLED, REFUSED, TO_COLLECT, NO_MEMORY };

/* Tight from before to after the last right was seen gone, and not only again:
 * all are live units. */
static bool is_used_up(struct sk_library *lib)
{
    uint32_t before = atomic_load(&lib->tightness);

    return state_of(before) == SK_TIGHT && atomic_load(&lib->left) <= 0 &&
           atomic_load(&lib->tightness) == before;
}

static enum refilling refill(struct sk_state *self, struct sk_library *lib,
                             void **unit)
{
    bool is_loose = state_of(atomic_load(&lib->tightness)) == SK_LOOSE;
    uint32_t rights = take_rights(lib, is_loose ? HOARD_MOST : 1);
    uint32_t units;
    void *list;

    if (rights == 0)
        return is_used_up(lib) ? REFUSED : TO_COLLECT;
    units = sk_state_take(self, lib->heap, rights, &list);
    if (units < rights)
        atomic_fetch_add(&lib->left, rights - units);
    if (units == 0)
        return NO_MEMORY;
    fill(self, lib, list, units, units);
    *unit = sk_bin_pop(sk_state_bin(self, lib->heap->slot));
    /* A single right leaves no room: it goes back to the counter. */
    if (units == 1)
        clear(self, lib, 0);
    return REFILLED;
}

/* Whether to try again.  Memory that other threads have free is looked for
 * once. */
static bool look_elsewhere(struct sk_library *lib, enum refilling result,
                           bool *has_trimmed)
{
    if (result == TO_COLLECT)
        return collect(lib);
    if (result != NO_MEMORY || *has_trimmed)
        return false;
    *has_trimmed = true;
    sk_library_trim(lib->heap);
    return true;
}

static void *allocate_slow(struct sk_state *self, struct sk_library *lib)
{
    enum refilling result;
    bool has_trimmed = false;
    void *unit = NULL;

    do {
        if (!sk_state_enter(self))
            return sk_bounded_allocate(lib);
        result = refill(self, lib, &unit);
        sk_state_leave(self);
    } while (look_elsewhere(lib, result, &has_trimmed));
    return unit;
}

void *sk_bounded_allocate(struct sk_library *lib)
{
    struct sk_state *self = sk_self;
    void *unit;

    if (SK_UNLIKELY(self == &sk_state_none) &&
        sk_state_attach(lib->heap->slot))
        self = sk_self;
    if (SK_UNLIKELY(self->id == 0))
        return NULL;
    if (!sk_state_enter(self))
        return sk_bounded_allocate(lib);
    unit = sk_bin_pop(sk_state_bin(self, lib->heap->slot));
    sk_state_leave(self);
    if (unit || is_used_up(lib))
        return unit;
    return allocate_slow(self, lib);
}

/* --- free ----------------------------------------------------------------- */

/* Keeps memory at hand, without the right to hand it out: a list of units in
 * front of the second magazine, or home when that is full. */
static void stash(struct sk_state *self, struct sk_library *lib,
                  struct sk_header *first, uint32_t units)
{
    struct sk_rack *rack = sk_state_rack(self, lib->heap);
    struct sk_header *last = first;

    if (rack->second_units + units > lib->heap->room_units) {
        sk_state_give(self, lib->heap, first);
        return;
    }
    while (last->link)
        last = last->link;
    last->link = rack->second;
    rack->second = first;
    rack->second_units += units;
}

/* Empties the full bin into the stash; returns its rights.  They are counted,
 * for the limit is no longer theirs where allocations spilled into room. */
static uint32_t stash_bin(struct sk_state *self, struct sk_library *lib)
{
    struct sk_header *first = sk_state_bin(self, lib->heap->slot)->head;
    uint32_t rights = 0;

    for (struct sk_header *unit = first; unit; unit = unit->link)
        rights++;
    clear(self, lib, rights);
    if (rights > 0)
        stash(self, lib, first, rights);
    return rights;
}

/* The bin has no room, so it is full, or the heap was tight: its rights go
 * back.  The unit begins a new hoard if there is plenty. */
static void free_slow(struct sk_state *self, struct sk_library *lib,
                      struct sk_header *unit)
{
    int64_t plenty = (int64_t)(lib->maximum / 8 + 2);
    uint32_t tightness = atomic_load(&lib->tightness);
    uint32_t rights = stash_bin(self, lib);

    sk_bin_mark_used(self, lib->heap); /* maybe it never allocated */
    unit->link = NULL;
    if (state_of(tightness) == SK_LOOSE &&
        atomic_load(&lib->left) + rights >= plenty) {
        fill(self, lib, unit, 1, HOARD_MOST - 1);
    } else {
        stash(self, lib, unit, 1);
        rights++;
    }
    if (rights == 0)
        return;
    if (atomic_fetch_add(&lib->left, rights) + rights >= plenty &&
        state_of(tightness) == SK_TIGHT)
        atomic_compare_exchange_strong(&lib->tightness, &tightness,
                                       tightness - SK_TIGHT + SK_LOOSE);
}

void sk_bounded_free(struct sk_library *lib, struct sk_header *unit)
{
    struct sk_state *self = sk_self;
    struct sk_bin *bin;

    if (self == &sk_state_none && sk_state_attach(lib->heap->slot))
        self = sk_self;
    bin = sk_state_bin(self, lib->heap->slot);
    if (SK_UNLIKELY(self->id == 0)) {
        /* In this order: once the unit is home the heap may be another. */
        atomic_fetch_add(&lib->left, 1);
        sk_state_free_unit(unit);
        return;
    }
    if (!sk_state_enter(self)) {
        sk_bounded_free(lib, unit);
        return;
    }
    if (SK_LIKELY(bin->meter >= SK_ROOM_ONE)) {
        bin->meter -= SK_ROOM_ONE;
        unit->link = bin->head;
        bin->head = unit;
    } else {
        free_slow(self, lib, unit);
    }
    sk_state_leave(self);
}
