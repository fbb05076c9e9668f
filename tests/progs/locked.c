// mlockall, now and for the future: the reservation is not made resident, nor
// counted, and memory comes, goes and is trimmed.  Exits 77 where locking is not allowed.
#include <sys/mman.h>
#include "expect.h"

static long locked_kib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;

    EXPECT(f, "no /proc/self/status");
    while (fgets(line, sizeof line, f))
        sscanf(line, "VmLck: %ld", &kib);
    fclose(f);
    return kib;
}

int main(void)
{
    static void *blocks[20000];

    free(block(100));
    if (mlockall(MCL_CURRENT | MCL_FUTURE))
        return 77;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20000; i++)
            fill(blocks[i] = block(500), 500, (unsigned)i);
        for (int i = 0; i < 20000; i++) {
            EXPECT_FILLED(blocks[i], 500, (unsigned)i);
            free(blocks[i]);
        }
        malloc_trim(0);
    }
    EXPECT(rss_kib() < 200 * 1024, "RSS is %ld KiB", rss_kib());
    // What is reserved and not used would count against the limit of a program
    // that drops its rights, and every mmap would fail.
    EXPECT(locked_kib() < 200 * 1024, "%ld KiB locked", locked_kib());
    return ok();
}
