// Ten seconds' worth of churn in all sizes, with memory going up and down,
// leaves the number of mappings where libc's own would be: at most 200 more.
#include "expect.h"

enum { SLOTS = 100000 };

static void *blocks[SLOTS];

static int mappings(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    int c, n = 0;

    EXPECT(f, "no /proc/self/maps");
    while ((c = getc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

int main(void)
{
    unsigned state = 1;
    int before = mappings();

    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < SLOTS; i++) {
            unsigned slot = next_random(&state) % SLOTS;
            size_t size = next_random(&state) % (i % 50 ? 800 : 33000);

            free(blocks[slot]);
            memset(blocks[slot] = block(size), 1, size);
        }
        for (int i = round % 3; i < SLOTS; i += 1 + round % 3) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
        malloc_trim(0);
    }
    EXPECT(mappings() < before + 200, "%d mappings, then %d", before,
           mappings());
    return ok();
}
