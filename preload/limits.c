/*
 * limits.c - a program that lowers its own address limit.
 *
 * The reservation counts against RLIMIT_AS.  A limit set before the start is
 * respected by the start; one set later would make every further mmap of the
 * program fail, so the unused end of the reservation is given back first.
 */
#include "preload.h"

#include <sys/types.h>
#include <sys/resource.h>

static void before_limit(int resource, const struct rlimit *limit)
{
    struct sk_state *self;

    skp_start();
    if (!skp_is_on || !limit || resource != RLIMIT_AS ||
        limit->rlim_cur == RLIM_INFINITY)
        return;
    self = sk_state_hide();
    sk_region_give_back();
    sk_state_show(self);
}

SKP_EXPORT int setrlimit(__rlimit_resource_t resource,
                         const struct rlimit *limit)
{
    before_limit((int)resource, limit);
    return skp_real.setrlimit((int)resource, limit);
}

SKP_EXPORT int setrlimit64(__rlimit_resource_t resource,
                           const struct rlimit64 *limit)
{
    before_limit((int)resource, (const struct rlimit *)limit);
    return skp_real.setrlimit((int)resource, limit);
}

SKP_EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource,
                       const struct rlimit *limit, struct rlimit *old)
{
    before_limit((int)resource, limit);
    return skp_real.prlimit(pid, (int)resource, limit, old);
}

SKP_EXPORT int prlimit64(pid_t pid, enum __rlimit_resource resource,
                         const struct rlimit64 *limit, struct rlimit64 *old)
{
    before_limit((int)resource, (const struct rlimit *)limit);
    return skp_real.prlimit(pid, (int)resource, limit, old);
}
