// Neither the process nor its child has a thread it did not start, and what
// one of them writes after the fork the other does not see.
#include <dirent.h>
#include <sys/wait.h>
#include "expect.h"

enum { BLOCKS = 5000 };

static void *blocks[BLOCKS];

static int tasks(void)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    int n = 0;

    EXPECT(dir, "no /proc");
    while ((entry = readdir(dir)))
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void rewrite(unsigned seed)
{
    for (int i = 0; i < BLOCKS; i++) {
        EXPECT_FILLED(blocks[i], 300, (unsigned)i);
        fill(blocks[i], 300, (unsigned)i + seed);
        free(block(300));
    }
}

int main(void)
{
    int to_child[2], status;
    pid_t pid;
    char byte;

    for (int i = 0; i < BLOCKS; i++)
        fill(blocks[i] = block(300), 300, (unsigned)i);
    EXPECT(!pipe(to_child), "pipe");
    pid = fork();
    if (pid == 0) {
        EXPECT(read(to_child[0], &byte, 1) == 1, "read");
        rewrite(5); // the parent has written by now
        EXPECT(tasks() == 1, "the child has %d threads", tasks());
        _exit(0);
    }
    rewrite(9);
    EXPECT(write(to_child[1], "x", 1) == 1, "write");
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0,
           "the child ended with status %#x", status);
    for (int i = 0; i < BLOCKS; i++)
        EXPECT_FILLED(blocks[i], 300, (unsigned)i + 9);
    EXPECT(tasks() == 1, "the process has %d threads", tasks());
    return ok();
}
