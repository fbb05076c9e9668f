// Fills 50 MiB of small blocks, frees every tenth, and dies of SIGSEGV.
#include <signal.h>
#include "expect.h"

enum { BLOCKS = 200000, SIZE = 250 };

int main(void)
{
    static void *blocks[BLOCKS];

    for (int i = 0; i < BLOCKS; i++)
        memset(blocks[i] = block(SIZE), 'x', SIZE);
    for (int i = 0; i < BLOCKS; i += 10)
        free(blocks[i]);
    kill(getpid(), SIGSEGV);
    return 1;
}
