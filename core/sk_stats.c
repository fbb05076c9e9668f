/*
 * sk_stats.c - what the heaps did, as figures.
 *
 * Layer: above sk_state.
 */
#include "sk_stats.h"

#include "sk_depot.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h> /* rename, no stream */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- gathering ------------------------------------------------------------ */

/* Units of other threads' that lie in the bin of a thread that has ended; they
 * are counted when they leave it, which may be never.  One speaks for all. */
__attribute__((no_sanitize("thread"))) static uint32_t
parked_guests(struct sk_state *state, uint32_t bin, uint32_t units)
{
    void *unit = *(void *volatile *)&state->bins[bin].head;

    if (units == 0 || !sk_region_has(unit) ||
        atomic_load(&state->status) != SK_PARKED)
        return 0;
    return sk_region_word(sk_region_granule(unit)) >> SK_OWNER_SHIFT ==
                   state->id
               ? 0
               : units;
}

__attribute__((no_sanitize("thread"))) uint64_t
sk_stats_bin_allocations(struct sk_state *state, uint32_t bin, uint32_t *units)
{
    struct sk_rack *rack = &state->racks[bin];
    int64_t meter = *(volatile int64_t *)&state->bins[bin].meter, spilled;
    uint64_t allocations =
        rack->allocations + ((uint64_t)meter & (SK_ROOM_ONE - 1));

    *units = sk_state_bin_units(state, bin);
    spilled = (meter >> SK_ROOM_SHIFT) + *units - rack->limit;
    /* Only a bin at rest tells how often its count spilled over. */
    if (spilled > 0 && meter == *(volatile int64_t *)&state->bins[bin].meter)
        allocations += (uint64_t)spilled << SK_ROOM_SHIFT;
    return allocations;
}

/* Counters of a running thread: read as they are. */
__attribute__((no_sanitize("thread"))) static void
read_rack(struct sk_state *state, uint32_t bin, struct sk_heap_stats *stats)
{
    struct sk_rack *rack = &state->racks[bin];
    uint32_t units;

    stats->allocations += sk_stats_bin_allocations(state, bin, &units);
    stats->remote_frees +=
        rack->remote_frees + parked_guests(state, bin, units);
    stats->cached +=
        units + rack->second_units + sk_bin_stacked_units(state, bin);
}

__attribute__((no_sanitize("thread"))) static void
read_batches(struct sk_state *state, struct sk_stats *stats)
{
    for (uint32_t i = 1; i < SK_SMALL_GUESTS; i++)
        stats->heaps[i].cached += state->outgoing[i].units;
    for (uint32_t i = 0; i < SK_BATCHES; i++) {
        struct sk_batch *batch = &state->batches[i];

        uint32_t bin =
            (sk_region_word(batch->chunk) & SK_SLOT_MASK) / SK_BIN_BYTES;

        /* Meanwhile the chunk may be something else. */
        if (batch->units > 0 && bin < SK_BINS)
            stats->heaps[bin].cached += batch->units;
    }
}

__attribute__((no_sanitize("thread"))) static void
read_state(struct sk_state *state, struct sk_stats *stats)
{
    for SK_EACH_USED_BIN(state, bin)
        read_rack(state, bin, &stats->heaps[bin]);
    read_batches(state, stats);
    stats->magazine_moves += state->magazine_moves;
    stats->batches_sent += state->batches_sent;
    stats->commons_holds += state->commons_holds;
    stats->libc_calls += state->libc_calls;
    stats->libc_bytes += state->libc_bytes;
}

/* Adds up the units out of their chunks: in use, and cached.  A chunk's first
 * granule is the one its run is aligned to. */
static void read_chunks(struct sk_stats *stats)
{
    size_t granules = sk_region_carved();

    for (size_t i = 0; i < granules; i++) {
        uint32_t word = sk_region_word(i);
        uint32_t bin = (word & SK_SLOT_MASK) / SK_BIN_BYTES;
        struct sk_chunk *chunk;

        if (!sk_word_is_chunk(word) || bin >= SK_BINS ||
            i & ((1u << sk_heap_of_bin(bin)->order) - 1))
            continue;
        chunk = sk_chunk_at((uint32_t)i);
        stats->heaps[bin].chunks++;
        stats->heaps[bin].in_use += sk_chunk_out(sk_heap_of_bin(bin), chunk);
    }
}

static uint64_t frees(const struct sk_heap_stats *heap)
{
    return heap->allocations > heap->in_use ? heap->allocations - heap->in_use
                                            : 0;
}

static void sum_heap(struct sk_stats *stats, uint32_t bin)
{
    struct sk_heap_stats *heap = &stats->heaps[bin];
    const struct sk_heap *of = sk_heap_of_bin(bin);

    heap->remote_frees += atomic_load_explicit(&sk_stray_frees[bin],
                                               memory_order_relaxed);
    /* Counted as out of their chunks so far. */
    heap->in_use -= heap->cached < heap->in_use ? heap->cached : heap->in_use;
    /* An estimate; one unit speaks for its magazine. */
    if (heap->remote_frees > frees(heap))
        heap->remote_frees = frees(heap);
    stats->calls += heap->allocations;
    stats->bytes += heap->allocations * of->unit_bytes;
    stats->in_use_bytes += heap->in_use * of->unit_bytes;
    stats->chunk_bytes += heap->chunks * (SK_GRANULE_BYTES << of->order);
}

static void sum_grown(struct sk_stats *stats)
{
    const struct sk_grown_figures *grown = &stats->grown;

    stats->calls += grown->allocations;
    stats->bytes += grown->bytes;
    stats->in_use_bytes += grown->in_use_bytes;
    stats->chunk_bytes += grown->in_use_bytes + grown->residue_bytes;
}

void sk_stats_read(struct sk_stats *stats)
{
    struct sk_state *self = sk_state_hide();

    *stats = (struct sk_stats){
        .libc_calls = atomic_load(&sk_stray_calls),
        .libc_bytes = atomic_load(&sk_stray_bytes),
        .lock_waits = atomic_load(&sk_lock_waits),
    };
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        read_state(sk_state_at(id), stats);
    read_chunks(stats);
    for (uint32_t class = 1; class < SK_CLASSES; class++)
        stats->heaps[class].cached += sk_depot_units(class);
    for (uint32_t bin = 1; bin < SK_BINS; bin++)
        sum_heap(stats, bin);
    sk_grown_read_figures(&stats->grown);
    sum_grown(stats);
    sk_region_read_figures(&stats->region);
    sk_state_show(self);
}

static struct sk_lock summing, printing;

/* Who was at it may not have come along.  If a handler forked that interrupted
 * that, it is the child that goes on, and lets go of what is free. */
void sk_stats_after_fork(void)
{
    atomic_store_explicit(&summing.word, 0, memory_order_relaxed);
    atomic_store_explicit(&printing.word, 0, memory_order_relaxed);
}

/* Where a handler asks, it may be the thread's own lock. */
static bool lock_sums(bool is_nested)
{
    if (is_nested)
        return sk_lock_to_look(&summing);
    sk_lock(&summing);
    return true;
}

struct sk_stats_bytes sk_stats_read_bytes(void)
{
    static SK_LARGE struct sk_stats stats;
    bool is_nested = sk_self == &sk_state_nested;
    struct sk_state *self = sk_state_hide();
    struct sk_stats_bytes bytes = {0, 0};

    if (lock_sums(is_nested)) {
        sk_stats_read(&stats);
        bytes.in_use = stats.in_use_bytes;
        bytes.chunks = stats.chunk_bytes;
        sk_unlock(&summing);
    }
    sk_state_show(self);
    return bytes;
}

/* --- writing -------------------------------------------------------------- */

struct file {
    int fd;
    bool is_good;
    struct sk_text text;
    char buffer[2048];
};

static void flush(struct file *file)
{
    file->is_good = file->is_good &&
                    sk_os_write_quietly(file->fd, file->buffer,
                                        file->text.used);
    file->text.used = 0;
}

/* No single call adds more than half the buffer. */
static void add(struct file *file, const char *format, ...)
{
    __builtin_va_list args;

    if (file->text.used > sizeof file->buffer / 2)
        flush(file);
    __builtin_va_start(args, format);
    sk_text_vadd(&file->text, format, args);
    __builtin_va_end(args);
}

/* part of whole as "93.4". */
static void add_percent(struct file *file, uint64_t part, uint64_t rest)
{
    unsigned __int128 tenths = 0;

    if (part + rest > 0)
        tenths = (unsigned __int128)part * 1000 / (part + rest);
    add(file, "%u.%u", (uint64_t)tenths / 10, (uint64_t)tenths % 10);
}

static void add_heaps(struct file *file, const struct sk_stats *stats)
{
    const char *comma = "";

    for (uint32_t bin = 1; bin < SK_BINS; bin++) {
        const struct sk_heap_stats *heap = &stats->heaps[bin];

        if (heap->allocations == 0 && heap->chunks == 0)
            continue;
        add(file,
            "%s\n    {\"label\": \"%s\", \"unit_bytes\": %u, "
            "\"allocations\": %u, \"frees\": %u, \"remote_frees\": %u, "
            "\"in_use\": %u, \"cached\": %u, \"chunks\": %u}",
            comma, sk_heap_of_bin(bin)->label,
            (uint64_t)sk_heap_of_bin(bin)->unit_bytes, heap->allocations,
            frees(heap), heap->remote_frees, heap->in_use, heap->cached,
            heap->chunks);
        comma = ",";
    }
}

static void add_report(struct file *file, const struct sk_stats *stats,
                       const char *program, const char *mode,
                       const char *reason)
{
    add(file,
        "{\n  \"schema\": \"skpreload-stats/1\", \"version\": \"%s\", "
        "\"pid\": %d, \"program\": \"",
        SK_VERSION, sk_os_pid());
    sk_text_add_name(&file->text, program);
    add(file, "\",\n  \"mode\": \"%s\", \"reason\": \"%s\",\n", mode, reason);
    add(file,
        "  \"region\": {\"reserved_bytes\": %u, \"committed_bytes\": %u, "
        "\"used_bytes\": %u, \"dirty_bytes\": %u, \"takes\": %u, "
        "\"refusals\": %u, \"purges\": %u},\n",
        stats->region.reserved_bytes, stats->region.committed_bytes,
        stats->region.used_bytes, stats->region.dirty_bytes,
        stats->region.takes, stats->region.refusals, stats->region.purges);
    add(file, "  \"threads\": %u,\n  \"heaps\": [",
        (uint64_t)sk_state_count());
    add_heaps(file, stats);
    add(file,
        "\n  ],\n  \"grown\": {\"allocations\": %u, \"bytes\": %u, "
        "\"in_use\": %u, \"in_use_bytes\": %u, \"spare_bytes\": %u, "
        "\"residue_bytes\": %u},\n",
        stats->grown.allocations, stats->grown.bytes, stats->grown.in_use,
        stats->grown.in_use_bytes, stats->grown.spare_bytes,
        stats->grown.residue_bytes);
    add(file,
        "  \"contention\": {\"magazine_moves\": %u, \"batches_sent\": %u, "
        "\"commons_holds\": %u, \"region_locks\": %u, \"lock_waits\": %u},\n",
        stats->magazine_moves, stats->batches_sent, stats->commons_holds,
        stats->region.locks, stats->lock_waits);
    add(file, "  \"libc\": {\"calls\": %u, \"bytes\": %u},\n",
        stats->libc_calls, stats->libc_bytes);
    add(file, "  \"coverage\": {\"calls_percent\": ");
    add_percent(file, stats->calls, stats->libc_calls);
    add(file, ", \"bytes_percent\": ");
    add_percent(file, stats->bytes, stats->libc_bytes);
    add(file, "}\n}\n");
}

/* Expands %p and %e; false when the name does not fit. */
static bool expand(struct sk_text *name, const char *template,
                   const char *program)
{
    for (; *template; template++) {
        if (template[0] == '%' && template[1] == 'p')
            sk_text_add(name, "%d", sk_os_pid());
        else if (template[0] == '%' && template[1] == 'e')
            sk_text_add(name, "%s", program);
        else {
            sk_text_add(name, "%s", (char[2]){*template, '\0'});
            continue;
        }
        template++;
    }
    name->start[name->used] = '\0';
    return name->used < name->room;
}

/* /dev/stderr, a fifo: written to as it is, never replaced. */
static int open_special(const char *name)
{
    return open(name,
                O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* Is it /dev/stdout or its like, which leads to a file of the process?  To put
 * a report in its place would take it from the whole machine.  Whoever plants
 * such a link is not root. */
static bool is_of_system(const char *name)
{
    static const char proc[] = "/proc/";
    char start[sizeof proc - 1];
    struct stat link;

    return lstat(name, &link) == 0 && link.st_uid == 0 &&
           readlink(name, start, sizeof start) == sizeof start &&
           memcmp(start, proc, sizeof start) == 0;
}

/* What is planted under a temporary name is not followed; and daemons, which
 * clear their umask, would leave a file that everybody may write. */
static int open_new(const char *name)
{
    unlink(name);
    return open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                0644);
}

/* Written once, and not on the stack, which may be a small thread's: 21 KiB.
 */
static SK_LARGE struct {
    struct sk_stats stats;
    struct file file;
    char name[4096 + 64], temporary[4096 + 96];
} report;

static bool write_report(const char *name_template, const char *program,
                         const char *mode, const char *reason)
{
    char *name = report.name, *temporary = report.temporary;
    struct sk_text name_text = {name, 0, sizeof report.name - 1};
    struct sk_text temporary_text = {temporary, 0,
                                     sizeof report.temporary - 1};
    struct file *file = &report.file;
    struct stat there;
    bool is_special;

    file->is_good = true;
    file->text = (struct sk_text){file->buffer, 0, sizeof file->buffer};
    if (!expand(&name_text, name_template, program))
        return false;
    sk_text_add(&temporary_text, "%s.%d.tmp", name, sk_os_pid());
    temporary[temporary_text.used] = '\0';
    is_special = (stat(name, &there) == 0 && !S_ISREG(there.st_mode)) ||
                 is_of_system(name);
    file->fd = is_special ? open_special(name) : open_new(temporary);
    if (file->fd < 0)
        return false;
    sk_stats_read(&report.stats);
    add_report(file, &report.stats, program, mode, reason);
    flush(file);
    if (close(file->fd) != 0 && errno != EINTR)
        file->is_good = false; /* where a disk is full only now */
    if (!is_special && (!file->is_good || rename(temporary, name) != 0)) {
        unlink(temporary);
        file->is_good = false;
    }
    return file->is_good;
}

/* A thread that is to be cancelled may call exit(), too. */
bool sk_stats_write(const char *name_template, const char *program,
                    const char *mode, const char *reason)
{
    int kept = errno, state;
    bool done;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    done = write_report(name_template, program, mode, reason);
    pthread_setcancelstate(state, &state);
    errno = kept;
    return done;
}

/* Not on the stack, which may be a small thread's. */
void sk_stats_print(int fd)
{
    static SK_LARGE struct sk_stats stats;
    struct file file = {.fd = fd, .is_good = true};

    if (!sk_lock_to_look(&printing))
        return;

    file.text = (struct sk_text){file.buffer, 0, sizeof file.buffer};
    sk_stats_read(&stats);
    for (uint32_t bin = 1; bin < SK_BINS; bin++) {
        const struct sk_heap_stats *heap = &stats.heaps[bin];

        if (heap->allocations > 0)
            add(&file, "%s: in use %u, cached %u, chunks %u, frees %u\n",
                sk_heap_of_bin(bin)->label, heap->in_use, heap->cached,
                heap->chunks, frees(heap));
    }
    if (stats.grown.allocations > 0)
        add(&file, "grown: in use %u, frees %u\n", stats.grown.in_use,
            stats.grown.allocations - stats.grown.in_use);
    add(&file, "heaps: in use bytes = %u, system bytes = %u\n",
        stats.in_use_bytes, stats.chunk_bytes);
    flush(&file);
    sk_unlock(&printing);
}
