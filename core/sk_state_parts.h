/*
 * sk_state_parts.h - what the parts of core below sk_heap share and nobody else
 * sees.
 *
 * Layer: with sk_state.
 */
#ifndef SK_STATE_PARTS_H
#define SK_STATE_PARTS_H

#include "sk_state.h"

/* The free bytes that senders leave unpurged in an owner's chunks, at first
 * and at most. */
#define SK_SLACK_LEAST ((uint64_t)1 << 20)
#define SK_SLACK_MOST  ((uint64_t)16 << 20)

/* Bytes of wholly free chunks that an owner keeps at first, and that all of
 * them together keep, about; bytes of other threads' units that a thread holds
 * back in batches. */
#define SK_IDLE_BYTES    ((size_t)512 << 10)
#define SK_IDLES_MOST    ((size_t)32 << 20)
#define SK_BATCHED_BYTES ((size_t)128 << 10)

/* What the magazines of a thread may hold in all: so much, less where there
 * are very many threads, or a part of the units ever cut from
 * its chunks. */
#define SK_CACHE_BYTES ((size_t)256 << 10)
#define SK_CACHE_LEAST ((size_t)32 << 10)
#define SK_CACHES_MOST ((size_t)16 << 20)
#define SK_CACHE_PART  2

/* With purge_delay:0 nothing free waits: no slack, no idle chunk. */
static inline uint64_t sk_slack_least(void)
{
    return sk_config.purge_delay ? SK_SLACK_LEAST : 0;
}

/* Were there ever so many threads at a time that each may cache less? */
static inline bool sk_is_crowded(void)
{
    return sk_state_count() >= SK_CACHES_MOST / SK_CACHE_BYTES;
}

static inline size_t sk_cache_most(const struct sk_state *self)
{
    size_t share = SK_CACHES_MOST / (sk_state_count() + 1);
    size_t part = self->carved_bytes / SK_CACHE_PART;

    share = share > SK_CACHE_BYTES ? SK_CACHE_BYTES : share;
    share = share < SK_CACHE_LEAST ? SK_CACHE_LEAST : share;
    return part > share ? part : share;
}

/* One of malloc's, in a process of several threads: they may hand each other
 * its units, and share its chunks. */
static inline bool sk_heap_is_common(const struct sk_heap *heap)
{
    return !heap->hooks && sk_state_count() >= 2;
}

static inline struct sk_rack *sk_state_rack(struct sk_state *self,
                                            const struct sk_heap *heap)
{
    return &self->racks[heap->slot / SK_BIN_BYTES];
}

/* A visitor keeps the owner out of slow paths; no membarrier is to be had, so
 * owners pay for a fence; a handler of the owner's forked while a visitor was
 * at the state, and this is the child, where nobody uses it any more. */
#define SK_HALTED 2u
#define SK_FENCED 1u
#define SK_GONE   4u

/* Waits until no visitor keeps the owner out.  False: the state is gone, and
 * the thread has another one, or none. */
bool sk_state_stand(struct sk_state *self);

/* The brackets of a slow path, which is not to be gone if the first one says
 * false: see above.  The store to is_busy and the load of is_halted
 * may pass each other here: it is the visitor who makes all owners fence, by
 * membarrier.  Hidden first: a signal handler in between would leave the state
 * marked idle. */
static inline bool sk_state_enter(struct sk_state *self)
{
    sk_self = &sk_state_nested;
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&self->is_busy, 1, memory_order_relaxed);
    return SK_LIKELY(!atomic_load_explicit(&self->is_halted,
                                           memory_order_acquire)) ||
           sk_state_stand(self);
}

static inline void sk_state_leave(struct sk_state *self)
{
    atomic_signal_fence(memory_order_seq_cst);
    sk_self = self;
    atomic_store_explicit(&self->is_busy, 0, memory_order_release);
}

/* Gives both magazines of every bin away, from one on (0: all of them): to
 * their chunks, or to the depots where there is room.  SK_UNCOUNTED: to their
 * chunks, and the meters are not right (they may be one off in a fork's child).
 */
enum sk_flush { SK_HOME, SK_UNCOUNTED, SK_DEPOSIT };
void sk_state_flush_bins(struct sk_state *self, uint32_t from,
                         enum sk_flush how);

/* Sends home what the depots hold: all of it, or what nobody needed of late.
 */
void sk_state_flush_depots(struct sk_state *self, bool is_all);

/* On slow paths: looks, now and then, for what lies idle. */
void sk_state_tick_slow(struct sk_state *self);
static inline void sk_state_tick(struct sk_state *self)
{
    if (SK_UNLIKELY((++self->turns & 15) == 0))
        sk_state_tick_slow(self);
}

/* Sends all batches home. */
void sk_state_flush_batches(struct sk_state *self);

/* Takes in what came home.  False when a chunk is being purged just now and
 * was left for later. */
bool sk_state_read_mail(struct sk_state *self);

/* In the child of a fork: no other thread is purging. */
void sk_state_forget_purges(void);

/* Gives up the chunks being carved that hold all their units. */
void sk_state_drop_carving(struct sk_state *self);

/* Gives up all idle chunks, with no regret; fewer may be kept from now on. */
void sk_state_drop_idle(struct sk_state *self);

/* For the library's heaps, all within a slow path or a visit.
 * Takes up to so many units, out of the second magazine first; returns how
 * many are in the list.  Gives a list back.  Empties a bin, and the second
 * magazine; returns the units that were in the bin. */
uint32_t sk_state_take(struct sk_state *self, const struct sk_heap *heap,
                       uint32_t units, void **list);
void sk_state_give(struct sk_state *self, const struct sk_heap *heap,
                   void *list);
uint32_t sk_state_flush_bin(struct sk_state *self, const struct sk_heap *heap,
                            bool is_second_too);

/* Sends the heap's batches home and gives its wholly free chunks up: they are
 * the caller's, added to a list by their names and `next`. */
void sk_state_trim_heap(struct sk_state *self, const struct sk_heap *heap,
                        uint32_t *list);

/* The state has nothing of the heap any more; the chunks are the caller's. */
void sk_state_forget(struct sk_state *self, const struct sk_heap *heap,
                     bool is_broken);

/* Fills a bin that has nothing, out of the state's own chunks alone. */
bool sk_state_refill_own(struct sk_state *self, const struct sk_heap *heap);

/* Holds a parked state, if nobody else does; and lets it go again, with its
 * mail filed. */
bool sk_state_seize_parked(struct sk_state *state);
void sk_state_let_parked_go(struct sk_state *state);

/* A new state that is no thread's, held by the caller, its id written to `id`;
 * NULL when another thread was first or there is none to be had; or the parking
 * lock is held just now, maybe by a visitor who waits until this slow path is
 * over. */
struct sk_state *sk_state_make_once(_Atomic uint32_t *id);

/* About `most` units out of chunks that threads share; false when the thread
 * should have its own. */
struct sk_magazine;
bool sk_commons_take(struct sk_state *self, const struct sk_heap *heap,
                     uint32_t most, struct sk_magazine *magazine);
bool sk_commons_is(uint32_t id);
void sk_commons_tidy(void); /* gives its wholly free chunks up */
void sk_commons_after_fork(void);

/* States that were parked with wholly free chunks give them up. */
void sk_park_cool(void);

/* If the state is parked and nobody is at it: reads its mail for it.  From
 * within a slow path or without a state, never from a signal handler. */
void sk_state_file_parked(struct sk_state *state);

/* --- sk_owner.c: an owner's chunks -----------------------------------------
 */

/* Takes a chunk out of the list that refills look at. */
void sk_owner_unlist(struct sk_state *self, struct sk_chunk *chunk);

/* A chunk that was wholly free is so no more. */
void sk_owner_forget_idle(struct sk_state *self, struct sk_chunk *chunk);

/* Counts units of a listed chunk as out, for the caller to take; false when
 * there are none to be had: it is listed no more. */
bool sk_owner_take_out(struct sk_state *self, struct sk_chunk *chunk,
                       uint32_t units);

/* The heap is about to take a new chunk: if it was given up a moment ago, more
 * may be kept from now on; and what another heap keeps goes first. */
void sk_owner_make_way(struct sk_state *self, const struct sk_heap *heap);

/* Gives up a chunk that holds all its units: to the caller, or to the region.
 */
void sk_owner_leave(struct sk_state *self, struct sk_chunk *chunk);
void sk_owner_drop(struct sk_state *self, struct sk_chunk *chunk,
                   bool is_purged);

/* Looks at some of the thread's chunks for pages that lie free, before its
 * memory grows, and gives them back.  Or at all of them. */
void sk_owner_purge_pages(struct sk_state *self);
void sk_owner_purge_all_pages(struct sk_state *self);

/* After units came back to a chunk. */
void sk_owner_settle(struct sk_state *self, struct sk_chunk *chunk);

/* --- sk_mail.c: units on their way home ------------------------------------
 */

/* Sends units of one chunk of another thread's home.  `may_file`: not in a
 * signal handler, which could wait for a lock that the interrupted code
 * holds. */
void sk_mail_send(struct sk_chunk *chunk, void *first, void *last,
                  uint32_t units, bool may_file);

/* The same with a unit of a thread that has no state, or is in the middle of a
 * slow path. */
void sk_mail_send_stray(struct sk_chunk *chunk, void *unit, bool may_file);

/* Adds them to the chunk's batch instead; or sends the batch. */
void sk_mail_batch(struct sk_state *self, const struct sk_heap *heap,
                   struct sk_chunk *chunk, void *first, void *last,
                   uint32_t units);
void sk_mail_send_batch(struct sk_state *self, const struct sk_heap *heap,
                        struct sk_batch *batch);

/* In the child of a fork: what others had posted gets into its owner's mail.
 * `is_nested`: a handler forked, within a slow path of the forker's. */
void sk_mail_after_fork(const struct sk_state *forker, bool is_nested);

static inline const struct sk_heap *
sk_mail_heap_of(const struct sk_batch *batch)
{
    return sk_heap_of_slot(sk_region_word(batch->chunk) & SK_SLOT_MASK);
}

/* --- sk_bin.c: flush and refill ---------------------------------------------
 */

/* Hands a list of units back: to own chunks, or into batches.  Returns how
 * many they were. */
uint32_t sk_bin_flush_list(struct sk_state *self, const struct sk_heap *heap,
                           void *list);
void sk_bin_flush_outgoing(struct sk_state *self, uint32_t bin);

/* free() found no room: the full bin becomes the second magazine, and the
 * older one is handed back. */
void sk_bin_flush(struct sk_state *self, const struct sk_heap *heap,
                  void *unit);

/* Gives both magazines of a bin away. */
void sk_bin_empty(struct sk_state *self, const struct sk_heap *heap,
                  enum sk_flush how);

static inline struct sk_chunk *sk_bin_chunk_of(const struct sk_heap *heap,
                                               const void *unit)
{
    struct sk_chunk *chunk = sk_chunk_of(heap, sk_region_granule(unit));

    if (SK_UNLIKELY(!sk_chunk_has_unit(heap, chunk, unit)))
        sk_chunk_die(heap, unit, "not the start of a unit:");
    return chunk;
}

/* The heap lost so many units with their chunks. */
static inline void sk_bin_forget_carved(struct sk_state *self,
                                        const struct sk_heap *heap,
                                        uint32_t units)
{
    sk_state_rack(self, heap)->carved_units -= units;
    self->carved_bytes -= (size_t)units * heap->unit_bytes;
}

/* --- sk_bin_refill.c: where units come from ---------------------------------
 */

/* Starts the bin with a list of `units`. */
void sk_bin_fill(struct sk_state *self, const struct sk_heap *heap, void *list,
                 uint32_t units);

/* Cuts up to so many fresh units, counted as out, into a list; 0 when there is
 * no memory to be had. */
uint32_t sk_bin_carve(struct sk_state *self, const struct sk_heap *heap,
                      uint32_t units, void **list);

/* Fills a bin that has nothing: with what lies free somewhere; with what lies
 * free in the state itself; with units that were never used. */
bool sk_bin_refill(struct sk_state *self, const struct sk_heap *heap);
bool sk_bin_refill_near(struct sk_state *self, const struct sk_heap *heap);
bool sk_bin_refill_new(struct sk_state *self, const struct sk_heap *heap);

/* --- sk_bin_borrow.c: units of larger classes -------------------------------
 */

/* So many allocations were hits. */
void sk_bin_earn(struct sk_rack *rack, uint64_t hits);

/* A unit of a class of malloc's that is not much larger; NULL when there is
 * none or the heap has had its share of them. */
void *sk_bin_borrow(struct sk_state *self, const struct sk_heap *heap);

/* The same where it is crowded, before the bin asks elsewhere: out of the
 * thread's other bins alone.  NULL also when it had very many of late. */
void *sk_bin_borrow_near(struct sk_state *self, const struct sk_heap *heap);

static inline void sk_bin_mark_used(struct sk_state *self,
                                    const struct sk_heap *heap)
{
    uint32_t bin = heap->slot / SK_BIN_BYTES;

    self->used_bins[bin / 64] |= UINT64_C(1) << bin % 64;
}

/* Moves the meter's allocations to the rack, and finds those that spilled
 * into room: the bin holds `units`. */
static inline void sk_bin_settle_meter(struct sk_bin *bin, struct sk_rack *rack,
                                       uint32_t units, bool is_counting)
{
    int64_t room = bin->meter >> SK_ROOM_SHIFT;
    int64_t spilled = room + units - rack->limit;

    rack->allocations += (uint64_t)bin->meter & (SK_ROOM_ONE - 1);
    if (is_counting)
        rack->allocations += (uint64_t)spilled << SK_ROOM_SHIFT;
}

/* --- sk_bin_stack.c: magazines that a thread keeps --------------------------
 */

/* Units came from elsewhere. */
void sk_bin_lend(struct sk_rack *rack, uint32_t units);

/* Keeps a magazine; false when the thread has not fetched so many, or keeps
 * enough.  Takes the last one kept, false when there is none. */
bool sk_bin_stack(struct sk_state *self, const struct sk_heap *heap,
                  const struct sk_magazine *magazine);
bool sk_bin_unstack_slow(struct sk_state *self, const struct sk_heap *heap,
                         struct sk_magazine *magazine);
static inline bool sk_bin_unstack(struct sk_state *self,
                                  const struct sk_heap *heap,
                                  struct sk_magazine *magazine)
{
    return sk_state_rack(self, heap)->stack != 0 &&
           sk_bin_unstack_slow(self, heap, magazine);
}

/* --- sk_bin_size.c: how large a magazine is ---------------------------------
 */

/* The first size of a bin's magazines. */
void sk_bin_set_size(struct sk_state *self, const struct sk_heap *heap);

/* Two magazines of so many units. */
static inline size_t sk_bin_magazine_bytes(const struct sk_heap *heap,
                                           uint32_t units)
{
    return (size_t)units * heap->unit_bytes * 2;
}

static inline uint32_t sk_bin_size(struct sk_state *self,
                                   const struct sk_heap *heap)
{
    struct sk_rack *rack = sk_state_rack(self, heap);

    if (SK_UNLIKELY(rack->magazine_units == 0))
        sk_bin_set_size(self, heap);
    return rack->magazine_units;
}

/* A full magazine asks for a larger one.  All of a thread's share what it may
 * cache, so that the sizes it uses most get the room, and a thread that uses
 * sixty sizes a little keeps little. */
void sk_bin_grow_slow(struct sk_state *self, const struct sk_heap *heap);
static inline void sk_bin_grow(struct sk_state *self,
                               const struct sk_heap *heap)
{
    if (sk_state_rack(self, heap)->magazine_units != heap->room_units)
        sk_bin_grow_slow(self, heap);
}

#endif
