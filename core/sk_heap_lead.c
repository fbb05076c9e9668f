/*
 * sk_heap_lead.c - finds the copy that leads.
 *
 * Layer: with sk_heap.
 */
#include "sk_heap_lead.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

/* Weak: a static program has none, and no other copy either. */
#pragma weak dlsym
#pragma weak dlerror
#pragma weak dladdr1

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

/* The object that this copy is in; NULL: the program itself, or not known. */
static const char *own_object(void)
{
    struct link_map *map = NULL;
    Dl_info info;

    if (!dladdr1 ||
        !dladdr1(&sk_heap_leader, &info, (void **)&map, RTLD_DL_LINKMAP))
        return NULL;
    return map && map->l_name[0] ? map->l_name : NULL;
}

/* By its name: of a static program that imports dlopen the linker warns. */
static bool keep(const char *object)
{
    void *(*open)(const char *, int);

    *(void **)&open = dlsym(RTLD_DEFAULT, "dlopen");
    return open && open(object, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

void sk_heap_stay(void)
{
    static _Atomic bool has_stayed;
    const char *object;
    int kept = errno;

    if (SK_LIKELY(atomic_exchange(&has_stayed, true)))
        return;
    object = dlsym ? own_object() : NULL;
    if (object && !keep(object) && dlerror)
        dlerror();
    errno = kept;
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
