// BUILD: -ldl
// Prints the version that the library in front of the program says it has.
#include <dlfcn.h>
#include "expect.h"

int main(void)
{
    const char *(*version)(void);

    *(void **)&version = dlsym(RTLD_DEFAULT, "sk_version");
    printf("%s\n", version ? version() : "no shim");
    return 0;
}
