// BUILD: -ldl
// Fork handlers of the program and of libatfork.so, which may be preloaded or
// opened late (then it is the argument), allocate and take a lock that
// allocating threads hold.
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include "expect.h"

static volatile int stop;
static void (*work)(void);

static void *works(void *arg)
{
    while (!stop) {
        work();
        usleep(20); /* its mutex is not fair, and main wants it too */
    }
    return arg;
}

static void handler(void)
{
    free(block(2000));
    free(block(64));
}

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : RTLD_DEFAULT;
    pthread_t threads[2];
    int status;

    *(void **)&work = dlsym(library, "atfork_work");
    EXPECT(work, "libatfork.so is not there: %s", dlerror());
    EXPECT(!pthread_atfork(handler, handler, handler), "pthread_atfork");
    for (int i = 0; i < 2; i++)
        EXPECT(!pthread_create(&threads[i], NULL, works, NULL), "no thread");
    for (int i = 0; i < 500; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            alarm(20);
            work();
            _exit(0);
        }
        EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
               "the child ended with status %#x", status);
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return ok();
}
