/*
 * sk_heap_report.c - what a heap did, as figures and as a report.
 *
 * Layer: with sk_heap.
 */
#include "sk_heap_lead.h"
#include "sk_stats.h"

#include <errno.h>

/* --- figures -------------------------------------------------------------- */

/* Counters and bins of running threads, read as they are. */
__attribute__((no_sanitize("thread"))) static void
read_state(struct sk_state *state, const struct sk_heap *heap,
           uint64_t *cached, uint64_t *allocations)
{
    uint32_t bin = heap->slot / SK_BIN_BYTES;
    uint32_t units;

    *allocations += sk_stats_bin_allocations(state, bin, &units);
    *cached += units + state->racks[bin].second_units;
    for (uint32_t i = 0; i < SK_BATCHES; i++) {
        struct sk_batch *batch = &state->batches[i];

        if (batch->units > 0 &&
            (sk_region_word(batch->chunk) & SK_SLOT_MASK) == heap->slot)
            *cached += batch->units;
    }
}

static uint64_t count_chunks(const struct sk_heap *heap, uint64_t *out)
{
    struct sk_state *self = sk_state_hide();
    uint64_t chunks = 0;

    for (uint32_t first = sk_library_chunk(heap, 0); first != SK_NONE;
         first = sk_library_chunk(heap, first + 1)) {
        struct sk_chunk *chunk = sk_chunk_at(first);

        *out += sk_chunk_out(heap, chunk);
        chunks++;
    }
    sk_state_show(self);
    return chunks;
}

static void read_units(struct sk_library *lib, struct sk_heap_info *info)
{
    uint64_t out = 0, cached = 0;

    info->chunk_bytes = count_chunks(lib->heap, &out) *
                        (SK_GRANULE_BYTES << lib->heap->order);
    if (lib->is_more) {
        sk_more_read(lib, info);
        return;
    }
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        read_state(sk_state_at(id), lib->heap, &cached, &info->allocations);
    info->live_units = out > cached ? out - cached : 0;
    info->cached_units = cached;
}

struct look {
    struct sk_library *lib;
    struct sk_heap_info info;
    bool is_exact;
};

/* At the first state, when all owners stand still. */
static void look_once(struct sk_state *state, bool is_broken, void *with)
{
    struct look *look = with;

    (void)state, (void)is_broken;
    if (look->is_exact)
        return;
    look->info = (struct sk_heap_info){0};
    read_units(look->lib, &look->info);
    look->is_exact = true;
}

/* Of running threads' units those that one sends home just now are in no list,
 * and seem live; those that it moves from one list to the next are seen in
 * both, and hide others that are. */
uint64_t sk_library_live(struct sk_library *lib)
{
    struct look look = {.lib = lib};

    if (!lib->is_more)
        sk_state_visit(look_once, &look);
    if (!look.is_exact)
        read_units(lib, &look.info);
    return look.info.live_units;
}

int sk_heap_read(sk_heap *heap, struct sk_heap_info *info)
{
    struct sk_library *lib = heap ? heap->library : NULL;

    if (SK_UNLIKELY(sk_heap_lead()))
        return sk_heap_lead()->read(heap, info);
    if (!lib || !info) {
        errno = EINVAL;
        return -1;
    }
    *info = (struct sk_heap_info){
        .label = heap->label,
        .unit_size = lib->unit_size,
        .alignment = lib->alignment,
        .units_per_chunk = lib->units_per_chunk,
        .maximum_units = lib->maximum,
        .options = lib->options,
        .grown_units = atomic_load(&lib->grown_units),
        .growths = atomic_load(&lib->growths),
        .refused = atomic_load(&lib->refused),
    };
    read_units(lib, info);
    return 0;
}

SK_LEAD_CALL(sk_heap_read);

/* --- report --------------------------------------------------------------- */

struct report {
    int fd;
    enum sk_heap_format format;
    bool is_good, is_first;
};

static void write_text(struct report *report, const struct sk_text *text)
{
    report->is_good = report->is_good &&
                      sk_os_write(report->fd, text->start, text->used);
}

/* A number or word at the right edge of a column. */
static void add_column(struct sk_text *text, size_t width, uint64_t value)
{
    char digits[24];
    struct sk_text number = {digits, 0, sizeof digits};

    sk_text_add(&number, "%u", value);
    for (; width > number.used; width--)
        sk_text_add(text, " ");
    digits[number.used < sizeof digits ? number.used : sizeof digits - 1] = 0;
    sk_text_add(text, "%s", digits);
}

static void add_row(struct sk_text *text, const struct sk_heap_info *info)
{
    size_t width = text->used + SK_HEAP_LABEL_BYTES;

    sk_text_add(text, "%s", info->label);
    while (text->used < width)
        sk_text_add(text, " ");
    add_column(text, 8, info->unit_size);
    add_column(text, 10, info->live_units);
    add_column(text, 10, info->cached_units);
    if (info->maximum_units == SIZE_MAX)
        sk_text_add(text, "         -");
    else
        add_column(text, 10, info->maximum_units);
    add_column(text, 12, info->chunk_bytes / 1024);
    add_column(text, 14, info->allocations);
    add_column(text, 10, info->refused);
    sk_text_add(text, "\n");
}

static void add_object(struct sk_text *text, const struct sk_heap_info *info)
{
    sk_text_add(text,
                "\n  {\"label\": \"%s\", \"unit_size\": %u, "
                "\"alignment\": %u, \"units_per_chunk\": %u, ",
                info->label, info->unit_size, info->alignment,
                info->units_per_chunk);
    if (info->maximum_units == SIZE_MAX)
        sk_text_add(text, "\"maximum_units\": null, ");
    else
        sk_text_add(text, "\"maximum_units\": %u, ", info->maximum_units);
    sk_text_add(text,
                "\"options\": %u, \"live_units\": %u, "
                "\"cached_units\": %u, \"grown_units\": %u, "
                "\"growths\": %u, \"allocations\": %u, \"refused\": %u, "
                "\"chunk_bytes\": %u}",
                (uint64_t)info->options, info->live_units,
                info->cached_units, info->grown_units, info->growths,
                info->allocations, info->refused, info->chunk_bytes);
}

static int report_heap(sk_heap *heap, void *with)
{
    struct report *report = with;
    struct sk_heap_info info;
    char line[1024];
    struct sk_text text = {line, 0, sizeof line};

    if (sk_heap_read(heap, &info) != 0)
        return 0;
    if (report->format == SK_HEAP_JSON) {
        sk_text_add(&text, report->is_first ? "" : ",");
        add_object(&text, &info);
    } else {
        add_row(&text, &info);
    }
    report->is_first = false;
    write_text(report, &text);
    return 0;
}

static void write_string(struct report *report, const char *string)
{
    char line[256];
    struct sk_text text = {line, 0, sizeof line};

    sk_text_add(&text, "%s", string);
    write_text(report, &text);
}

int sk_heap_report(sk_heap *heap, int fd, enum sk_heap_format format)
{
    struct report report = {fd, format, true, true};
    bool is_json = format == SK_HEAP_JSON;
    const struct sk_heap_calls *lead = sk_heap_find_lead();

    if (SK_UNLIKELY(lead))
        return lead->report(heap, fd, format);
    write_string(&report,
                 is_json ? "{\"schema\": \"skheap-report/1\", \"heaps\": ["
                         : "HEAP                                UNIT      LIVE"
                           "    CACHED   MAXIMUM  MEMORY KiB   ALLOCATIONS"
                           "   REFUSED\n");
    if (heap)
        report_heap(heap, &report);
    else if (sk_heap_each(report_heap, &report) != 0)
        report.is_good = false;
    if (is_json)
        write_string(&report, "\n]}\n");
    return report.is_good ? 0 : -1;
}

SK_LEAD_CALL(sk_heap_report);
