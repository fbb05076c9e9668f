/*
 * schedule.c - one thread at a time, and which; the seeds.
 *
 * Threads are real ones, for what the compiler, the loader and key destructors
 * do for each; but only the one that has the turn runs.  Who goes on is drawn:
 * often anybody, seldom anybody, or by ranks that change at a few steps only,
 * which finds what needs few switches at the right places (S. Burckhardt et
 * al., "A randomized scheduler with probabilistic guarantees of finding bugs",
 * 2010).
 */
#include "order_parts.h"
#include "../unit/unit.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS_MOST = 3000000, ROW_MOST = 3000, RANK_CHANGES = 4 };

enum doing { UNUSED, RUNS, WAITS, ENDED };

static struct thread {
    struct order_mind mind;
    enum doing doing;
    const void *word; /* it waits for a wake of this one, or NULL: an end */
    bool is_timed, is_woken;
    uint32_t rank; /* the highest goes on */
    sem_t turn;
    pthread_t id;
    void (*body)(void *);
    void *with;
} threads[ORDER_THREADS] = {{.doing = RUNS}};

static _Thread_local int self;
static int count = 1;
static pthread_key_t end_key;
static uint64_t dice;
static bool is_traced, is_quiet;

/* How this seed goes about it. */
static uint32_t switch_every; /* 0: by ranks */
static bool wakes_for_nothing;
static uint32_t next_low, change_at[RANK_CHANGES];

/* What one run learns of another: how many steps there are. */
static uint32_t no_steps, *steps = &no_steps, steps_before;

int order_self(void)
{
    return self;
}

int order_threads(void)
{
    return count;
}

struct order_mind *order_mind(void)
{
    return &threads[self].mind;
}

struct order_mind *order_mind_of(int thread)
{
    return &threads[thread].mind;
}

bool order_is_traced(void)
{
    return is_traced;
}

void order_say(const char *format, ...)
{
    va_list list;

    if (is_quiet)
        return;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
}

_Noreturn void order_fail(const char *file, int line, const char *what)
{
    order_say("%s:%d: thread %d: %s\n", file, line, self, what);
    _exit(1);
}

/* xorshift64*, by S. Vigna, "An experimental exploration of Marsaglia's
 * xorshift generators, scrambled", 2016. */
uint32_t order_random(uint32_t most)
{
    dice ^= dice >> 12;
    dice ^= dice << 25;
    dice ^= dice >> 27;
    return (uint32_t)((dice * 0x2545f4914f6cdd1d) >> 33) % most;
}

/* --- whose turn it is ----------------------------------------------------- */

static void hand_turn(int next)
{
    threads[next].doing = RUNS;
    if (next == self)
        return;
    sem_post(&threads[next].turn);
    while (sem_wait(&threads[self].turn) != 0)
        ;
}

/* A time-out, or a wake for nothing, that comes now. */
static bool may_go_on(const struct thread *thread)
{
    if (thread->doing == WAITS && thread->word)
        return (thread->is_timed || wakes_for_nothing) && order_random(64) == 0;
    return thread->doing == RUNS;
}

static int pick_of(const int *list, int n)
{
    int best = list[0];

    if (switch_every)
        return list[order_random((uint32_t)n)];
    for (int i = 1; i < n; i++)
        if (threads[list[i]].rank > threads[best].rank)
            best = list[i];
    return best;
}

static int pick(void)
{
    int list[ORDER_THREADS], n = 0;

    for (int i = 0; i < count; i++)
        if (may_go_on(&threads[i]))
            list[n++] = i;
    for (int i = 0; n == 0 && i < count; i++)
        if (threads[i].doing == WAITS && threads[i].is_timed)
            list[n++] = i;
    if (n == 0)
        order_fail(__FILE__, __LINE__, "all threads wait");
    return pick_of(list, n);
}

static void count_step(void)
{
    static int last;
    static uint32_t in_a_row;

    if (++*steps > STEPS_MOST)
        order_fail(__FILE__, __LINE__, "this does not come to an end");
    in_a_row = last == self ? in_a_row + 1 : 0;
    last = self;
    if (in_a_row == ROW_MOST) { /* it may wait for others by looking */
        in_a_row = 0;
        threads[self].rank = next_low--;
    }
    for (int i = 0; i < RANK_CHANGES; i++)
        if (*steps == change_at[i])
            threads[self].rank = next_low--;
}

void order_step(void)
{
    count_step();
    if (!switch_every || order_random(switch_every) == 0)
        hand_turn(pick());
}

void order_wait(void)
{
    count_step();
    threads[self].rank = next_low--;
    hand_turn(pick());
}

bool order_sleep(const void *word, bool is_timed)
{
    struct thread *thread = &threads[self];

    thread->word = word;
    thread->is_timed = is_timed;
    thread->is_woken = false;
    thread->doing = WAITS;
    hand_turn(pick());
    thread->is_timed = false;
    return thread->is_woken;
}

int order_wake(const void *word, uint32_t most)
{
    int first = (int)order_random(ORDER_THREADS), woken = 0;

    for (int i = 0; i < ORDER_THREADS && (uint32_t)woken < most; i++) {
        struct thread *thread = &threads[(first + i) % ORDER_THREADS];

        if (thread->doing != WAITS || thread->word != word || !word)
            continue;
        thread->doing = RUNS;
        thread->is_woken = true;
        woken++;
    }
    return woken;
}

/* --- threads -------------------------------------------------------------- */

/* Called twice, the second time when the other destructors have run. */
static void end(void *turn)
{
    int next;

    if (turn == (void *)1) {
        pthread_setspecific(end_key, (void *)2);
        return;
    }
    threads[self].doing = ENDED;
    for (int i = 0; i < count; i++)
        if (threads[i].doing == WAITS && !threads[i].word)
            threads[i].doing = RUNS;
    next = pick();
    threads[next].doing = RUNS;
    sem_post(&threads[next].turn);
}

static void *begin(void *thread)
{
    self = (int)(intptr_t)thread;
    while (sem_wait(&threads[self].turn) != 0)
        ;
    pthread_setspecific(end_key, (void *)1);
    threads[self].body(threads[self].with);
    return NULL;
}

/* In the place of one that ended, maybe, whose time goes on. */
static void make(struct thread *thread)
{
    uint32_t time = thread->mind.now.times.of[thread - threads];

    thread->mind = (struct order_mind){0};
    sem_init(&thread->turn, 0, 0);
    thread->doing = RUNS;
    thread->rank = UINT32_MAX / 2 + order_random(UINT32_MAX / 4);
    thread->mind.now.times.of[thread - threads] = time + 1;
}

static int free_place(void)
{
    int i = 0;

    while (i < count && threads[i].doing != UNUSED)
        i++;
    MUST(i < ORDER_THREADS);
    return i;
}

int order_start(void (*body)(void *), void *with)
{
    int place = free_place();
    struct thread *thread = &threads[place];

    make(thread);
    thread->body = body;
    thread->with = with;
    order_hand_over(place, self);
    MUST(pthread_create(&thread->id, NULL, begin, (void *)(intptr_t)place) ==
         0);
    count += place == count;
    order_step();
    return place;
}

void order_join(int thread)
{
    while (threads[thread].doing != ENDED)
        order_sleep(NULL, false);
    pthread_join(threads[thread].id, NULL);
    order_hand_over(self, thread);
    threads[thread].doing = UNUSED;
}

/* --- seeds ---------------------------------------------------------------- */

static void choose_ways(unsigned seed)
{
    static const uint32_t every[] = {2, 0, 8, 0};

    dice = ((uint64_t)seed + 1) * 0x9e3779b97f4a7c15;
    for (int i = 0; i < 8; i++)
        order_random(2);
    switch_every = every[seed % 4];
    wakes_for_nothing = seed % 16 >= 12;
    next_low = UINT32_MAX / 4;
    for (int i = 0; i < RANK_CHANGES; i++)
        change_at[i] = 1 + order_random(steps_before ? steps_before : 1000);
}

/* Turns are handed on faster where all threads have one processor. */
static void stay_on_one_processor(void)
{
    int here = sched_getcpu();
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(here < 0 ? 0 : here, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static _Noreturn void run(void (*scene)(void), unsigned seed)
{
    /* Not cmocka's, which would go on with the parent's tests here. */
    static const int deaths[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};

    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++)
        signal(deaths[i], SIG_DFL);
    alarm(60);
    stay_on_one_processor();
    *steps = 0;
    choose_ways(seed);
    make(&threads[0]);
    pthread_key_create(&end_key, end);
    scene();
    for (int i = 1; i < count; i++)
        MUST(threads[i].doing == UNUSED);
    _exit(0);
}

static unsigned number_of(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* Runs seeds until one fails, and returns that, or else the end. */
static unsigned explore(void (*scene)(void), unsigned seed, unsigned end,
                        int *status)
{
    if (steps == &no_steps)
        steps = mmap(NULL, sizeof *steps, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(steps, MAP_FAILED);
    *steps = number_of("ORDER_STEPS", 0);
    for (*status = 0; seed < end; seed++) {
        pid_t child;

        steps_before = *steps;
        fflush(NULL);
        child = fork();
        assert_int_not_equal(child, -1);
        if (child == 0)
            run(scene, seed);
        assert_int_equal(waitpid(child, status, 0), child);
        if (*status != 0)
            break;
    }
    return seed;
}

void order_explore(void (*scene)(void), unsigned seeds)
{
    unsigned first = number_of("ORDER_SEED", 0), failed;
    int status;

    if (number_of("ORDER_SEEDS", 0) > seeds)
        seeds = number_of("ORDER_SEEDS", 0);
    if (getenv("ORDER_SEED"))
        seeds = 1;
    is_traced = getenv("ORDER_TRACE") != NULL;
    failed = explore(scene, first, first + seeds, &status);
    if (status != 0)
        fail_msg("status %#x with ORDER_SEED=%u ORDER_STEPS=%u",
                 (unsigned)status, failed, steps_before);
}

bool order_fails(void (*scene)(void), unsigned seeds)
{
    int status;

    is_quiet = true;
    explore(scene, 0, seeds, &status);
    is_quiet = false;
    return status != 0;
}
