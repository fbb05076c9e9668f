// A thread with the smallest stack there is: run to its end; what it returned.
#ifndef SMALLEST_H
#define SMALLEST_H

#include <pthread.h>
#include "expect.h"

static inline void *run_smallest(void *(*body)(void *))
{
    pthread_attr_t small;
    pthread_t thread;
    void *result;

    pthread_attr_init(&small);
    EXPECT(!pthread_attr_setstacksize(&small, 16384), "no such stack");
    EXPECT(!pthread_create(&thread, &small, body, NULL), "no thread");
    EXPECT(!pthread_join(thread, &result), "no thread to join");
    return result;
}

#endif
