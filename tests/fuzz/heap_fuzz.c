/*
 * heap_fuzz.c - the library's heaps against a model, driven by a tape.
 *
 * The tape is read in steps of four bytes: what to do, with which of 128
 * slots, and a number (low byte first).  A slot remembers its unit, heap,
 * references and fill; the model knows how many units each heap has live, so
 * every refusal, every count and every byte of a live unit is checked.  Some
 * steps are done by a thread that ends with them.
 *
 * Built with clang's -fsanitize=fuzzer it looks for tapes; with replay.c it
 * runs those of corpus-heap/.
 */
#include "fuzz.h"

#include "sk_heap_parts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAPS = 8, SLOTS = 128, UNIT_MOST = 70000, LIVE_MOST = 64 };

static struct model {
    sk_heap *heap;
    size_t unit_size, alignment, maximum; /* 0: unlimited */
    size_t live;
    bool is_zeroing;
} models[HEAPS];

static struct slot {
    unsigned char *unit;
    struct model *model;
    unsigned references;
    unsigned char fill;
} slots[SLOTS];

/* --- what the steps do ------------------------------------------------------ */

static void check_slot(const struct slot *slot)
{
    REQUIRE(sk_heap_of_unit(slot->unit) == slot->model->heap);
    for (size_t i = 0; i < slot->model->unit_size; i++)
        REQUIRE(slot->unit[i] == slot->fill);
}

static void take(struct slot *slot, struct model *model)
{
    static unsigned char fill;
    bool is_full = model->maximum > 0 && model->live >= model->maximum;
    unsigned char *unit;

    if (slot->unit || !model->heap)
        return;
    unit = sk_heap_unit_allocate(model->heap);
    REQUIRE(is_full == !unit);
    if (!unit)
        return;
    REQUIRE((uintptr_t)unit % model->alignment == 0);
    for (size_t i = 0; model->is_zeroing && i < model->unit_size; i++)
        REQUIRE(unit[i] == 0);
    *slot = (struct slot){unit, model, 1, ++fill};
    memset(unit, slot->fill, model->unit_size);
    model->live++;
}

static void add(struct slot *slot)
{
    if (!slot->unit)
        return;
    REQUIRE(sk_heap_unit_ref(slot->unit) == slot->unit);
    slot->references++;
}

static void let_go(struct slot *slot)
{
    if (!slot->unit)
        return;
    check_slot(slot);
    sk_heap_unit_unref(slot->unit);
    if (--slot->references > 0)
        return;
    slot->model->live--;
    slot->unit = NULL;
}

static void make(struct model *model, unsigned number)
{
    static const size_t sizes[] = {1, 8, 16, 48, 64, 200, 1000, 4096,
                                   20000, UNIT_MOST};
    struct sk_heap_attributes how = {
        .label = "fuzzed",
        .unit_size = sizes[number % 10],
        .alignment = (size_t)1 << number / 16 % 8,
        .units_per_chunk = 1 + number / 128 % 32,
        .maximum_units = number / 4096 % 8 * 5,
        .options = number / 8 % 16,
    };

    if (model->heap)
        return;
    if (how.options & SK_HEAP_UNLIMITED)
        how.maximum_units = 0;
    else if (how.maximum_units == 0)
        how.maximum_units = 1;
    *model = (struct model){
        .heap = sk_heap_new_with(&how),
        .unit_size = how.unit_size,
        .alignment = how.alignment,
        .maximum = how.maximum_units,
        .is_zeroing = how.options & SK_HEAP_ZERO,
    };
    REQUIRE(model->heap);
}

static void destroy(struct model *model, bool is_forced)
{
    long result;

    if (!model->heap)
        return;
    result = sk_heap_destroy(model->heap, is_forced);
    REQUIRE(result == (is_forced ? 0 : (long)model->live));
    if (result != 0)
        return;
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].unit && slots[i].model == model)
            slots[i].unit = NULL;
    *model = (struct model){0};
}

static void look(const struct model *model)
{
    struct sk_heap_info info;

    if (!model->heap)
        return;
    REQUIRE(sk_heap_read(model->heap, &info) == 0);
    REQUIRE(info.live_units == model->live);
    REQUIRE(info.unit_size == model->unit_size);
}

/* --- the tape ---------------------------------------------------------------- */

enum action {
    TAKE, TAKE_MANY, ADD, LET_GO, LET_MANY_GO, MAKE, DESTROY, FORCE, TRIM,
    LOOK, ACTIONS
};

struct step {
    enum action action;
    struct slot *slot;
    struct model *model;
    unsigned number;
};

static void take_many(const struct step *step)
{
    for (int i = 0; i < LIVE_MOST; i++)
        take(&slots[((size_t)(step->slot - slots) + (size_t)i) % SLOTS],
             step->model);
}

static void let_many_go(const struct step *step)
{
    for (int i = 0; i < LIVE_MOST; i++)
        let_go(&slots[((size_t)(step->slot - slots) + (size_t)i) % SLOTS]);
}

static void *act(void *with)
{
    const struct step *step = with;

    switch (step->action) {
    case TAKE:
        take(step->slot, step->model);
        break;
    case TAKE_MANY:
        take_many(step);
        break;
    case ADD:
        add(step->slot);
        break;
    case LET_GO:
        let_go(step->slot);
        break;
    case LET_MANY_GO:
        let_many_go(step);
        break;
    case MAKE:
        make(step->model, step->number);
        break;
    case DESTROY:
        destroy(step->model, false);
        break;
    case FORCE:
        destroy(step->model, true);
        break;
    case TRIM:
        if (step->model->heap)
            sk_heap_trim(step->model->heap);
        break;
    case LOOK:
    case ACTIONS:
        look(step->model);
    }
    return NULL;
}

static void act_in_a_thread(struct step *step)
{
    pthread_t thread;

    REQUIRE(pthread_create(&thread, NULL, act, step) == 0);
    pthread_join(thread, NULL);
}

static void finish(void)
{
    for (int i = 0; i < HEAPS; i++) {
        look(&models[i]);
        destroy(&models[i], true);
    }
    for (uint32_t id = 1; id <= sk_state_count(); id++)
        REQUIRE(sk_state_is_sound(sk_state_at(id)));
    REQUIRE(sk_region_is_sound());
}

int LLVMFuzzerTestOneInput(const uint8_t *tape, size_t bytes)
{
    REQUIRE(sk_library_open());
    for (; bytes >= 4; tape += 4, bytes -= 4) {
        struct step step = {
            .action = tape[0] / 2 % ACTIONS,
            .slot = &slots[tape[1] % SLOTS],
            .number = tape[2] | (unsigned)tape[3] << 8,
        };

        /* Heaps to work on come first, whatever the tape says. */
        step.model = &models[step.number % HEAPS];
        if (!step.model->heap)
            make(step.model, step.number);
        if (tape[0] % 16 == 15)
            act_in_a_thread(&step);
        else
            act(&step);
    }
    finish();
    return 0;
}
