/*
 * kernel.c - the kernel, as far as core asks it: sleeping and waking, barriers,
 * purges, and a clock of its own, so that a seed does again what it did.
 */
#include "order_parts.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static long futex(const void *word, int call, uint32_t value, const void *span)
{
    order_step();
    if (call == FUTEX_WAKE_PRIVATE)
        return order_wake(word, value);
    if (order_latest(word) != value)
        errno = EAGAIN;
    else if (order_sleep(word, span != NULL))
        return 0;
    else
        errno = span ? ETIMEDOUT : EINTR;
    return -1;
}

long __wrap_syscall(long number, ...)
{
    long a, b, c, d;
    va_list list;

    va_start(list, number);
    a = va_arg(list, long);
    b = va_arg(list, long);
    c = va_arg(list, long);
    d = va_arg(list, long);
    va_end(list);
    if (number == SYS_futex)
        return futex((const void *)a, (int)b, (uint32_t)c, (const void *)d);
    if (number == SYS_membarrier) {
        order_step();
        order_barrier(order_threads());
        return 0;
    }
    return __real_syscall(number, a, b, c, d, 0, 0);
}

int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
    order_wait();
    return 0;
}

int __real_madvise(void *start, size_t bytes, int advice);
int __wrap_madvise(void *start, size_t bytes, int advice);
int __wrap_madvise(void *start, size_t bytes, int advice)
{
    order_step();
    if (advice == MADV_DONTNEED)
        order_purge(start, bytes, __builtin_return_address(0));
    return __real_madvise(start, bytes, advice);
}

/* Time goes by calls: mostly a little, now and then more than any delay. */
int __wrap_clock_gettime(clockid_t which, struct timespec *now);
int __wrap_clock_gettime(clockid_t which, struct timespec *now)
{
    (void)which;
    static uint64_t clock_ns = 1000000000000;

    clock_ns += order_random(32) == 0 ? 700000000 : 1000000;
    now->tv_sec = (time_t)(clock_ns / 1000000000);
    now->tv_nsec = (long)(clock_ns % 1000000000);
    return 0;
}
