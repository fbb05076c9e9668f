/*
 * sk_heap_more.c - units of heaps beyond the bins, and large units.
 *
 * Layer: with sk_heap.  One lock and one list of chunks per heap; nothing is
 * cached.  A thread that holds the lock has sk_state_nested, so that a signal
 * handler does not wait for it: its units are posted and freed later.
 *
 *   partial: chunks with a free unit, or with some never used; units that are
 *            free are at home, whoever freed them
 *   live == units out of all chunks
 */
#include "sk_heap_parts.h"

static struct sk_state *lock(struct sk_library *lib)
{
    struct sk_state *self = sk_state_hide();

    sk_guard_lock(&lib->guard);
    return self;
}

static void unlock(struct sk_library *lib, struct sk_state *self)
{
    sk_guard_unlock(&lib->guard);
    sk_state_show(self);
}

static void put_locked(struct sk_library *lib, struct sk_header *unit)
{
    struct sk_heap *heap = lib->heap;
    struct sk_chunk *chunk = sk_chunk_of(heap, sk_region_granule(unit));

    unit->link = chunk->home;
    chunk->home = unit;
    chunk->home_units++;
    lib->live--;
    sk_chunk_list(chunk, &lib->partial);
    /* One is left for the next allocation. */
    if (sk_chunk_is_free(chunk) && !heap->is_kept &&
        (chunk->next || chunk->prev)) {
        sk_chunk_unlist(chunk, &lib->partial);
        sk_chunk_give(chunk, false);
    }
}

static void read_posted_locked(struct sk_library *lib)
{
    struct sk_header *unit =
        atomic_exchange_explicit(&lib->posted, NULL, memory_order_acquire);

    while (unit) {
        struct sk_header *next = unit->link;

        put_locked(lib, unit);
        unit = next;
    }
}

static struct sk_header *take_locked(struct sk_library *lib)
{
    struct sk_heap *heap = lib->heap;
    struct sk_chunk *chunk;
    void *unit;

    if (lib->live >= lib->maximum)
        return NULL;
    if (lib->partial) {
        chunk = sk_chunk_at(lib->partial - 1);
    } else {
        chunk = sk_chunk_new(heap, SK_OWNER_NONE);
        if (!chunk)
            return NULL;
        sk_chunk_list(chunk, &lib->partial);
    }
    if (chunk->home) {
        unit = chunk->home;
        chunk->home = *(void **)unit;
        chunk->home_units--;
    } else {
        sk_chunk_carve(chunk, 1, &unit);
        sk_library_carved(heap, 1);
    }
    if (!chunk->home && chunk->carved_units == heap->chunk_units)
        sk_chunk_unlist(chunk, &lib->partial);
    lib->live++;
    lib->allocations++;
    return unit;
}

void *sk_more_allocate(struct sk_library *lib)
{
    struct sk_state *self;
    struct sk_header *unit;

    if (sk_self == &sk_state_nested)
        return NULL;
    self = lock(lib);
    read_posted_locked(lib);
    unit = take_locked(lib);
    unlock(lib, self);
    return unit;
}

static void post(struct sk_library *lib, struct sk_header *unit)
{
    void *head = atomic_load_explicit(&lib->posted, memory_order_relaxed);

    do
        unit->link = head;
    while (!atomic_compare_exchange_weak_explicit(&lib->posted, &head, unit,
                                                  memory_order_release,
                                                  memory_order_relaxed));
}

void sk_more_free(struct sk_library *lib, struct sk_header *unit)
{
    struct sk_state *self;

    if (SK_UNLIKELY(sk_self == &sk_state_nested)) {
        post(lib, unit);
        return;
    }
    self = lock(lib);
    put_locked(lib, unit);
    unlock(lib, self);
}

size_t sk_more_trim(struct sk_library *lib)
{
    size_t given = 0;
    struct sk_state *self;

    if (sk_self == &sk_state_nested)
        return 0;
    self = lock(lib);
    read_posted_locked(lib);
    for (uint32_t name = lib->partial; name;) {
        struct sk_chunk *chunk = sk_chunk_at(name - 1);

        name = chunk->next;
        if (!sk_chunk_is_free(chunk))
            continue;
        sk_chunk_unlist(chunk, &lib->partial);
        sk_chunk_give(chunk, false);
        given += SK_GRANULE_BYTES << lib->heap->order;
    }
    unlock(lib, self);
    return given;
}

static void read(struct sk_library *lib, struct sk_heap_info *info)
{
    info->live_units = lib->live;
    info->allocations = lib->allocations;
}

/* By a destructor, whose caller may hold this lock or one that does not come
 * after it. */
static void read_nested(struct sk_library *lib, struct sk_heap_info *info)
{
    bool is_locked = !sk_guard_is_mine(&lib->guard) &&
                     sk_lock_to_look(&lib->guard.lock);

    read(lib, info);
    if (is_locked)
        sk_unlock(&lib->guard.lock);
}

void sk_more_read(struct sk_library *lib, struct sk_heap_info *info)
{
    struct sk_state *self;

    if (SK_UNLIKELY(sk_self == &sk_state_nested)) {
        read_nested(lib, info);
        return;
    }
    self = lock(lib);
    read_posted_locked(lib);
    read(lib, info);
    unlock(lib, self);
}

/* The list `home` is whole at any moment, and nothing else is sure to be. */
static void recount_locked(struct sk_library *lib, struct sk_chunk *chunk)
{
    struct sk_header *unit = chunk->home;

    chunk->is_listed = 0;
    chunk->home_units = 0;
    for (; unit; unit = unit->link)
        chunk->home_units++;
    if (chunk->home || chunk->carved_units < lib->heap->chunk_units)
        sk_chunk_list(chunk, &lib->partial);
    lib->live += chunk->carved_units - chunk->home_units;
    atomic_fetch_add(&lib->carved_units, chunk->carved_units);
}

/* Another thread was changing the heap when this process forked: lists and
 * counts are made anew.  What it had in its hands counts as live. */
static void rebuild(struct sk_library *lib)
{
    uint32_t first = sk_library_chunk(lib->heap, 0);

    lib->partial = 0;
    lib->live = 0;
    atomic_store(&lib->carved_units, 0);
    for (; first != SK_NONE; first = sk_library_chunk(lib->heap, first + 1))
        recount_locked(lib, sk_chunk_at(first));
}

/* From a destructor or a handler it is the child's only thread that holds the
 * lock, and will let it go. */
void sk_more_after_fork(struct sk_library *lib)
{
    atomic_store(&lib->tighten.word, 0);
    if (sk_guard_after_fork(&lib->guard))
        rebuild(lib);
    if (atomic_load(&lib->tightness) % SK_TIGHTNESS_STEPS == SK_TIGHTENING)
        atomic_fetch_sub(&lib->tightness, SK_TIGHTENING - SK_LOOSE);
}
