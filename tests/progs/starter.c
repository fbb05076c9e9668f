// BUILD: -ldl
// A thread's first malloc does not wait for the loader: opens the library that
// is the argument, whose constructor waits for a new thread that allocates.
#include <dlfcn.h>
#include "expect.h"

int main(int argc, char **argv)
{
    EXPECT(argc > 1 && dlopen(argv[1], RTLD_NOW), "dlopen: %s", dlerror());
    return ok();
}
