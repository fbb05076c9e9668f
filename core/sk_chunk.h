/*
 * sk_chunk.h - a run of granules cut into units of one heap.
 *
 * Layer: above sk_region.  The descriptor lives apart from the units, two
 * lines long; what only the owner touches is on the first, what any thread
 * touches on the second; and the bits of what is free in a third place.
 *
 *    units:  |u0|u1|u2| ... |  |  |  |        |
 *             '-- carved ---'  '- untouched -'
 *
 * A carved unit is in exactly one of these places:
 *   free      a bit of its chunk's stands for it, set by the owner's flushes
 *   home      in the list `home`, or in `post`: other threads freed it
 *   hollow    free, but its page went back to the system: its bit is in
 *             `hollow`, to be taken last
 *   out       everywhere else: in the program's hands, in a thread's bin, in
 *             a depot or in a batch
 *
 * Two counters, modulo 2^32; `returned` only counts up:
 *   away      units taken out of the chunk, minus those that came home
 *   returned  units that the owner put back
 *   out == away - returned
 *   carved == free + home + hollow + posted + out <= units
 *
 * post holds `away` in its high half and the list of the units that came
 * home in its low half, as (offset >> 4) + 1 of the first, 0 for none.  So
 * whoever sends a batch home sees in the same exchange whether the chunk is
 * now wholly free (away == returned): since every take is an atomic add to
 * away, nothing can have been taken in between.
 *
 * Units never change owner, so no line is shared falsely afterwards.
 *
 * Why bits, not one more list: a list is in the order of frees, and whoever
 * takes a unit waits for the memory that names the next.  Bits give the units
 * in the order of addresses, which the processor fetches ahead, and tell a
 * unit that is freed twice.
 */
#ifndef SK_CHUNK_H
#define SK_CHUNK_H

#include "sk_region.h"

struct sk_chunk;
struct sk_heap;
struct sk_library;

/* What a heap of the library has done at the turns of its chunks' lives;
 * called within slow paths. */
struct sk_heap_hooks {
    /* The chunk is new, its memory untouched or as somebody left it. */
    void (*made)(struct sk_chunk *chunk);
    /* So many fresh units were cut. */
    void (*carved)(const struct sk_heap *heap, uint32_t units);
    /* So many units of a thread's bin, not of its second magazine, went back
     * to their chunks. */
    void (*flushed)(const struct sk_heap *heap, uint32_t units);
    /* A wholly free chunk is about to go, its units still as they were. */
    void (*drop)(struct sk_chunk *chunk);
};

/* A heap, as far as its chunks need it.  Set once. */
struct sk_heap {
    uint32_t unit_bytes;
    uint32_t chunk_units; /* of one chunk */
    uint32_t order;       /* a chunk is 2^order granules */
    uint32_t slot;        /* in the granule map */
    uint64_t reciprocal;  /* ceil(2^32 / (unit_bytes / 16)) */
    uint32_t carve_units; /* per refill: a page of them */
    uint32_t room_units;  /* of a magazine */
    uint32_t batch_units; /* sent home at once */
    uint32_t lead_bytes;  /* in front of a chunk's first unit */
    bool is_kept;         /* wholly free chunks stay with their owner */
    /* Second word of a fresh unit; 0: none. */
    uint64_t header;
    uint32_t hit_slot; /* slot, or 0 where a pop is not all there is to do */
    struct sk_library *library; /* the rest, see sk_heap_parts.h */
    const struct sk_heap_hooks *hooks; /* NULL: a class of malloc's */
    char label[32];
};

/* Chunks of at most so many units can have hollow ones: of more, hardly a page
 * is ever free. */
#define SK_HOLLOW_WORDS 4
#define SK_HOLLOW_UNITS (SK_HOLLOW_WORDS * 64)

#define SK_POST_SEALED 0xffffffffu /* wholly free, being purged */
#define SK_POST_PURGED 0xfffffffeu /* wholly free, pages gone */

/* Chunks of more units have their bits where there are more. */
#define SK_BITS_UNITS (SK_BITS_BYTES * 8)

_Static_assert(SK_MANY_BYTES * 8 == SK_GRANULE_BYTES / 16,
               "a bit for each of the smallest units");

struct sk_chunk {
    /* Owner only. */
    const struct sk_heap *heap;
    void *home;
    uint32_t free_units, home_units;
    uint32_t carved_units;
    uint32_t next, prev; /* among the owner's chunks with something to take */
    uint32_t is_listed;
    _Atomic uint32_t returned; /* written by the owner, read by senders */
    uint32_t is_idle;          /* wholly free, kept by its owner */
    uint32_t hollow_units;
    uint32_t looked_units; /* free when it was last looked at for pages */
    uint32_t has_bits;     /* some may be set; never unset */
    /* Any thread. */
    _Atomic uint64_t post;
    /* Owner only, when pages go back and are used again. */
    uint64_t hollow[SK_HOLLOW_WORDS];
    _Atomic uint32_t mail_next; /* in the owner's mail; any thread */
    uint32_t idle_next, idle_prev; /* among the owner's idle chunks */
    uint32_t spare[2];
    uint32_t touched_bytes; /* the region's, see struct sk_run */
} __attribute__((aligned(SK_LINE_BYTES)));

_Static_assert(sizeof(struct sk_chunk) == SK_SLOT_BYTES, "two lines");
_Static_assert(offsetof(struct sk_chunk, touched_bytes) == SK_SLOT_BYTES - 4,
               "the slot's last word");
_Static_assert(offsetof(struct sk_chunk, post) == SK_LINE_BYTES,
               "what others write stays off the owner's line");

/* Cuts the first units, at least one, off a list, and returns them; `then`
 * follows their last. */
static inline void *sk_list_cut(void **list, uint32_t units, void *then)
{
    void *first = *list, *last = first;

    for (uint32_t i = 1; i < units; i++)
        last = *(void **)last;
    *list = *(void **)last;
    *(void **)last = then;
    return first;
}

static inline struct sk_chunk *sk_chunk_at(uint32_t first)
{
    return (struct sk_chunk *)(sk_region.chunks +
                               (size_t)first * SK_SLOT_BYTES);
}

static inline uint32_t sk_chunk_first(const struct sk_chunk *chunk)
{
    /* Unsigned, or the division is no mere shift. */
    return (uint32_t)((size_t)((const char *)chunk - sk_region.chunks) /
                      SK_SLOT_BYTES);
}

static inline char *sk_chunk_start(const struct sk_chunk *chunk)
{
    return sk_region_address(sk_chunk_first(chunk));
}

/* The chunk a granule belongs to: runs are aligned to their size. */
static inline struct sk_chunk *sk_chunk_of(const struct sk_heap *heap,
                                           size_t granule)
{
    return sk_chunk_at((uint32_t)(granule >> heap->order << heap->order));
}

/* Into the list of those with something to take, by its head, which is the
 * first one's granule plus one, 0 for none; and out again.  Nothing to do where
 * it is there already, or is not.  Owner only. */
static inline void sk_chunk_list(struct sk_chunk *chunk, uint32_t *head)
{
    uint32_t name = sk_chunk_first(chunk) + 1;

    if (chunk->is_listed)
        return;
    chunk->is_listed = 1;
    chunk->prev = 0;
    chunk->next = *head;
    if (*head)
        sk_chunk_at(*head - 1)->prev = name;
    *head = name;
}

static inline void sk_chunk_unlist(struct sk_chunk *chunk, uint32_t *head)
{
    if (!chunk->is_listed)
        return;
    chunk->is_listed = 0;
    if (chunk->prev)
        sk_chunk_at(chunk->prev - 1)->next = chunk->next;
    else
        *head = chunk->next;
    if (chunk->next)
        sk_chunk_at(chunk->next - 1)->prev = chunk->prev;
}

/* One for each unit that is free.  Owner only. */
static inline uint64_t *sk_chunk_bits(const struct sk_chunk *chunk)
{
    size_t first = sk_chunk_first(chunk);
    char *bits = SK_LIKELY(chunk->heap->chunk_units <= SK_BITS_UNITS)
                     ? sk_region.bits + first * SK_BITS_BYTES
                     : sk_region.many + first * SK_MANY_BYTES;

    return __builtin_assume_aligned(bits, SK_BITS_BYTES);
}

static inline uint32_t sk_post_away(uint64_t post)
{
    return (uint32_t)(post >> 32);
}

static inline uint32_t sk_post_list(uint64_t post)
{
    return (uint32_t)post;
}

/* Units of a heap's chunk that are out; by a thread that is not the owner, some
 * that are no more.  `returned` first: what is put back after that was out
 * before, so the difference is never below 0; but it is any number, if so many
 * units came and went meanwhile.  Acquired: who destroys a heap because none is
 * out comes after all that was done with its units. */
static inline uint32_t sk_chunk_out(const struct sk_heap *heap,
                                    const struct sk_chunk *chunk)
{
    uint32_t returned =
        atomic_load_explicit(&chunk->returned, memory_order_acquire);
    uint32_t out = sk_post_away(atomic_load_explicit(&chunk->post,
                                                     memory_order_acquire)) -
                   returned;

    return out < heap->chunk_units ? out : heap->chunk_units;
}

/* A new chunk of a heap for the owner: none carved.  NULL when the region is
 * full or no memory is to be had. */
struct sk_chunk *sk_chunk_new(const struct sk_heap *heap, uint32_t owner);

/* Gives a wholly free chunk back to the region. */
void sk_chunk_give(struct sk_chunk *chunk, bool is_purged);

/* Gives pages memory in one call instead of a page fault for each: all of the
 * chunk; or so many bytes behind its last carved unit, unless these pages have
 * some already. */
void sk_chunk_populate(struct sk_chunk *chunk);
void sk_chunk_populate_ahead(struct sk_chunk *chunk, size_t bytes);

/* Cuts up to `units` fresh units off, as a list; returns how many.  Owner
 * only, followed by sk_chunk_take_out. */
uint32_t sk_chunk_carve(struct sk_chunk *chunk, uint32_t units, void **list);

/* Counts units as out.  False when the chunk is being purged, or was: then
 * nothing may be taken.  Owner only. */
bool sk_chunk_take_out(struct sk_chunk *chunk, uint32_t units);

/* Undoes a part of that. */
void sk_chunk_take_back(struct sk_chunk *chunk, uint32_t units);

/* The list's first units, as far as they are the chunk's, become free; returns
 * how many, and in *list the rest.  Ends the program when one is so already.
 * Owner only. */
uint32_t sk_chunk_put(struct sk_chunk *chunk, void **list);

/* The units that sk_chunk_take has: the free ones, if there are none those at
 * home, or else the hollow ones.  Owner only. */
uint32_t sk_chunk_at_hand(const struct sk_chunk *chunk);

/* Makes a list of `units` of them.  Owner only, after sk_chunk_take_out. */
void *sk_chunk_take(struct sk_chunk *chunk, uint32_t units);

/* Sends a list of units home, from any thread.  Returns what the chunk's
 * post held before (list SK_POST_...), and in *is_free whether the chunk is
 * wholly free by this; with `is_sealing` it is then sealed and the caller
 * purges it. */
uint32_t sk_chunk_post(struct sk_chunk *chunk, void *first, void *last,
                       uint32_t units, bool is_sealing, bool *is_free);

/* Purges a chunk of the heap that sk_chunk_post sealed. */
void sk_chunk_purge_sealed(const struct sk_heap *heap, struct sk_chunk *chunk);

/* Moves what came home into `home`.  Owner only.  Returns the state of the
 * post: 0, or SK_POST_... and nothing was moved. */
uint32_t sk_chunk_collect(struct sk_chunk *chunk);

/* What is at home becomes free.  Owner only. */
void sk_chunk_merge_home(struct sk_chunk *chunk);

/* Gives the pages back in which no unit is out, all of whose units become
 * hollow; returns the bytes.  Owner only, not of a library heap's chunk. */
size_t sk_chunk_purge_pages(struct sk_chunk *chunk);

/* The units in the chunk.  Owner only; what is on its way home counts as out.
 */
static inline uint32_t sk_chunk_free_units(const struct sk_chunk *chunk)
{
    return chunk->free_units + chunk->home_units + chunk->hollow_units;
}

static inline bool sk_chunk_is_free(const struct sk_chunk *chunk)
{
    return sk_chunk_free_units(chunk) == chunk->carved_units;
}

/* Has it a unit that was used before? */
static inline bool sk_chunk_has_free(const struct sk_chunk *chunk)
{
    return sk_chunk_free_units(chunk) > 0;
}

/* Where a chunk's units lie: what the test below needs of heap and chunk. */
struct sk_units {
    uintptr_t start;
    size_t sixteenths; /* the bytes of all units / 16 */
    uint64_t reciprocal;
};

static inline struct sk_units sk_chunk_units(const struct sk_heap *heap,
                                             const struct sk_chunk *chunk)
{
    return (struct sk_units){
        (uintptr_t)sk_chunk_start(chunk) + heap->lead_bytes,
        (size_t)heap->chunk_units * heap->unit_bytes >> 4, heap->reciprocal};
}

/* Is an address the start of one of the units, and which?  The offset is
 * counted in 16 bytes by a rotation, which makes one that is no multiple of
 * them, or below the first unit, larger than all.  Then a multiplication tells
 * whether it is a multiple of the unit's size d, also counted in 16 bytes: with
 * c = ceil(2^32 / d) the low half of offset * c is at most c - 1, modulo 2^32,
 * for multiples alone, and the high half is the quotient, as long as (offset +
 * d) * d <= 2^32 (D. Lemire, O. Kaser, N. Kurz, "Faster remainder by direct
 * computation", 2019), which heaps keep to by chunks of at most 2^16 * 16
 * bytes.  Reads nothing of the chunk, whose line may be its owner's just now.
 */
static inline bool sk_units_find(const struct sk_units *units, const void *p,
                                 uint32_t *index)
{
    uint64_t offset = (uintptr_t)p - units->start, product;

    offset = offset >> 4 | offset << 60;
    product = offset * units->reciprocal;
    *index = (uint32_t)(product >> 32);
    return offset < units->sixteenths &&
           (uint32_t)product <= (uint32_t)units->reciprocal - 1;
}

static inline bool sk_units_have(const struct sk_units *units, const void *p)
{
    uint32_t index;

    return sk_units_find(units, p, &index);
}

static inline bool sk_chunk_has_unit(const struct sk_heap *heap,
                                     const struct sk_chunk *chunk,
                                     const void *p)
{
    struct sk_units units = sk_chunk_units(heap, chunk);

    return sk_units_have(&units, p);
}

/* The last unit of a list, and how many it has, which is no bound: a bin takes
 * one more for each 2^30 allocations without a slow path.  A unit freed twice
 * makes its list a ring, and ends the program. */
void *sk_list_end(const struct sk_heap *heap, void *list, uint32_t *units);

/* A block is not what it was freed as: says so and ends the program. */
extern SK_LOCAL const char sk_chunk_freed_twice[];
_Noreturn void sk_chunk_die(const struct sk_heap *heap, const void *unit,
                            const char *what);

/* Debug builds and tests: the equations above. */
bool sk_chunk_is_sound(struct sk_chunk *chunk);

#endif
