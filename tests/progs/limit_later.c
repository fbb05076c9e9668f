// The program lowers its own address limit after it started: what glibc could
// still allocate then, the process can.  Arguments: MiB to leave; "clone": in a
// child that this system call makes, without the handlers of fork(); or the
// function that sets the limit.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "expect.h"

static int parent_of(pid_t child)
{
    int status = -1;

    EXPECT(child > 0 && waitpid(child, &status, 0) == child, "errno %d", errno);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int set_limit(const char *function, const struct rlimit *limit)
{
    const struct rlimit64 limit64 = {limit->rlim_cur, limit->rlim_max};

    if (!strcmp(function, "setrlimit64"))
        return setrlimit64(RLIMIT_AS, &limit64);
    if (!strcmp(function, "prlimit"))
        return prlimit(getpid(), RLIMIT_AS, limit, NULL);
    if (!strcmp(function, "prlimit64"))
        return prlimit64(0, RLIMIT_AS, &limit64, NULL);
    return setrlimit(RLIMIT_AS, limit);
}

// The size of the whole address space in use, without any reservation that
// can be given back: what glibc's process has at this point is about 3 MiB.
int main(int argc, char **argv)
{
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 0) : 256;
    const char *how = argc > 2 ? argv[2] : "";
    struct rlimit limit;
    static void *small[20000]; // 20 MiB
    void *blocks[64];

    fill(blocks[0] = block(100), 100, 1);
    if (!strcmp(how, "clone")) {
        pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

        if (child != 0)
            return parent_of(child);
    }
    EXPECT(!getrlimit(RLIMIT_AS, &limit), "getrlimit");
    limit.rlim_cur = mib << 20;
    EXPECT(!set_limit(how, &limit), "%s: %s", how, strerror(errno));
    for (int i = 1; i < 64; i++)
        memset(blocks[i] = block(1 << 20), 1, 1 << 20);
    for (int i = 1; i < 64; i++)
        free(blocks[i]);
    for (unsigned i = 0; i < 20000; i++)
        fill(small[i] = block(1000), 1000, i);
    for (unsigned i = 0; i < 20000; i++) {
        EXPECT_FILLED(small[i], 1000, i);
        free(small[i]);
    }
    EXPECT_FILLED(blocks[0], 100, 1);
    free(blocks[0]);
    return ok();
}
