// Takes memory until there is none: then NULL and ENOMEM, no crash; all it
// got is whole; a block can be made smaller; and what is freed can be had again.
// To run under a limit.
#include "expect.h"

struct link {
    struct link *next;
    unsigned char bytes[];
};

static size_t take(struct link **all, size_t size)
{
    struct link *link;
    size_t n = 0;

    errno = 0;
    while (n < (size_t)4 << 30 && (link = malloc(size))) {
        link->next = *all;
        fill(link->bytes, size - sizeof *link, (unsigned)size);
        *all = link;
        n += size;
    }
    EXPECT(n < (size_t)4 << 30, "there is no limit");
    EXPECT(errno == ENOMEM, "errno is %d", errno);
    errno = 0;
    EXPECT(!calloc(1, size), "memory was there after all");
    EXPECT(errno == ENOMEM, "errno is %d", errno);
    return n;
}

static void make_smaller(void *p)
{
    EXPECT(p = realloc(p, 100), "errno is %d", errno);
    EXPECT_FILLED(p, 100, 1);
    free(p);
}

static void give_back(struct link *all, size_t size)
{
    while (all) {
        struct link *next = all->next;

        EXPECT_FILLED(all->bytes, size - sizeof *all, (unsigned)size);
        free(all);
        all = next;
    }
}

int main(void)
{
    static const size_t sizes[] = {64, 64, 1000, 1000, 30000, 64, 100000};
    size_t first = 0;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct link *all = NULL;
        void *large = block(30000);
        size_t n;

        fill(large, 30000, 1);
        n = take(&all, sizes[i]);

        EXPECT(n > 1 << 20, "%zu bytes of %zu could be had", n, sizes[i]);
        if (i == 0)
            first = n;
        EXPECT(i != 1 || n > first / 2, "%zu bytes, then only %zu", first, n);
        make_smaller(large);
        give_back(all, sizes[i]);
        malloc_trim(0);
    }
    return ok();
}
