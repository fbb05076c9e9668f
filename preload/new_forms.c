/*
 * new_forms.c - the forms of operator new and delete that call another form.
 *
 * A program may replace operator new(size_t) and operator delete(void *)
 * alone; the language promises that all other forms use those then.  So each
 * form here is a jump to the base form by its public name, which is ours or
 * the program's.  This is a file of its own because the compiler would bind
 * a call within new.c to new.c.
 */
#include "preload.h"

SKP_EXPORT void *_Znwm(size_t bytes);
SKP_EXPORT void *_ZnwmSt11align_val_t(size_t bytes, size_t alignment);
SKP_EXPORT void *_ZnwmRKSt9nothrow_t(size_t bytes, const void *tag);
SKP_EXPORT void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t bytes,
                                                    size_t alignment,
                                                    const void *tag);
SKP_EXPORT void _ZdlPv(void *p);
SKP_EXPORT void _ZdlPvSt11align_val_t(void *p, size_t alignment);

bool skp_is_new_ours(void)
{
    return _Znwm == skp_own_new;
}

bool skp_is_aligned_new_ours(void)
{
    return _ZnwmSt11align_val_t == skp_own_aligned_new;
}

/* Declares and defines a form that passes its first arguments on. */
#define FORM(result, name, parameters, call)                                   \
    SKP_EXPORT result name parameters;                                         \
    result name parameters                                                     \
    {                                                                          \
        return call;                                                           \
    }
#define UNUSED __attribute__((unused))
#define BYTES  size_t bytes UNUSED
#define ALIGN  size_t alignment UNUSED
#define TAG    const void *tag UNUSED

FORM(void *, _Znam, (BYTES), _Znwm(bytes))
FORM(void *, _ZnamRKSt9nothrow_t, (BYTES, TAG),
     _ZnwmRKSt9nothrow_t(bytes, tag))
FORM(void *, _ZnamSt11align_val_t, (BYTES, ALIGN),
     _ZnwmSt11align_val_t(bytes, alignment))
FORM(void *, _ZnamSt11align_val_tRKSt9nothrow_t, (BYTES, ALIGN, TAG),
     _ZnwmSt11align_val_tRKSt9nothrow_t(bytes, alignment, tag))

FORM(void, _ZdaPv, (void *p), _ZdlPv(p))
FORM(void, _ZdlPvm, (void *p, BYTES), _ZdlPv(p))
FORM(void, _ZdaPvm, (void *p, BYTES), _ZdlPv(p))
FORM(void, _ZdlPvRKSt9nothrow_t, (void *p, TAG), _ZdlPv(p))
FORM(void, _ZdaPvRKSt9nothrow_t, (void *p, TAG), _ZdlPv(p))
FORM(void, _ZdaPvSt11align_val_t, (void *p, ALIGN),
     _ZdlPvSt11align_val_t(p, alignment))
FORM(void, _ZdlPvmSt11align_val_t, (void *p, BYTES, ALIGN),
     _ZdlPvSt11align_val_t(p, alignment))
FORM(void, _ZdaPvmSt11align_val_t, (void *p, BYTES, ALIGN),
     _ZdlPvSt11align_val_t(p, alignment))
FORM(void, _ZdlPvSt11align_val_tRKSt9nothrow_t, (void *p, ALIGN, TAG),
     _ZdlPvSt11align_val_t(p, alignment))
FORM(void, _ZdaPvSt11align_val_tRKSt9nothrow_t, (void *p, ALIGN, TAG),
     _ZdlPvSt11align_val_t(p, alignment))
