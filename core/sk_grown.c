/*
 * sk_grown.c - blocks that grew out of the largest class.
 *
 * Layer: above sk_state.
 *
 * Two bounds keep the large runs honest.  Spare: so much address space, and as
 * much again as is in use, may lie behind the ends of all blocks; beyond that a
 * block gets the smallest run that holds it, and doubles.  Residue: so many
 * pages of earlier uses may be kept there, for as long as purge_delay; what
 * exceeds that is purged at once.
 */
#include "sk_grown_parts.h"

#define SPARE_MOST   ((size_t)16 << 20)
#define SPARE_PART   16 /* of the region, or of its limit */
#define RESIDUE_MOST ((size_t)8 << 20)
#define FREED_MARK   0x66726565u

struct sk_grown_sums sk_grown_sums;

/* --- sizes ---------------------------------------------------------------- */

/* Whole pages, and four sizes per doubling. */
static size_t usable_of(size_t bytes)
{
    size_t step = (size_t)1 << (61 - __builtin_clzl(bytes - 1));
    size_t page = sk_os_page_bytes();

    step = step < page ? page : step;
    return (bytes + step - 1) & ~(step - 1);
}

static unsigned order_of(size_t bytes)
{
    unsigned order = 0;

    while (SK_GRANULE_BYTES << order < bytes)
        order++;
    return order;
}

static size_t spare_most(void)
{
    size_t most = SPARE_MOST + sk_grown_sum(&sk_grown_sums.used_bytes);
    size_t part =
        sk_region_bytes < sk_config.limit ? sk_region_bytes : sk_config.limit;

    part /= SPARE_PART;
    return part < most ? part : most;
}

/* May one more block have its end so far before its run's? */
static bool has_spare(size_t bytes)
{
    return sk_grown_sum(&sk_grown_sums.spare_bytes) + bytes <= spare_most();
}

/* --- residue -------------------------------------------------------------- */

/* Pages that cannot be purged stay what they are, residue. */
static size_t purge_residue_locked(uint32_t first)
{
    struct sk_grown *block = sk_grown_at(first);
    size_t bytes = sk_grown_residue(block);

    if (bytes == 0 ||
        !sk_os_purge((char *)sk_region_address(first) + block->usable_bytes,
                     bytes))
        return 0;
    sk_grown_add(&sk_grown_sums.residue_bytes, -bytes);
    block->touched_bytes = block->usable_bytes;
    return bytes;
}

/* Purges the residue of all blocks, or of those unchanged for longer than
 * purge_delay. */
static size_t sweep_locked(bool is_all, uint64_t now_ms)
{
    size_t carved = sk_region_carved(), purged = 0;

    for (size_t i = 0; i < carved; i++)
        if (sk_region_word(i) == SK_GROWN_FIRST &&
            (is_all || sk_os_ms_since(sk_grown_at(i)->changed_ms, now_ms) >
                           sk_config.purge_delay))
            purged += purge_residue_locked((uint32_t)i);
    return purged;
}

/* After a block changed: a look at all of them once per purge_delay. */
static void settle_locked(uint32_t first)
{
    uint64_t now_ms = sk_os_now_ms(), delay_ms = sk_config.purge_delay;

    sk_grown_at(first)->changed_ms = now_ms;
    if (sk_grown_sum(&sk_grown_sums.residue_bytes) >
        (delay_ms ? RESIDUE_MOST : 0))
        purge_residue_locked(first);
    if (sk_os_ms_since(sk_grown_sums.swept_ms, now_ms) < delay_ms)
        return;
    sk_grown_sums.swept_ms = now_ms;
    if (sk_grown_sum(&sk_grown_sums.residue_bytes) > 0)
        sweep_locked(false, now_ms);
}

/* --- in and out of the sums -------------------------------------------------
 */

static void count_in(const struct sk_grown *block)
{
    sk_grown_sums.in_use++;
    sk_grown_add(&sk_grown_sums.used_bytes, block->usable_bytes);
    sk_grown_add(&sk_grown_sums.spare_bytes,
                 sk_grown_run_bytes(block) - block->usable_bytes);
    sk_grown_add(&sk_grown_sums.residue_bytes, sk_grown_residue(block));
}

static void count_out(const struct sk_grown *block)
{
    sk_grown_sums.in_use--;
    sk_grown_add(&sk_grown_sums.used_bytes, -(size_t)block->usable_bytes);
    sk_grown_add(&sk_grown_sums.spare_bytes,
                 block->usable_bytes - sk_grown_run_bytes(block));
    sk_grown_add(&sk_grown_sums.residue_bytes, -sk_grown_residue(block));
}

static void set_usable_locked(struct sk_grown *block, size_t usable)
{
    count_out(block);
    if (usable > block->usable_bytes)
        sk_grown_sums.bytes += usable - block->usable_bytes;
    else if (block->touched_bytes < block->usable_bytes)
        block->touched_bytes = block->usable_bytes;
    block->usable_bytes = (uint32_t)usable;
    count_in(block);
}

static void set_word(size_t granule, uint32_t word)
{
    atomic_store_explicit(&sk_region_map[granule], word, memory_order_release);
}

/* --- last words -----------------------------------------------------------
 */

/* Nobody has the granule. */
_Noreturn static SK_COLD void die_free(const char *caller, const void *p,
                                       size_t granule)
{
    sk_state_hide();
    if (p == sk_region_address(granule) && granule < sk_region_carved() &&
        atomic_load_explicit(&sk_grown_at(granule)->mark,
                             memory_order_relaxed) == FREED_MARK)
        sk_die("%s: freed twice: %p (a block that grew)", caller, p);
    sk_die("%s: %p was never handed out", caller, p);
}

_Noreturn static SK_COLD void die_inside(const char *caller, const void *p,
                                         size_t granule)
{
    while (granule > 0 && sk_region_word(granule) == SK_GROWN_REST)
        granule--;
    sk_die("%s: not the start of a block: %p (%p grew)", caller, p,
           sk_region_address(granule));
}

/* The first granule of the block at p. */
static uint32_t first_of(const char *caller, const void *p)
{
    size_t granule = sk_region_granule(p);
    uint32_t word = sk_region_word(granule);

    if (SK_UNLIKELY(word == 0))
        die_free(caller, p, granule);
    if (SK_UNLIKELY(word != SK_GROWN_FIRST || p != sk_region_address(granule)))
        die_inside(caller, p, granule);
    return (uint32_t)granule;
}

/* --- alloc ---------------------------------------------------------------- */

static void *make(uint32_t first, unsigned order, size_t usable)
{
    struct sk_grown *block = sk_grown_at(first);

    sk_guard_lock(&sk_grown_sums.guard);
    block->order = order;
    block->usable_bytes = (uint32_t)usable;
    /* The first word last: with it the descriptor counts. */
    for (uint32_t i = 1; i < 1u << order; i++)
        set_word(first + i, SK_GROWN_REST);
    set_word(first, SK_GROWN_FIRST);
    sk_grown_sums.allocations++;
    sk_grown_sums.bytes += usable;
    count_in(block);
    settle_locked(first);
    sk_guard_unlock(&sk_grown_sums.guard);
    return sk_region_address(first);
}

void *sk_grown_alloc(size_t bytes)
{
    struct sk_state *self = sk_self;
    unsigned least, order;
    size_t usable;
    uint32_t first;
    void *p = NULL;

    if (bytes > sk_config.max_grown || self == &sk_state_nested)
        return NULL;
    usable = usable_of(bytes);
    least = order_of(usable);
    order = order_of(sk_config.max_grown);
    if (!has_spare((SK_GRANULE_BYTES << order) - usable) || order < least)
        order = least;
    self = sk_state_hide();
    first = sk_region_take(order);
    if (first == SK_NONE && order > least) {
        order = least;
        first = sk_region_take(order);
    }
    if (first != SK_NONE)
        p = make(first, order, usable);
    sk_state_show(self);
    return p;
}

/* --- resize --------------------------------------------------------------- */

bool sk_grown_resize(void *p, size_t bytes)
{
    uint32_t first = first_of("realloc()", p);
    struct sk_grown *block = sk_grown_at(first);
    size_t usable = usable_of(bytes);
    struct sk_state *self = sk_self;

    if (bytes > sk_config.max_grown || usable > sk_grown_run_bytes(block) ||
        self == &sk_state_nested)
        return false;
    if (usable < block->usable_bytes && order_of(usable) < block->order &&
        !has_spare(block->usable_bytes - usable))
        return false;
    self = sk_state_hide();
    sk_guard_lock(&sk_grown_sums.guard);
    set_usable_locked(block, usable);
    settle_locked(first);
    sk_guard_unlock(&sk_grown_sums.guard);
    sk_state_show(self);
    return true;
}

size_t sk_grown_usable(const void *p)
{
    return sk_grown_at(first_of("realloc() or malloc_usable_size()", p))
        ->usable_bytes;
}

/* --- free ----------------------------------------------------------------- */

/* Of two that free a block at once one finds it taken. */
static void claim(uint32_t first)
{
    uint32_t word = SK_GROWN_FIRST;

    if (!atomic_compare_exchange_strong_explicit(
            &sk_region_map[first], &word, SK_GROWN_REST, memory_order_acq_rel,
            memory_order_relaxed))
        sk_die("free(): freed twice: %p (a block that grew)",
               sk_region_address(first));
}

/* The words are taken back under the lock, so that a sweep does not purge
 * what is somebody else's by then; and the block is claimed, or taken out of
 * the list, under it, so that no fork finds it gone from there and still in
 * the sums. */
static void forget_locked(uint32_t first)
{
    struct sk_grown *block = sk_grown_at(first);

    count_out(block);
    if (block->touched_bytes < block->usable_bytes)
        block->touched_bytes = block->usable_bytes;
    atomic_store_explicit(&block->mark, FREED_MARK, memory_order_relaxed);
    for (uint32_t i = 0; i < 1u << block->order; i++)
        set_word(first + i, 0);
}

static void give(uint32_t first)
{
    sk_guard_lock(&sk_grown_sums.guard);
    claim(first);
    forget_locked(first);
    sk_guard_unlock(&sk_grown_sums.guard);
    sk_region_give(first, sk_grown_at(first)->order, false);
}

static uint32_t late(void)
{
    return atomic_load_explicit(&sk_grown_sums.late, memory_order_acquire);
}

/* Handlers may add one meanwhile, but nobody else takes any. */
static uint32_t take_late_locked(void)
{
    uint32_t name = late();

    while (name && !atomic_compare_exchange_weak_explicit(
                       &sk_grown_sums.late, &name,
                       sk_grown_at(name - 1)->late_next, memory_order_acquire,
                       memory_order_acquire))
        ;
    return name;
}

static void give_late(void)
{
    while (SK_UNLIKELY(late() != 0)) {
        uint32_t name;

        sk_guard_lock(&sk_grown_sums.guard);
        name = take_late_locked();
        if (name)
            forget_locked(name - 1);
        sk_guard_unlock(&sk_grown_sums.guard);
        if (name)
            sk_region_give(name - 1, sk_grown_at(name - 1)->order, false);
    }
}

/* A signal handler must not wait for a lock that the code below it may hold:
 * the next free or trim does it. */
static void free_late(uint32_t first)
{
    struct sk_grown *block = sk_grown_at(first);
    uint32_t head =
        atomic_load_explicit(&sk_grown_sums.late, memory_order_relaxed);

    do
        block->late_next = head;
    while (!atomic_compare_exchange_weak_explicit(
        &sk_grown_sums.late, &head, first + 1, memory_order_release,
        memory_order_relaxed));
}

void sk_grown_free(void *p)
{
    uint32_t first = first_of("free()", p);
    struct sk_state *self = sk_self;

    if (SK_UNLIKELY(self == &sk_state_nested)) {
        claim(first);
        free_late(first);
        return;
    }
    self = sk_state_hide();
    give(first);
    give_late();
    sk_state_show(self);
}

bool sk_grown_trim(void)
{
    struct sk_state *self = sk_self;
    size_t purged;

    if (self == &sk_state_nested || !sk_region_map)
        return false;
    self = sk_state_hide();
    give_late();
    sk_guard_lock(&sk_grown_sums.guard);
    purged = sweep_locked(true, 0);
    sk_guard_unlock(&sk_grown_sums.guard);
    sk_state_show(self);
    return purged > 0;
}
