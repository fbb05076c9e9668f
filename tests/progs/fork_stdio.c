// Forks while other threads print, open and close streams and allocate: fork
// takes stdio's locks after the handlers ran, so an allocator that holds its
// own from a handler on makes a circle.  Another opens and closes a library,
// whose loader lock is as much in the way.  Arguments: forks, library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include "expect.h"

static volatile int stop;
static FILE *shared;

static void *prints(void *arg)
{
    while (!stop)
        fprintf(shared, "%d %p %s\n", 1, arg, "a line");
    return NULL;
}

static void *opens(void *arg)
{
    while (!stop) {
        FILE *f = fopen("/dev/null", "w");

        EXPECT(f, "fopen: %s", strerror(errno));
        fputs("a line\n", f);
        fclose(f);
    }
    return arg;
}

static void *allocates(void *arg)
{
    char *text;

    while (!stop) {
        EXPECT(asprintf(&text, "%0*d", 3000, 1) == 3000, "asprintf");
        free(text);
        free(block(100000));
        for (size_t i = 0; i < 200; i++)
            free(block(i * 90));
    }
    return arg;
}

static void *loads(void *library)
{
    while (!stop) {
        void *handle = dlopen(library, RTLD_NOW);

        EXPECT(handle, "dlopen: %s", dlerror());
        dlclose(handle);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int forks = argc > 1 ? atoi(argv[1]) : 500;
    void *(*const work[])(void *) = {prints, opens, allocates, loads};
    pthread_t thread[4];
    int status;

    shared = fopen("/dev/null", "w");
    EXPECT(shared, "fopen: %s", strerror(errno));
    for (int i = 0; i < 4; i++)
        EXPECT(!pthread_create(&thread[i], NULL, work[i],
                               argc > 2 ? argv[2] : NULL),
               "no thread");
    for (int i = 0; i < forks; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            FILE *f;

            alarm(20);
            f = fopen("/dev/null", "w");
            fprintf(f, "%d\n", i);
            fclose(f);
            fprintf(shared, "%d\n", i);
            free(block(500));
            _exit(0);
        }
        EXPECT(pid > 0, "fork: %s", strerror(errno));
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0,
               "the child ended with status %#x", status);
    }
    stop = 1;
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    return ok();
}
