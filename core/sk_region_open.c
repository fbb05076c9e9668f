/*
 * sk_region_open.c - the reservation and its commit watermark.
 *
 * Layer: with sk_region.
 */
#include "sk_region_parts.h"

#define REGION_LEAST ((uint64_t)1 << 20)
#define LIMIT_PART   4 /* of an address limit: the program needs the rest */
#define COMMIT_LEAST ((size_t)4 << 20) /* bytes of units a step commits */
#define COMMIT_MOST  ((size_t)64 << 20)
#define STATES_STEP  8
#define SHOW_LEAST   16 /* granules */
#define HUGE_BYTES   ((size_t)2 << 20)

uintptr_t sk_region_base;
size_t sk_region_granules;
size_t sk_region_bytes;
_Atomic uint32_t *sk_region_map;
struct sk_region sk_region;

static size_t reserved_bytes;

/* --- opening ------------------------------------------------------------- */

static bool is_huge(void)
{
    return sk_config.huge_pages == SK_HUGE_ON;
}

/* What is touched of a huge page takes all of it, and what goes back of it
 * splits it: by itself the kernel shall make none here, whatever it does
 * elsewhere.  Where they are wanted, for units alone. */
static void set_huge(char *start, size_t bytes)
{
    char *end = start + bytes;

    if (sk_config.huge_pages == SK_HUGE_SYSTEM)
        return;
    if (is_huge())
        start = (char *)sk_region_base;
    sk_os_set_huge(start, (size_t)(end - start), is_huge());
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

bool sk_region_fits(size_t limit)
{
    return reserved_bytes <= limit / LIMIT_PART;
}

static bool reserve(uint64_t bytes, size_t limit)
{
    size_t granules = bytes >> SK_GRANULE_SHIFT;
    size_t states = granules < SK_STATES_MAX ? granules : SK_STATES_MAX;
    size_t map_bytes = sk_pool_round_up(granules * 4, SK_GRANULE_BYTES);
    size_t many_bytes =
        sk_pool_round_up(granules * SK_MANY_BYTES, SK_GRANULE_BYTES);
    size_t bits_bytes =
        sk_pool_round_up(granules * SK_BITS_BYTES, SK_GRANULE_BYTES);
    size_t chunk_bytes =
        sk_pool_round_up(granules * SK_SLOT_BYTES, SK_GRANULE_BYTES);
    size_t state_bytes =
        sk_pool_round_up(states * SK_STATE_BYTES, SK_GRANULE_BYTES);
    size_t alignment = is_huge() ? HUGE_BYTES : SK_GRANULE_BYTES;
    size_t total = map_bytes + many_bytes + bits_bytes + chunk_bytes +
                   state_bytes + SK_GRANULE_BYTES + alignment +
                   (granules << SK_GRANULE_SHIFT);
    char *start = NULL, *aligned;

    /* Of the smallest region the units count alone, or a limit of 4 MiB would
     * leave none. */
    if ((granules < 2 * (REGION_LEAST >> SK_GRANULE_SHIFT) ? bytes : total) <=
        limit / LIMIT_PART)
        start = sk_os_reserve(total);
    if (!start)
        return false;
    reserved_bytes = total;
    sk_os_name(start, total, "skpreload");
    sk_os_hide(start, total);
    aligned = (char *)sk_pool_round_up((uintptr_t)start, SK_GRANULE_BYTES);
    /* free() may look up any address of the region. */
    if (!sk_os_show_zeros(aligned, map_bytes)) {
        sk_os_unreserve(start, total);
        return false;
    }
    sk_region_map = (_Atomic uint32_t *)aligned;
    sk_region.many = aligned + map_bytes;
    sk_region.bits = sk_region.many + many_bytes;
    sk_region.chunks = sk_region.bits + bits_bytes;
    sk_region.states = sk_region.chunks + chunk_bytes;
    sk_region_base = sk_pool_round_up(
        (uintptr_t)(sk_region.states + state_bytes) + SK_GRANULE_BYTES,
        alignment);
    sk_region_granules = granules;
    sk_region_bytes = granules << SK_GRANULE_SHIFT;
    sk_region.states_max = states;
    set_huge(start, total);
    return true;
}

bool sk_region_open(uint64_t bytes)
{
    size_t limit = sk_os_address_limit();

    while (bytes >= REGION_LEAST && !reserve(bytes, limit))
        bytes /= 2;
    if (bytes < REGION_LEAST)
        return false;
    sk_runs_clear_all();
    sk_pool.keep_bytes = SK_KEEP_LEAST;
    return true;
}

/* --- the watermark ------------------------------------------------------- */

/* The next granules' part of an array; the last page of it may be more. */
static bool commit_part(char *start, size_t from, size_t to, size_t bytes)
{
    return commit(start + from * bytes,
                  sk_pool_round_up((to - from) * bytes, sk_os_page_bytes()));
}

/* By whole pages, of which the last granules before may have the first.  Not
 * for core dumps: see sk_pool_show_carved. */
static bool commit_map(size_t from, size_t to)
{
    from = sk_pool_round_up(from * 4, sk_os_page_bytes());
    to = sk_pool_round_up(to * 4, sk_os_page_bytes());
    return from >= to || sk_os_commit((char *)sk_region_map + from, to - from);
}

/* Descriptors, bits, and the map where it is written. */
static bool commit_chunks(size_t granules)
{
    size_t step = sk_os_page_bytes() / SK_SLOT_BYTES * 16;
    size_t wanted = sk_pool_round_up(granules, step);

    if (granules <= sk_pool.chunk_granules)
        return true;
    if (wanted > sk_region_granules)
        wanted = sk_region_granules;
    if (!commit_map(sk_pool.chunk_granules, wanted) ||
        !commit_part(sk_region.chunks, sk_pool.chunk_granules, wanted,
                     SK_SLOT_BYTES) ||
        !commit_part(sk_region.bits, sk_pool.chunk_granules, wanted,
                     SK_BITS_BYTES) ||
        !commit_part(sk_region.many, sk_pool.chunk_granules, wanted,
                     SK_MANY_BYTES))
        return false;
    sk_pool.chunk_granules = wanted;
    return true;
}

/* Commits units up to `granules` at least, in steps of a quarter of what
 * there is, so that a large heap makes few system calls and mappings. */
bool sk_pool_commit_units(size_t granules)
{
    size_t committed = sk_pool.committed;
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
    sk_pool.committed = wanted;
    return true;
}

/* Core dumps take in what was carved and its part of the map, and a
 * thirty-second more, so that this is few system calls; or all that is
 * committed, for no huge page lies across what they do not take in. */
void sk_pool_show_carved(void)
{
    size_t page = sk_os_page_bytes();
    size_t ahead = sk_pool.carved / 32;
    size_t wanted = sk_pool.carved + (ahead < SHOW_LEAST ? SHOW_LEAST : ahead);
    size_t map_from = sk_pool_round_up(sk_pool.shown * 4, page), map_to;

    if (sk_pool.carved <= sk_pool.shown)
        return;
    if (wanted > sk_pool.committed || is_huge())
        wanted = sk_pool.committed;
    map_to = sk_pool_round_up(wanted * 4, page);
    sk_os_show(sk_region_address(sk_pool.shown),
               (wanted - sk_pool.shown) << SK_GRANULE_SHIFT);
    if (map_to > map_from)
        sk_os_show((char *)sk_region_map + map_from, map_to - map_from);
    sk_pool.shown = wanted;
}

bool sk_region_commit_state(uint32_t id)
{
    bool done = true;

    if (id >= sk_region.states_max)
        return false;
    sk_pool_lock();
    if (id >= sk_pool.states) {
        size_t wanted = sk_pool_round_up(id + 1, STATES_STEP);

        wanted =
            wanted < sk_region.states_max ? wanted : sk_region.states_max;
        done = commit(sk_region.states + sk_pool.states * SK_STATE_BYTES,
                      (wanted - sk_pool.states) * SK_STATE_BYTES);
        if (done)
            sk_pool.states = wanted;
    }
    sk_pool_unlock();
    return done;
}

/* --- giving the rest back ------------------------------------------------ */

static void give_back(char *from, char *to)
{
    from = (char *)sk_pool_round_up((uintptr_t)from, SK_GRANULE_BYTES);
    if (from < to) {
        sk_os_unreserve(from, (size_t)(to - from));
        reserved_bytes -= (size_t)(to - from);
    }
}

void sk_region_give_back(bool is_keeping_room)
{
    size_t granules, states;

    if (!sk_region_map)
        return;
    sk_pool_lock();
    granules = sk_pool.committed;
    states = sk_pool.states + STATES_STEP;
    if (is_keeping_room || granules == 0)
        granules += COMMIT_LEAST >> SK_GRANULE_SHIFT;
    if (is_keeping_room)
        states += 7 * STATES_STEP;
    if (granules < sk_region_granules) {
        char *end = sk_region_address(sk_region_granules);

        /* First, for another thread's mmap may get these addresses. */
        sk_region_granules = granules;
        sk_region_bytes = granules << SK_GRANULE_SHIFT;
        give_back((char *)sk_region_map + granules * 4, sk_region.many);
        give_back(sk_region.many + granules * SK_MANY_BYTES, sk_region.bits);
        give_back(sk_region.bits + granules * SK_BITS_BYTES,
                  sk_region.chunks);
        give_back(sk_region.chunks + granules * SK_SLOT_BYTES,
                  sk_region.states);
        give_back(sk_region_address(granules), end);
    }
    if (states < sk_region.states_max) {
        sk_region.states_max = states;
        give_back(sk_region.states + states * SK_STATE_BYTES,
                  (char *)sk_region_base - SK_GRANULE_BYTES);
    }
    sk_pool_unlock();
}
