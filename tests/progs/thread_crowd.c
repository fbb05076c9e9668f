// Many threads live at the same time, allocate, hand their blocks to the
// next and end.  Where no more threads can be had, those there are do.
// Argument: threads.
#include <pthread.h>
#include "expect.h"

enum { MOST = 4000 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static void *handed[MOST];

static void *crowds(void *arg)
{
    uintptr_t i = (uintptr_t)arg;

    handed[i] = malloc(i % 2000 + 1);
    if (handed[i])
        fill(handed[i], i % 2000 + 1, (unsigned)i);
    pthread_mutex_lock(&gate); // held by main until all are started
    pthread_mutex_unlock(&gate);
    return NULL;
}

int main(int argc, char **argv)
{
    static pthread_t threads[MOST];
    uintptr_t wanted = argc > 1 ? strtoul(argv[1], NULL, 0) : 2000;
    uintptr_t n = 0;
    pthread_attr_t small;

    EXPECT(wanted <= MOST, "at most %d threads", MOST);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_mutex_lock(&gate);
    while (n < wanted &&
           !pthread_create(&threads[n], &small, crowds, (void *)n))
        n++;
    pthread_mutex_unlock(&gate);
    for (uintptr_t i = 0; i < n; i++)
        EXPECT(!pthread_join(threads[i], NULL), "no join");
    for (uintptr_t i = 0; i < n; i++) {
        if (handed[i])
            EXPECT_FILLED(handed[i], i % 2000 + 1, (unsigned)i);
        free(handed[i]);
    }
    dprintf(1, "%s\n", n == wanted ? "all" : n > 0 ? "some" : "none");
    return ok();
}
