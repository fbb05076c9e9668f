/*
 * sk_os.h - the operating system, as far as the heaps need it.
 *
 * Layer: lowest.  The only file beside its .c that knows mmap, madvise,
 * futex and write.
 *
 * Promise: no function here changes errno, allocates, ends the program (but
 * sk_os_abort) or is a cancellation point.  Sizes are bytes, times are
 * milliseconds.
 * Every function may be called from any thread and from a signal handler.
 */
#ifndef SK_OS_H
#define SK_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SK_LIKELY(x)   __builtin_expect(!!(x), 1)
#define SK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SK_COLD        __attribute__((cold, noinline))
#define SK_LINE_BYTES  64

/* On a variable that hit paths read: declared, not only defined, as local to
 * the library, it is one instruction's operand instead of a look-up. */
#define SK_LOCAL __attribute__((visibility("hidden")))

/* On large variables without initial value: behind all the small ones (the
 * linker sorts by name), which then share a page or two. */
#define SK_LARGE __attribute__((section(".bss.zz")))

/* The page size, read from the kernel at the first call. */
size_t sk_os_page_bytes(void);

/* Reserves address space without access.  Returns NULL when refused. */
void *sk_os_reserve(size_t bytes);

/* Gives back a part of a reservation. */
void sk_os_unreserve(void *start, size_t bytes);

/* Makes reserved pages readable and writable; false when refused. */
bool sk_os_commit(void *start, size_t bytes);

/* Makes them readable alone: zeros, which no limit on data and no kernel that
 * counts promises takes into account. */
bool sk_os_show_zeros(void *start, size_t bytes);

/* Drops the content of committed pages: they read as zero afterwards and
 * cost nothing until touched.  False when refused (locked memory, say): then
 * the content is as before. */
bool sk_os_purge(void *start, size_t bytes);

/* Gives committed pages memory now, so that touching them later costs nothing;
 * where the kernel cannot, they get it when they are touched. */
void sk_os_populate(void *start, size_t bytes);

/* Asks for huge pages in a mapping, or for none; a kernel without them is no
 * error. */
void sk_os_set_huge(void *start, size_t bytes, bool is_wanted);

/* Names a mapping in /proc/PID/maps; a kernel without that is no error. */
void sk_os_name(void *start, size_t bytes, const char *name);

/* Keeps a mapping out of core dumps, and takes it in again. */
void sk_os_hide(void *start, size_t bytes);
void sk_os_show(void *start, size_t bytes);

/* The largest address space this process may still ask for, in bytes, by its
 * resource limits; SIZE_MAX without a limit. */
size_t sk_os_address_limit(void);

/* Milliseconds of a clock that never goes back; about 4 ms coarse. */
uint64_t sk_os_now_ms(void);

/* How long ago a moment is.  One a little after now is not: another thread read
 * the clock later.  One much after it is of another clock, which a fork's child
 * in a time namespace or a process restored on another machine has left: that
 * is long ago. */
#define SK_OS_LITTLE_MS 60000
static inline uint64_t sk_os_ms_since(uint64_t then_ms, uint64_t now_ms)
{
    return then_ms - now_ms < SK_OS_LITTLE_MS ? 0 : now_ms - then_ms;
}

/* Nanoseconds of the same clock, not coarse, at some times the price. */
uint64_t sk_os_now_ns(void);

/* Sleeps while *word is expected (may wake for no reason); true when a wake
 * ended it.  Wakes `count`. */
bool sk_os_wait(_Atomic uint32_t *word, uint32_t expected);
void sk_os_wake(_Atomic uint32_t *word, int count);

/* The same with a bound on the sleep. */
bool sk_os_wait_ms(_Atomic uint32_t *word, uint32_t expected, uint64_t ms);

/* Sleeps for so long, or less, by a system call that sandboxes know from locks.
 */
void sk_os_nap_ms(uint64_t ms);

/* Makes every running thread of the process pass a memory barrier; false when
 * the kernel or a sandbox does not offer it. */
bool sk_os_barrier(void);

/* Writes all of a buffer to a descriptor; false on the first failure. */
bool sk_os_write(int fd, const char *text, size_t bytes);

/* The same where the failure must not end the program: a pipe that nobody reads
 * or a limit on the size of files is no signal to it, but a failure alone. */
bool sk_os_write_quietly(int fd, const char *text, size_t bytes);

/* This process' id. */
int sk_os_pid(void);

/* This process and that one have the same memory; false when the kernel or a
 * sandbox does not say.  Keeps errno. */
bool sk_os_shares_memory(int pid);

/* A name for this thread, which it keeps in the child of a fork; never NULL. */
void *sk_os_thread(void);

/* Ends the process by SIGABRT. */
_Noreturn void sk_os_abort(void);

/* Fault injection of the unit tests (SK_DEBUG builds only): the calls of
 * `what` counted from now on fail where the bit of `mask` at their number is
 * set; calls past the 64th follow the highest bit. */
enum sk_os_call {
    SK_OS_RESERVE,
    SK_OS_COMMIT,
    SK_OS_PURGE,
    SK_OS_POPULATE,
    SK_OS_BARRIER,
    SK_OS_CALLS
};
#ifdef SK_DEBUG
void sk_os_fail(enum sk_os_call what, uint64_t mask);
uint64_t sk_os_called(enum sk_os_call what);

/* Behaves like a kernel with larger pages, from before the first call of any
 * function here on: reservations begin at such a page, a call for a range
 * that does not is refused and counted, and one that ends within a page takes
 * all of it. */
void sk_os_pretend_page(size_t bytes);
uint64_t sk_os_misaligned(void);

/* From now on sk_os_now_ms is so much later. */
void sk_os_pretend_later(uint64_t ms);
#endif

/*
 * A lock: 0 free, 1 held, 2 held and waited for.  Spins a little, then
 * sleeps in the kernel; never held over a call into libc.
 */
struct sk_lock {
    _Atomic uint32_t word;
};

void sk_lock_slow(struct sk_lock *lock);

/* Times that a lock was found held. */
extern SK_LOCAL _Atomic uint64_t sk_lock_waits;

/* False when somebody holds it. */
static inline bool sk_lock_try(struct sk_lock *lock)
{
    uint32_t expected = 0;

    return atomic_compare_exchange_strong_explicit(
        &lock->word, &expected, 1, memory_order_acquire, memory_order_relaxed);
}

static inline void sk_lock(struct sk_lock *lock)
{
    if (SK_UNLIKELY(!sk_lock_try(lock)))
        sk_lock_slow(lock);
}

/* For who only looks at figures: waits some time, for in a signal handler the
 * holder may be the code that it interrupted.  False: it is held all the same.
 */
bool sk_lock_to_look(struct sk_lock *lock);

static inline void sk_unlock(struct sk_lock *lock)
{
    if (SK_UNLIKELY(atomic_exchange_explicit(&lock->word, 0,
                                             memory_order_release) == 2))
        sk_os_wake(&lock->word, 1);
}

/*
 * A lock whose holder may have a name: of lists that the child of a fork has to
 * make anew if another thread was changing them.  A fork's snapshot shows each
 * thread's stores up to one of them, so the changer's name, stored before the
 * first change and taken back after the last, tells that; the fences keep the
 * compiler from moving either.
 */
struct sk_guard {
    struct sk_lock lock;
    void *_Atomic changer;
};

static inline void sk_guard_lock(struct sk_guard *guard)
{
    sk_lock(&guard->lock);
    atomic_store_explicit(&guard->changer, sk_os_thread(),
                          memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void sk_guard_unlock(struct sk_guard *guard)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&guard->changer, NULL, memory_order_relaxed);
    sk_unlock(&guard->lock);
}

/* In a signal handler that interrupted the change, or what it calls. */
static inline bool sk_guard_is_mine(const struct sk_guard *guard)
{
    return atomic_load_explicit(&guard->changer, memory_order_relaxed) ==
           sk_os_thread();
}

/* In the child of a fork: whether the lists are half changed for good.  What a
 * handler interrupted that forked is changed to the end, by the thread that
 * came along, and the lock is its own. */
static inline bool sk_guard_after_fork(struct sk_guard *guard)
{
    bool is_broken;

    if (sk_guard_is_mine(guard))
        return false;
    is_broken = atomic_load_explicit(&guard->changer, memory_order_relaxed);
    atomic_store_explicit(&guard->lock.word, 0, memory_order_relaxed);
    atomic_store_explicit(&guard->changer, NULL, memory_order_relaxed);
    return is_broken;
}

/*
 * A lock for a few stores: 0 free, 1 held.  It is let go by a plain store, so
 * whoever held it need not wait until the lines it wrote to have come from
 * other processors.  The price: nobody is woken.  Who waits spins, gives its
 * processor away, then sleeps for a millisecond at a time, for by then the
 * holder must have lost its own.
 */
struct sk_brief {
    _Atomic uint32_t word;
};

void sk_brief_slow(struct sk_brief *lock);

static inline bool sk_brief_try(struct sk_brief *lock)
{
    uint32_t expected = 0;

    return atomic_compare_exchange_strong_explicit(
        &lock->word, &expected, 1, memory_order_acquire, memory_order_relaxed);
}

static inline void sk_brief_lock(struct sk_brief *lock)
{
    if (SK_UNLIKELY(!sk_brief_try(lock)))
        sk_brief_slow(lock);
}

static inline void sk_brief_unlock(struct sk_brief *lock)
{
    atomic_store_explicit(&lock->word, 0, memory_order_release);
}

#endif
