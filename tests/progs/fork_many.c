// Several threads fork at once.  Arguments: threads, forks of each.
#include <pthread.h>
#include <sys/wait.h>
#include "expect.h"

static int forks;

static void *forker(void *arg)
{
    for (int i = 0; i < forks; i++) {
        void *p = block((size_t)i % 3000 + 1);
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            alarm(20);
            free(p);
            free(block(100));
            _exit(0);
        }
        EXPECT(pid > 0, "fork: %s", strerror(errno));
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0,
               "the child ended with status %#x", status);
        free(p);
    }
    return arg;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 8;
    pthread_t thread[64];

    forks = argc > 2 ? atoi(argv[2]) : 100;
    EXPECT(threads <= 64, "at most 64 threads");
    for (int i = 0; i < threads; i++)
        EXPECT(!pthread_create(&thread[i], NULL, forker, NULL), "no thread");
    for (int i = 0; i < threads; i++)
        EXPECT(!pthread_join(thread[i], NULL), "no join");
    return ok();
}
