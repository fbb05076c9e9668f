/*
 * sk_owner.c - the chunks a thread owns: listed, idle, given up.
 *
 * Layer: with sk_state.
 */
#include "sk_state_parts.h"

void sk_owner_unlist(struct sk_state *self, struct sk_chunk *chunk)
{
    struct sk_rack *rack = sk_state_rack(self, chunk->heap);

    if (rack->look_next == sk_chunk_first(chunk) + 1)
        rack->look_next = chunk->next;
    sk_chunk_unlist(chunk, &rack->partial);
}

/* --- idle chunks: wholly free, kept a while ------------------------------ */

static size_t bytes_of(const struct sk_heap *heap)
{
    return SK_GRANULE_BYTES << heap->order;
}

static void add_idle(struct sk_state *self, struct sk_chunk *chunk)
{
    uint32_t name = sk_chunk_first(chunk) + 1;

    chunk->is_idle = 1;
    chunk->idle_next = 0;
    chunk->idle_prev = self->idle_newest;
    if (self->idle_newest)
        sk_chunk_at(self->idle_newest - 1)->idle_next = name;
    else
        self->idle_oldest = name;
    self->idle_newest = name;
    self->idle_bytes += bytes_of(chunk->heap);
}

void sk_owner_forget_idle(struct sk_state *self, struct sk_chunk *chunk)
{
    if (!chunk->is_idle)
        return;
    chunk->is_idle = 0;
    self->idle_bytes -= bytes_of(chunk->heap);
    if (chunk->idle_prev)
        sk_chunk_at(chunk->idle_prev - 1)->idle_next = chunk->idle_next;
    else
        self->idle_oldest = chunk->idle_next;
    if (chunk->idle_next)
        sk_chunk_at(chunk->idle_next - 1)->idle_prev = chunk->idle_prev;
    else
        self->idle_newest = chunk->idle_prev;
}

/* Nothing is taken out of the chunk any more: it goes, or a sender purges it
 * and its mail brings it back. */
static void pass_over(struct sk_state *self, struct sk_chunk *chunk)
{
    struct sk_rack *rack = sk_state_rack(self, chunk->heap);

    sk_owner_forget_idle(self, chunk);
    sk_owner_unlist(self, chunk);
    if (rack->carving == sk_chunk_first(chunk) + 1)
        rack->carving = 0;
}

bool sk_owner_take_out(struct sk_state *self, struct sk_chunk *chunk,
                       uint32_t units)
{
    sk_owner_forget_idle(self, chunk);
    if (sk_chunk_take_out(chunk, units))
        return true;
    pass_over(self, chunk); /* purged under our hands */
    return false;
}

void sk_owner_leave(struct sk_state *self, struct sk_chunk *chunk)
{
    pass_over(self, chunk);
    sk_bin_forget_carved(self, chunk->heap, chunk->carved_units);
}

void sk_owner_drop(struct sk_state *self, struct sk_chunk *chunk,
                   bool is_purged)
{
    sk_owner_leave(self, chunk);
    sk_chunk_give(chunk, is_purged);
}

/* Gives up idle chunks, the oldest first, down to so many bytes. */
static void drop_idle(struct sk_state *self, size_t keep_bytes)
{
    while (self->idle_oldest && self->idle_bytes > keep_bytes)
        sk_owner_drop(self, sk_chunk_at(self->idle_oldest - 1), false);
}

static size_t idle_share(void)
{
    return SK_IDLES_MOST / (sk_state_count() + 1);
}

static size_t idle_most(const struct sk_state *self)
{
    size_t least = idle_share() < SK_IDLE_BYTES ? idle_share() : SK_IDLE_BYTES;

    return self->idle_most < least ? least : self->idle_most;
}

/* A loop at a chunk's edge must not go to the region every time around, so
 * this one stays, whatever it is. */
static void keep_idle(struct sk_state *self, struct sk_chunk *chunk)
{
    size_t keep_bytes = idle_most(self), before;

    if (chunk->is_idle)
        return;
    add_idle(self, chunk);
    if (keep_bytes < bytes_of(chunk->heap))
        keep_bytes = bytes_of(chunk->heap);
    before = self->idle_bytes;
    drop_idle(self, sk_config.purge_delay ? keep_bytes : 0);
    self->idle_dropped += before - self->idle_bytes;
}

void sk_owner_make_way(struct sk_state *self, const struct sk_heap *heap)
{
    size_t bytes = bytes_of(heap), more = idle_most(self) + bytes;

    if (self->idle_dropped >= bytes) {
        self->idle_dropped -= bytes;
        if (more <= idle_share())
            self->idle_most = more;
    }
    if (self->idle_oldest) {
        struct sk_chunk *oldest = sk_chunk_at(self->idle_oldest - 1);

        if (oldest->heap->order == heap->order)
            sk_owner_drop(self, oldest, false);
    }
}

void sk_state_drop_idle(struct sk_state *self)
{
    self->idle_dropped = 0;
    self->idle_most /= 2;
    drop_idle(self, 0);
}

/* After units came back to a chunk: the next refill finds them; if it is
 * wholly free, the oldest such chunk is given up. */
void sk_owner_settle(struct sk_state *self, struct sk_chunk *chunk)
{
    sk_chunk_list(chunk, &sk_state_rack(self, chunk->heap)->partial);
    if (sk_chunk_is_free(chunk) && !chunk->heap->is_kept)
        keep_idle(self, chunk);
}

void sk_state_drop_carving(struct sk_state *self)
{
    for
        SK_EACH_USED_BIN(self, i)
        {
            uint32_t name = self->racks[i].carving;

            if (name && !sk_heap_of_bin(i)->is_kept &&
                sk_chunk_is_free(sk_chunk_at(name - 1)))
                sk_owner_drop(self, sk_chunk_at(name - 1), false);
        }
}

/* --- pages between units that are in use --------------------------------- */

/* Each time: looks at chunks, and those of them that are worth it. */
#define LOOKS      32
#define WORTH_MOST 16
#define PAUSE_MOST 64
#define PURGED     0x80000000u

/* The next chunk with free units, all of the thread's in turn. */
static struct sk_chunk *next_to_look_at(struct sk_state *self)
{
    struct sk_rack *rack = &self->racks[self->look_bin];
    uint32_t name = rack->look_next;

    for (uint32_t bins = 0; !name && bins < SK_CLASSES; bins++) {
        if (++self->look_bin == SK_CLASSES)
            self->look_bin = 1;
        rack = &self->racks[self->look_bin];
        if (sk_heap_of_bin(self->look_bin)->chunk_units <= SK_HOLLOW_UNITS)
            name = rack->partial;
    }
    if (!name)
        return NULL;
    rack->look_next = sk_chunk_at(name - 1)->next;
    return sk_chunk_at(name - 1);
}

/* Is so much of it free that about two of five pages are, if it is free at
 * random?  A page is when all units are that reach into it, which of small ones
 * are many.  Less is not worth the search. */
static bool is_sparse(const struct sk_chunk *chunk)
{
    uint64_t free_units = sk_chunk_free_units(chunk);
    uint64_t chance = 1 << 16;

    if (chunk->free_units + chunk->home_units == 0 || chunk->is_idle)
        return false;
    for (size_t reach = 0; reach < sk_os_page_bytes() + chunk->heap->unit_bytes;
         reach += chunk->heap->unit_bytes)
        chance = chance * free_units / chunk->carved_units;
    return chance * 5 >= 2 << 16;
}

/* Purges a chunk of which as much is free as at the last look, for it rests.
 * False when that was done already and nothing has come back since. */
static bool purge_if_resting(struct sk_chunk *chunk)
{
    uint32_t units = chunk->free_units + chunk->home_units;

    if (chunk->looked_units == (units | PURGED))
        return false;
    if (chunk->looked_units == units) {
        sk_chunk_purge_pages(chunk);
        units = chunk->free_units | PURGED;
    }
    chunk->looked_units = units;
    return true;
}

/* Where there is nothing to do it pauses, longer each time: a program whose
 * chunks are full pays for no search; nor does one whose memory grows again
 * to what it just had, for it would only fault the pages in once more. */
void sk_owner_purge_pages(struct sk_state *self)
{
    int worth = 0;

    if (!sk_region_is_near_peak())
        return;
    if (self->look_pause > 0) {
        self->look_pause--;
        return;
    }
    for (int looks = 0; looks < LOOKS && worth < WORTH_MOST; looks++) {
        struct sk_chunk *chunk = next_to_look_at(self);

        if (!chunk)
            break;
        if (is_sparse(chunk))
            worth += purge_if_resting(chunk);
    }
    if (worth > 0)
        self->look_pauses = 0;
    else if (self->look_pauses < PAUSE_MOST)
        self->look_pauses = 2 * self->look_pauses + 1;
    self->look_pause = self->look_pauses;
}

void sk_owner_purge_all_pages(struct sk_state *self)
{
    for (uint32_t class = 1; class < SK_CLASSES; class++)
        for (uint32_t name = self->racks[class].partial; name;
             name = sk_chunk_at(name - 1)->next)
            sk_chunk_purge_pages(sk_chunk_at(name - 1));
}
