/*
 * sk_grown.h - blocks that grew out of the largest class.
 *
 * Layer: above sk_state.  What realloc() grows beyond the largest class gets a
 * run of the region to itself, as a rule one of option max_grown at once:
 * address space costs nothing, so a block that grows on is neither copied nor
 * faulted in again, and only the pages it uses are memory.
 *
 *    run:  |  usable  |  residue  |     never touched     |
 *          ^block     '-- pages of an earlier use: kept for growth, or purged
 *
 *   usable + residue == touched, or touched <= usable; all <= run
 *   spare = run - usable
 *
 * The map word of its first granule tells such a block, that of the others
 * that they belong to one; no thread owns it.  Any thread may free it, and
 * whoever holds it may resize it.  One lock guards the sums; what grows
 * within its usable bytes takes none.
 *
 * Nothing here changes errno or fails but by returning it; a pointer that is
 * no block ends the program.
 */
#ifndef SK_GROWN_H
#define SK_GROWN_H

#include "sk_state.h"

/* Slots beyond all heaps', of SK_OWNER_NONE. */
#define SK_GROWN_REST  (SK_OWNER_NONE << SK_OWNER_SHIFT | 0xfffdu)
#define SK_GROWN_FIRST (SK_OWNER_NONE << SK_OWNER_SHIFT | 0xfffeu)

_Static_assert(SK_MORE_SLOT + SK_MORE_HEAPS <= 0xfffd, "no heap has it");

struct sk_grown_figures {
    uint64_t allocations;   /* blocks handed out, those that moved again too */
    uint64_t bytes;         /* usable, of all of them, and what they grew by */
    uint64_t in_use;        /* blocks in the program's hands */
    uint64_t in_use_bytes;  /* their usable bytes */
    uint64_t spare_bytes;   /* of their runs, beyond that */
    uint64_t residue_bytes; /* of those, pages that may be there */
};

/* Is an address of the region in a block that grew?  True also where nothing
 * was handed out or is no more: then all of the below have the right last
 * words. */
static inline bool sk_grown_has(const void *p)
{
    uint32_t word = sk_region_word(sk_region_granule(p));

    return word == 0 || word == SK_GROWN_FIRST || word == SK_GROWN_REST;
}

/* A block of so many bytes, more than SK_CLASS_BYTES; NULL when it is more
 * than max_grown, the caller interrupted a slow path, or the region refuses:
 * then libc must serve. */
void *sk_grown_alloc(size_t bytes);

/* Makes so many bytes of the block usable, where it lies.  False when it must
 * move: its run is too small, or much too large. */
bool sk_grown_resize(void *p, size_t bytes);

void sk_grown_free(void *p);

/* What the program may write to: four sizes per doubling, as the classes. */
size_t sk_grown_usable(const void *p);

/* Purges all residue; whether there was any. */
bool sk_grown_trim(void);

/* In the child of a fork, after sk_region_after_fork. */
void sk_grown_after_fork(void);

/* The caller has hidden its state. */
void sk_grown_read_figures(struct sk_grown_figures *figures);

/* Debug builds and tests: the sums are those of the blocks there are. */
bool sk_grown_is_sound(void);

#endif
