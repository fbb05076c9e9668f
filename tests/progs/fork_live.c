// fork with much live memory succeeds, and what the kernel may charge for it
// is what the process uses, not what an allocator reserved: writable private
// memory stays below live memory plus 64 MiB.
#include <sys/wait.h>
#include "expect.h"

enum { BLOCKS = 1000000, SIZE = 200 };

static void *blocks[BLOCKS];

// Bytes of writable private mappings: what a kernel that does not overcommit
// charges, whatever MAP_NORESERVE said.
static size_t chargeable(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512], rights[8];
    size_t start, end, sum = 0;

    EXPECT(f, "no /proc/self/maps");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%zx-%zx %7s", &start, &end, rights) == 3 &&
            rights[1] == 'w' && rights[3] == 'p')
            sum += end - start;
    fclose(f);
    return sum;
}

int main(void)
{
    size_t live, charged;
    int status;
    pid_t pid;

    for (int i = 0; i < BLOCKS; i++)
        memset(blocks[i] = block(SIZE), 1, SIZE);
    live = (size_t)rss_kib() * 1024;
    charged = chargeable();
    EXPECT(charged >= sizeof blocks, "maps tells nothing: %zu", charged);
    EXPECT(charged < live + (64u << 20), "%zu MiB resident, %zu charged",
           live >> 20, charged >> 20);
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < BLOCKS; i += 100)
            free(blocks[i]);
        _exit(0);
    }
    EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
           "the child ended with status %#x", status);
    return ok();
}
