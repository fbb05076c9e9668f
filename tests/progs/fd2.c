// BUILD: -ldl
// Descriptor 2 is closed and becomes the data file that is the argument; then
// come a plugin opened with RTLD_DEEPBIND (if it is an argument) and, if asked
// for by "abort", a free of what was never handed out.  The file is to hold
// "data" and nothing else.
#define _GNU_SOURCE
#include <dlfcn.h>
#include "expect.h"

int main(int argc, char **argv)
{
    char *p = block(48);

    EXPECT(argc > 1, "no file named");
    close(2);
    if (open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600) != 2 ||
        write(2, "data", 4) != 4)
        return 3;
    if (argc > 2)
        dlopen(argv[2], RTLD_NOW | RTLD_DEEPBIND);
    if (argc > 3 && !strcmp(argv[3], "abort"))
        free(p + ((size_t)1 << 30));
    return ok();
}
