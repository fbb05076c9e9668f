/*
 * sk_state.h - what one thread owns: bins, chunks, batches on their way home.
 *
 * Layer: above sk_class.  A thread reaches its state by one thread-local
 * pointer.  The state outlives the thread: at the thread's end it is emptied
 * and parked, and a later thread adopts it with its chunks.
 *
 * sk_self never is NULL.  It points at one of three empty states while the
 * thread has none, so the hit paths need no test for that:
 *   sk_state_none     before the thread's first request
 *   sk_state_dead     after its key destructor, or where there is no key for
 *                     one: nothing is built up (again)
 *   sk_state_nested   while a slow path runs, for the signal handler that
 *                     interrupts it
 * Their bins are empty and their tag is nobody's, so every malloc
 * misses and every free is sorted out on the slow path.
 *
 * A bin is a stack of free units and one word, its meter:
 *
 *   meter == room * 2^30 + allocations since the last slow path
 *
 * malloc adds 2^30 + 1, free subtracts 2^30 and looks at the sign: each one
 * instruction.  With `units` in the bin, room + units == limit.  When more
 * than 2^30 allocations hit in a row they spill over into room; the equation
 * tells by how much as soon as the units are counted, so no count is lost.
 */
#ifndef SK_STATE_H
#define SK_STATE_H

#include "sk_class.h"

#define SK_ROOM_SHIFT 30
#define SK_ROOM_ONE   ((int64_t)1 << SK_ROOM_SHIFT)

struct sk_bin {
    void *head;
    int64_t meter;
};

/* The part of a bin that only slow paths touch.  Chunks are named by their
 * first granule plus one, 0 for none. */
struct sk_rack {
    void *second; /* the other magazine: full, or empty */
    uint32_t second_units;
    uint32_t limit;       /* room + units of the bin */
    uint64_t allocations; /* not counting those in the meter */
    uint64_t remote_frees;
    uint32_t partial;        /* chunks with free units */
    uint32_t carving;        /* the chunk that fresh units are cut from */
    uint32_t magazine_units; /* what the bin may hold; grows with use */
    uint8_t common_growths;  /* see sk_commons.c */
    uint8_t near_borrows;    /* see sk_bin_borrow.c */
    uint16_t credit;         /* see sk_bin_borrow.c */
    uint32_t look_next;      /* the chunk to look at for free pages */
    uint32_t ticked_mark;    /* of the meter, at the last tick */
    uint32_t carved_units;   /* of the chunks owned */
    uint16_t stack;          /* see sk_bin_stack.c; 0: empty */
    uint16_t lent;           /* units fetched and not kept back since */
};

/* A full magazine that the thread keeps, and the one below it. */
struct sk_stacked {
    void *list;
    uint32_t units, below;
};

#define SK_STACKED 64

/* Units of one chunk of another thread's, collected to be sent home. */
struct sk_batch {
    void *first, *last;
    uint32_t chunk; /* first granule */
    uint32_t units;
};

#define SK_BATCHES 64

/* Units from this size on rest in the bin of whoever frees them and are
 * handed out there again, still warm, whosever chunk they are of; they go on
 * when that bin is flushed.  Smaller ones share a cache line with units of
 * the owner's, so another thread does not hand them out: they are collected,
 * a list per class, and go home when there are SK_OUTGOING_UNITS of them. */
#define SK_GUEST_SLOT     SK_CLASS_SLOT(SK_SMALL_GUESTS)
#define SK_SMALL_GUESTS   (64 / 16)
#define SK_OUTGOING_UNITS 64

enum sk_status {
    SK_UNUSED,
    SK_LIVE,
    SK_PARKED,
    SK_FILING, /* held: a sender files its mail, a thread takes units out of
                * the commons, or a visitor is at it */
    SK_ORPHAN, /* its thread was not taken along by fork */
    SK_BROKEN  /* the same, and it was in the middle of something */
};

struct sk_state {
    /* Owner only; the hit paths touch bins and tag. */
    struct sk_bin bins[SK_BINS];
    uint32_t tag;                     /* id << SK_OWNER_SHIFT */
    uint32_t id;                      /* 0: one of the three empty states */
    uint64_t used_bins[SK_BINS / 64]; /* those that ever held a unit */
    uint64_t libc_calls, libc_bytes;
    /* What it did to words that other threads write too. */
    uint64_t magazine_moves, batches_sent, commons_holds;
    _Atomic uint32_t is_busy;   /* in a slow path; read by fork's child */
    _Atomic uint32_t is_halted; /* SK_HALTED...: see sk_visit.c */
    uint32_t next_parked;       /* under the parking lock */
    struct sk_rack racks[SK_BINS];
    struct sk_batch batches[SK_BATCHES];
    struct {
        void *list;
        uint32_t units;
    } outgoing[SK_SMALL_GUESTS];
    uint32_t batched_units;
    volatile uint32_t posting; /* the chunk a batch is being sent to */
    size_t batched_bytes;
    /* Wholly free chunks kept for the next refill; how many bytes of them may
     * be; and how many bytes were too much since the last tick. */
    uint32_t idle_oldest, idle_newest;
    size_t idle_bytes, idle_most, idle_dropped;
    size_t carved_bytes;   /* of the units of the chunks owned */
    size_t magazine_bytes; /* of all magazines, if they were full */
    struct sk_stacked stacked[SK_STACKED];
    uint32_t stack_used, stack_spare; /* entries in use ever; free again */
    size_t stack_bytes;
    uint32_t clock;        /* the bin whose magazine shrinks next */
    uint32_t grow_pause;   /* until a magazine may ask to grow */
    uint32_t look_bin, look_pause, look_pauses; /* for free pages */
    uint32_t turns;        /* slow paths so far */
    uint64_t ticked_ms;    /* when what lies idle was last looked at */
    /* Any thread. */
    _Atomic uint32_t mail __attribute__((aligned(SK_LINE_BYTES)));
    _Atomic uint32_t status;
    /* Bytes of chunks that senders left wholly free, unpurged; and how many
     * they may leave. */
    _Atomic uint64_t home_free_bytes, slack_bytes;
};

_Static_assert(sizeof(struct sk_bin) == SK_BIN_BYTES, "a slot is an offset");
_Static_assert(offsetof(struct sk_state, bins) == 0, "a slot is an offset");
_Static_assert(sizeof(struct sk_state) <= SK_STATE_BYTES, "six pages");

extern SK_LOCAL __thread struct sk_state *sk_self
    __attribute__((tls_model("initial-exec")));
extern SK_LOCAL struct sk_state sk_state_none, sk_state_dead, sk_state_nested;

/* What the thread attached and did not park; NULL: nothing. */
extern SK_LOCAL __thread struct sk_state *sk_attached
    __attribute__((tls_model("initial-exec")));

/* Opens region and classes.  True also without a region (then every request
 * is refused).  Called once. */
void sk_state_open(uint64_t reserve_bytes);

/* Gives the calling thread, which has sk_state_none, a parked state or a new
 * one; if there is a choice, one with units for the slot.  False when there is
 * none to be had; then it keeps sk_state_none, or has sk_state_dead where its
 * end would go unnoticed. */
bool sk_state_attach(size_t slot);

/* The same for a thread that has sk_state_dead, and then again, until it parks.
 */
bool sk_state_attach_briefly(size_t slot);

/* Empties and parks the calling thread's state; it has sk_state_dead from
 * now on. */
void sk_state_park(void);

/* The miss path of malloc for 0..SK_CLASS_BYTES bytes: a unit, of a larger
 * class now and then, or NULL when libc must serve (no state, nested in a slow
 * path, region full). */
void *sk_state_alloc_slow(size_t bytes);

/* The miss path of free for an address in the region.  Ends the program when
 * the address is no unit. */
void sk_state_free_slow(void *unit);

/* The same for a unit of this very heap, by slot: an aligned one, or one of the
 * library's heaps that have a bin. */
void *sk_state_alloc_unit(size_t slot);
void sk_state_free_unit(void *unit);

/* Bytes of the unit at p; 0 when p is not ours.  Ends the program when p is
 * in the region but no unit. */
size_t sk_state_usable(const void *p);

/* Purges what is free: of the calling thread, and of all parked ones.
 * Returns whether anything was given back. */
bool sk_state_trim(void);

/* Calls visit(state, with) for every state while its owner is in no slow path
 * and can get into none, the caller's own first.  At the first call all owners
 * are out of theirs: no unit is on its way from one state to another, but for
 * those that threads without a state free.
 * `is_broken`: a fork caught the owner in the middle of something, so the
 * state's lists mean nothing.
 * False when the caller is in a slow path itself: then nothing was visited. */
bool sk_state_visit(void (*visit)(struct sk_state *state, bool is_broken,
                                  void *with),
                    void *with);

/* The same by a caller that is hidden, with the state that it hid, because it
 * holds a lock.  False when there are no states. */
bool sk_state_visit_hidden(struct sk_state *self,
                           void (*visit)(struct sk_state *state, bool is_broken,
                                         void *with),
                           void *with);

/* In the child of a fork: the other threads are gone. */
void sk_state_after_fork(void);

/* The brackets of code that takes a lock of core's: a signal handler in
 * between must not wait for it, so it finds the thread nested.  Shown is what
 * hide returned, not an older sk_self: a handler may attach before. */
static inline struct sk_state *sk_state_hide(void);
static inline void sk_state_show(struct sk_state *self);

/* The number of states ever made, and one of them (ids from 1). */
uint32_t sk_state_count(void);
struct sk_state *sk_state_at(uint32_t id);

/* Requests that went to libc from threads without a state. */
extern _Atomic uint64_t sk_stray_calls, sk_stray_bytes;
/* Units freed by threads without a state, per class. */
extern _Atomic uint64_t sk_stray_frees[SK_BINS];

/* Units in a bin, by counting them; safe, if inexact, for the bin of a
 * running thread. */
uint32_t sk_state_bin_units(struct sk_state *state, uint32_t bin);

static inline bool sk_rack_has_units(const struct sk_rack *rack)
{
    return rack->limit > 0 || rack->second || rack->stack;
}

/* Units of a bin's stack; of a running thread's, about. */
uint32_t sk_bin_stacked_units(struct sk_state *state, uint32_t bin);

/* The first bin from `bin` on that ever held a unit; SK_BINS when none. */
static inline uint32_t sk_state_next_used(const struct sk_state *state,
                                          uint32_t bin)
{
    for (; bin < SK_BINS; bin = (bin | 63) + 1) {
        uint64_t left = state->used_bins[bin / 64] >> bin % 64;

        if (left)
            return bin + (uint32_t)__builtin_ctzll(left);
    }
    return SK_BINS;
}

#define SK_EACH_USED_BIN(state, bin)                                           \
    (uint32_t bin = sk_state_next_used(state, 0); bin < SK_BINS;               \
     bin = sk_state_next_used(state, bin + 1))

/* Debug builds and tests: every chunk of the state's lists is sound, listed
 * in the right place, every bin's equation holds, and accounts are the sums
 * of what they count. */
bool sk_state_is_sound(struct sk_state *state);

static inline struct sk_state *sk_state_hide(void)
{
    struct sk_state *self = sk_self;

    sk_self = &sk_state_nested;
    atomic_signal_fence(memory_order_seq_cst);
    /* By a signal handler, between the load and the store; none does from here
     * on. */
    if (SK_UNLIKELY(self == &sk_state_none) && sk_attached)
        self = sk_attached;
    return self;
}

static inline void sk_state_show(struct sk_state *self)
{
    atomic_signal_fence(memory_order_seq_cst);
    sk_self = self;
}

/* --- the hit paths ------------------------------------------------------- */

static inline struct sk_bin *sk_state_bin(struct sk_state *state, size_t slot)
{
    return (struct sk_bin *)((char *)state + slot);
}

/* A unit from a bin, or NULL when it is empty. */
static inline void *sk_bin_pop(struct sk_bin *bin)
{
    void *unit = bin->head;

    if (SK_UNLIKELY(!unit))
        return NULL;
    bin->head = *(void **)unit;
    atomic_signal_fence(memory_order_seq_cst);
    bin->meter += SK_ROOM_ONE + 1;
    return unit;
}

/* The bin of a request of up to SK_SMALL_BYTES. */
static inline struct sk_bin *sk_state_small_bin(size_t bytes)
{
    return sk_state_bin(sk_self, (bytes + 15) & ~(size_t)15);
}

/* A unit, or NULL: then sk_state_alloc_slow, or libc above SK_CLASS_BYTES. */
static inline void *sk_state_alloc_hit(size_t bytes)
{
    return sk_bin_pop(sk_state_bin(sk_self, sk_class_slot(bytes)));
}

enum sk_freed {
    SK_FREED,
    SK_FREE_SLOW,   /* no room, or not the caller's: sk_state_free_slow */
    SK_FREE_FOREIGN /* not ours */
};

/* Of the three empty states too, which many threads write to at a time: there
 * it fails, and the slow path puts it right. */
__attribute__((no_sanitize("thread"))) static inline bool
sk_bin_take_room(struct sk_bin *bin)
{
    return (bin->meter -= SK_ROOM_ONE) >= 0;
}

/* Frees a unit into the caller's bin.  One load of the granule map tells the
 * bin; only of small units it matters whose chunk it is. */
static inline enum sk_freed sk_state_free_hit(void *p)
{
    size_t granule = sk_region_granule(p);
    struct sk_state *self = sk_self;
    struct sk_bin *bin;
    size_t slot;

    if (SK_UNLIKELY(granule >= sk_region_granules))
        return SK_FREE_FOREIGN;
    slot = sk_region_slot(granule);
    if (SK_UNLIKELY(slot - SK_GUEST_SLOT >=
                    SK_CLASS_SLOT(SK_CLASSES) - SK_GUEST_SLOT)) {
        slot = sk_region_word(granule) ^ self->tag;
        if (SK_UNLIKELY(slot >= SK_GUEST_SLOT))
            return SK_FREE_SLOW;
    }
    bin = sk_state_bin(self, slot);
    if (SK_UNLIKELY(!sk_bin_take_room(bin)))
        return SK_FREE_SLOW;
    *(void **)p = bin->head;
    bin->head = p;
    return SK_FREED;
}

/* What no processor could address libc refuses; summed up, a few of those would
 * be below 0. */
#define SK_ADDRESS_BITS 47

static inline void sk_state_count_libc(size_t bytes)
{
    struct sk_state *self = sk_self;

    if (SK_UNLIKELY(bytes >> SK_ADDRESS_BITS))
        bytes = 0;
    if (SK_LIKELY(self->id != 0)) {
        self->libc_calls++;
        self->libc_bytes += bytes;
    } else {
        atomic_fetch_add_explicit(&sk_stray_calls, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&sk_stray_bytes, bytes, memory_order_relaxed);
    }
}

#endif
