// A signal arrives at one instruction boundary after the other of a call of
// malloc or free, and its handler allocates three blocks, frees one and keeps
// two.  Each boundary is a process of its own, which then looks whether any
// two blocks overlap and whether all can be freed.
//
//   stepped SCENE CALL [STRIDE]
//
// SCENE: malloc, free, or foreign, the free of another thread's blocks: CALLS
// times in a row.  CALL, which of them is looked at: the shortest, or the four
// longest.  Says at how many boundaries harm was done: within the first BODY
// bytes of malloc and free themselves, and elsewhere.  No debugger: a handler
// sets the trap flag in the context that it returns to.
// BUILD: -D_GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include "expect.h"

enum { CALLS = 300, MOST = 600, BODY = 160, TRAP_FLAG = 0x100 };
enum { HARMLESS, HARMED };

static struct list {
    unsigned char *at[MOST];
    int count;
} blocks, kept; // the calls' own, and what handlers keep

static struct {
    int is_inside;
    long steps[CALLS];
} *shared; // by the parent and its children

static size_t size = 64;
static volatile long steps, wanted;
static char *bodies[2];

static void add_to(struct list *to, void *p)
{
    if (!p || to->count == MOST)
        _exit(HARMED);
    to->at[to->count++] = p;
}

static void allocate_in_handler(void)
{
    void *p[3];

    for (int i = 0; i < 3; i++)
        p[i] = malloc(size);
    for (int i = 0; i < 3; i++)
        memset(p[i], 'h', size);
    free(p[1]);
    add_to(&kept, p[0]);
    add_to(&kept, p[2]);
}

static greg_t *registers_of(void *context)
{
    return ((ucontext_t *)context)->uc_mcontext.gregs;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    char *at = (char *)registers_of(context)[REG_RIP];

    (void)number, (void)info;
    if (steps++ != wanted)
        return;
    registers_of(context)[REG_EFL] &= ~TRAP_FLAG;
    for (int i = 0; i < 2; i++)
        shared->is_inside |= at >= bodies[i] && at < bodies[i] + BODY;
    allocate_in_handler();
}

static void on_start(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    registers_of(context)[REG_EFL] |= TRAP_FLAG;
}

static void on_stop(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    registers_of(context)[REG_EFL] &= ~TRAP_FLAG;
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = handler,
                               .sa_flags = SA_SIGINFO};

    EXPECT(!sigaction(number, &action, NULL), "errno %d", errno);
}

static void *get_many(void *unused)
{
    for (int i = 0; i < CALLS; i++)
        add_to(&blocks, malloc(size));
    return unused;
}

static void *get_and_stay(void *unused)
{
    get_many(unused);
    while (pause())
        ;
    return unused;
}

static void free_down_to(int count)
{
    while (blocks.count > count)
        free(blocks.at[--blocks.count]);
}

// For mallocs a dozen blocks are at hand, for frees there are enough.
static void prepare(const char *scene)
{
    pthread_t other;

    if (!strcmp(scene, "foreign"))
        size = 48; // from 64 on it is the hit path, whosever they are
    for (int i = 0; i < 24; i++)
        add_to(&blocks, malloc(size));
    free_down_to(*scene == 'm' ? 12 : 0);
    if (!strcmp(scene, "free"))
        get_many(NULL);
    if (strcmp(scene, "foreign"))
        return;
    EXPECT(!pthread_create(&other, NULL, get_and_stay, NULL), "no thread");
    while (*(volatile int *)&blocks.count < CALLS)
        usleep(100);
}

static void call(int is_malloc)
{
    if (is_malloc)
        add_to(&blocks, malloc(size));
    else
        free(blocks.at[--blocks.count]);
}

static int is_whole(void)
{
    struct list *lists[] = {&blocks, &kept};

    for (unsigned l = 0; l < 2; l++)
        for (int i = 0; i < lists[l]->count; i++)
            fill(lists[l]->at[i], size, l * 100 + (unsigned)i);
    for (unsigned l = 0; l < 2; l++)
        for (int i = 0; i < lists[l]->count; i++)
            if (first_fault(lists[l]->at[i], size, l * 100 + (unsigned)i) !=
                size)
                return 0;
    return 1;
}

static void look(void)
{
    for (int round = 0; round < 3; round++) {
        while (blocks.count < MOST)
            add_to(&blocks, malloc(size));
        if (!is_whole())
            _exit(HARMED);
        free_down_to(round * 20);
    }
    free_down_to(0);
    while (kept.count > 0)
        free(kept.at[--kept.count]);
    _exit(HARMLESS);
}

// Steps the call of that number, or each of them, to be counted.
static void be(const char *scene, int chosen)
{
    alarm(60);
    prepare(scene);
    for (int i = 0; i < CALLS; i++) {
        if (chosen < 0 || i == chosen)
            raise(SIGUSR1);
        call(*scene == 'm');
        if (chosen >= 0 && i != chosen)
            continue;
        raise(SIGUSR2);
        shared->steps[i] = steps;
        steps = 0;
    }
    look();
}

static int outcome(const char *scene, int chosen)
{
    int status;
    pid_t child;

    shared->is_inside = 0;
    child = fork();
    if (child == 0)
        be(scene, chosen);
    EXPECT(child > 0 && waitpid(child, &status, 0) == child, "errno %d",
           errno);
    return WIFEXITED(status) ? WEXITSTATUS(status) : HARMED;
}

// The call that took most or least steps; it is not chosen again.
static int choose(int is_longest)
{
    int chosen = 0;

    for (int i = 1; i < CALLS; i++)
        if (is_longest ? shared->steps[i] > shared->steps[chosen]
                       : shared->steps[i] < shared->steps[chosen])
            chosen = i;
    return chosen;
}

int main(int argc, char **argv)
{
    long stride = argc > 3 ? strtol(argv[3], NULL, 0) : 1;
    long looked = 0, inside = 0, elsewhere = 0;
    int is_longest;

    EXPECT(argc > 2 && stride > 0, "usage: stepped SCENE CALL [STRIDE]");
    is_longest = !strcmp(argv[2], "longest");
    bodies[0] = dlsym(RTLD_DEFAULT, "malloc");
    bodies[1] = dlsym(RTLD_DEFAULT, "free");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(shared != MAP_FAILED, "errno %d", errno);
    handle(SIGTRAP, on_step);
    handle(SIGUSR1, on_start);
    handle(SIGUSR2, on_stop);
    wanted = -1;
    EXPECT(outcome(argv[1], -1) == HARMLESS, "harmed without a signal");
    for (int i = 0; i < (is_longest ? 4 : 1); i++) {
        int chosen = choose(is_longest);
        long count = shared->steps[chosen];

        for (wanted = 0; wanted < count; wanted += stride, looked++)
            if (outcome(argv[1], chosen) != HARMLESS) {
                inside += shared->is_inside;
                elsewhere += !shared->is_inside;
            }
        shared->steps[chosen] = 0;
    }
    printf("%ld looked at, %ld harmed inside, %ld elsewhere\n", looked, inside,
           elsewhere);
    return 0;
}
