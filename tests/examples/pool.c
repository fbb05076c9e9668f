/*
 * pool: connections that are made once and used again.
 *
 * The constructor runs when a unit's memory is first used; a connection that
 * is given back stays open in its unit, and the next taker finds it so.  The
 * heap's maximum is the limit on connections.
 */
#include <sk_heap.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { LIMIT = 8 };

struct connection {
    int ends[2]; /* a pipe to oneself stands for a socket */
    unsigned uses;
};

static unsigned made, closed;

static void dial(void *unit, void *context)
{
    struct connection *connection = unit;

    (void)context;
    connection->uses = 0;
    if (pipe(connection->ends) != 0)
        connection->ends[0] = connection->ends[1] = -1;
    made++;
}

static void hang_up(void *unit, void *context)
{
    struct connection *connection = unit;

    (void)context;
    close(connection->ends[0]);
    close(connection->ends[1]);
    closed++;
}

static int ask(struct connection *connection, char question)
{
    char answer = 0;

    connection->uses++;
    return write(connection->ends[1], &question, 1) == 1 &&
           read(connection->ends[0], &answer, 1) == 1 && answer == question;
}

int main(void)
{
    const struct sk_heap_attributes how = {
        .label = "connection",
        .unit_size = sizeof(struct connection),
        .units_per_chunk = LIMIT,
        .maximum_units = LIMIT,
        .construct = dial,
        .destruct = hang_up,
    };
    sk_heap *pool = sk_heap_new_with(&how);
    struct connection *taken[LIMIT];
    int good = 0;

    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < LIMIT; i++)
            taken[i] = sk_heap_unit_allocate(pool);
        if (sk_heap_unit_allocate(pool) || errno != ENOMEM)
            return 1;
        for (int i = 0; i < LIMIT; i++) {
            good += ask(taken[i], (char)('a' + i));
            sk_heap_unit_unref(taken[i]);
        }
    }
    printf("%d questions answered over %u connections\n", good, made);
    printf("still out: %ld\n", sk_heap_destroy(pool, 0));
    printf("hung up: %u\n", closed);
    return made == closed ? 0 : 1;
}
