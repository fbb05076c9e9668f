// Threads allocate and free in every size class, and short-lived threads come
// and go, while the main thread forks, again and again; each child allocates
// and frees in every class, also what the parent had, starts a thread, and some
// fork once more.  Arguments: forks, allocating threads.
#include <pthread.h>
#include <sys/wait.h>
#include "expect.h"

static volatile int stop;
static void *inherited[CLASSES];

// Now few blocks, now many, so that chunks come and go as well.
static void *allocates(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;
    void *kept[512] = {NULL};

    for (unsigned step = 0; !stop; step++) {
        unsigned i = next_random(&state) % (step & 4096 ? 512 : 16);

        free(kept[i]);
        kept[i] = malloc(class_nth(next_random(&state) % CLASSES));
    }
    for (int i = 0; i < 512; i++)
        free(kept[i]);
    return NULL;
}

static void *allocates_once(void *p)
{
    free(p);
    return malloc(300);
}

static void *starts_threads(void *arg)
{
    while (!stop) {
        pthread_t thread;
        void *p;

        EXPECT(!pthread_create(&thread, NULL, allocates_once, malloc(100)),
               "no thread");
        pthread_join(thread, &p);
        free(p);
    }
    return arg;
}

static void touch_every_class(void)
{
    for (size_t i = 0; i < CLASSES; i++) {
        char *p = block(class_nth(i));
        char *q = calloc(1, class_nth(i));

        EXPECT(q && !q[class_nth(i) - 1], "calloc of class %zu", i);
        fill(p, class_nth(i), 1);
        free(inherited[i]);
        EXPECT_FILLED(p, class_nth(i), 1);
        free(q);
        free(p);
    }
}

static void reap(pid_t child, const char *whose)
{
    int status;

    EXPECT(child > 0, "fork: %s", strerror(errno));
    EXPECT(waitpid(child, &status, 0) == child, "waitpid");
    EXPECT(status == 0, "%s ended with status %#x", whose, status);
}

static void child(int again)
{
    pthread_t thread;

    alarm(20);
    touch_every_class();
    EXPECT(!pthread_create(&thread, NULL, allocates_once, block(9)),
           "no thread");
    pthread_join(thread, NULL);
    if (again) {
        pid_t grandchild = fork();

        if (grandchild == 0) {
            alarm(20);
            for (size_t i = 0; i < CLASSES; i++)
                inherited[i] = NULL;
            touch_every_class();
            _exit(0);
        }
        reap(grandchild, "the grandchild");
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    int forks = argc > 1 ? atoi(argv[1]) : 1000;
    int threads = argc > 2 ? atoi(argv[2]) : 4;
    // A busy machine does fewer of them, but a tenth at least.
    time_t until = time(NULL) + (argc > 3 ? atoi(argv[3]) : 3600);
    pthread_t thread[65];

    EXPECT(threads <= 64, "at most 64 threads");
    for (int i = 0; i < threads; i++)
        EXPECT(!pthread_create(&thread[i], NULL, allocates,
                               (void *)(uintptr_t)(i + 1)), "no thread");
    EXPECT(!pthread_create(&thread[threads], NULL, starts_threads, NULL),
           "no thread");
    for (size_t i = 0; i < CLASSES; i++)
        inherited[i] = block(class_nth(i));
    for (int i = 0; i < forks; i++) {
        pid_t pid;

        if (i >= forks / 10 && time(NULL) >= until)
            break;

        alarm(60); // a hang is one fork that takes long, not many
        pid = fork();
        if (pid == 0)
            child(i % 10 == 0);
        reap(pid, "the child");
    }
    alarm(0);
    stop = 1;
    for (int i = 0; i <= threads; i++)
        pthread_join(thread[i], NULL);
    return ok();
}
