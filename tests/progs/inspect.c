// libc's own reports tell of memory in use, wherever it is: 20 MB of small
// blocks show in mallinfo2 and mallinfo, go from there when freed, and
// malloc_info and malloc_stats print.
#include "expect.h"

enum { BLOCKS = 100000, SIZE = 200 };

static void *blocks[BLOCKS];

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void add_up(void)
{
    struct mallinfo2 all = mallinfo2();
    struct mallinfo old = mallinfo();

    EXPECT(all.arena == all.uordblks + all.fordblks,
           "mallinfo2: %zu, of that %zu and %zu", all.arena, all.uordblks,
           all.fordblks);
    EXPECT(old.arena == old.uordblks + old.fordblks,
           "mallinfo: %d, of that %d and %d", old.arena, old.uordblks,
           old.fordblks);
}

int main(void)
{
    size_t before = mallinfo2().uordblks;
    size_t during, after;
    char *text = NULL;
    size_t length = 0;
    FILE *out;

    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = block(SIZE);
    during = mallinfo2().uordblks;
    EXPECT(during >= before + BLOCKS * SIZE, "in use: %zu, then %zu", before,
           during);
    EXPECT((size_t)mallinfo().uordblks >= BLOCKS * SIZE, "mallinfo: %d",
           mallinfo().uordblks);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    add_up();
    after = mallinfo2().uordblks;
    EXPECT(after < before + BLOCKS * SIZE / 10, "in use: %zu, then %zu",
           before, after);
    out = open_memstream(&text, &length);
    EXPECT(out && !malloc_info(0, out) && !fclose(out), "malloc_info");
    EXPECT(strstr(text, "<malloc version="), "malloc_info: %s", text);
    EXPECT(malloc_info(1, stdout), "malloc_info takes any option");
    free(text);
    EXPECT(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1, "mallopt");
    malloc_stats();
    return ok();
}
