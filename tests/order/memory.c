/*
 * memory.c - atomic operations: what C11 lets a load return.
 *
 * An operational reading of C11's memory model (RC11 without load buffering).
 * A word's stores are numbered.  Each thread has a view, the oldest number of
 * each word that it may still read; a release store carries the view of its
 * thread, and who reads it by an acquire load takes it over.  A view of its own
 * stands for the order of all sequentially consistent operations.
 */
#include "order_parts.h"

#include <stdlib.h>
#include <string.h>

enum { RELAXED, CONSUME, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST };

static bool acquires(int order)
{
    return order == CONSUME || order == ACQUIRE || order >= ACQ_REL;
}

static bool releases(int order)
{
    return order >= RELEASE;
}

/* --- views ---------------------------------------------------------------- */

static uint32_t least(const struct order_view *view, uint32_t word)
{
    return word < view->words ? view->least[word] : 0;
}

static void make_room(struct order_view *view, uint32_t words)
{
    if (words <= view->words)
        return;
    words = (words + 63) / 64 * 64;
    view->least = realloc(view->least, words * sizeof *view->least);
    memset(view->least + view->words, 0,
           (words - view->words) * sizeof *view->least);
    view->words = words;
}

static void raise_to(struct order_view *view, uint32_t word, uint32_t number)
{
    make_room(view, word + 1);
    if (view->least[word] < number)
        view->least[word] = number;
}

static void view_join(struct order_view *to, const struct order_view *from)
{
    make_room(to, from->words);
    for (uint32_t i = 0; i < from->words; i++)
        if (to->least[i] < from->least[i])
            to->least[i] = from->least[i];
}

static void join(struct order_knowledge *to, const struct order_knowledge *from)
{
    order_times_join(&to->times, &from->times);
    view_join(&to->view, &from->view);
}

static void forget(struct order_knowledge *what)
{
    free(what->view.least);
    *what = (struct order_knowledge){0};
}

/* --- histories ------------------------------------------------------------ */

enum { KEPT = 8, WORDS = 1 << 16 };

struct store {
    uint64_t value;
    struct order_knowledge carried;
};

static struct word {
    uintptr_t at;
    uint32_t bytes, id;
    uint32_t last;   /* number of the last store */
    uint32_t oldest; /* number of the first that is kept */
    uint32_t stale;  /* loads in a row that returned an older one */
    struct store stores[KEPT];
} *words[WORDS];
static uint32_t known;
static struct order_view in_order; /* of sequentially consistent operations */

static struct store *store_of(struct word *word, uint32_t number)
{
    return &word->stores[number % KEPT];
}

static uint64_t memory_at(uintptr_t at, uint32_t bytes)
{
    uint64_t value = 0;

    memcpy(&value, (const void *)at, bytes);
    return value;
}

/* From now on the word has but one value, that of the memory. */
static void begin_anew(struct word *word)
{
    word->last++;
    word->oldest = word->last;
    forget(&store_of(word, word->last)->carried);
    store_of(word, word->last)->value = memory_at(word->at, word->bytes);
}

static struct word **find(uintptr_t at)
{
    size_t i = (at >> 1) * 0x9e3779b97f4a7c15u >> 48;

    while (words[i % WORDS] && words[i % WORDS]->at != at)
        i++;
    return &words[i % WORDS];
}

static struct word *make(struct word **place, uintptr_t at, uint32_t bytes)
{
    struct word *word = calloc(1, sizeof *word);

    if (known == WORDS / 2)
        order_fail(__FILE__, __LINE__, "too many words for one scene");
    word->at = at;
    word->bytes = bytes;
    word->id = known++;
    begin_anew(word);
    return *place = word;
}

/* The word that has these bytes: of a load it may be a larger one.  What
 * somebody wrote by a plain store, or the kernel, is its value now. */
static struct word *word_at(uintptr_t at, uint32_t bytes)
{
    struct word **place = find(at), *word = *place;

    for (uintptr_t size = 2 * bytes; !word && size <= 8; size *= 2) {
        struct word *larger = *find(at & ~(size - 1));

        if (larger && larger->at + larger->bytes >= at + bytes)
            word = larger;
    }
    if (!word)
        return make(place, at, bytes);
    if (word->bytes < bytes) {
        word->bytes = bytes;
        begin_anew(word);
    }
    if (store_of(word, word->last)->value != memory_at(word->at, word->bytes))
        begin_anew(word);
    return word;
}

static void *address(const volatile void *p)
{
    return (void *)(uintptr_t)p;
}

uint32_t order_latest(const void *word)
{
    return (uint32_t)memory_at((uintptr_t)word, 4);
}

static void say(const char *what, const volatile void *at, uint64_t value,
                int order, const void *from)
{
    static const char *const names[] = {"relaxed", "consume", "acquire",
                                        "release", "acq_rel", "seq_cst"};

    if (order_is_traced())
        order_say("%d %-6s %p %#llx %s from %p\n", order_self(), what,
                  address(at), (unsigned long long)value, names[order], from);
}

/* --- loads and stores ----------------------------------------------------- */

static void learn(struct word *word, uint32_t number, int order)
{
    struct order_mind *mind = order_mind();
    const struct order_knowledge *carried = &store_of(word, number)->carried;

    raise_to(&mind->now.view, word->id, number);
    join(acquires(order) ? &mind->now : &mind->acquired, carried);
}

/* After so many older values the last one: at some time it arrives. */
enum { STALE_MOST = 12 };

static uint32_t choose(struct word *word, int order)
{
    uint32_t from = least(&order_mind()->now.view, word->id);

    if (order == SEQ_CST && from < least(&in_order, word->id))
        from = least(&in_order, word->id);
    if (from < word->oldest)
        from = word->oldest;
    if (word->last > from && word->stale < STALE_MOST && order_random(2) == 0) {
        word->stale++;
        return from + order_random(word->last - from);
    }
    word->stale = 0;
    return word->last;
}

static uint64_t load(const volatile void *p, uint32_t bytes, int order,
                     const void *from)
{
    uintptr_t at = (uintptr_t)p;
    struct word *word;
    uint64_t value;
    uint32_t number;

    order_step();
    order_access((const void *)at, bytes, false, true, from);
    word = word_at(at, bytes);
    number = choose(word, order);
    learn(word, number, order);
    value = store_of(word, number)->value >> (at - word->at) * 8;
    if (bytes < 8)
        value &= ((uint64_t)1 << bytes * 8) - 1;
    say(number == word->last ? "load" : "stale", p, value, order, from);
    return value;
}

/* `before`: what the store that it follows carried, if a read-modify-write
 * continues its release sequence. */
static void append(struct word *word, uint64_t value, int order,
                   const struct order_knowledge *before)
{
    struct order_mind *mind = order_mind();
    struct order_knowledge carried = {0};
    struct store *store;

    if (before)
        join(&carried, before);
    raise_to(&mind->now.view, word->id, word->last + 1);
    join(&carried, releases(order) ? &mind->now : &mind->released);
    raise_to(&carried.view, word->id, word->last + 1);
    word->last++;
    if (word->last - word->oldest >= KEPT)
        word->oldest++;
    store = store_of(word, word->last);
    forget(&store->carried);
    store->carried = carried;
    store->value = value;
    memcpy((void *)word->at, &value, word->bytes);
    if (order == SEQ_CST)
        raise_to(&in_order, word->id, word->last);
    if (releases(order))
        mind->now.times.of[order_self()]++;
}

static struct word *whole_word(const volatile void *p, uint32_t bytes,
                               const void *from)
{
    struct word *word;

    order_step();
    order_access(address(p), bytes, true, true, from);
    word = word_at((uintptr_t)p, bytes);
    if (word->bytes != bytes)
        order_fail(__FILE__, __LINE__, "a part of a word is written");
    return word;
}

static void store(volatile void *p, uint32_t bytes, uint64_t value, int order,
                  const void *from)
{
    struct word *word = whole_word(p, bytes, from);

    say("store", p, value, order, from);
    append(word, value, order, NULL);
}

enum change { EXCHANGE, ADD, SUB, AND, OR, XOR, NAND };

static uint64_t changed(enum change change, uint64_t old, uint64_t by)
{
    switch (change) {
    case ADD:
        return old + by;
    case SUB:
        return old - by;
    case AND:
        return old & by;
    case OR:
        return old | by;
    case XOR:
        return old ^ by;
    case NAND:
        return ~(old & by);
    default:
        return by;
    }
}

/* A read-modify-write reads the last store. */
static void modify(struct word *word, uint64_t value, int order)
{
    struct order_knowledge before = {0};

    join(&before, &store_of(word, word->last)->carried);
    learn(word, word->last, order);
    append(word, value, order, &before);
    forget(&before);
}

static uint64_t change(volatile void *p, uint32_t bytes, enum change how,
                       uint64_t by, int order, const void *from)
{
    struct word *word = whole_word(p, bytes, from);
    uint64_t old = store_of(word, word->last)->value;
    uint64_t new = changed(how, old, by);

    if (bytes < 8)
        new &= ((uint64_t)1 << bytes * 8) - 1;
    say("change", p, new, order, from);
    modify(word, new, order);
    return old;
}

static bool exchange_if(volatile void *p, uint32_t bytes, void *expected,
                        uint64_t value, int order, int failed, bool is_weak,
                        const void *from)
{
    struct word *word = whole_word(p, bytes, from);
    uint64_t old = store_of(word, word->last)->value;
    uint64_t wanted = 0;

    memcpy(&wanted, expected, bytes);
    if (old == wanted && !(is_weak && order_random(8) == 0)) {
        say("swap", p, value, order, from);
        modify(word, value, order);
        return true;
    }
    say("noswap", p, old, failed, from);
    learn(word, word->last, failed);
    memcpy(expected, &old, bytes);
    return false;
}

void order_hand_over(int to, int from)
{
    struct order_knowledge *known_there = &order_mind_of(from)->now;

    join(&order_mind_of(to)->now, known_there);
    known_there->times.of[from]++;
}

void order_barrier(int threads)
{
    for (int i = 0; i < threads; i++)
        view_join(&in_order, &order_mind_of(i)->now.view);
    for (int i = 0; i < threads; i++)
        view_join(&order_mind_of(i)->now.view, &in_order);
}

static void fence(int order)
{
    struct order_mind *mind = order_mind();

    order_step();
    if (acquires(order))
        join(&mind->now, &mind->acquired);
    if (order == SEQ_CST) {
        view_join(&in_order, &mind->now.view);
        view_join(&mind->now.view, &in_order);
    }
    if (releases(order)) {
        join(&mind->released, &mind->now);
        mind->now.times.of[order_self()]++;
    }
}

/* --- what the compiler calls ---------------------------------------------- */

#define FROM __builtin_return_address(0)

#define CHANGE(bits, type, name, how)                                          \
    type __tsan_atomic##bits##_##name(volatile type *p, type by, int order)    \
    {                                                                          \
        return (type)change(p, sizeof *p, how, by, order, FROM);               \
    }

#define SWAP(bits, type, name, is_weak)                                        \
    int __tsan_atomic##bits##_compare_exchange_##name(                         \
        volatile type *p, type *expected, type value, int order, int failed)   \
    {                                                                          \
        return exchange_if(p, sizeof *p, expected, value, order, failed,       \
                           is_weak, FROM);                                     \
    }

#define ATOMICS(bits, type)                                                    \
    type __tsan_atomic##bits##_load(const volatile type *p, int order)         \
    {                                                                          \
        return (type)load(p, sizeof *p, order, FROM);                          \
    }                                                                          \
    void __tsan_atomic##bits##_store(volatile type *p, type value, int order)  \
    {                                                                          \
        store(p, sizeof *p, value, order, FROM);                               \
    }                                                                          \
    CHANGE(bits, type, exchange, EXCHANGE)                                     \
    CHANGE(bits, type, fetch_add, ADD)                                         \
    CHANGE(bits, type, fetch_sub, SUB)                                         \
    CHANGE(bits, type, fetch_and, AND)                                         \
    CHANGE(bits, type, fetch_or, OR)                                           \
    CHANGE(bits, type, fetch_xor, XOR)                                         \
    CHANGE(bits, type, fetch_nand, NAND)                                       \
    SWAP(bits, type, strong, false)                                            \
    SWAP(bits, type, weak, true)

ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

void __tsan_atomic_thread_fence(int order)
{
    fence(order);
}

void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}
