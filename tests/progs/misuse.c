// Frees what must not be freed, on the shim's heaps, and goes on as a server
// would: says the pointer on stdout, and "unnoticed" if it gets to its end.
// Argument: interior, unaligned, twice, or never (handed out): by free; usable
// or realloc: never handed out, by malloc_usable_size or realloc.
#include "expect.h"

static void *others[20000];

// Enough churn of the class that every free unit has gone through its chunk.
static void churn(size_t size)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20000; i++)
            others[i] = malloc(size);
        for (int i = 0; i < 20000; i++)
            free(others[i]);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    static char *kept[2000];
    char *volatile p = block(64);
    char *volatile bad = p;

    for (int i = 0; i < 2000; i++)
        kept[i] = block(64);
    if (!strcmp(what, "interior"))
        bad = p + 16;
    else if (!strcmp(what, "unaligned"))
        bad = p + 3;
    else if (strcmp(what, "twice"))
        bad = p + ((size_t)1 << 30);
    printf("%p\n", (void *)bad);
    fflush(stdout);
    if (!strcmp(what, "twice"))
        free(p);
    if (!strcmp(what, "usable"))
        (void)malloc_usable_size(bad);
    else if (!strcmp(what, "realloc"))
        (void)!realloc(bad, 10);
    else
        free(bad);
    for (int i = 0; i < 2000; i++)
        free(kept[i]);
    churn(64);
    puts("unnoticed");
    return 0;
}
