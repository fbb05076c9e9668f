// A library with fork handlers that allocate and take a mutex; its work takes
// the same mutex and allocates under it.
#include <pthread.h>
#include <stdlib.h>

void atfork_work(void);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *kept;

static void churn(void)
{
    for (size_t size = 1; size < 70000; size = size * 3 + 5)
        free(malloc(size));
    free(kept);
    kept = malloc(777);
}

void atfork_work(void)
{
    pthread_mutex_lock(&mutex);
    churn();
    pthread_mutex_unlock(&mutex);
}

static void prepare(void)
{
    pthread_mutex_lock(&mutex);
    churn();
}

static void after(void)
{
    churn();
    pthread_mutex_unlock(&mutex);
}

__attribute__((constructor)) static void handle(void)
{
    pthread_atfork(prepare, after, after);
}
