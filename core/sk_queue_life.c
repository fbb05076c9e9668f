/*
 * sk_queue_life.c - queues come, go and report.
 *
 * Layer: with sk_queue.
 */
#define SK_HEAP_NO_INLINE
#include "sk_queue_lead.h"
#include "sk_queue_parts.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#define SEGMENTS_PER_CHUNK 63

/* The list of all queues, and the heap their own memory comes from. */
static struct {
    struct sk_guard walk; /* the walker is its changer */
    sk_heap *_Atomic heap;
    struct sk_queue *_Atomic first;
} queues;

/* In the child nobody holds a lock or sleeps. */
static void after_fork(void)
{
    sk_guard_after_fork(&queues.walk);
    for (struct sk_queue *queue = queues.first; queue; queue = queue->next) {
        atomic_store(&queue->put_lock.word, 0);
        atomic_store(&queue->get_lock.word, 0);
        atomic_store(&queue->getters.sleepers, 0);
        atomic_store(&queue->putters.sleepers, 0);
    }
}

/* Not with the first queue: another thread may fork while that is made. */
__attribute__((constructor(102))) static void at_load(void)
{
    pthread_atfork(NULL, NULL, after_fork);
}

/* The leader's calls; NULL: this copy's own. */
static const struct sk_queue_calls *find_lead(void)
{
    const struct sk_queue_calls *lead = NULL;

    if (SK_UNLIKELY(sk_heap_find_lead()))
        lead = sk_heap_find_name("skpreload_queue_calls");
    return lead;
}

static sk_heap *heap_of_queues(void)
{
    const struct sk_heap_attributes how = {
        .label = "sk_queue",
        .unit_size = sizeof(struct sk_queue),
        .alignment = SK_LINE_BYTES,
        .units_per_chunk = 64,
        .options = SK_HEAP_UNLIMITED | SK_HEAP_ZERO,
    };
    sk_heap *heap = atomic_load(&queues.heap), *made;

    if (SK_LIKELY(heap))
        return heap;
    /* Without the list's lock: the heaps' may be held for a visit. */
    made = sk_heap_new_with(&how);
    if (!made || atomic_compare_exchange_strong(&queues.heap, &heap, made))
        return made;
    sk_heap_destroy(made, 0);
    return heap;
}

static struct sk_queue *make(sk_heap *heap, size_t maximum)
{
    struct sk_queue *queue = sk_heap_unit_allocate(heap_of_queues());

    if (!queue)
        return NULL;
    queue->heap = heap;
    if (!sk_queue_begin(queue, maximum)) {
        sk_heap_unit_unref(queue);
        return NULL;
    }
    sk_lock(&queues.walk.lock);
    queue->next = queues.first;
    queues.first = queue;
    sk_unlock(&queues.walk.lock);
    return queue;
}

sk_queue *sk_queue_new(const char *label, size_t maximum_entries)
{
    const struct sk_queue_calls *lead = find_lead();
    struct sk_queue *queue;
    sk_heap *heap;

    if (SK_UNLIKELY(lead))
        return lead->new_queue(label, maximum_entries);
    if (maximum_entries > INT64_MAX) {
        errno = EINVAL;
        return NULL;
    }
    if (sk_guard_is_mine(&queues.walk)) {
        errno = EBUSY;
        return NULL;
    }
    heap = sk_heap_new(label, sizeof(struct sk_segment), SEGMENTS_PER_CHUNK, 0,
                       SK_HEAP_UNLIMITED | SK_HEAP_SHRINK);
    if (!heap)
        return NULL;
    queue = make(heap, maximum_entries);
    if (!queue) {
        sk_heap_destroy(heap, 0);
        errno = ENOMEM;
    }
    return queue;
}

static void unlink_queue(struct sk_queue *queue)
{
    struct sk_queue *_Atomic *at = &queues.first;

    sk_lock(&queues.walk.lock);
    while (*at && *at != queue)
        at = &(*at)->next;
    if (*at)
        *at = queue->next;
    sk_unlock(&queues.walk.lock);
}

long sk_queue_destroy(sk_queue *queue)
{
    const struct sk_queue_calls *lead = find_lead();
    size_t length;

    if (SK_UNLIKELY(lead))
        return lead->destroy(queue);
    if (!queue) {
        errno = EINVAL;
        return -1;
    }
    length = sk_queue_length(queue);
    if (length > 0)
        return length < LONG_MAX ? (long)length : LONG_MAX;
    if (sk_guard_is_mine(&queues.walk) || sk_library_is_busy()) {
        errno = EBUSY;
        return -1;
    }
    unlink_queue(queue);
    sk_heap_destroy(queue->heap, 1);
    sk_heap_unit_unref(queue);
    return 0;
}

/* While nothing is put the numbers only come closer. */
static size_t measure(struct sk_queue *queue, uint64_t *gets)
{
    uint64_t puts;

    sk_brief_lock(&queue->put_lock);
    puts = atomic_load(&queue->puts);
    *gets = atomic_load(&queue->gets);
    sk_brief_unlock(&queue->put_lock);
    return (size_t)(puts - *gets);
}

size_t sk_queue_length(sk_queue *queue)
{
    uint64_t gets;

    return queue ? measure(queue, &gets) : 0;
}

int sk_queue_read(sk_queue *queue, struct sk_queue_info *info)
{
    if (!queue || !info) {
        errno = EINVAL;
        return -1;
    }
    *info = (struct sk_queue_info){
        .label = queue->heap->label,
        .maximum_entries = queue->maximum,
        .sleeps = atomic_load(&queue->getters.sleeps) +
                  atomic_load(&queue->putters.sleeps),
        .is_closed = atomic_load(&queue->is_closed),
    };
    info->length = measure(queue, &info->gets);
    return 0;
}

static int visit_all(int (*visit)(sk_queue *, void *), void *context)
{
    SK_WALKING walk = sk_walk_begin(&queues.walk);
    int result = 0;

    for (struct sk_queue *queue = queues.first; queue && result == 0;
         queue = queue->next)
        result = visit(queue, context);
    return result;
}

int sk_queue_each(int (*visit)(sk_queue *, void *), void *context)
{
    const struct sk_queue_calls *lead = find_lead();

    if (SK_UNLIKELY(lead))
        return lead->each(visit, context);
    if (!visit) {
        errno = EINVAL;
        return -1;
    }
    if (!sk_guard_is_mine(&queues.walk) && sk_library_is_busy()) {
        errno = EBUSY;
        return -1;
    }
    return visit_all(visit, context);
}

/* --- report --------------------------------------------------------------- */

struct report {
    int fd;
    enum sk_heap_format format;
    bool is_good, is_first;
};

static int report_queue(sk_queue *queue, void *with)
{
    struct report *report = with;
    struct sk_queue_info info;
    char line[512];
    struct sk_text text = {line, 0, sizeof line};

    sk_queue_read(queue, &info);
    if (report->format == SK_HEAP_JSON)
        sk_text_add(&text,
                    "%s\n  {\"label\": \"%s\", \"maximum_entries\": %u, "
                    "\"length\": %u, \"gets\": %u, \"sleeps\": %u, "
                    "\"is_closed\": %s}",
                    report->is_first ? "" : ",", info.label,
                    (uint64_t)info.maximum_entries, info.length, info.gets,
                    info.sleeps, info.is_closed ? "true" : "false");
    else
        sk_text_add(&text, "%s: length %u, got %u, slept %u%s\n", info.label,
                    info.length, info.gets, info.sleeps,
                    info.is_closed ? ", closed" : "");
    report->is_first = false;
    report->is_good =
        report->is_good && sk_os_write(report->fd, line, text.used);
    return 0;
}

int sk_queue_report(sk_queue *queue, int fd, enum sk_heap_format format)
{
    static const char head[] = "{\"schema\": \"skqueue-report/1\", "
                               "\"queues\": [";
    static const char tail[] = "\n]}\n";
    struct report report = {fd, format, true, true};
    bool is_json = format == SK_HEAP_JSON;

    if (is_json)
        report.is_good = sk_os_write(fd, head, sizeof head - 1);
    if (queue)
        report_queue(queue, &report);
    else if (sk_queue_each(report_queue, &report) != 0)
        report.is_good = false;
    if (is_json)
        report.is_good =
            report.is_good && sk_os_write(fd, tail, sizeof tail - 1);
    return report.is_good ? 0 : -1;
}

SK_LEAD_CALL(sk_queue_new);
SK_LEAD_CALL(sk_queue_destroy);
SK_LEAD_CALL(sk_queue_each);

const struct sk_queue_calls sk_queue_here = {
    .version = SK_VERSION,
    .new_queue = sk_queue_new_here,
    .destroy = sk_queue_destroy_here,
    .each = sk_queue_each_here,
};
