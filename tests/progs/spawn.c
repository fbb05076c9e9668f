// posix_spawn from four threads, and vfork and clone children that allocate
// and free in the parent's own memory: afterwards every block is whole.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include "expect.h"

extern char **environ;

static void *spawns(void *arg)
{
    for (int i = 0; i < 50; i++) {
        char *const words[] = {(char *)"true", NULL};
        posix_spawn_file_actions_t actions;
        int status;
        pid_t pid;

        EXPECT(!posix_spawn_file_actions_init(&actions), "init");
        EXPECT(!posix_spawn_file_actions_addopen(&actions, 0, "/dev/null",
                                                 O_RDONLY, 0), "addopen");
        EXPECT(!posix_spawn(&pid, "/bin/true", &actions, NULL, words,
                            environ), "posix_spawn");
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0,
               "true ended with status %#x", status);
        posix_spawn_file_actions_destroy(&actions);
    }
    return arg;
}

enum { BLOCKS = 2000 };

static void *blocks[BLOCKS];

// Runs in a process of its own pid, but in our memory and our TLS.
static int borrows(void *arg)
{
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
        blocks[i] = block((size_t)i + 1);
        fill(blocks[i], (size_t)i + 1, (unsigned)i);
    }
    (void)arg;
    return 7;
}

static void check_blocks(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        EXPECT_FILLED(blocks[i], (size_t)i + 1, (unsigned)i);
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

static void by_vfork(void)
{
    int status;
    volatile pid_t pid = vfork();

    if (pid == 0)
        _exit(borrows(NULL));
    EXPECT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7,
           "the child ended with status %#x", status);
    check_blocks();
}

static void by_clone(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    int status;
    pid_t pid = clone(borrows, stack + sizeof stack,
                      CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);

    EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid &&
           WEXITSTATUS(status) == 7, "the child ended with %#x", status);
    check_blocks();
}

int main(void)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        EXPECT(!pthread_create(&threads[i], NULL, spawns, NULL), "no thread");
    for (int i = 0; i < 100; i++) {
        by_vfork();
        by_clone();
    }
    for (int i = 0; i < 4; i++)
        EXPECT(!pthread_join(threads[i], NULL), "no join");
    return ok();
}
