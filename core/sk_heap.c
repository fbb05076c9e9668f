/*
 * sk_heap.c - the life of the library's heaps: new, each, destroy.
 *
 * Layer: above sk_stats.  Units are sk_heap_unit.c's, what a heap is like is
 * sk_heap_describe.c's.
 */
#include "sk_heap_lead.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#define BINS_LEAST    SK_CLASSES /* the library's bins: from here to SK_BINS */
#define BINNED_BYTES  (SK_CLASS_BYTES + 4096 + 16) /* larger: no bin */
#define BLOCK_HEAPS   (SK_GRANULE_BYTES / sizeof(struct sk_library))
#define RESERVE_BYTES (UINT64_C(64) << 30)

static struct {
    struct sk_guard walk; /* the walker is its changer */
    bool is_open, is_asked, is_ours; /* the region, if so */
    struct sk_library *_Atomic first; /* of all heaps */
    bool is_taken[SK_BINS];
    uint32_t more_heaps; /* slots ever used beyond the bins */
    struct sk_library *free; /* beyond the bins, by next */
} heaps;

static SK_LARGE struct sk_library binned[SK_BINS - BINS_LEAST];

/* --- locks ---------------------------------------------------------------- */

/* As every holder of a lock: hidden, so that a signal handler's malloc does
 * not wait for it. */
static struct sk_state *lock_heaps(void)
{
    struct sk_state *self = sk_state_hide();

    sk_lock(&heaps.walk.lock);
    return self;
}

static void unlock_heaps(struct sk_state *self)
{
    sk_unlock(&heaps.walk.lock);
    sk_state_show(self);
}

/* --- opening -------------------------------------------------------------- */

/* Another thread, or this one under a handler, is opening the region. */
static bool is_half_open(void)
{
    return atomic_load(&heaps.walk.lock.word) != 0 && !heaps.is_open;
}

/* Nothing is in use there yet: the child opens one of its own. */
static void forget_half_open(void)
{
    heaps.is_asked = false;
    if (heaps.is_ours)
        sk_region_map = NULL;
}

__attribute__((weak)) void sk_heap_start(void)
{
}

/* The shim has read the options, and opened the region unless it was told to
 * keep out. */
static void open_locked(void)
{
    heaps.is_asked = true;
    if (!sk_region_map) {
        heaps.is_ours = true;
        sk_config_open(environ);
        sk_state_open(sk_config.reserve < RESERVE_BYTES &&
                              sk_config.reserve > 0
                          ? sk_config.reserve
                          : RESERVE_BYTES);
    }
    heaps.is_open = sk_region_map;
}

bool sk_library_open(void)
{
    struct sk_state *self;
    bool is_open;

    /* A constructor's heap may be the first of all calls. */
    sk_heap_start();
    sk_heap_stay();
    self = lock_heaps();
    if (!heaps.is_asked)
        open_locked();
    is_open = heaps.is_open;
    unlock_heaps(self);
    return is_open;
}

bool sk_library_is_busy(void)
{
    return sk_guard_is_mine(&heaps.walk) || sk_self == &sk_state_nested;
}

/* --- new ------------------------------------------------------------------ */

/* A description for a heap beyond the bins; its slot is set. */
static struct sk_library *take_more_locked(void)
{
    struct sk_library *lib = heaps.free;
    uint32_t first, end = heaps.more_heaps + BLOCK_HEAPS;

    if (lib) {
        heaps.free = lib->next;
        return lib;
    }
    /* The last block is not used to its end. */
    if (end > SK_MORE_HEAPS)
        end = SK_MORE_HEAPS;
    if (heaps.more_heaps == end)
        return NULL;
    first = sk_region_take(0);
    if (first == SK_NONE)
        return NULL;
    /* No pointer into it is a unit, and no child of a fork takes it for
     * free. */
    atomic_store(&sk_region_map[first],
                 SK_OWNER_NONE << SK_OWNER_SHIFT | SK_SLOT_MASK);
    lib = sk_region_address(first);
    for (; heaps.more_heaps < end; lib++) {
        lib->more.slot = SK_MORE_SLOT + heaps.more_heaps++;
        lib->next = heaps.free;
        heaps.free = lib;
    }
    lib = heaps.free;
    heaps.free = lib->next;
    return lib;
}

static uint32_t free_bin_locked(size_t stride)
{
    uint32_t bin = BINS_LEAST;

    if (stride > BINNED_BYTES)
        return SK_BINS;
    while (bin < SK_BINS && heaps.is_taken[bin])
        bin++;
    return bin;
}

static struct sk_library *make_locked(const struct sk_heap_attributes *how)
{
    uint32_t bin = free_bin_locked(how->unit_size + how->alignment);
    struct sk_library *lib;
    uint32_t slot;

    if (bin < SK_BINS) {
        lib = &binned[bin - BINS_LEAST];
        slot = SK_CLASS_SLOT(bin);
        heaps.is_taken[bin] = true;
        sk_library_describe(lib, &sk_binned_heaps[bin - BINS_LEAST], slot,
                            how);
    } else {
        lib = take_more_locked();
        if (!lib)
            return NULL;
        slot = lib->more.slot;
        sk_library_describe(lib, &lib->more, slot, how);
        atomic_store(&sk_more_heaps[slot - SK_MORE_SLOT], lib->heap);
    }
    lib->next = heaps.first;
    heaps.first = lib;
    return lib;
}

sk_heap *sk_heap_new_with(const struct sk_heap_attributes *how)
{
    struct sk_library *lib = NULL;
    const struct sk_heap_calls *lead = sk_heap_find_lead();
    struct sk_state *self;

    if (SK_UNLIKELY(lead))
        return lead->new_with(how);
    if (!sk_library_is_sensible(how)) {
        errno = EINVAL;
        return NULL;
    }
    if (sk_library_is_busy()) {
        errno = EBUSY;
        return NULL;
    }
    if (sk_library_open()) {
        self = lock_heaps();
        lib = make_locked(how);
        unlock_heaps(self);
    }
    if (!lib) {
        errno = ENOMEM;
        return NULL;
    }
    return lib->heap;
}

SK_LEAD_CALL(sk_heap_new_with);

sk_heap *sk_heap_new(const char *label, size_t unit_size,
                     size_t units_per_chunk, size_t maximum_units,
                     unsigned options)
{
    struct sk_heap_attributes how = {
        .label = label,
        .unit_size = unit_size,
        .units_per_chunk = units_per_chunk,
        .maximum_units = maximum_units,
        .options = options,
    };

    return sk_heap_new_with(&how);
}

/* --- iterating ------------------------------------------------------------ */

static int visit_all(int (*visit)(sk_heap *, void *), void *context)
{
    SK_WALKING walk = sk_walk_begin(&heaps.walk);
    int result = 0;

    for (struct sk_library *lib = heaps.first; lib && result == 0;
         lib = lib->next)
        if (!lib->ender)
            result = visit(lib->heap, context);
    return result;
}

int sk_heap_each(int (*visit)(sk_heap *, void *), void *context)
{
    const struct sk_heap_calls *lead = sk_heap_find_lead();

    if (SK_UNLIKELY(lead))
        return lead->each(visit, context);
    if (!visit) {
        errno = EINVAL;
        return -1;
    }
    if (!sk_guard_is_mine(&heaps.walk) && sk_library_is_busy()) {
        errno = EBUSY;
        return -1;
    }
    return visit_all(visit, context);
}

SK_LEAD_CALL(sk_heap_each);

/* --- destroy -------------------------------------------------------------- */

static void forget(struct sk_state *state, bool is_broken, void *heap)
{
    sk_state_forget(state, heap, is_broken);
}

static void unlink_locked(struct sk_library *lib)
{
    struct sk_library *_Atomic *at = &heaps.first;

    while (*at && *at != lib)
        at = &(*at)->next;
    if (*at)
        *at = lib->next;
}

static void release_locked(struct sk_library *lib)
{
    uint32_t slot = lib->heap->slot;

    lib->heap->library = NULL;
    if (lib->is_more) {
        atomic_store(&sk_more_heaps[slot - SK_MORE_SLOT], NULL);
        lib->next = heaps.free;
        heaps.free = lib;
    } else {
        heaps.is_taken[slot / SK_BIN_BYTES] = false;
    }
}

static void give_chunks(const struct sk_heap *heap)
{
    uint32_t first = sk_library_chunk(heap, 0);

    while (first != SK_NONE) {
        sk_chunk_give(sk_chunk_at(first), false);
        first = sk_library_chunk(heap, first + 1);
    }
}

/* A visitor of sk_heap_each is waited for here, and none comes after. */
static void begin_end(struct sk_library *lib)
{
    struct sk_state *self = lock_heaps();

    lib->ender = sk_os_thread();
    unlock_heaps(self);
}

/* Without the lock, for destructors run. */
static void tear_down(struct sk_library *lib)
{
    struct sk_state *self;

    if (!lib->is_more) {
        sk_library_await_mail(lib->heap);
        sk_state_visit(forget, lib->heap);
    }
    self = sk_state_hide();
    give_chunks(lib->heap);
    sk_state_show(self);
    self = lock_heaps();
    unlink_locked(lib);
    release_locked(lib);
    unlock_heaps(self);
}

long sk_heap_destroy(sk_heap *heap, int is_forced)
{
    struct sk_library *lib = heap ? heap->library : NULL;
    uint64_t live;

    if (SK_UNLIKELY(sk_heap_lead()))
        return sk_heap_lead()->destroy(heap, is_forced);
    if (!lib) {
        errno = EINVAL;
        return -1;
    }
    live = is_forced ? 0 : sk_library_live(lib);
    if (live > 0)
        return live < LONG_MAX ? (long)live : LONG_MAX;
    if (sk_library_is_busy()) {
        errno = EBUSY;
        return -1;
    }
    begin_end(lib);
    tear_down(lib);
    return 0;
}

SK_LEAD_CALL(sk_heap_destroy);

/* --- after fork ----------------------------------------------------------- */

/* The threads that were destroying these did not come along.  No destructor is
 * called: each may have been, and may want a lock that nobody will free. */
static void end_left_over(void)
{
    struct sk_library *lib = heaps.first, *next;

    for (; lib; lib = next) {
        next = lib->next;
        if (!lib->ender || lib->ender == sk_os_thread())
            continue; /* ours if its destructor forked */
        lib->destruct = NULL;
        tear_down(lib);
    }
}

static void after_fork(void)
{
    if (is_half_open() && sk_self != &sk_state_nested)
        forget_half_open();
    else if (heaps.is_ours)
        sk_state_after_fork();
    sk_guard_after_fork(&heaps.walk);
    for (struct sk_library *lib = heaps.first; lib; lib = lib->next)
        sk_more_after_fork(lib);
    if (!sk_library_is_busy())
        end_left_over();
}

/* Not with the first heap: another thread may fork while that is made.  After
 * the shim's own handler, which puts together what ours reads. */
__attribute__((constructor(102))) static void at_load(void)
{
    pthread_atfork(NULL, NULL, after_fork);
}
