// A constructor makes 40 pthread keys, so that a key made later lies in the
// second level, for which pthread_setspecific callocs.
#include <pthread.h>

__attribute__((constructor)) static void make(void)
{
    pthread_key_t key;

    for (int i = 0; i < 40; i++)
        pthread_key_create(&key, 0);
}
