/*
 * lead.c - the shim's heaps and queues lead those of other copies of the
 * library in the process, which find them by these two names; and they begin
 * with the shim's start.
 */
#include "preload.h"
#include "sk_queue_lead.h"

extern const struct sk_heap_calls *const skpreload_heap_calls;
extern const struct sk_queue_calls *const skpreload_queue_calls;

__attribute__((visibility("default")))
const struct sk_heap_calls *const skpreload_heap_calls = &sk_heap_here;
__attribute__((visibility("default")))
const struct sk_queue_calls *const skpreload_queue_calls = &sk_queue_here;

void sk_heap_start(void)
{
    skp_start();
}
