// A program that frees what must not be freed has a handler for SIGABRT, as
// crash reporters do: it is told, and the program ends by the signal all the
// same.  With "blocked" the signal is blocked.
#include <signal.h>
#include <unistd.h>
#include "expect.h"

static void on_abort(int number)
{
    (void)number;
    (void)!write(1, "handled\n", 8);
}

int main(int argc, char **argv)
{
    char *volatile p = block(64);
    sigset_t all;

    (void)argv;
    signal(SIGABRT, on_abort);
    sigfillset(&all);
    if (argc > 1)
        sigprocmask(SIG_BLOCK, &all, NULL);
    free(p + ((size_t)1 << 30));
    return 0;
}
