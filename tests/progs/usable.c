// malloc_usable_size: at least what was asked for, the same for the block's
// whole life, and all of it the program's; calloc has zeroed all of it.  With
// the argument "classes" also: it is exactly the shim's size class.
#include "expect.h"

static int classes;

static void one(size_t size)
{
    unsigned char *p = block(size);
    unsigned char *q = block(size);
    size_t usable = malloc_usable_size(p);

    EXPECT(usable >= size, "malloc(%zu): usable size %zu", size, usable);
    if (classes)
        EXPECT(usable == class_size(size), "malloc(%zu): %zu is not %zu",
               size, usable, class_size(size));
    fill(p, usable, 1);
    fill(q, malloc_usable_size(q), 2);
    EXPECT_FILLED(p, usable, 1);
    EXPECT_FILLED(q, malloc_usable_size(q), 2);
    EXPECT(malloc_usable_size(p) == usable, "it changed to %zu",
           malloc_usable_size(p));
    free(q);
    EXPECT_FILLED(p, usable, 1);
    EXPECT(malloc_usable_size(p) == usable, "it changed to %zu",
           malloc_usable_size(p));
    free(p);
}

// The unit that malloc dirtied comes back from calloc clean to its end, so a
// program that grows into the slack by realloc finds zeros there.
static void dirty_then_calloc(size_t size)
{
    unsigned char *dirty[40];
    unsigned char *p;

    for (int i = 0; i < 40; i++) {
        dirty[i] = block(size);
        memset(dirty[i], 0xff, malloc_usable_size(dirty[i]));
    }
    for (int i = 0; i < 40; i++)
        free(dirty[i]);
    for (int i = 0; i < 40; i++) {
        p = calloc(1, size);
        EXPECT(p, "calloc(1, %zu) gave NULL", size);
        for (size_t b = 0; b < malloc_usable_size(p); b++)
            EXPECT(!p[b], "calloc(1, %zu): byte %zu is %d", size, b, p[b]);
        p = realloc(p, malloc_usable_size(p));
        EXPECT(p && !p[malloc_usable_size(p) - 1], "slack is dirty");
        dirty[i] = p;
    }
    for (int i = 0; i < 40; i++)
        free(dirty[i]);
}

int main(int argc, char **argv)
{
    classes = argc > 1 && !strcmp(argv[1], "classes");
    EXPECT(malloc_usable_size(NULL) == 0, "of NULL: %zu",
           malloc_usable_size(NULL));
    for (size_t i = 0; i < CLASSES; i++) {
        size_t unit = class_nth(i);

        one(unit - 1);
        one(unit);
        dirty_then_calloc(unit - 8);
        if (unit < MAX_SMALL)
            one(unit + 1);
    }
    one(0);
    return ok();
}
