// Every size from 0 to beyond the largest class is 16-byte aligned, takes
// 16-byte vector stores, and overlaps no other live block.
#include <emmintrin.h>
#include "expect.h"

enum { LARGEST = 34000, STEP = 7 };

static void *blocks[LARGEST + 1];

static void one(size_t size)
{
    char *p = block(size);

    EXPECT((uintptr_t)p % 16 == 0, "malloc(%zu) gave %p", size, (void *)p);
    for (size_t i = 0; i + 16 <= size; i += 16)
        _mm_store_si128((__m128i *)(void *)(p + i), _mm_set1_epi8(1));
    fill(p, size, (unsigned)size);
    blocks[size] = p;
}

int main(void)
{
    for (size_t size = 0; size <= LARGEST; size += size < 2100 ? 1 : STEP)
        one(size);
    for (size_t size = 0; size <= LARGEST; size++) {
        if (!blocks[size])
            continue;
        EXPECT_FILLED(blocks[size], size, (unsigned)size);
        free(blocks[size]);
    }
    return ok();
}
