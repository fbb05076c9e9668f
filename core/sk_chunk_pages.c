/*
 * sk_chunk_pages.c - pages of a chunk that go back while others are in use.
 *
 * Layer: with sk_chunk.
 *
 *    units   |u0   |u1   |u2   |u3   |u4   |u5   |u6   |
 *             free  free  out   free  free  free  free
 *    pages   |0          |1          |2          |3   ...
 *             goes back   stays       goes back
 *
 * A unit that begins in a page that went back is hollow: the next ones to be
 * taken are others.  One that only reaches into such a page is not.  Pages may
 * go twice: nothing tells which have been used again since by a unit that
 * reaches in from the one before.
 */
#include "sk_chunk.h"

static bool has_bit(const uint64_t *bits, uint32_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

static void set_bit(uint64_t *bits, uint32_t i)
{
    bits[i / 64] |= UINT64_C(1) << i % 64;
}

static void clear_bit(uint64_t *bits, uint32_t i)
{
    bits[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static void mark_free(const struct sk_chunk *chunk, uint64_t *is_free)
{
    for (int i = 0; i < SK_HOLLOW_WORDS; i++)
        is_free[i] = sk_chunk_bits(chunk)[i] | chunk->hollow[i];
}

/* The first unit that a page has a part of, and the one behind its last. */
struct span {
    uint32_t from, to;
};

static struct span units_in(const struct sk_chunk *chunk, size_t start,
                            size_t end)
{
    size_t bytes = chunk->heap->unit_bytes;
    size_t to = (end + bytes - 1) / bytes;

    if (to > chunk->carved_units)
        to = chunk->carved_units;
    return (struct span){(uint32_t)(start / bytes), (uint32_t)to};
}

static bool is_page_free(const struct sk_chunk *chunk, const uint64_t *is_free,
                         size_t start, size_t end)
{
    struct span span = units_in(chunk, start, end);

    for (uint32_t i = span.from; i < span.to; i++)
        if (!has_bit(is_free, i))
            return false;
    return true;
}

/* Units that begin between two offsets. */
static uint32_t hollow_out(struct sk_chunk *chunk, size_t start, size_t end)
{
    size_t bytes = chunk->heap->unit_bytes;
    uint32_t hollowed = 0;

    for (uint32_t i = (uint32_t)((start + bytes - 1) / bytes);
         i < chunk->carved_units && i * bytes < end; i++)
        if (!has_bit(chunk->hollow, i)) {
            set_bit(chunk->hollow, i);
            clear_bit(sk_chunk_bits(chunk), i);
            hollowed++;
        }
    return hollowed;
}

/* Gives runs of free pages back, one call each. */
static size_t purge_runs(struct sk_chunk *chunk, const uint64_t *is_free)
{
    size_t page = sk_os_page_bytes(), purged = 0;
    size_t end = (size_t)chunk->carved_units * chunk->heap->unit_bytes;

    for (size_t at = 0, next; at < end; at = next + page) {
        uint32_t hollowed;

        next = at;
        while (next < end && is_page_free(chunk, is_free, next, next + page))
            next += page;
        if (next == at ||
            !sk_os_purge(sk_chunk_start(chunk) + at, next - at))
            continue;
        hollowed = hollow_out(chunk, at, next);
        chunk->hollow_units += hollowed;
        chunk->free_units -= hollowed;
        purged += next - at;
    }
    return purged;
}

size_t sk_chunk_purge_pages(struct sk_chunk *chunk)
{
    uint64_t is_free[SK_HOLLOW_WORDS];
    size_t purged;

    if (chunk->heap->chunk_units > SK_HOLLOW_UNITS || chunk->heap->hooks)
        return 0;
    /* Out meanwhile, or a sender might purge all of the chunk under our hands;
     * or one does just now. */
    if (!sk_chunk_take_out(chunk, 1))
        return 0;
    sk_chunk_merge_home(chunk);
    mark_free(chunk, is_free);
    purged = purge_runs(chunk, is_free);
    sk_chunk_take_back(chunk, 1);
    return purged;
}
