// An address limit that is not this process's, or that leaves room enough for
// everything: for a "child", in a "vfork"'s child, or "high"; or one that is
// only "asked" for, or of "files".  Then it takes 80 MB in small blocks.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "expect.h"

static const struct rlimit low = {(rlim_t)1 << 30, RLIM_INFINITY};
static const struct rlimit few = {20, 20};
static const struct rlimit high = {(rlim_t)1 << 45, RLIM_INFINITY};

static void limit_child(void)
{
    pid_t child = fork();

    if (child == 0) {
        pause();
        _exit(0);
    }
    EXPECT(child > 0, "fork");
    EXPECT(!prlimit(child, RLIMIT_AS, &low, NULL), "errno %d", errno);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void limit_in_vfork(void)
{
    pid_t child = vfork();

    if (child == 0) {
        setrlimit(RLIMIT_AS, &low);
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    EXPECT(child > 0 && waitpid(child, NULL, 0) == child, "errno %d", errno);
}

int main(int argc, char **argv)
{
    const char *which = argc > 1 ? argv[1] : "";
    struct rlimit old;

    free(block(100));
    if (!strcmp(which, "child"))
        limit_child();
    else if (!strcmp(which, "vfork"))
        limit_in_vfork();
    else if (!strcmp(which, "asked"))
        EXPECT(!prlimit(0, RLIMIT_AS, NULL, &old), "errno %d", errno);
    else if (!strcmp(which, "files"))
        EXPECT(!setrlimit(RLIMIT_NOFILE, &few), "errno %d", errno);
    else
        EXPECT(!setrlimit(RLIMIT_AS, &high), "errno %d", errno);
    for (int i = 0; i < 400000; i++)
        *(char *)block(200) = 1;
    return ok();
}
