/*
 * sk_queue_lead.h - the queues' part of sk_heap_lead.h.
 *
 * Layer: with sk_queue.  A queue's memory is the leader's, so a follower's put
 * and get work on it as they are; what needs the list of all queues does not.
 */
#ifndef SK_QUEUE_LEAD_H
#define SK_QUEUE_LEAD_H

#include "sk_heap_lead.h"
#include "sk_queue.h"

struct sk_queue_calls {
    const char *version;
    __typeof__(sk_queue_new) *new_queue;
    __typeof__(sk_queue_destroy) *destroy;
    __typeof__(sk_queue_each) *each;
};

extern const struct sk_queue_calls sk_queue_here SK_LOCAL;

#endif
