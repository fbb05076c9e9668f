// BUILD: -ldl
// Interposes what a shim's start may call (mmap, open, getenv and its secure
// sister), looks the real ones up at their first use, and allocates meanwhile.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

static void *looked_up(void **where, const char *name)
{
    void *busy = malloc(24);

    if (!*where)
        *where = dlsym(RTLD_NEXT, name);
    free(busy);
    return *where;
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t off)
{
    static void *real;
    void *(*next)(void *, size_t, int, int, int, off_t);

    *(void **)&next = looked_up(&real, "mmap");
    return next(at, size, prot, flags, fd, off);
}

int open(const char *path, int flags, ...)
{
    static void *real;
    int (*next)(const char *, int, mode_t);
    va_list more;
    mode_t mode;

    va_start(more, flags);
    mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    *(void **)&next = looked_up(&real, "open");
    return next(path, flags, mode);
}

char *getenv(const char *name)
{
    static void *real;
    char *(*next)(const char *);

    *(void **)&next = looked_up(&real, "getenv");
    free(malloc(2000));
    return next(name);
}

char *secure_getenv(const char *name)
{
    static void *real;
    char *(*next)(const char *);

    *(void **)&next = looked_up(&real, "secure_getenv");
    free(malloc(3000));
    return next(name);
}
