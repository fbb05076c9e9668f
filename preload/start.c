/*
 * start.c - the first call: real functions, options, standing down.
 *
 * ld.so calls malloc before any constructor ran, so everything here works
 * from zeroed data alone and starts with whichever call comes first.  dlsym
 * runs once, with no lock held; what it allocates comes from boot.c.
 */
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { START_NONE, START_RUNNING, START_DONE };

struct skp_real skp_real;
bool skp_is_on;

static struct {
    _Atomic uint32_t progress;
    struct sk_state **_Atomic runner; /* names the thread that runs it */
    const char *reason;
    char program[64]; /* as executed: programs overwrite their argv */
} start;

extern void *__libc_stack_end;

const char *skp_reason(void)
{
    return start.reason ? start.reason : "";
}

/* --- the real functions --------------------------------------------------- */

/* Behind a library that wraps dlsym, "next" is next to that library: we would
 * find ourselves, and call ourselves for ever. */
static void *find(const char *name, const char *version, const void *own)
{
    void *found = dlsym(RTLD_NEXT, name);

    return found != own ? found : dlvsym(RTLD_NEXT, name, version);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* mallinfo */
static void find_real(void)
{
#define FIND(name, version)                                                    \
    *(void **)&skp_real.name =                                                 \
        find(#name, "GLIBC_" version, (const void *)(uintptr_t)name)
    FIND(malloc, "2.2.5");
    FIND(calloc, "2.2.5");
    FIND(realloc, "2.2.5");
    FIND(free, "2.2.5");
    FIND(memalign, "2.2.5");
    FIND(aligned_alloc, "2.16");
    FIND(posix_memalign, "2.2.5");
    FIND(pvalloc, "2.2.5");
    FIND(malloc_usable_size, "2.2.5");
    FIND(malloc_trim, "2.2.5");
    FIND(mallinfo, "2.2.5");
#if __GLIBC_PREREQ(2, 33)
    FIND(mallinfo2, "2.33");
#endif
    FIND(malloc_stats, "2.2.5");
    FIND(malloc_info, "2.10");
    FIND(mallopt, "2.2.5");
    FIND(dlopen, "2.34");
    FIND(dlmopen, "2.34");
    FIND(mlockall, "2.2.5");
    FIND(setrlimit, "2.2.5");
    FIND(prlimit, "2.13");
#undef FIND
}
#pragma GCC diagnostic pop

/* --- before libc's constructor ---------------------------------------------
 */

/* libc sets environ in its own constructor; before that the block is found
 * where the kernel put it, behind the arguments. */
static char **environment(void)
{
    char **stack = (char **)__libc_stack_end;

    if (environ || !stack)
        return environ;
    return stack + 1 + (size_t)stack[0] + 1;
}

/* --- the start ------------------------------------------------------------ */

static void say_banner(void)
{
    char line[400];
    struct sk_text text = {line, 0, sizeof line - 1};
    struct sk_region_figures figures;

    sk_region_read_figures(&figures);
    sk_text_add(&text, "version " SK_VERSION ", region %z, ",
                (uint64_t)figures.reserved_bytes);
    sk_config_describe(&text);
    line[text.used] = '\0';
    sk_say("%s", line);
    if (start.reason)
        sk_say("mode pass: %s", start.reason);
}

static void open_heaps(void)
{
    if (sk_config.mode != SK_MODE_ON)
        return;
    if (!sk_region_map)
        sk_state_open(sk_config.reserve);
    if (sk_region_map)
        skp_is_on = true;
    else
        start.reason = sk_config.reserve == 0
                           ? "reserve is 0"
                           : "no address space for the heaps";
}

static void keep_program_name(void)
{
    const char *path = (const char *)getauxval(AT_EXECFN);
    const char *slash = path ? strrchr(path, '/') : NULL;

    if (path)
        strncpy(start.program, slash ? slash + 1 : path,
                sizeof start.program - 1);
}

static void read_options(void)
{
    char **entries = environment();

    sk_config_open(entries);
    if (sk_config.mode == SK_MODE_ON && !start.reason)
        start.reason = skp_reason_to_pass(entries);
    if (sk_config.mode == SK_MODE_ON && start.reason)
        sk_config.mode = SK_MODE_PASS;
    open_heaps();
    if (!skp_is_on && sk_config.mode == SK_MODE_ON)
        sk_config.mode = SK_MODE_PASS;
    keep_program_name();
    if (sk_config.verbose && sk_config.mode != SK_MODE_OFF)
        say_banner();
}

/* A sanitizer's own start calls us (setrlimit) before the string functions
 * that it intercepts may be called: its options wait for our constructor. */
static void run_start(void)
{
    find_real();
    skp_limits_own();
    if (skp_has_sanitizer())
        start.reason = "a sanitizer owns malloc in this process";
    else
        read_options();
}

bool skp_start(void)
{
    uint32_t none = START_NONE;
    int kept = errno;

    if (SK_LIKELY(atomic_load_explicit(&start.progress, memory_order_acquire) ==
                  START_DONE))
        return true;
    if (atomic_load(&start.runner) == &sk_self)
        return false;
    if (atomic_compare_exchange_strong(&start.progress, &none, START_RUNNING)) {
        atomic_store(&start.runner, &sk_self);
        run_start();
        atomic_store(&start.runner, NULL);
        atomic_store(&start.progress, START_DONE);
        sk_os_wake(&start.progress, INT32_MAX);
    }
    while (atomic_load(&start.progress) != START_DONE)
        sk_os_wait(&start.progress, START_RUNNING);
    errno = kept;
    return true;
}

/* --- constructor, fork, exit ---------------------------------------------- */

/* libc's malloc sets itself up in its first call, without a lock, since
 * without us that is main's, before there are threads.  Now two threads could
 * make it at once; both then count as users of the main arena, and the second
 * one to end aborts the process (seen in 4 of 100 runs).  A call that takes
 * no memory: no parameter has this number. */
static void set_up_libc(void)
{
    if (skp_real.mallopt)
        skp_real.mallopt(INT32_MAX, 0);
}

static void in_child(void)
{
    skp_limits_own();
    sk_state_after_fork();
    sk_stats_after_fork();
}

/* Early, so that our child handler runs before those of other libraries,
 * which may allocate.  There is no prepare handler: glibc takes stdio's locks
 * after those, and a thread that holds one of them may be waiting for us. */
__attribute__((constructor(101))) static void at_load(void)
{
    skp_start();
    if (skp_has_sanitizer())
        read_options();
    if (!skp_is_on)
        return;
    set_up_libc();
    pthread_atfork(NULL, NULL, in_child);
}

/* Nothing is torn down: other threads and later destructors still allocate. */
__attribute__((destructor)) static void at_exit(void)
{
    static const char *const modes[] = {"on", "pass", "off"};

    if (sk_config.stats[0] == '\0' || sk_config.mode == SK_MODE_OFF)
        return;
    if (!sk_stats_write(sk_config.stats, start.program, modes[sk_config.mode],
                        skp_reason()) &&
        sk_config.verbose)
        sk_say("option 'stats': cannot write '%s'", sk_config.stats);
}

SKP_EXPORT const char *sk_version(void);
const char *sk_version(void)
{
    return SK_VERSION;
}
