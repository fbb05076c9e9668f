/*
 * sk_grown.c - blocks that grew out of the largest class.
 *
 * Layer: above sk_state.
 *
 * Two bounds keep the large runs honest.  Spare: so much address space, and as
 * much again as is in use, may lie behind the ends of all blocks; beyond that a
 * block gets the smallest run that holds it, and doubles.  Residue: so many pages
 * of earlier uses may be kept there, for as long as purge_delay; what exceeds
 * that is purged at once.
 */
#include "sk_grown.h"

#define SPARE_MOST   ((size_t)16 << 20)
#define SPARE_PART   16 /* of the region, or of its limit */
#define RESIDUE_MOST ((size_t)8 << 20)
#define FREED_MARK   0x66726565u

/* The descriptor of a block's first granule.  Written under the lock, by who
 * holds the block. */
struct block {
    uint32_t usable_bytes;
    uint32_t order;
    uint32_t changed_ms;
    uint32_t late_next;
    /* FREED_MARK: was a block, for the last words.  Not in struct run's. */
    _Atomic uint32_t mark;
    uint32_t unused[SK_SLOT_BYTES / 4 - 6];
    uint32_t touched_bytes; /* the region's, see struct run; 0: none */
};

_Static_assert(sizeof(struct block) == SK_SLOT_BYTES, "the slot's last word");

/* Blocks named by their first granule plus one.  Written under the lock; the
 * atomic ones are read without it. */
static struct {
    struct sk_lock lock;
    volatile bool is_changing; /* for the child of a fork, as the region's */
    _Atomic size_t used_bytes, spare_bytes, residue_bytes;
    uint64_t allocations, bytes, in_use;
    uint32_t swept_ms;
    /* Freed by signal handlers that interrupted a slow path. */
    _Atomic uint32_t late;
} sums;

static struct block *block_at(size_t first)
{
    return (struct block *)(sk_region.chunks + first * SK_SLOT_BYTES);
}

static size_t run_bytes(const struct block *block)
{
    return SK_GRANULE_BYTES << block->order;
}

static void add(_Atomic size_t *sum, size_t bytes)
{
    atomic_store_explicit(
        sum, atomic_load_explicit(sum, memory_order_relaxed) + bytes,
        memory_order_relaxed);
}

static size_t read(const _Atomic size_t *sum)
{
    return atomic_load_explicit(sum, memory_order_relaxed);
}

static void lock_sums(void)
{
    sk_lock(&sums.lock);
    sums.is_changing = true;
}

static void unlock_sums(void)
{
    sums.is_changing = false;
    sk_unlock(&sums.lock);
}

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
    size_t most = SPARE_MOST + read(&sums.used_bytes);
    size_t part = sk_region_bytes < sk_config.limit ? sk_region_bytes
                                                    : sk_config.limit;

    part /= SPARE_PART;
    return part < most ? part : most;
}

/* May one more block have its end so far before its run's? */
static bool has_spare(size_t bytes)
{
    return read(&sums.spare_bytes) + bytes <= spare_most();
}

/* --- residue -------------------------------------------------------------- */

static size_t residue_of(const struct block *block)
{
    return block->touched_bytes > block->usable_bytes
               ? block->touched_bytes - block->usable_bytes
               : 0;
}

/* Pages that cannot be purged stay what they are, residue. */
static size_t purge_residue_locked(uint32_t first)
{
    struct block *block = block_at(first);
    size_t bytes = residue_of(block);

    if (bytes == 0 ||
        !sk_os_purge((char *)sk_region_address(first) + block->usable_bytes,
                     bytes))
        return 0;
    add(&sums.residue_bytes, -bytes);
    block->touched_bytes = block->usable_bytes;
    return bytes;
}

/* Purges the residue of all blocks, or of those unchanged since `before_ms`. */
static size_t sweep_locked(bool is_all, uint32_t before_ms)
{
    size_t carved = sk_region_carved(), purged = 0;

    for (size_t i = 0; i < carved; i++)
        if (sk_region_word(i) == SK_GROWN_FIRST &&
            (is_all || (int32_t)(block_at(i)->changed_ms - before_ms) < 0))
            purged += purge_residue_locked((uint32_t)i);
    return purged;
}

/* After a block changed: a look at all of them once per purge_delay. */
static void settle_locked(uint32_t first)
{
    uint32_t now_ms = (uint32_t)sk_os_now_ms();
    uint32_t delay_ms = (uint32_t)sk_config.purge_delay;

    block_at(first)->changed_ms = now_ms;
    if (read(&sums.residue_bytes) > (delay_ms ? RESIDUE_MOST : 0))
        purge_residue_locked(first);
    if (now_ms - sums.swept_ms < delay_ms)
        return;
    sums.swept_ms = now_ms;
    if (read(&sums.residue_bytes) > 0)
        sweep_locked(false, now_ms - delay_ms);
}

/* --- in and out of the sums -------------------------------------------------
 */

static void count_in(const struct block *block)
{
    sums.in_use++;
    add(&sums.used_bytes, block->usable_bytes);
    add(&sums.spare_bytes, run_bytes(block) - block->usable_bytes);
    add(&sums.residue_bytes, residue_of(block));
}

static void count_out(const struct block *block)
{
    sums.in_use--;
    add(&sums.used_bytes, -(size_t)block->usable_bytes);
    add(&sums.spare_bytes, block->usable_bytes - run_bytes(block));
    add(&sums.residue_bytes, -residue_of(block));
}

static void set_usable_locked(struct block *block, size_t usable)
{
    count_out(block);
    if (usable > block->usable_bytes)
        sums.bytes += usable - block->usable_bytes;
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
        atomic_load_explicit(&block_at(granule)->mark,
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
    if (SK_UNLIKELY(word != SK_GROWN_FIRST ||
                    p != sk_region_address(granule)))
        die_inside(caller, p, granule);
    return (uint32_t)granule;
}

/* --- alloc ---------------------------------------------------------------- */

static void *make(uint32_t first, unsigned order, size_t usable)
{
    struct block *block = block_at(first);

    lock_sums();
    block->order = order;
    block->usable_bytes = (uint32_t)usable;
    atomic_store_explicit(&block->mark, 0, memory_order_relaxed);
    /* The first word last: with it the descriptor counts. */
    for (uint32_t i = 1; i < 1u << order; i++)
        set_word(first + i, SK_GROWN_REST);
    set_word(first, SK_GROWN_FIRST);
    sums.allocations++;
    sums.bytes += usable;
    count_in(block);
    settle_locked(first);
    unlock_sums();
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
    sk_state_hide();
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
    struct block *block = block_at(first);
    size_t usable = usable_of(bytes);
    struct sk_state *self = sk_self;

    if (bytes > sk_config.max_grown || usable > run_bytes(block) ||
        self == &sk_state_nested)
        return false;
    if (usable < block->usable_bytes && order_of(usable) < block->order &&
        !has_spare(block->usable_bytes - usable))
        return false;
    sk_state_hide();
    lock_sums();
    set_usable_locked(block, usable);
    settle_locked(first);
    unlock_sums();
    sk_state_show(self);
    return true;
}

size_t sk_grown_usable(const void *p)
{
    return block_at(first_of("realloc() or malloc_usable_size()", p))
        ->usable_bytes;
}

/* --- free ----------------------------------------------------------------- */

/* The words are taken back under the lock, so that a sweep does not purge
 * what is somebody else's by then. */
static void give(uint32_t first)
{
    struct block *block = block_at(first);
    unsigned order = block->order;

    lock_sums();
    count_out(block);
    if (block->touched_bytes < block->usable_bytes)
        block->touched_bytes = block->usable_bytes;
    atomic_store_explicit(&block->mark, FREED_MARK, memory_order_relaxed);
    for (uint32_t i = 0; i < 1u << order; i++)
        set_word(first + i, 0);
    unlock_sums();
    sk_region_give(first, order, false);
}

static void give_late(void)
{
    uint32_t name = atomic_load_explicit(&sums.late, memory_order_relaxed);

    if (SK_LIKELY(name == 0))
        return;
    name = atomic_exchange_explicit(&sums.late, 0, memory_order_acquire);
    while (name) {
        uint32_t next = block_at(name - 1)->late_next;

        give(name - 1);
        name = next;
    }
}

/* A signal handler must not wait for a lock that the code below it may hold:
 * the next free or trim does it. */
static void free_late(uint32_t first)
{
    struct block *block = block_at(first);
    uint32_t head = atomic_load_explicit(&sums.late, memory_order_relaxed);

    do
        block->late_next = head;
    while (!atomic_compare_exchange_weak_explicit(&sums.late, &head, first + 1,
                                                  memory_order_release,
                                                  memory_order_relaxed));
}

void sk_grown_free(void *p)
{
    uint32_t first = first_of("free()", p);
    uint32_t word = SK_GROWN_FIRST;
    struct sk_state *self = sk_self;

    /* Of two that free it at once one finds it taken. */
    if (!atomic_compare_exchange_strong_explicit(
            &sk_region_map[first], &word, SK_GROWN_REST, memory_order_acq_rel,
            memory_order_relaxed))
        sk_die("free(): freed twice: %p (a block that grew)", p);
    if (SK_UNLIKELY(self == &sk_state_nested)) {
        free_late(first);
        return;
    }
    sk_state_hide();
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
    sk_state_hide();
    give_late();
    lock_sums();
    purged = sweep_locked(true, 0);
    unlock_sums();
    sk_state_show(self);
    return purged > 0;
}

/* --- after fork ------------------------------------------------------------ */

struct totals {
    size_t in_use, used_bytes, spare_bytes, residue_bytes;
};

static void total(struct totals *totals, const struct block *block)
{
    totals->in_use++;
    totals->used_bytes += block->usable_bytes;
    totals->spare_bytes += run_bytes(block) - block->usable_bytes;
    totals->residue_bytes += residue_of(block);
}

/* Of the blocks that the map has, and of those freed late. */
static struct totals read_totals(void)
{
    struct totals totals = {0};
    size_t carved = sk_region_carved();

    for (size_t i = 0; i < carved; i++)
        if (sk_region_word(i) == SK_GROWN_FIRST)
            total(&totals, block_at(i));
    for (uint32_t name = atomic_load(&sums.late); name;
         name = block_at(name - 1)->late_next)
        total(&totals, block_at(name - 1));
    return totals;
}

void sk_grown_after_fork(void)
{
    struct totals totals;

    atomic_store_explicit(&sums.lock.word, 0, memory_order_relaxed);
    if (!sums.is_changing)
        return;
    sums.is_changing = false;
    totals = read_totals();
    sums.in_use = totals.in_use;
    atomic_store(&sums.used_bytes, totals.used_bytes);
    atomic_store(&sums.spare_bytes, totals.spare_bytes);
    atomic_store(&sums.residue_bytes, totals.residue_bytes);
}

/* --- figures ---------------------------------------------------------------- */

/* The caller has hidden its state. */
void sk_grown_read_figures(struct sk_grown_figures *figures)
{
    sk_lock(&sums.lock);
    *figures = (struct sk_grown_figures){
        .allocations = sums.allocations,
        .bytes = sums.bytes,
        .in_use = sums.in_use,
        .in_use_bytes = read(&sums.used_bytes),
        .spare_bytes = read(&sums.spare_bytes),
        .residue_bytes = read(&sums.residue_bytes),
    };
    sk_unlock(&sums.lock);
}

bool sk_grown_is_sound(void)
{
    struct sk_state *self = sk_state_hide();
    struct totals totals;
    bool sound;

    sk_lock(&sums.lock);
    totals = read_totals();
    sound = totals.in_use == sums.in_use &&
            totals.used_bytes == read(&sums.used_bytes) &&
            totals.spare_bytes == read(&sums.spare_bytes) &&
            totals.residue_bytes == read(&sums.residue_bytes);
    sk_unlock(&sums.lock);
    sk_state_show(self);
    return sound;
}
