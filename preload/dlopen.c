/*
 * dlopen.c - plugins opened with RTLD_DEEPBIND.
 *
 * Such a plugin binds malloc and free to libc, and frees what the program
 * took from our heaps: the most reported crash of preloaded allocators
 * (failures.md 13).  So the flag is dropped.  The real dlopen is jumped to
 * from here, so its caller, which $ORIGIN and RUNPATH depend on, stays the
 * program's: also where the rest of us is not optimised.
 */
#include "preload.h"

#include <dlfcn.h>

#ifdef __clang__
#define JUMP __attribute__((musttail)) return
#define JUMPS
#else
#define JUMP  return
#define JUMPS __attribute__((optimize("O2")))
#endif

static SK_COLD void say_once(const char *file)
{
    static _Atomic bool is_said;

    if (sk_config.verbose && !atomic_exchange(&is_said, true))
        sk_say("dlopen(\"%s\"): RTLD_DEEPBIND dropped, or the plugin would "
               "free our units with libc's free",
               file ? file : "");
}

static int checked(const char *file, int flags)
{
    skp_start();
    if (SK_LIKELY(!(flags & RTLD_DEEPBIND)) || !skp_is_on)
        return flags;
    say_once(file);
    return flags & ~RTLD_DEEPBIND;
}

SKP_EXPORT JUMPS void *dlopen(const char *file, int flags)
{
    flags = checked(file, flags);
    JUMP skp_real.dlopen(file, flags);
}

/* Other name spaces have a libc of their own. */
SKP_EXPORT JUMPS void *dlmopen(Lmid_t space, const char *file, int flags)
{
    if (space == LM_ID_BASE)
        flags = checked(file, flags);
    else
        skp_start();
    JUMP skp_real.dlmopen(space, file, flags);
}
