// Forks while another thread is in malloc_stats(): the child's own call says as
// many lines as the parent's did.  Argument: forks.
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/wait.h>
#include "expect.h"

static volatile int stop;

static void *tells(void *unused)
{
    while (!stop)
        malloc_stats();
    return unused;
}

// Descriptor 2 becomes a file without a name.
static int open_file(void)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

    EXPECT(fd >= 0, "no file");
    dup2(fd, 2);
    return fd;
}

static int lines_said(int fd)
{
    char text[65536];
    ssize_t bytes;
    int lines = 0;

    malloc_stats();
    bytes = pread(fd, text, sizeof text, 0);
    for (ssize_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    return lines;
}

int main(int argc, char **argv)
{
    int forks = argc > 1 ? atoi(argv[1]) : 300, status, most, said = dup(2);
    pthread_t thread;
    pid_t child;

    free(block(100));
    most = lines_said(open_file());
    dup2(open("/dev/null", O_WRONLY), 2);
    EXPECT(!pthread_create(&thread, NULL, tells, NULL), "no thread");
    for (int i = 0; i < forks; i++) {
        child = fork();
        if (child == 0) {
            alarm(20);
            _exit(lines_said(open_file()) < most);
        }
        waitpid(child, &status, 0);
        dup2(status ? said : 2, 2);
        EXPECT(!status, "child %d of %d: status %x", i, forks, status);
    }
    stop = 1;
    pthread_join(thread, NULL);
    return ok();
}
