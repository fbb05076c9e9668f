// BUILD: -ldl
// C23's free_sized and free_aligned_sized free blocks of all kinds, told the
// right size or a wrong one.  glibc 2.36 has neither, so they are looked up.
#include <dlfcn.h>
#include "expect.h"

int main(void)
{
    void (*sized)(void *, size_t);
    void (*aligned)(void *, size_t, size_t);

    *(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
    *(void **)&aligned = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    EXPECT(sized && aligned, "not there: %s", dlerror());
    sized(NULL, 0);
    aligned(NULL, 64, 0);
    // More than would fit, were the blocks not freed.
    for (size_t i = 0; i < 200000; i++) {
        sized(block(1000), 1000);
        sized(block(50000), 50000);
        sized(block(1000), 1);
        aligned(aligned_alloc(64, 1024), 64, 1024);
        aligned(aligned_alloc(64, 65536), 64, 65536);
        aligned(block(1000), 16, 999999);
    }
    EXPECT(rss_kib() < 100 * 1024, "RSS is %ld KiB", rss_kib());
    return ok();
}
