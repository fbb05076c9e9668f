/*
 * visit_left.c - a visitor of heaps or queues that does not return: its thread
 * is cancelled, or ends itself.
 */
#include "child.h"

#include "sk_queue.h"

#include <pthread.h>

/* A thread's end unwinds its stack. */
static int ends_thread(sk_heap *heap, void *context)
{
    (void)heap;
    pthread_exit(context);
}

static int is_cancelled(sk_heap *heap, void *context)
{
    (void)heap, (void)context;
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return 1;
}

static int visits_heaps(sk_queue *queue, void *context)
{
    int (*visit)(sk_heap *, void *) = *(int (**)(sk_heap *, void *))context;

    (void)queue;
    return sk_heap_each(visit, NULL);
}

static void *visit_queues(void *context)
{
    return sk_queue_each(visits_heaps, context) ? context : NULL;
}

/* With nobody left at them, both lists can be changed. */
static void require_free_lists(void)
{
    sk_heap *heap = sk_heap_new("later", 64, 64, 64, 0);
    sk_queue *later = sk_queue_new("later", 0);

    REQUIRE(heap && later);
    REQUIRE(sk_queue_destroy(later) == 0);
    REQUIRE(sk_heap_destroy(heap, 0) == 0);
}

static void leaves(uint64_t how)
{
    int (*visit)(sk_heap *, void *) = how ? is_cancelled : ends_thread;
    void *result = &result;
    sk_queue *queue;
    pthread_t id;

    REQUIRE((queue = sk_queue_new("visited", 0)) != NULL);
    for (int i = 0; i < 3; i++) {
        REQUIRE(pthread_create(&id, NULL, visit_queues, &visit) == 0);
        REQUIRE(pthread_join(id, &result) == 0);
        REQUIRE(result == (how ? PTHREAD_CANCELED : NULL));
        require_free_lists();
    }
    REQUIRE(sk_queue_destroy(queue) == 0);
}

static void a_visitor_may_end_its_thread(void **state)
{
    (void)state;
    assert_in_child(leaves, 0);
}

static void a_visitor_may_be_cancelled(void **state)
{
    (void)state;
    assert_in_child(leaves, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_visitor_may_end_its_thread),
        cmocka_unit_test(a_visitor_may_be_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
