/*
 * limits.c - a program that lowers its own address limit, or locks its memory.
 *
 * The reservation counts against RLIMIT_AS, and mlockall() counts it as locked.
 * A limit set before the start is respected by the start; one set later would
 * make every further mmap of the program fail, so the unused end of the
 * reservation is given back first.
 */
#include "preload.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

/* The process that the memory is of. */
static pid_t owner;

void skp_limits_own(void)
{
    owner = getpid();
}

/* A vfork's child has no memory of its own; one that the system call clone()
 * made has, though no fork handler ran in it. */
static bool owns_memory(void)
{
    if (getpid() != owner) {
        if (sk_os_shares_memory(getppid()))
            return false;
        skp_limits_own();
    }
    return true;
}

static void give_back(bool is_keeping_room)
{
    struct sk_state *self;

    if (!skp_is_on || !owns_memory())
        return;
    self = sk_state_hide();
    sk_region_give_back(is_keeping_room);
    sk_state_show(self);
}

/* A limit that the start would have left the whole reservation is no matter. */
static void before_limit(pid_t pid, int resource, const struct rlimit *limit)
{
    skp_start();
    if (resource == RLIMIT_AS && limit && (pid == 0 || pid == getpid()) &&
        !sk_region_fits(limit->rlim_cur))
        give_back(true);
}

SKP_EXPORT int mlockall(int flags)
{
    skp_start();
    give_back(false);
    return skp_real.mlockall(flags);
}

SKP_EXPORT int setrlimit(__rlimit_resource_t resource,
                         const struct rlimit *limit)
{
    before_limit(0, (int)resource, limit);
    return skp_real.setrlimit((int)resource, limit);
}

SKP_EXPORT int setrlimit64(__rlimit_resource_t resource,
                           const struct rlimit64 *limit)
{
    before_limit(0, (int)resource, (const struct rlimit *)limit);
    return skp_real.setrlimit((int)resource, limit);
}

SKP_EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource,
                       const struct rlimit *limit, struct rlimit *old)
{
    before_limit(pid, (int)resource, limit);
    return skp_real.prlimit(pid, (int)resource, limit, old);
}

SKP_EXPORT int prlimit64(pid_t pid, enum __rlimit_resource resource,
                         const struct rlimit64 *limit, struct rlimit64 *old)
{
    before_limit(pid, (int)resource, (const struct rlimit *)limit);
    return skp_real.prlimit(pid, (int)resource, limit, old);
}
