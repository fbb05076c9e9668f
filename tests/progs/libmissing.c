// BUILD: -ldl
// A constructor looks up a name that nobody has; the loader allocates for its
// message, and so calls malloc from the middle of dlsym.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void look(void)
{
    const char *why;

    if (dlsym(RTLD_NEXT, "a_name_that_nobody_has"))
        _exit(1);
    why = dlerror();
    dprintf(1, "%s\n", why && strstr(why, "a_name_that_nobody_has")
                           ? "missing name is missing" : "no reason given");
}
