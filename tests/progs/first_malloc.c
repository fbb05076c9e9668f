// Prints the usable size of a block of 17 bytes, which is 32 of ours and 24
// of libc's, and of one of 1000 bytes, 1008 of both.  Says nothing else, so
// that what a test sees besides is the shim's.
#include "expect.h"

int main(void)
{
    void *small = block(17);
    void *large = block(990);

    printf("%zu %zu\n", malloc_usable_size(small), malloc_usable_size(large));
    free(small);
    free(large);
    return 0;
}
