/*
 * queue_fuzz.c - queues against a model, driven by a tape.
 *
 * The tape is read in steps of four bytes: what to do, with which of 4 queues,
 * and a number (low byte first).  The model of a queue is the list of what must
 * be in it, so order, length, limit and errno of every call are checked.  The
 * entries are units of one heap, one reference for each queue they are in: at
 * the end of a tape none is live.  Steps that wait do so in a thread, while the
 * tape's own thread does what the waiting is for.
 *
 * Built as heap_fuzz.c.
 */
#include "fuzz.h"

#include "sk_queue_parts.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { QUEUES = 4, ENTRIES_MOST = 1000, MANY = 400 };

/* Entries are numbered as in the queue: puts - gets are in it. */
static struct model {
    sk_queue *queue;
    size_t maximum; /* ENTRIES_MOST: the queue has none */
    size_t puts, gets;
    bool is_closed;
    uint64_t *entries[ENTRIES_MOST];
} models[QUEUES];

static sk_heap *heap;
static uint64_t made;

/* --- the model --------------------------------------------------------------- */

static size_t length_of(const struct model *model)
{
    return model->puts - model->gets;
}

static bool is_full(const struct model *model)
{
    return length_of(model) == model->maximum;
}

static bool has_limit(const struct model *model)
{
    return model->maximum < ENTRIES_MOST;
}

static void note_put(struct model *model, uint64_t *entry)
{
    model->entries[model->puts++ % ENTRIES_MOST] = entry;
}

/* What was got is the oldest; its reference ends here. */
static void note_got(struct model *model, uint64_t *entry)
{
    REQUIRE(length_of(model) > 0);
    REQUIRE(entry == model->entries[model->gets++ % ENTRIES_MOST]);
    REQUIRE(entry[0] == ~entry[1]);
    sk_heap_unit_unref(entry);
}

static uint64_t *new_entry(void)
{
    uint64_t *entry = sk_heap_unit_allocate(heap);

    REQUIRE(entry);
    entry[0] = ++made;
    entry[1] = ~made;
    return entry;
}

/* --- steps that do not wait -------------------------------------------------- */

/* Takes a reference over, or drops it. */
static void put(struct model *model, uint64_t *entry, unsigned number)
{
    int result;

    errno = 0;
    if (!has_limit(model) && is_full(model)) {
        /* There is no limit but the model's own. */
        sk_heap_unit_unref(entry);
        return;
    }
    if (number % 3 == 0 && (model->is_closed || !is_full(model)))
        result = sk_queue_put(model->queue, entry);
    else if (number % 3 == 1 && (model->is_closed || !is_full(model)))
        result = sk_queue_put_within(model->queue, entry, number % 50);
    else
        result = sk_queue_try_put(model->queue, entry);
    if (model->is_closed)
        REQUIRE(result == -1 && errno == EPIPE);
    else if (is_full(model))
        REQUIRE(result == -1 && errno == EAGAIN);
    else
        REQUIRE(result == 0);
    if (result == 0)
        note_put(model, entry);
    else
        sk_heap_unit_unref(entry);
}

static void put_many(struct model *model, unsigned number)
{
    for (unsigned i = 0; i <= number % MANY; i++)
        put(model, new_entry(), number);
}

/* One entry, in as many queues as there are. */
static void put_to_all(unsigned number)
{
    uint64_t *entry = new_entry();

    for (int i = 0; i < QUEUES; i++)
        if (models[i].queue)
            put(&models[i], sk_heap_unit_ref(entry), number);
    sk_heap_unit_unref(entry);
}

static void get(struct model *model, unsigned number)
{
    bool is_empty = length_of(model) == 0;
    uint64_t *entry;

    errno = 0;
    if (number % 3 == 0 && (model->is_closed || !is_empty))
        entry = sk_queue_get(model->queue);
    else if (number % 3 == 1 && (model->is_closed || !is_empty))
        entry = sk_queue_get_within(model->queue, number % 50);
    else
        entry = sk_queue_try_get(model->queue);
    REQUIRE(is_empty == !entry);
    if (entry)
        note_got(model, entry);
    else
        REQUIRE(errno == (model->is_closed ? EPIPE : EAGAIN));
}

static void get_many(struct model *model, unsigned number)
{
    size_t most = 1 + number % MANY, length = length_of(model);
    void *into[MANY];
    size_t got;

    if (length == 0 && !model->is_closed)
        return;
    errno = 0;
    got = sk_queue_get_many(model->queue, into, most);
    REQUIRE(got == (most < length ? most : length));
    REQUIRE(got > 0 || errno == EPIPE);
    for (size_t i = 0; i < got; i++)
        note_got(model, into[i]);
}

static void look(const struct model *model)
{
    struct sk_queue_info info;

    REQUIRE(sk_queue_length(model->queue) == length_of(model));
    REQUIRE(sk_queue_read(model->queue, &info) == 0);
    REQUIRE(info.length == length_of(model));
    REQUIRE(info.gets == model->gets);
    REQUIRE(info.maximum_entries == (has_limit(model) ? model->maximum : 0));
    REQUIRE(!info.is_closed == !model->is_closed);
}

static void make(struct model *model, unsigned number)
{
    size_t maximum = number % 5 == 0 ? 0 : 1 + number / 5 % 300;

    *model = (struct model){
        .queue = sk_queue_new("fuzzed", maximum),
        .maximum = maximum > 0 ? maximum : ENTRIES_MOST,
    };
    REQUIRE(model->queue);
}

static void destroy(struct model *model)
{
    REQUIRE(sk_queue_destroy(model->queue) == (long)length_of(model));
    if (length_of(model) == 0)
        model->queue = NULL;
}

/* --- steps that wait --------------------------------------------------------- */

struct waiter {
    sk_queue *queue;
    void *entry; /* to put, or what was got */
    bool is_timed;
    int error;
};

static void *wait_to_get(void *with)
{
    struct waiter *waiter = with;

    errno = 0;
    waiter->entry = waiter->is_timed
                        ? sk_queue_get_within(waiter->queue, 60000)
                        : sk_queue_get(waiter->queue);
    waiter->error = errno;
    return NULL;
}

static void *wait_to_put(void *with)
{
    struct waiter *waiter = with;

    errno = 0;
    if ((waiter->is_timed
             ? sk_queue_put_within(waiter->queue, waiter->entry, 60000)
             : sk_queue_put(waiter->queue, waiter->entry)) != 0)
        waiter->error = errno;
    return NULL;
}

/* A getter of an empty queue: an entry comes, or the queue is closed. */
static void hand_over(struct model *model, unsigned number)
{
    struct waiter waiter = {.queue = model->queue, .is_timed = number & 1};
    pthread_t thread;

    if (length_of(model) > 0)
        return;
    REQUIRE(pthread_create(&thread, NULL, wait_to_get, &waiter) == 0);
    if (number % 8 < 2) {
        sk_queue_close(model->queue);
        model->is_closed = true;
    } else {
        put(model, new_entry(), number);
    }
    pthread_join(thread, NULL);
    REQUIRE(!waiter.entry == model->is_closed);
    if (waiter.entry)
        note_got(model, waiter.entry);
    else
        REQUIRE(waiter.error == EPIPE);
}

/* A putter onto a full queue: an entry is got, or the queue is closed. */
static void make_room(struct model *model, unsigned number)
{
    struct waiter waiter = {.queue = model->queue, .is_timed = number & 1};
    pthread_t thread;

    if (!is_full(model) || !has_limit(model) || model->is_closed)
        return;
    waiter.entry = new_entry();
    REQUIRE(pthread_create(&thread, NULL, wait_to_put, &waiter) == 0);
    if (number % 8 < 2) {
        sk_queue_close(model->queue);
        model->is_closed = true;
    } else {
        get(model, number);
    }
    pthread_join(thread, NULL);
    REQUIRE(waiter.error == (model->is_closed ? EPIPE : 0));
    if (waiter.error)
        sk_heap_unit_unref(waiter.entry);
    else
        note_put(model, waiter.entry);
}

/* Waits in vain, for a millisecond. */
static void time_out(struct model *model)
{
    uint64_t *entry;

    errno = 0;
    if (length_of(model) == 0) {
        REQUIRE(!sk_queue_get_within(model->queue, 1));
        REQUIRE(errno == (model->is_closed ? EPIPE : ETIMEDOUT));
    } else if (is_full(model) && has_limit(model)) {
        entry = new_entry();
        REQUIRE(sk_queue_put_within(model->queue, entry, 1) == -1);
        REQUIRE(errno == (model->is_closed ? EPIPE : ETIMEDOUT));
        sk_heap_unit_unref(entry);
    }
}

/* --- the tape ---------------------------------------------------------------- */

enum action {
    PUT, PUT_MANY, PUT_TO_ALL, GET, GET_AGAIN, GET_MANY, LOOK, HAND_OVER,
    MAKE_ROOM, CLOSE_OR_END, TIME_OUT, ACTIONS
};

static void act(enum action action, struct model *model, unsigned number)
{
    switch (action) {
    case PUT:
        put(model, new_entry(), number);
        break;
    case PUT_MANY:
        put_many(model, number);
        break;
    case PUT_TO_ALL:
        put_to_all(number);
        break;
    case GET:
    case GET_AGAIN:
        get(model, number);
        break;
    case GET_MANY:
        get_many(model, number);
        break;
    case HAND_OVER:
        hand_over(model, number);
        break;
    case MAKE_ROOM:
        make_room(model, number);
        break;
    case CLOSE_OR_END:
        if (number % 4 > 0) {
            destroy(model);
        } else {
            sk_queue_close(model->queue);
            model->is_closed = true;
        }
        break;
    case TIME_OUT:
        if (number % 16 == 0)
            time_out(model);
        break;
    case LOOK:
    case ACTIONS:
        look(model);
    }
}

static void finish(void)
{
    struct sk_heap_info info;

    for (int i = 0; i < QUEUES; i++) {
        if (!models[i].queue)
            continue;
        look(&models[i]);
        while (length_of(&models[i]) > 0)
            get_many(&models[i], MANY - 1);
        destroy(&models[i]);
    }
    REQUIRE(sk_heap_read(heap, &info) == 0);
    REQUIRE(info.live_units == 0);
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        REQUIRE(sk_state_is_sound(sk_state_at(id)));
    REQUIRE(sk_region_is_sound());
}

int LLVMFuzzerTestOneInput(const uint8_t *tape, size_t bytes)
{
    if (!heap)
        heap = sk_heap_new("entries", 2 * sizeof(uint64_t), 64, 0,
                           SK_HEAP_UNLIMITED);
    REQUIRE(heap);
    for (; bytes >= 4; tape += 4, bytes -= 4) {
        struct model *model = &models[tape[1] % QUEUES];
        unsigned number = tape[2] | (unsigned)tape[3] << 8;

        if (!model->queue)
            make(model, number);
        act((enum action)(tape[0] % ACTIONS), model, number);
    }
    finish();
    return 0;
}
