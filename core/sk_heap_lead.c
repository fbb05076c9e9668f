/*
 * sk_heap_lead.c - finds the copy that leads.
 *
 * Layer: with sk_heap.
 */
#include "sk_heap_lead.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

/* Weak: a static program has none, and no other copy either. */
#pragma weak dlsym
#pragma weak dlerror

extern __typeof__(sk_heap_new_with) sk_heap_new_with_here SK_LOCAL;
extern __typeof__(sk_heap_unit_allocate) sk_heap_unit_allocate_here SK_LOCAL;
extern __typeof__(sk_heap_unit_ref_slow) sk_heap_unit_ref_slow_here SK_LOCAL;
extern __typeof__(sk_heap_unit_unref) sk_heap_unit_unref_here SK_LOCAL;
extern __typeof__(sk_heap_of_unit) sk_heap_of_unit_here SK_LOCAL;
extern __typeof__(sk_heap_destroy) sk_heap_destroy_here SK_LOCAL;
extern __typeof__(sk_heap_trim) sk_heap_trim_here SK_LOCAL;
extern __typeof__(sk_heap_read) sk_heap_read_here SK_LOCAL;
extern __typeof__(sk_heap_each) sk_heap_each_here SK_LOCAL;
extern __typeof__(sk_heap_report) sk_heap_report_here SK_LOCAL;

const struct sk_heap_calls sk_heap_here = {
    .version = SK_VERSION,
    .new_with = sk_heap_new_with_here,
    .unit_allocate = sk_heap_unit_allocate_here,
    .unit_ref_slow = sk_heap_unit_ref_slow_here,
    .unit_unref = sk_heap_unit_unref_here,
    .of_unit = sk_heap_of_unit_here,
    .destroy = sk_heap_destroy_here,
    .trim = sk_heap_trim_here,
    .read = sk_heap_read_here,
    .each = sk_heap_each_here,
    .report = sk_heap_report_here,
};

const struct sk_heap_calls *_Atomic sk_heap_leader;

const void *sk_heap_find_name(const char *name)
{
    int kept = errno;
    const void *const *found = dlsym ? dlsym(RTLD_DEFAULT, name) : NULL;

    /* The program looks for its own mistakes there. */
    if (!found && dlerror)
        dlerror();
    errno = kept;
    return found ? *found : NULL;
}

const struct sk_heap_calls *sk_heap_find_lead(void)
{
    static _Atomic bool has_asked;
    const struct sk_heap_calls *found;

    if (SK_LIKELY(atomic_load_explicit(&has_asked, memory_order_acquire)))
        return sk_heap_lead();
    found = sk_heap_find_name("skpreload_heap_calls");
    if (found && found != &sk_heap_here &&
        strcmp(found->version, SK_VERSION) == 0)
        atomic_store_explicit(&sk_heap_leader, found, memory_order_release);
    atomic_store_explicit(&has_asked, true, memory_order_release);
    return sk_heap_lead();
}
