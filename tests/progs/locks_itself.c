// mlockall(MCL_CURRENT) of a small program, after its first block.
#include <sys/mman.h>
#include "expect.h"

int main(void)
{
    free(block(100));
    EXPECT(!mlockall(MCL_CURRENT), "errno %d", errno);
    fill(block(3000), 3000, 1);
    return ok();
}
