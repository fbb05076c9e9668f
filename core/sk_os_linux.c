/*
 * sk_os_linux.c - the operating system is Linux.
 *
 * Layer: lowest.  System calls that malloc and free make after the start are
 * mprotect, madvise and futex; a sandbox that forbids one of them loses a
 * service, not the program (failures.md 52).  The library's heaps and queues
 * make membarrier, munmap and sched_yield, too.
 */
#include "sk_os.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#ifdef SK_DEBUG
static struct {
    _Atomic uint64_t calls;
    _Atomic uint64_t mask;
} injected[SK_OS_CALLS];

void sk_os_fail(enum sk_os_call what, uint64_t mask)
{
    atomic_store(&injected[what].calls, 0);
    atomic_store(&injected[what].mask, mask);
}

uint64_t sk_os_called(enum sk_os_call what)
{
    return atomic_load(&injected[what].calls);
}

static bool is_failing(enum sk_os_call what)
{
    uint64_t call = atomic_fetch_add(&injected[what].calls, 1);

    return atomic_load(&injected[what].mask) >> (call < 63 ? call : 63) & 1;
}

static size_t pretended;
static _Atomic uint64_t misaligned;
static _Atomic uint64_t later_ms;

void sk_os_pretend_later(uint64_t ms)
{
    atomic_store(&later_ms, ms);
}

static uint64_t pretended_ms(void)
{
    return atomic_load(&later_ms);
}

void sk_os_pretend_page(size_t bytes)
{
    pretended = bytes;
}

uint64_t sk_os_misaligned(void)
{
    return atomic_load(&misaligned);
}

/* The bytes that a kernel with these pages would change, from `start` on;
 * 0 when it would refuse. */
static size_t whole_pages(const void *start, size_t bytes)
{
    if (!pretended)
        return bytes;
    if ((uintptr_t)start % pretended != 0) {
        atomic_fetch_add(&misaligned, 1);
        return 0;
    }
    return (bytes + pretended - 1) / pretended * pretended;
}

static size_t page_of_kernel(void)
{
    return pretended ? pretended : getauxval(AT_PAGESZ);
}

/* The slack in front is lost. */
static void *reserve(size_t bytes)
{
    size_t slack = pretended ? pretended - 4096 : 0;
    char *start = mmap(NULL, bytes + slack, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (start == MAP_FAILED)
        return NULL;
    return pretended ? start + (-(uintptr_t)start & (pretended - 1)) : start;
}
#else
static inline bool is_failing(enum sk_os_call what)
{
    (void)what;
    return false;
}

static inline uint64_t pretended_ms(void)
{
    return 0;
}

static inline size_t whole_pages(const void *start, size_t bytes)
{
    (void)start;
    return bytes;
}

static size_t page_of_kernel(void)
{
    return getauxval(AT_PAGESZ);
}

static void *reserve(size_t bytes)
{
    void *start = mmap(NULL, bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return start == MAP_FAILED ? NULL : start;
}
#endif

size_t sk_os_page_bytes(void)
{
    static _Atomic size_t known;
    size_t page = atomic_load_explicit(&known, memory_order_relaxed);

    if (SK_UNLIKELY(page == 0)) {
        page = page_of_kernel();
        if (page == 0)
            page = 4096;
        atomic_store_explicit(&known, page, memory_order_relaxed);
    }
    return page;
}

void *sk_os_reserve(size_t bytes)
{
    int kept = errno;
    void *start;

    if (is_failing(SK_OS_RESERVE))
        return NULL;
    start = reserve(bytes);
    errno = kept;
    return start;
}

void sk_os_unreserve(void *start, size_t bytes)
{
    int kept = errno;

    munmap(start, whole_pages(start, bytes));
    errno = kept;
}

static bool protect(void *start, size_t bytes, int protection)
{
    int kept = errno;
    size_t whole = whole_pages(start, bytes);
    bool done = !is_failing(SK_OS_COMMIT) && whole > 0 &&
                mprotect(start, whole, protection) == 0;

    errno = kept;
    return done;
}

bool sk_os_commit(void *start, size_t bytes)
{
    return protect(start, bytes, PROT_READ | PROT_WRITE);
}

bool sk_os_show_zeros(void *start, size_t bytes)
{
    return protect(start, bytes, PROT_READ);
}

bool sk_os_purge(void *start, size_t bytes)
{
    int kept = errno;
    size_t whole = whole_pages(start, bytes);
    bool done = !is_failing(SK_OS_PURGE) && whole > 0 &&
                madvise(start, whole, MADV_DONTNEED) == 0;

    errno = kept;
    return done;
}

/* A kernel before 5.14 says EINVAL, and need not be asked again. */
void sk_os_populate(void *start, size_t bytes)
{
    static _Atomic bool is_unknown;
    size_t whole = whole_pages(start, bytes);
    int kept = errno;

    if (!atomic_load_explicit(&is_unknown, memory_order_relaxed) &&
        !is_failing(SK_OS_POPULATE) &&
        madvise(start, whole, MADV_POPULATE_WRITE) != 0 && errno == EINVAL)
        atomic_store_explicit(&is_unknown, true, memory_order_relaxed);
    errno = kept;
}

void sk_os_name(void *start, size_t bytes, const char *name)
{
    int kept = errno;

    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, whole_pages(start, bytes),
          name);
    errno = kept;
}

/* Where the kernel refuses, the program loses nothing but a service. */
static void advise(void *start, size_t bytes, int advice)
{
    int kept = errno;

    madvise(start, whole_pages(start, bytes), advice);
    errno = kept;
}

void sk_os_set_huge(void *start, size_t bytes, bool is_wanted)
{
    advise(start, bytes, is_wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void sk_os_hide(void *start, size_t bytes)
{
    advise(start, bytes, MADV_DONTDUMP);
}

void sk_os_show(void *start, size_t bytes)
{
    advise(start, bytes, MADV_DODUMP);
}

size_t sk_os_address_limit(void)
{
    static const int limits[] = {RLIMIT_AS, RLIMIT_DATA};
    size_t least = SIZE_MAX;
    struct rlimit limit;
    int kept = errno;

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (getrlimit(limits[i], &limit) == 0 &&
            limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < least)
            least = limit.rlim_cur;
    errno = kept;
    return least;
}

uint64_t sk_os_now_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 +
           pretended_ms();
}

uint64_t sk_os_now_ns(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool wait(_Atomic uint32_t *word, uint32_t expected,
                 const struct timespec *span)
{
    int kept = errno;
    bool is_woken = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected,
                            span, NULL, 0) == 0;

    errno = kept;
    return is_woken;
}

bool sk_os_wait(_Atomic uint32_t *word, uint32_t expected)
{
    return wait(word, expected, NULL);
}

bool sk_os_wait_ms(_Atomic uint32_t *word, uint32_t expected, uint64_t ms)
{
    struct timespec span = {.tv_sec = (time_t)(ms / 1000),
                            .tv_nsec = (long)(ms % 1000) * 1000000};

    return wait(word, expected, &span);
}

void sk_os_nap_ms(uint64_t ms)
{
    static _Atomic uint32_t never;

    sk_os_wait_ms(&never, 0, ms);
}

void sk_os_wake(_Atomic uint32_t *word, int count)
{
    int kept = errno;

    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = kept;
}

static bool barrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

bool sk_os_barrier(void)
{
    int kept = errno;
    /* Refused until the process has registered. */
    bool done =
        !is_failing(SK_OS_BARRIER) &&
        (barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
         (barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
          barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)));

    errno = kept;
    return done;
}

/* Not libc's write, in which a thread may be cancelled: a lock may be held, and
 * malloc_stats() is no place for that. */
bool sk_os_write(int fd, const char *text, size_t bytes)
{
    int kept = errno;
    bool done = true;

    while (bytes > 0 && done) {
        long wrote = syscall(SYS_write, fd, text, bytes);

        if (wrote > 0) {
            text += wrote;
            bytes -= (size_t)wrote;
        } else if (wrote == 0 || errno != EINTR) {
            done = false;
        }
    }
    errno = kept;
    return done;
}

/* Takes the signal that a write was answered with off this thread again; not
 * one that the program keeps waiting itself.  Nor may this be cancelled. */
static void forget_signal(int signal, const sigset_t *waiting)
{
    static const struct timespec at_once;
    sigset_t it;

    sigemptyset(&it);
    sigaddset(&it, signal);
    if (!sigismember(waiting, signal))
        syscall(SYS_rt_sigtimedwait, &it, NULL, &at_once, _NSIG / 8);
}

bool sk_os_write_quietly(int fd, const char *text, size_t bytes)
{
    sigset_t answers, before, waiting;
    int kept = errno;
    bool done;

    sigemptyset(&answers);
    sigaddset(&answers, SIGPIPE);
    sigaddset(&answers, SIGXFSZ);
    sigpending(&waiting);
    pthread_sigmask(SIG_BLOCK, &answers, &before);
    done = sk_os_write(fd, text, bytes);
    if (!done) {
        forget_signal(SIGPIPE, &waiting);
        forget_signal(SIGXFSZ, &waiting);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = kept;
    return done;
}

int sk_os_pid(void)
{
    return (int)getpid();
}

bool sk_os_shares_memory(int pid)
{
    int saved = errno;
    bool same = syscall(SYS_kcmp, getpid(), pid, KCMP_VM, 0, 0) == 0;

    errno = saved;
    return same;
}

void *sk_os_thread(void)
{
    return (void *)pthread_self();
}

_Noreturn void sk_os_abort(void)
{
    sigset_t abort_only;

    /* As abort() does: first for the program's handler, if it has one. */
    sigemptyset(&abort_only);
    sigaddset(&abort_only, SIGABRT);
    pthread_sigmask(SIG_UNBLOCK, &abort_only, NULL);
    raise(SIGABRT);
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    for (;;)
        _exit(134);
}
