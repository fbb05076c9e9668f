// fork with much live memory succeeds, and what the kernel may charge for it
// is what the process uses, not what an allocator reserved: writable private
// memory stays below live memory plus 64 MiB.
#include <sys/wait.h>
#include "expect.h"

enum { BLOCKS = 1000000, SIZE = 200 };

static void *blocks[BLOCKS];

// Bytes of writable private mappings that count against the commit limit.
static size_t chargeable(void)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512], rights[8];
    size_t start, end, size = 0, sum = 0;

    EXPECT(f, "no /proc/self/smaps");
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%zx-%zx %7s", &start, &end, rights) == 3)
            size = rights[1] == 'w' && rights[3] == 'p' ? end - start : 0;
        else if (!strncmp(line, "VmFlags:", 8) && strstr(line, " ac"))
            sum += size;
    }
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
    EXPECT(charged >= sizeof blocks, "smaps tells nothing: %zu", charged);
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
