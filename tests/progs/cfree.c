// cfree, which old binaries bind with its version, frees the block: of ours,
// and of libc's.
#include "expect.h"

extern void old_cfree(void *p);
__asm__(".symver old_cfree, cfree@GLIBC_2.2.5");

int main(void)
{
    // More than would fit, were cfree not to free.
    for (int i = 0; i < 2000000; i++) {
        void *p = block(i % 2 ? 1000 : 40000);

        *(volatile char *)p = 1;
        old_cfree(p);
    }
    EXPECT(rss_kib() < 100 * 1024, "RSS is %ld KiB", rss_kib());
    return ok();
}
