// The program's first allocation is in a constructor of priority 101, before
// most others.  Prints the usable size of 17 bytes it got there: 24 of libc's,
// 32 of ours; so one sees whether an option was obeyed by then.
#include <cstdio>
#include <malloc.h>
#include <vector>

static size_t seen;

__attribute__((constructor(101))) static void first()
{
    void *p = malloc(17);

    seen = malloc_usable_size(p);
    free(p);
    std::vector<int> numbers(1000, 7);
    seen += size_t(numbers[999] - 7);
}

int main()
{
    std::printf("%zu\n", seen);
}
