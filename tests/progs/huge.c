// Prints what the mapping of small blocks says of huge pages, "nh" (none), "hg"
// (wanted) or "system", and whether any of 32 MiB of them lie in huge pages.
#include "expect.h"

#define BYTES  ((size_t)512)
#define BLOCKS (((size_t)32 << 20) / BYTES)

static uintptr_t low = UINTPTR_MAX, high;

static void spread(void)
{
    static void *blocks[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        uintptr_t at = (uintptr_t)(blocks[i] = block(BYTES));

        low = at < low ? at : low;
        high = at > high ? at : high;
    }
}

int main(void)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    const char *said = "no mapping";
    size_t start, end, kib, huge = 0;
    char line[512];
    int is_inside = 0;

    EXPECT(f, "no /proc/self/smaps");
    spread();
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%zx-%zx ", &start, &end) == 2)
            is_inside = start <= high && low < end;
        if (is_inside && sscanf(line, "AnonHugePages: %zu", &kib) == 1)
            huge += kib;
        if (is_inside && !strncmp(line, "VmFlags:", 8))
            said = strstr(line, " nh") ? "nh"
                   : strstr(line, " hg") ? "hg"
                                         : "system";
    }
    printf("%s %s\n", said, huge ? "huge" : "small");
    fclose(f);
    return 0;
}
