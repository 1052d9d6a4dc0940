/* pool.c - one pool of threads for the process: made when first needed, spinning briefly and then asleep
 * between jobs, made anew after fork, used by one job at a time (a second one runs on its caller alone,
 * which gives the same bits).
 *
 * Waiting is bounded: some microseconds of `pause`, then sched_yield, then sleep. A spinning join costs
 * 0.3 us, a condition variable 35 us; endless spinning costs milliseconds on a shared machine.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum { SPINS = 4000, YIELDS = 64, LINE = 64 };

struct fn_team {
    int threads;
    _Alignas(LINE) atomic_int arrived;
    _Alignas(LINE) atomic_uint phase;
};

static struct {
    pthread_mutex_t in_use;  /* held by the caller of the job at work */
    pthread_mutex_t lock;    /* guards sleeping and waking */
    pthread_cond_t wake;
    int workers;             /* threads made so far; worker w is member w + 1 */
    int sleepers;
    unsigned jobs_before[FN_MAX_THREADS]; /* the count of jobs when member m was made */
    fn_member *member;
    void *context;
    fn_team team;
    _Alignas(LINE) atomic_uint job;   /* counts jobs; a change starts the workers */
    _Alignas(LINE) atomic_int running; /* workers that have not finished the job */
} pool = {.in_use = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static atomic_int threads_wanted;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t scratch_key;

static inline void relax(void)
{
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- scratch ---- */

typedef struct {
    size_t bytes;
    void *block;
} scratch_block;

static _Thread_local scratch_block scratch;

static void free_scratch(void *arg)
{
    scratch_block *s = arg;
    fn_free(s->block, s->bytes);
    s->block = NULL;
    s->bytes = 0;
}

static void after_fork_in_child(void)
{
    /* The workers do not exist here, and a lock may be held by a thread that does not either. */
    pthread_mutex_init(&pool.in_use, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pool.workers = pool.sleepers = 0;
    atomic_store(&pool.running, 0);
    atomic_store(&pool.team.arrived, 0); /* some may have been waiting at a barrier */
}

static void init_once(void)
{
    pthread_key_create(&scratch_key, free_scratch);
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

void *fn_scratch(size_t bytes)
{
    if (bytes <= scratch.bytes && scratch.block != NULL)
        return scratch.block;
    bytes += bytes / 4;
    void *block = fn_alloc(bytes);
    if (block == NULL)
        return NULL;
    fn_free(scratch.block, scratch.bytes);
    scratch.block = block;
    scratch.bytes = bytes;
    pthread_once(&once, init_once);
    pthread_setspecific(scratch_key, &scratch);
    return block;
}

/* ---- floating-point state: subnormals are zero while kernels run (they cost up to 95 times) ---- */

#if defined(__SSE2__)
typedef unsigned fp_state;
static fp_state enter_fp(void)
{
    fp_state old = _mm_getcsr();
    _mm_setcsr(old | 0x8040); /* flush to zero, denormals are zero */
    return old;
}
static void leave_fp(fp_state old) { _mm_setcsr(old); }
#elif defined(__aarch64__)
typedef uint64_t fp_state;
static fp_state enter_fp(void)
{
    fp_state old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" ::"r"(old | (1u << 24)));
    return old;
}
static void leave_fp(fp_state old) { __asm__ volatile("msr fpcr, %0" ::"r"(old)); }
#else
typedef int fp_state;
static fp_state enter_fp(void) { return 0; }
static void leave_fp(fp_state old) { (void)old; }
#endif

/* ---- the team ---- */

void fn_team_barrier(fn_team *team)
{
    if (team->threads == 1)
        return;
    unsigned phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) == team->threads - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
        return;
    }
    for (int spin = 0; atomic_load_explicit(&team->phase, memory_order_acquire) == phase; spin++) {
        if (spin < SPINS)
            relax();
        else
            sched_yield();
    }
}

static void *worker(void *arg)
{
    const int me = (int)(intptr_t)arg;
    unsigned seen = pool.jobs_before[me];
    enter_fp(); /* the thread is the pool's own: nobody's state to put back */
    for (;;) {
        unsigned job;
        int tries = 0;
        while ((job = atomic_load_explicit(&pool.job, memory_order_acquire)) == seen) {
            if (tries < SPINS) {
                relax();
            } else if (tries < SPINS + YIELDS) {
                sched_yield();
            } else {
                pthread_mutex_lock(&pool.lock);
                pool.sleepers++;
                while (atomic_load(&pool.job) == seen)
                    pthread_cond_wait(&pool.wake, &pool.lock);
                pool.sleepers--;
                pthread_mutex_unlock(&pool.lock);
            }
            tries++;
        }
        seen = job;
        if (me < pool.team.threads)
            pool.member(pool.context, &pool.team, me, pool.team.threads);
        atomic_fetch_sub_explicit(&pool.running, 1, memory_order_release);
    }
    return NULL;
}

/* Called with in_use held and no job at work: a new worker must not take an earlier job for a new one. */
static void make_workers(int wanted)
{
    if (pool.workers >= wanted)
        return;
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    while (pool.workers < wanted) {
        pthread_t thread;
        pool.jobs_before[pool.workers + 1] = atomic_load(&pool.job);
        if (pthread_create(&thread, &attr, worker, (void *)(intptr_t)(pool.workers + 1)) != 0)
            break;
        pool.workers++;
    }
    pthread_attr_destroy(&attr);
}

void fn_team_run(fn_member *member, void *context, int threads)
{
    pthread_once(&once, init_once);
    fp_state old = enter_fp();
    if (threads > 1 && pthread_mutex_trylock(&pool.in_use) == 0) {
        make_workers(threads - 1);
        if (threads > pool.workers + 1)
            threads = pool.workers + 1;
        if (threads > 1) {
            pool.member = member;
            pool.context = context;
            pool.team.threads = threads;
            atomic_store_explicit(&pool.running, pool.workers, memory_order_relaxed);
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add_explicit(&pool.job, 1, memory_order_release);
            if (pool.sleepers > 0)
                pthread_cond_broadcast(&pool.wake);
            pthread_mutex_unlock(&pool.lock);
            member(context, &pool.team, 0, threads);
            for (int spin = 0; atomic_load_explicit(&pool.running, memory_order_acquire) > 0; spin++) {
                if (spin < SPINS)
                    relax();
                else
                    sched_yield();
            }
            pthread_mutex_unlock(&pool.in_use);
            leave_fp(old);
            return;
        }
        pthread_mutex_unlock(&pool.in_use);
    }
    fn_team alone = {.threads = 1};
    member(context, &alone, 0, 1);
    leave_fp(old);
}

int fn_get_threads(void)
{
    int n = atomic_load(&threads_wanted);
    if (n == 0) {
        n = fn_cpu_count();
        atomic_store(&threads_wanted, n);
    }
    return n;
}

void fn_set_threads(int n) { atomic_store(&threads_wanted, n < 1 ? 1 : n > FN_MAX_THREADS ? FN_MAX_THREADS : n); }
