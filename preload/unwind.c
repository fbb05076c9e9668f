/*
 * unwind.c - what the compiler calls where a visitor leaves sk_heap_each by an
 * exception or by the end of its thread.
 *
 * Layer: preload.  libgcc_s has both functions.  Linked, it would be loaded
 * into each program at its start: 9 system calls, 5 page faults and a tenth of
 * /bin/true's time.  Whoever unwinds has it loaded already, so it is looked for
 * then, as libc itself does.
 */
#include "preload.h"

#include <dlfcn.h>
#include <unwind.h>

static void *function_of_libgcc(const char *name)
{
    void *libgcc = dlopen("libgcc_s.so.1", RTLD_NOW);
    void *function = libgcc ? dlsym(libgcc, name) : NULL;

    if (!function)
        sk_die("sk_heap_each(): a visitor left, and libgcc_s.so.1 has no %s",
               name);
    return function;
}

void _Unwind_Resume(struct _Unwind_Exception *exception)
{
    __typeof__(_Unwind_Resume) *resume;

    *(void **)&resume = function_of_libgcc("_Unwind_Resume");
    resume(exception);
    __builtin_unreachable();
}

_Unwind_Reason_Code __gcc_personality_v0(int version, _Unwind_Action actions,
                                         _Unwind_Exception_Class class,
                                         struct _Unwind_Exception *exception,
                                         struct _Unwind_Context *context);

_Unwind_Reason_Code __gcc_personality_v0(int version, _Unwind_Action actions,
                                         _Unwind_Exception_Class class,
                                         struct _Unwind_Exception *exception,
                                         struct _Unwind_Context *context)
{
    __typeof__(__gcc_personality_v0) *personality;

    *(void **)&personality = function_of_libgcc("__gcc_personality_v0");
    return personality(version, actions, class, exception, context);
}
