// A child of fork that only allocates and frees 1000 blocks: prints how many
// KiB of pages it made its own by that.  The parent has 60 MiB of blocks of
// all sizes up to 1 KiB, and holes between them.
#include <sys/wait.h>
#include "expect.h"

enum { BLOCKS = 120000, UNITS = 1000 };

static void *blocks[BLOCKS];

// Sums Private_Dirty of all mappings, without allocating.
static long private_kib(void)
{
    static char text[1 << 18];
    int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t n;
    long sum = 0;

    EXPECT(fd >= 0, "no /proc/self/smaps");
    while ((n = read(fd, text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)n;
    close(fd);
    EXPECT(used < sizeof text - 1, "smaps is longer than %zu", used);
    text[used] = 0;
    for (char *at = text; (at = strstr(at, "Private_Dirty:")); at++)
        sum += strtol(at + strlen("Private_Dirty:"), NULL, 10);
    return sum;
}

static void child(void)
{
    static void *units[UNITS];
    unsigned state = 3;
    long before;

    private_kib(); // its own pages are the child's now
    before = private_kib();
    memset(units, 0, sizeof units);
    for (int i = 0; i < UNITS; i++) {
        units[i] = block(next_random(&state) % 512 + 1);
        *(volatile char *)units[i] = 1;
    }
    for (int i = 0; i < UNITS; i++)
        free(units[i]);
    dprintf(1, "%ld\n", private_kib() - before);
    _exit(0);
}

int main(void)
{
    unsigned state = 5;
    int status;
    pid_t pid;

    for (int i = 0; i < BLOCKS; i++) {
        size_t size = next_random(&state) % 1024 + 1;

        memset(blocks[i] = block(size), 1, size);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (next_random(&state) % 4 == 0)
            free(blocks[i]);
    pid = fork();
    if (pid == 0)
        child();
    EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
           "the child ended with status %#x", status);
    return 0;
}
