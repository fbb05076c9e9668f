// A daemon's double fork: the grandchild of a threaded process allocates,
// starts threads of its own, and writes "ok" to the file that is the argument.
#include <pthread.h>
#include "expect.h"

static void *uses(void *p)
{
    free(p);
    for (size_t i = 0; i < CLASSES; i++)
        free(block(class_nth(i)));
    return block(100);
}

static void use_in_thread(void)
{
    pthread_t thread;
    void *p;

    EXPECT(!pthread_create(&thread, NULL, uses, block(3000)), "no thread");
    EXPECT(!pthread_join(thread, &p), "no join");
    free(p);
}

int main(int argc, char **argv)
{
    int fd;

    use_in_thread();
    if (fork() != 0)
        _exit(0);
    use_in_thread();
    if (fork() != 0)
        _exit(0);
    for (int i = 0; i < 50; i++)
        use_in_thread();
    fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT, 0600) : -1;
    EXPECT(fd >= 0 && write(fd, "ok\n", 3) == 3, "cannot write");
    return 0;
}
