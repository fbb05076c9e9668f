// After its first allocations the program forbids itself, by seccomp, system
// calls: "madvise", "yield", or "all" but those that libc's malloc needs.  They
// give EPERM from then on, or kill if there is a second argument.  Then it
// allocates, frees and trims; with "yield" in many threads that all begin to
// use sixty sizes at once.  Exits 77 without seccomp.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "expect.h"

#define LOAD_NUMBER                                                          \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, what)
#define IF_CALL(number, yes)                                                 \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, yes, 0)

static int install(struct sock_filter *filter, size_t n)
{
    struct sock_fprog program = {(unsigned short)n, filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int forbid(unsigned call, unsigned answer)
{
    struct sock_filter filter[] = {
        LOAD_NUMBER,
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        ANSWER(answer),
        ANSWER(SECCOMP_RET_ALLOW),
    };

    return install(filter, sizeof filter / sizeof *filter);
}

// What stays: memory without madvise's relatives, futex, writing, ending.
static int forbid_all_but_a_few(unsigned answer)
{
    struct sock_filter filter[] = {
        LOAD_NUMBER,
        IF_CALL(SYS_mmap, 9),
        IF_CALL(SYS_munmap, 8),
        IF_CALL(SYS_mprotect, 7),
        IF_CALL(SYS_mremap, 6),
        IF_CALL(SYS_madvise, 5),
        IF_CALL(SYS_brk, 4),
        IF_CALL(SYS_futex, 3),
        IF_CALL(SYS_write, 2),
        IF_CALL(SYS_exit_group, 1),
        ANSWER(answer),
        ANSWER(SECCOMP_RET_ALLOW),
    };

    return install(filter, sizeof filter / sizeof *filter);
}

static void *blocks[50000];

static void use_memory(void)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50000; i++)
            fill(blocks[i] = block((size_t)i % 700), (size_t)i % 700,
                 (unsigned)i);
        for (int i = 0; i < 50000; i++) {
            EXPECT_FILLED(blocks[i], (size_t)i % 700, (unsigned)i);
            errno = 4711;
            free(blocks[i]);
            EXPECT(errno == 4711, "free() left errno %d", errno);
        }
        for (size_t i = 0; i < CLASSES; i++)
            free(block(class_nth(i)));
        malloc_trim(0);
    }
}

enum { THREADS = 60 };

static pthread_barrier_t barrier;

static void *begin(void *unused)
{
    void *some[64];

    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < 64; i++)
        some[i] = block(64 + 16 * i);
    for (size_t i = 0; i < 64; i++)
        free(some[i]);
    return unused;
}

static void begin_together(void)
{
    pthread_t threads[THREADS];

    EXPECT(!pthread_barrier_init(&barrier, NULL, THREADS), "no barrier");
    for (int i = 0; i < THREADS; i++)
        EXPECT(!pthread_create(&threads[i], NULL, begin, NULL), "no thread");
    for (int i = 0; i < THREADS; i++)
        EXPECT(!pthread_join(threads[i], NULL), "no thread to join");
}

int main(int argc, char **argv)
{
    unsigned answer = argc > 2 ? SECCOMP_RET_KILL_PROCESS
                               : SECCOMP_RET_ERRNO | EPERM;
    int failed;

    // libc's own start asks for random bytes and limits, once.
    free(block(100));
    free(block(100000));
    malloc_trim(0);
    if (argc > 1 && !strcmp(argv[1], "madvise"))
        failed = forbid(SYS_madvise, answer);
    else if (argc > 1 && !strcmp(argv[1], "yield"))
        failed = forbid(SYS_sched_yield, answer);
    else
        failed = forbid_all_but_a_few(answer);
    if (failed)
        return 77;
    if (argc > 1 && !strcmp(argv[1], "yield"))
        begin_together();
    else
        use_memory();
    ok();
    // No destructors: a report would open a file.
    _exit(0);
}
