// BUILD: -ldl
// The shim (the argument) is opened, not preloaded: it either refuses with a
// reason, or its malloc works, outlives dlclose and the end of threads that
// used it.
#include <dlfcn.h>
#include <pthread.h>
#include "expect.h"

static void *(*shim_malloc)(size_t);
static void (*shim_free)(void *);
static pthread_barrier_t used, closed;

static void *uses(void *arg)
{
    void *p = shim_malloc(100);

    EXPECT(p, "the shim's malloc gave NULL");
    shim_free(p);
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&closed);
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t threads[8];
    void *shim = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;

    if (!shim) {
        dprintf(1, "refused: %s\n", dlerror());
        return 0;
    }
    *(void **)&shim_malloc = dlsym(shim, "malloc");
    *(void **)&shim_free = dlsym(shim, "free");
    EXPECT(shim_malloc && shim_free, "dlsym: %s", dlerror());
    pthread_barrier_init(&used, NULL, 9);
    pthread_barrier_init(&closed, NULL, 9);
    for (int i = 0; i < 8; i++)
        EXPECT(!pthread_create(&threads[i], NULL, uses, NULL), "no thread");
    pthread_barrier_wait(&used);
    dlclose(shim);
    pthread_barrier_wait(&closed);
    for (int i = 0; i < 8; i++)
        EXPECT(!pthread_join(threads[i], NULL), "no join");
    return ok();
}
