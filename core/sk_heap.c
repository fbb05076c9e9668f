/*
 * sk_heap.c - the life of the library's heaps: new, trim, destroy.
 *
 * Layer: above sk_stats.  Units are sk_heap_unit.c's.
 */
#include "sk_heap_lead.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define BINS_LEAST     SK_CLASSES /* the library's bins: from here to SK_BINS */
#define BINNED_BYTES   (SK_CLASS_BYTES + 4096 + 16) /* larger: no bin */
#define CHUNK_UNITS    8      /* at least, as a rule */
#define BINNED_ORDER   4      /* at most: sk_chunk_has_unit's arithmetic */
#define ALL_OPTIONS    15u
#define BLOCK_HEAPS    (SK_GRANULE_BYTES / sizeof(struct sk_library))
#define RESERVE_BYTES  (UINT64_C(64) << 30)

static struct {
    struct sk_walk walk;
    bool is_open, is_asked;
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

static void after_fork(void)
{
    sk_walk_after_fork(&heaps.walk);
    for (struct sk_library *lib = heaps.first; lib; lib = lib->next)
        sk_more_after_fork(lib);
}

/* Options may have been read by the shim, which opened the region too unless
 * it was told to keep out. */
static void open_locked(void)
{
    bool is_ours = !sk_region_map;

    heaps.is_asked = true;
    if (is_ours) {
        if (!sk_config.stats) {
            sk_say_open();
            sk_config_read(environ, getauxval(AT_SECURE) != 0);
        }
        sk_state_open(sk_config.reserve < RESERVE_BYTES &&
                              sk_config.reserve > 0
                          ? sk_config.reserve
                          : RESERVE_BYTES);
    }
    if (!sk_region_map)
        return;
    if (is_ours)
        pthread_atfork(NULL, NULL, sk_state_after_fork);
    pthread_atfork(NULL, NULL, after_fork);
    heaps.is_open = true;
}

bool sk_library_open(void)
{
    struct sk_state *self = lock_heaps();
    bool is_open;

    if (!heaps.is_asked)
        open_locked();
    is_open = heaps.is_open;
    unlock_heaps(self);
    return is_open;
}

/* --- growth, on paper ----------------------------------------------------- */

/* Memory comes in chunks of the region whatever the heap asked for; what the
 * options say is kept as an account of it. */
static void grow(struct sk_library *lib)
{
    uint64_t step = atomic_load(&lib->next_growth);

    if (lib->options & SK_HEAP_GROW_EXPONENTIALLY && step < UINT64_C(1) << 62)
        atomic_compare_exchange_strong(&lib->next_growth, &step, step * 2);
    atomic_fetch_add(&lib->grown_units, step);
    atomic_fetch_add(&lib->growths, 1);
}

void sk_library_carved(const struct sk_heap *heap, uint32_t units)
{
    struct sk_library *lib = heap->library;
    uint64_t carved = atomic_fetch_add(&lib->carved_units, units) + units;

    while (carved > atomic_load(&lib->grown_units))
        grow(lib);
}

static void destruct_units(const struct sk_library *lib,
                           struct sk_chunk *chunk)
{
    char *unit = sk_chunk_start(chunk) + chunk->heap->lead_bytes;

    for (uint32_t i = 0; i < chunk->carved_units; i++) {
        struct sk_header *header = (struct sk_header *)unit;

        if (header->own & SK_HEADER_CONSTRUCTED) {
            header->own &= ~SK_HEADER_CONSTRUCTED;
            lib->destruct(header + 1, lib->context);
        }
        unit += chunk->heap->unit_bytes;
    }
}

void sk_library_drop(struct sk_chunk *chunk)
{
    struct sk_library *lib = chunk->heap->library;
    uint64_t units = chunk->carved_units;

    if (lib->destruct)
        destruct_units(lib, chunk);
    atomic_fetch_sub(&lib->carved_units, units);
    units = atomic_load(&lib->grown_units) < units
                ? atomic_load(&lib->grown_units)
                : units;
    atomic_fetch_sub(&lib->grown_units, units);
}

static void flushed(const struct sk_heap *heap, uint32_t units)
{
    if (sk_library_is_bounded(heap->library))
        atomic_fetch_add(&heap->library->left, units);
}

static void made(struct sk_chunk *chunk)
{
    if (chunk->heap->library->is_populated)
        sk_os_populate(sk_chunk_start(chunk),
                       SK_GRANULE_BYTES << chunk->heap->order);
}

static const struct sk_heap_hooks hooks = {made, sk_library_carved, flushed,
                                           sk_library_drop};

/* --- new ------------------------------------------------------------------ */

static bool is_sensible(const struct sk_heap_attributes *how)
{
    return how && how->label && how->label[0] && how->unit_size > 0 &&
           how->unit_size <= SK_HEAP_UNIT_MOST &&
           how->alignment <= SK_HEAP_ALIGNMENT_MOST &&
           (how->alignment & (how->alignment - 1)) == 0 &&
           (unsigned)how->source <= SK_HEAP_POPULATED &&
           how->units_per_chunk > 0 && (how->options & ~ALL_OPTIONS) == 0 &&
           (how->maximum_units > 0 || how->options & SK_HEAP_UNLIMITED);
}

/* Labels go into reports as they are. */
static void set_label(char *into, const char *label)
{
    size_t i = 0;

    for (; i < SK_HEAP_LABEL_BYTES - 1 && label[i]; i++)
        into[i] = (unsigned char)label[i] < ' ' || label[i] == '"' ||
                          label[i] == '\\'
                      ? '_'
                      : label[i];
    into[i] = '\0';
}

static size_t stride_of(const struct sk_library *lib)
{
    return (SK_HEADER_BYTES + lib->unit_size + lib->alignment - 1) &
           ~(lib->alignment - 1);
}

static void set_sizes(struct sk_library *lib)
{
    struct sk_heap *heap = lib->heap;
    size_t stride = stride_of(lib), wanted = lib->units_per_chunk;
    uint32_t order = 0;

    if (wanted > (SK_GRANULE_BYTES << BINNED_ORDER) / stride)
        wanted = (SK_GRANULE_BYTES << BINNED_ORDER) / stride;
    if (wanted < CHUNK_UNITS - 1)
        wanted = CHUNK_UNITS - 1;
    heap->lead_bytes = (uint32_t)lib->alignment - SK_HEADER_BYTES;
    while ((SK_GRANULE_BYTES << order) < heap->lead_bytes + wanted * stride &&
           (lib->is_more || order < BINNED_ORDER))
        order++;
    sk_heap_set_sizes(heap, (uint32_t)stride, order);
    heap->chunk_units = (uint32_t)(
        ((SK_GRANULE_BYTES << order) - heap->lead_bytes) / stride);
}

/* What engine and hit paths go by. */
static void set_heap(struct sk_library *lib, uint32_t slot)
{
    struct sk_heap *heap = lib->heap;
    bool is_special = lib->is_more || sk_library_is_bounded(lib);
    bool is_more_than_a_pop =
        is_special || lib->construct || lib->options & SK_HEAP_ZERO;

    set_sizes(lib);
    heap->slot = slot;
    heap->is_kept = !(lib->options & SK_HEAP_SHRINK) || lib->destruct;
    heap->header = SK_HEADER_MAGIC | (lib->is_more ? 0 : slot) |
                   (is_special ? SK_HEADER_SPECIAL : 0);
    heap->hit_slot = is_more_than_a_pop ? 0 : slot;
    heap->library = lib;
    heap->hooks = &hooks;
}

static void set_attributes(struct sk_library *lib, struct sk_heap *heap,
                           const struct sk_heap_attributes *how)
{
    *lib = (struct sk_library){
        .heap = heap,
        .unit_size = how->unit_size,
        .alignment = how->alignment < 16 ? 16 : how->alignment,
        .units_per_chunk = how->units_per_chunk,
        .maximum = how->options & SK_HEAP_UNLIMITED ? SIZE_MAX
                                                    : how->maximum_units,
        .options = how->options,
        .construct = how->construct,
        .destruct = how->destruct,
        .context = how->context,
        .is_populated = how->source == SK_HEAP_POPULATED,
        .is_more = heap == &lib->more,
        .next_growth = how->units_per_chunk,
    };
    if (lib->maximum > INT64_MAX)
        lib->maximum = INT64_MAX;
    if (how->options & SK_HEAP_UNLIMITED)
        lib->maximum = SIZE_MAX;
    atomic_store(&lib->left,
                 lib->maximum == SIZE_MAX ? 0 : (int64_t)lib->maximum);
    set_label(heap->label, how->label);
}

/* A description for a heap beyond the bins; its slot is set. */
static struct sk_library *take_more_locked(void)
{
    struct sk_library *lib = heaps.free;
    uint32_t first;

    if (lib) {
        heaps.free = lib->next;
        return lib;
    }
    if (heaps.more_heaps + BLOCK_HEAPS > SK_MORE_HEAPS)
        return NULL;
    first = sk_region_take(0);
    if (first == SK_NONE)
        return NULL;
    /* No pointer into it is a unit, and no child of a fork takes it for
     * free. */
    atomic_store(&sk_region_map[first],
                 SK_OWNER_NONE << SK_OWNER_SHIFT | SK_SLOT_MASK);
    lib = sk_region_address(first);
    memset(lib, 0, SK_GRANULE_BYTES);
    for (size_t i = 0; i < BLOCK_HEAPS; i++) {
        lib[i].more.slot = SK_MORE_SLOT + heaps.more_heaps++;
        lib[i].next = heaps.free;
        heaps.free = &lib[i];
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
        set_attributes(lib, &sk_heaps[bin], how);
    } else {
        lib = take_more_locked();
        if (!lib)
            return NULL;
        slot = lib->more.slot;
        set_attributes(lib, &lib->more, how);
        atomic_store(&sk_more_heaps[slot - SK_MORE_SLOT], lib->heap);
    }
    set_heap(lib, slot);
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
    if (!is_sensible(how)) {
        errno = EINVAL;
        return NULL;
    }
    if (sk_walk_is_mine(&heaps.walk)) {
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

int sk_heap_each(int (*visit)(sk_heap *, void *), void *context)
{
    const struct sk_heap_calls *lead = sk_heap_find_lead();
    int result = 0;
    bool has_begun;

    if (SK_UNLIKELY(lead))
        return lead->each(visit, context);
    if (!visit) {
        errno = EINVAL;
        return -1;
    }
    has_begun = sk_walk_begin(&heaps.walk);
    for (struct sk_library *lib = heaps.first; lib && result == 0;
         lib = lib->next)
        result = visit(lib->heap, context);
    sk_walk_end(&heaps.walk, has_begun);
    return result;
}

SK_LEAD_CALL(sk_heap_each);

uint32_t sk_library_chunk(const struct sk_heap *heap, size_t granule)
{
    size_t run = (size_t)1 << heap->order, carved = sk_region_carved();

    for (granule = (granule + run - 1) & ~(run - 1); granule < carved;
         granule += run) {
        uint32_t word = sk_region_word(granule);

        if ((word & SK_SLOT_MASK) == heap->slot &&
            word >> SK_OWNER_SHIFT != 0)
            return (uint32_t)granule;
    }
    return SK_NONE;
}

/* --- trim ----------------------------------------------------------------- */

struct trimming {
    const struct sk_heap *heap;
    const struct sk_state *self;
};

/* The bins of running threads are their own. */
static void trim_state(struct sk_state *state, bool is_broken, void *with)
{
    struct trimming *trimming = with;
    uint32_t units;

    if (is_broken)
        return;
    if (state == trimming->self) {
        units = sk_state_flush_bin(state, trimming->heap, true);
        flushed(trimming->heap, units);
    }
    sk_state_trim_heap(state, trimming->heap);
}

static size_t used_bytes(void)
{
    struct sk_state *self = sk_state_hide();
    struct sk_region_figures figures;

    sk_region_read_figures(&figures);
    sk_state_show(self);
    return figures.used_bytes;
}

static void purge(void)
{
    struct sk_state *self = sk_state_hide();

    sk_region_purge(true);
    sk_state_show(self);
}

size_t sk_heap_trim(sk_heap *heap)
{
    size_t before, after;
    struct trimming trimming = {heap, sk_self};

    if (SK_UNLIKELY(sk_heap_lead()))
        return sk_heap_lead()->trim(heap);
    if (!heap) {
        errno = EINVAL;
        return 0;
    }
    if (heap->library->is_more) {
        after = sk_more_trim(heap->library);
        purge();
        return after;
    }
    before = used_bytes();
    sk_state_visit(trim_state, &trimming);
    /* Once more for what other threads' batches brought home. */
    sk_state_visit(trim_state, &trimming);
    after = used_bytes();
    purge();
    return before > after ? before - after : 0;
}

SK_LEAD_CALL(sk_heap_trim);

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

    unlink_locked(lib);
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

long sk_heap_destroy(sk_heap *heap, int is_forced)
{
    struct sk_library *lib = heap ? heap->library : NULL;
    struct sk_state *self;
    uint64_t live;

    if (SK_UNLIKELY(sk_heap_lead()))
        return sk_heap_lead()->destroy(heap, is_forced);
    if (!lib) {
        errno = EINVAL;
        return -1;
    }
    live = sk_library_live(lib);
    if (live > 0 && !is_forced)
        return live < LONG_MAX ? (long)live : LONG_MAX;
    if (sk_walk_is_mine(&heaps.walk) ||
        (!lib->is_more && !sk_state_visit(forget, heap))) {
        errno = EBUSY;
        return -1;
    }
    self = sk_state_hide();
    give_chunks(heap);
    sk_state_show(self);
    self = lock_heaps();
    release_locked(lib);
    unlock_heaps(self);
    return 0;
}

SK_LEAD_CALL(sk_heap_destroy);
