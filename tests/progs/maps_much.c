// How many MiB of address space the program may map after its first block.
#include <sys/mman.h>
#include "expect.h"

enum { MIB = 16 };

int main(void)
{
    size_t mapped = 0;

    free(block(10));
    while (mmap(NULL, (size_t)MIB << 20, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        mapped += MIB;
    printf("%zu\n", mapped);
    return 0;
}
