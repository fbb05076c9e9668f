/*
 * dlopen.c - plugins opened with RTLD_DEEPBIND.
 *
 * Such a plugin binds malloc and free to libc, and frees what the program
 * took from our heaps: the most reported crash of preloaded allocators
 * (failures.md 13).  So the flag is dropped.  The real dlopen is jumped to
 * from here, so its caller, which $ORIGIN and RUNPATH depend on, stays the
 * program's.
 */
#include "preload.h"

#include <dlfcn.h>

static SK_COLD void warn_once(const char *file)
{
    static _Atomic bool is_said;

    if (!atomic_exchange(&is_said, true))
        sk_say("dlopen(\"%s\"): RTLD_DEEPBIND dropped, or the plugin would "
               "free our units with libc's free",
               file ? file : "");
}

SKP_EXPORT void *dlopen(const char *file, int flags)
{
    skp_start();
    if (SK_UNLIKELY(flags & RTLD_DEEPBIND) && skp_is_on) {
        flags &= ~RTLD_DEEPBIND;
        warn_once(file);
    }
    return skp_real.dlopen(file, flags);
}
