// A library that only comes along, with a constructor that allocates.
#include <stdlib.h>

__attribute__((constructor)) static void come(void)
{
    free(calloc(1, 50));
}
