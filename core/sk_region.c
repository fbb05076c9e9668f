/*
 * sk_region.c - reservation, commit watermark, runs of granules.
 *
 * Layer: above sk_config.
 *
 * Free runs are buddies: a run of 2^k granules starts at a multiple of 2^k,
 * so its neighbour to merge with is one exclusive-or away, and one map word
 * tells whether that is free.
 */
#include "sk_region.h"

#define REGION_LEAST    ((uint64_t)1 << 20)
#define COMMIT_LEAST    ((size_t)4 << 20) /* bytes of units a step commits */
#define COMMIT_MOST     ((size_t)64 << 20)
#define STATES_STEP     8
#define DIRTY_ORDERS    8
#define SHOW_LEAST      16 /* granules */
#define KEEP_LEAST      ((size_t)2 << 20)
#define PURGE_AT_ONCE   64 /* runs taken out of the lists in one go */

/* What the descriptor of a free run's first granule holds. */
struct run {
    uint32_t next, prev;
    uint32_t order;
    uint32_t given_ms; /* when it became dirty */
    uint32_t chunks_own[SK_SLOT_BYTES / 4 - 5];
    /* Pages up to here may have content: kept while the run is a chunk, which
     * raises it.  0 of a dirty run: not known, so all of it. */
    uint32_t touched_bytes;
};

_Static_assert(sizeof(struct run) == SK_SLOT_BYTES, "the slot's last word");

struct list {
    uint32_t head, tail;
};

uintptr_t sk_region_base;
size_t sk_region_granules;
size_t sk_region_bytes;
_Atomic uint32_t *sk_region_map;
struct sk_region sk_region;

/* All under the lock, but where said. */
static struct {
    struct sk_lock lock;
    /* For the child of a fork, as the forking thread saw it: lists may be half
     * linked.  Volatile, or the compiler may drop a store. */
    volatile bool is_changing;
    size_t committed; /* granules */
    size_t carved;    /* granules ever taken: all above are untouched */
    size_t shown;     /* granules that core dumps take in */
    size_t chunk_granules; /* descriptors committed, in granules */
    size_t states;         /* descriptors committed, in states */
    struct list clean[SK_ORDERS];
    struct list dirty[DIRTY_ORDERS];
    size_t used_granules, dirty_granules;
    size_t dirty_bytes; /* touched ones, of the dirty runs */
    /* The dirty bytes that may wait.  Grows by what had to be faulted in
     * again soon after it was purged, so that a program that breathes keeps
     * its breath, and one that had a single burst gives it back. */
    size_t keep_bytes, most_used_granules;
    size_t purged_lately_bytes;
    size_t peak_bytes; /* of level_locked(), of late */
    uint64_t ticked_ms;
    uint64_t takes, refusals, purges, locks;
} pool;

static _Atomic bool is_near_peak;

static struct run *run_at(size_t granule)
{
    return (struct run *)(sk_region.chunks + granule * SK_SLOT_BYTES);
}

/* The map word of a free, purged run. */
static uint32_t clean_word(unsigned order)
{
    return (order + 1) << SK_OWNER_SHIFT;
}

static void set_word(size_t granule, uint32_t word)
{
    atomic_store_explicit(&sk_region_map[granule], word,
                          memory_order_relaxed);
}

/* Counted, but for those who only look. */
static void lock_pool(void)
{
    sk_lock(&pool.lock);
    pool.locks++;
}

/* --- lists of runs ------------------------------------------------------ */

static void list_push(struct list *list, uint32_t first)
{
    struct run *run = run_at(first);

    run->next = list->head;
    run->prev = SK_NONE;
    if (list->head != SK_NONE)
        run_at(list->head)->prev = first;
    else
        list->tail = first;
    list->head = first;
}

static void list_remove(struct list *list, uint32_t first)
{
    struct run *run = run_at(first);

    if (run->prev != SK_NONE)
        run_at(run->prev)->next = run->next;
    else
        list->head = run->next;
    if (run->next != SK_NONE)
        run_at(run->next)->prev = run->prev;
    else
        list->tail = run->prev;
}

static void lists_clear(void)
{
    for (unsigned i = 0; i < SK_ORDERS; i++)
        pool.clean[i] = (struct list){SK_NONE, SK_NONE};
    for (unsigned i = 0; i < DIRTY_ORDERS; i++)
        pool.dirty[i] = (struct list){SK_NONE, SK_NONE};
    pool.dirty_granules = pool.dirty_bytes = 0;
}

/* The bytes of a dirty run that a purge gives back. */
static size_t touched_bytes(const struct run *run)
{
    return run->touched_bytes ? run->touched_bytes
                              : SK_GRANULE_BYTES << run->order;
}

static void push_dirty(uint32_t first)
{
    struct run *run = run_at(first);

    list_push(&pool.dirty[run->order], first);
    pool.dirty_granules += (size_t)1 << run->order;
    pool.dirty_bytes += touched_bytes(run);
}

static void remove_dirty(uint32_t first)
{
    struct run *run = run_at(first);

    list_remove(&pool.dirty[run->order], first);
    pool.dirty_granules -= (size_t)1 << run->order;
    pool.dirty_bytes -= touched_bytes(run);
}

/* --- opening ------------------------------------------------------------- */

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* Core dumps hold what is committed, not the reservation; of units and
 * map only what was handed out. */
static bool commit(void *start, size_t bytes)
{
    if (!sk_os_commit(start, bytes))
        return false;
    sk_os_show(start, bytes);
    return true;
}

static bool reserve(uint64_t bytes)
{
    size_t granules = bytes >> SK_GRANULE_SHIFT;
    size_t states = granules < SK_STATES_MAX ? granules : SK_STATES_MAX;
    size_t map_bytes = round_up(granules * 4, SK_GRANULE_BYTES);
    size_t chunk_bytes = round_up(granules * SK_SLOT_BYTES, SK_GRANULE_BYTES);
    size_t state_bytes = round_up(states * SK_STATE_BYTES, SK_GRANULE_BYTES);
    size_t total = map_bytes + chunk_bytes + state_bytes +
                   2 * SK_GRANULE_BYTES + (granules << SK_GRANULE_SHIFT);
    char *start = sk_os_reserve(total);
    char *aligned;

    if (!start)
        return false;
    sk_os_name(start, total, "skpreload");
    sk_os_hide(start, total);
    aligned = (char *)round_up((uintptr_t)start, SK_GRANULE_BYTES);
    if (!sk_os_commit(aligned, map_bytes)) {
        sk_os_unreserve(start, total);
        return false;
    }
    sk_region_map = (_Atomic uint32_t *)aligned;
    sk_region.chunks = aligned + map_bytes;
    sk_region.states = sk_region.chunks + chunk_bytes;
    sk_region_base =
        (uintptr_t)(sk_region.states + state_bytes) + SK_GRANULE_BYTES;
    sk_region_granules = granules;
    sk_region_bytes = granules << SK_GRANULE_SHIFT;
    sk_region.states_max = states;
    return true;
}

bool sk_region_open(uint64_t bytes)
{
    size_t limit = sk_os_address_limit();

    /* A quarter of a limit leaves the program the rest of it. */
    while (bytes > limit / 4)
        bytes /= 2;
    while (bytes >= REGION_LEAST && !reserve(bytes))
        bytes /= 2;
    if (bytes < REGION_LEAST)
        return false;
    lists_clear();
    pool.keep_bytes = KEEP_LEAST;
    return true;
}

/* --- the watermark ------------------------------------------------------- */

static bool commit_chunks(size_t granules)
{
    size_t step = sk_os_page_bytes() / SK_SLOT_BYTES * 16;
    size_t wanted = round_up(granules, step);

    if (granules <= pool.chunk_granules)
        return true;
    if (wanted > sk_region_granules)
        wanted = round_up(sk_region_granules,
                          sk_os_page_bytes() / SK_SLOT_BYTES);
    if (!commit(sk_region.chunks + pool.chunk_granules * SK_SLOT_BYTES,
                      (wanted - pool.chunk_granules) * SK_SLOT_BYTES))
        return false;
    pool.chunk_granules = wanted;
    return true;
}

/* Commits units up to `granules` at least, in steps of a quarter of what
 * there is, so that a large heap makes few system calls and mappings. */
static bool commit_units(size_t granules)
{
    size_t committed = pool.committed;
    size_t step = (committed << SK_GRANULE_SHIFT) / 4;
    size_t wanted;

    if (granules <= committed)
        return true;
    step = step < COMMIT_LEAST ? COMMIT_LEAST : step;
    step = step > COMMIT_MOST ? COMMIT_MOST : step;
    wanted = committed + (step >> SK_GRANULE_SHIFT);
    wanted = wanted < granules ? granules : wanted;
    if (wanted > sk_region_granules)
        wanted = sk_region_granules;
    if (!commit_chunks(wanted))
        return false;
    if (!sk_os_commit(sk_region_address(committed),
                      (wanted - committed) << SK_GRANULE_SHIFT)) {
        if (wanted == granules ||
            !sk_os_commit(sk_region_address(committed),
                          (granules - committed) << SK_GRANULE_SHIFT))
            return false;
        wanted = granules;
    }
    pool.committed = wanted;
    return true;
}

/* Core dumps take in what was carved and its part of the map, and a
 * thirty-second more, so that this is few system calls. */
static void show_carved(void)
{
    size_t page = sk_os_page_bytes();
    size_t ahead = pool.carved / 32;
    size_t wanted = pool.carved + (ahead < SHOW_LEAST ? SHOW_LEAST : ahead);
    size_t map_from = round_up(pool.shown * 4, page), map_to;

    if (pool.carved <= pool.shown)
        return;
    wanted = wanted < pool.committed ? wanted : pool.committed;
    map_to = round_up(wanted * 4, page);
    sk_os_show(sk_region_address(pool.shown),
               (wanted - pool.shown) << SK_GRANULE_SHIFT);
    if (map_to > map_from)
        sk_os_show((char *)sk_region_map + map_from, map_to - map_from);
    pool.shown = wanted;
}

bool sk_region_commit_state(uint32_t id)
{
    bool done = true;

    if (id >= sk_region.states_max)
        return false;
    lock_pool();
    if (id >= pool.states) {
        size_t wanted = round_up(id + 1, STATES_STEP);

        wanted =
            wanted < sk_region.states_max ? wanted : sk_region.states_max;
        done = commit(sk_region.states + pool.states * SK_STATE_BYTES,
                            (wanted - pool.states) * SK_STATE_BYTES);
        if (done)
            pool.states = wanted;
    }
    sk_unlock(&pool.lock);
    return done;
}

/* --- runs ---------------------------------------------------------------- */

static void insert_clean(uint32_t first, unsigned order)
{
    for (; order + 1 < SK_ORDERS; order++) {
        size_t buddy = first ^ ((size_t)1 << order);

        if (buddy + ((size_t)1 << order) > pool.carved ||
            sk_region_word(buddy) != clean_word(order))
            break;
        list_remove(&pool.clean[order], (uint32_t)buddy);
        set_word(buddy, 0);
        first = buddy < first ? (uint32_t)buddy : first;
    }
    run_at(first)->order = order;
    set_word(first, clean_word(order));
    list_push(&pool.clean[order], first);
}

/* Takes a purged run, and puts back what a larger one has too much. */
static uint32_t take_clean(unsigned order)
{
    unsigned larger = order;
    uint32_t first;

    while (larger < SK_ORDERS && pool.clean[larger].head == SK_NONE)
        larger++;
    if (larger == SK_ORDERS)
        return SK_NONE;
    first = pool.clean[larger].head;
    list_remove(&pool.clean[larger], first);
    set_word(first, 0);
    while (larger > order) {
        larger--;
        insert_clean(first + (1u << larger), larger);
    }
    return first;
}

/* Moves the watermark up to the end of a new run; the gap that alignment
 * leaves below it is free. */
static uint32_t take_untouched(unsigned order)
{
    size_t size = (size_t)1 << order;
    size_t first = round_up(pool.carved, size);

    if (first + size > sk_region_granules ||
        !commit_units(first + size))
        return SK_NONE;
    while (pool.carved < first) {
        unsigned gap = (unsigned)__builtin_ctzl(pool.carved);
        uint32_t at = (uint32_t)pool.carved;

        pool.carved += (size_t)1 << gap;
        insert_clean(at, gap);
    }
    pool.carved = first + size;
    show_carved();
    return (uint32_t)first;
}

static uint32_t take_dirty(unsigned order)
{
    uint32_t first;

    if (order >= DIRTY_ORDERS || pool.dirty[order].head == SK_NONE)
        return SK_NONE;
    first = pool.dirty[order].head;
    remove_dirty(first);
    return first;
}

/* --- purging ------------------------------------------------------------- */

/* The order whose oldest dirty run is the oldest of all; DIRTY_ORDERS when
 * there is none. */
static unsigned oldest_order(void)
{
    unsigned oldest = DIRTY_ORDERS;
    uint32_t since = 0;

    for (unsigned i = 0; i < DIRTY_ORDERS; i++) {
        uint32_t tail = pool.dirty[i].tail;

        if (tail == SK_NONE)
            continue;
        if (oldest == DIRTY_ORDERS ||
            (int32_t)(run_at(tail)->given_ms - since) < 0) {
            oldest = i;
            since = run_at(tail)->given_ms;
        }
    }
    return oldest;
}

/* Takes up to PURGE_AT_ONCE of the oldest dirty runs out of the lists: as
 * many as there are above keep_bytes, or were given before `before_ms`. */
static int pick_dirty_locked(uint32_t *picked, size_t keep_bytes,
                             uint32_t before_ms)
{
    int n = 0;

    while (n < PURGE_AT_ONCE) {
        unsigned order = oldest_order();
        uint32_t first;

        if (order == DIRTY_ORDERS)
            break;
        first = pool.dirty[order].tail;
        if (pool.dirty_bytes <= keep_bytes &&
            (int32_t)(run_at(first)->given_ms - before_ms) >= 0)
            break;
        remove_dirty(first);
        picked[n++] = first;
    }
    return n;
}

static void sort(uint32_t *firsts, int n)
{
    for (int i = 1; i < n; i++) {
        uint32_t first = firsts[i];
        int k = i;

        for (; k > 0 && firsts[k - 1] > first; k--)
            firsts[k] = firsts[k - 1];
        firsts[k] = first;
    }
}

/* Purges runs, neighbours in one call: what a call costs is mostly that other
 * processors must hear of it.  Returns the bytes that had content. */
static size_t purge_runs(uint32_t *firsts, int n)
{
    size_t purged = 0;

    sort(firsts, n);
    for (int i = 0, next; i < n; i = next) {
        char *start = sk_region_address(firsts[i]);
        char *end = start;
        size_t bytes = 0;

        for (next = i; next < n; next++) {
            struct run *run = run_at(firsts[next]);

            if (next > i && (char *)sk_region_address(firsts[next - 1]) +
                                    (SK_GRANULE_BYTES
                                     << run_at(firsts[next - 1])->order) !=
                                (char *)sk_region_address(firsts[next]))
                break;
            end = (char *)sk_region_address(firsts[next]) + touched_bytes(run);
            bytes += touched_bytes(run);
        }
        if (sk_os_purge(start, (size_t)(end - start)))
            purged += bytes;
    }
    return purged;
}

/* Purges with the lock released: madvise may take long.  Where there is too
 * much, down to half of what may be kept, so that calls are few. */
static size_t purge_down_locked(size_t keep_bytes, uint32_t before_ms)
{
    uint32_t picked[PURGE_AT_ONCE];
    size_t purged = 0;
    int n;

    if (pool.dirty_bytes > keep_bytes)
        keep_bytes /= 2;
    while ((n = pick_dirty_locked(picked, keep_bytes, before_ms)) > 0) {
        pool.is_changing = false;
        sk_unlock(&pool.lock);
        purged += purge_runs(picked, n);
        lock_pool();
        pool.is_changing = true;
        for (int i = 0; i < n; i++)
            insert_clean(picked[i], run_at(picked[i])->order);
        pool.purges += (uint64_t)n;
    }
    pool.purged_lately_bytes += purged;
    return purged;
}

/* Runs given before this moment are purged. */
static uint32_t too_old_ms(uint64_t now_ms)
{
    return (uint32_t)(now_ms - sk_config.purge_delay);
}

/* Without a delay nothing waits. */
static size_t keep_bytes_locked(void)
{
    return sk_config.purge_delay > 0 ? pool.keep_bytes : 0;
}

/* What the region has of the system's memory, at most. */
static size_t level_locked(void)
{
    return (pool.used_granules << SK_GRANULE_SHIFT) + pool.dirty_bytes;
}

bool sk_region_is_near_peak(void)
{
    return atomic_load_explicit(&is_near_peak, memory_order_relaxed);
}

static void note_level_locked(void)
{
    size_t level = level_locked();

    if (level > pool.peak_bytes)
        pool.peak_bytes = level;
    atomic_store_explicit(&is_near_peak,
                          level >= pool.peak_bytes - pool.peak_bytes / 8,
                          memory_order_relaxed);
}

/* About once a second the memory of past regrets fades, and of past peaks. */
static void tick_locked(uint64_t now_ms)
{
    if (now_ms - pool.ticked_ms < 1000)
        return;
    pool.ticked_ms = now_ms;
    pool.purged_lately_bytes = 0;
    if (pool.peak_bytes > level_locked())
        pool.peak_bytes -= (pool.peak_bytes - level_locked()) / 8;
    pool.keep_bytes -= pool.keep_bytes / 8;
    if (pool.keep_bytes < KEEP_LEAST)
        pool.keep_bytes = KEEP_LEAST;
}

/* A purged run is wanted again: had it been kept, no page would fault. */
static void regret(unsigned order)
{
    size_t bytes = SK_GRANULE_BYTES << order;
    size_t most = (pool.most_used_granules << SK_GRANULE_SHIFT) / 2;

    if (bytes > pool.purged_lately_bytes)
        bytes = pool.purged_lately_bytes;
    pool.purged_lately_bytes -= bytes;
    pool.keep_bytes += bytes;
    if (pool.keep_bytes > most)
        pool.keep_bytes = most;
    if (pool.keep_bytes < KEEP_LEAST)
        pool.keep_bytes = KEEP_LEAST;
}

/* Whether a run that is not a dirty one may be had under the soft limit: what
 * is dirty counts as held, and makes way first. */
static bool has_allowance_locked(unsigned order)
{
    size_t size = SK_GRANULE_BYTES << order;
    size_t used = (pool.used_granules << SK_GRANULE_SHIFT) + size;

    if (SK_LIKELY(used + pool.dirty_bytes <= sk_config.limit))
        return true;
    purge_down_locked(used < sk_config.limit ? sk_config.limit - used : 0,
                      too_old_ms(sk_os_now_ms()));
    return (pool.used_granules << SK_GRANULE_SHIFT) + size <= sk_config.limit;
}

uint32_t sk_region_take(unsigned order)
{
    uint64_t now_ms = sk_os_now_ms();
    uint32_t first;

    if (order >= SK_ORDERS)
        return SK_NONE;
    lock_pool();
    pool.is_changing = true;
    pool.takes++;
    first = take_dirty(order);
    if (first == SK_NONE && has_allowance_locked(order)) {
        regret(order);
        first = take_clean(order);
        if (first == SK_NONE)
            first = take_untouched(order);
        if (first != SK_NONE)
            run_at(first)->touched_bytes = 0;
    }
    if (first != SK_NONE) {
        pool.used_granules += (size_t)1 << order;
        if (pool.used_granules > pool.most_used_granules)
            pool.most_used_granules = pool.used_granules;
        note_level_locked();
    } else {
        pool.refusals++;
    }
    /* Afterwards, so that an old run of this order is used, not purged. */
    purge_down_locked(keep_bytes_locked(), too_old_ms(now_ms));
    pool.is_changing = false;
    sk_unlock(&pool.lock);
    return first;
}

size_t sk_region_purge(bool is_all)
{
    uint64_t now_ms = sk_os_now_ms();
    size_t purged;

    lock_pool();
    pool.is_changing = true;
    tick_locked(now_ms);
    purged = purge_down_locked(is_all ? 0 : keep_bytes_locked(),
                               too_old_ms(now_ms));
    pool.is_changing = false;
    sk_unlock(&pool.lock);
    return purged;
}

void sk_region_give(uint32_t first, unsigned order, bool is_purged)
{
    uint64_t now_ms = sk_os_now_ms();
    struct run *run = run_at(first);

    lock_pool();
    pool.is_changing = true;
    pool.used_granules -= (size_t)1 << order;
    run->order = order;
    if (is_purged) {
        insert_clean(first, order);
    } else if (order < DIRTY_ORDERS) {
        run->given_ms = (uint32_t)now_ms;
        push_dirty(first);
    } else {
        sk_os_purge(sk_region_address(first), SK_GRANULE_BYTES << order);
        insert_clean(first, order);
    }
    tick_locked(now_ms);
    purge_down_locked(keep_bytes_locked(), too_old_ms(now_ms));
    pool.is_changing = false;
    sk_unlock(&pool.lock);
}

static void give_back(char *from, char *to)
{
    from = (char *)round_up((uintptr_t)from, SK_GRANULE_BYTES);
    if (from < to)
        sk_os_unreserve(from, (size_t)(to - from));
}

void sk_region_give_back(void)
{
    size_t granules, states;

    if (!sk_region_map)
        return;
    lock_pool();
    granules = pool.committed + (COMMIT_LEAST >> SK_GRANULE_SHIFT);
    states = pool.states + 8 * STATES_STEP;
    if (granules < sk_region_granules) {
        char *end = sk_region_address(sk_region_granules);

        /* First, for another thread's mmap may get these addresses. */
        sk_region_granules = granules;
        sk_region_bytes = granules << SK_GRANULE_SHIFT;
        give_back(sk_region.chunks + granules * SK_SLOT_BYTES,
                  sk_region.states);
        give_back(sk_region_address(granules), end);
    }
    if (states < sk_region.states_max) {
        sk_region.states_max = states;
        give_back(sk_region.states + states * SK_STATE_BYTES,
                  (char *)sk_region_base - SK_GRANULE_BYTES);
    }
    sk_unlock(&pool.lock);
}

/* --- after fork ---------------------------------------------------------- */

void sk_region_after_fork(void)
{
    atomic_store_explicit(&pool.lock.word, 0, memory_order_relaxed);
    if (!pool.is_changing)
        return;
    pool.is_changing = false;
    show_carved(); /* the watermark may have moved without it */
    lists_clear();
    pool.used_granules = 0;
    for (size_t i = 0; i < pool.carved; i++)
        if (sk_word_is_chunk(sk_region_word(i)))
            pool.used_granules++;
        else
            set_word(i, 0);
    for (size_t i = 0; i < pool.carved; i++)
        if (sk_region_word(i) == 0)
            insert_clean((uint32_t)i, 0);
}

/* --- figures ------------------------------------------------------------- */

size_t sk_region_carved(void)
{
    size_t carved;

    sk_lock(&pool.lock);
    carved = pool.carved;
    sk_unlock(&pool.lock);
    return carved;
}

void sk_region_read_figures(struct sk_region_figures *figures)
{
    sk_lock(&pool.lock);
    *figures = (struct sk_region_figures){
        .reserved_bytes = sk_region_granules << SK_GRANULE_SHIFT,
        .committed_bytes = pool.committed << SK_GRANULE_SHIFT,
        .used_bytes = pool.used_granules << SK_GRANULE_SHIFT,
        .dirty_bytes = pool.dirty_bytes,
        .takes = pool.takes,
        .locks = pool.locks,
        .refusals = pool.refusals,
        .purges = pool.purges,
    };
    sk_unlock(&pool.lock);
}

bool sk_region_is_sound(void)
{
    size_t listed = 0, marked = 0;
    bool sound;

    sk_lock(&pool.lock);
    for (unsigned order = 0; order < SK_ORDERS; order++)
        for (uint32_t at = pool.clean[order].head; at != SK_NONE;
             at = run_at(at)->next)
            listed += sk_region_word(at) == clean_word(order) &&
                      at + ((size_t)1 << order) <= pool.carved;
    for (size_t i = 0; i < pool.carved; i++)
        marked += !sk_word_is_chunk(sk_region_word(i)) &&
                  sk_region_word(i) != 0;
    sound = listed == marked && pool.carved <= pool.shown &&
            pool.shown <= pool.committed &&
            pool.dirty_granules + pool.used_granules <= pool.carved;
    sk_unlock(&pool.lock);
    return sound;
}
