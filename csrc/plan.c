/* plan.c - a plan's operations and the loop that runs them.
 *
 * Every thread of the team walks the same list and takes its share of each operation's tasks; which thread takes
 * which task changes no bit of the result. Units (see fastnn.h) that are not worth a second thread run on thread 0.
 */
#include "pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A thread more pays when it takes over this much work: a barrier costs 0.3 us when all is quiet. */
static const double NS_PER_THREAD = 3000;

typedef struct {
    int first, last;   /* ops [first, last) */
    int rows;          /* all split by samples */
    int64_t chunk;
    double fixed, per_sample; /* cost, ns */
} unit;

struct fn_plan {
    atomic_flag busy;
    int ops_count, units_count;
    int once_ops, once_units; /* the first, which make copies of weights */
    fn_op *ops;
    unit *units;
};

fn_status fn_plan_new(fn_plan **out, const fn_op *ops, int count, const int64_t *chunk, int once)
{
    *out = NULL;
    fn_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return FN_ENOMEM;
    plan->ops = calloc((size_t)count + 1, sizeof *plan->ops);
    plan->units = calloc((size_t)count + 1, sizeof *plan->units);
    if (plan->ops == NULL || plan->units == NULL) {
        fn_plan_free(plan);
        return FN_ENOMEM;
    }
    atomic_flag_clear(&plan->busy);
    memcpy(plan->ops, ops, (size_t)count * sizeof *ops);
    plan->ops_count = count;
    plan->once_ops = once;
    for (int j = 0; j < count; j++) {
        const int rows = ops[j].split == FN_SPLIT_ROWS && ops[j].batched;
        const int64_t size = chunk ? chunk[j] : 0;
        unit *u = plan->units_count ? &plan->units[plan->units_count - 1] : NULL;
        if (u == NULL || !rows || !u->rows || u->chunk != size || j == once) {
            u = &plan->units[plan->units_count++];
            *u = (unit){.first = j, .rows = rows, .chunk = size};
        }
        u->last = j + 1;
        if (j < once)
            plan->once_units = plan->units_count;
        *(ops[j].batched ? &u->per_sample : &u->fixed) += ops[j].cost;
    }
    *out = plan;
    return FN_OK;
}

void fn_plan_free(fn_plan *plan)
{
    if (plan == NULL)
        return;
    free(plan->ops);
    free(plan->units);
    free(plan);
}

fn_op *fn_plan_op(fn_plan *plan, int index) { return &plan->ops[index]; }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static size_t op_scratch(const fn_op *op, const fn_step *step)
{
    return op->kernel->scratch ? op->kernel->scratch(op, step) : 0;
}

static int threads_worth(double cost, int threads)
{
    int n = (int)(cost / NS_PER_THREAD);
    return n < 1 ? 1 : n < threads ? n : threads;
}

/* Thread t's share of `tasks` among n. */
static inline void share(int64_t tasks, int t, int n, int64_t *lo, int64_t *hi)
{
    *lo = tasks * t / n;
    *hi = tasks * (t + 1) / n;
}

/* The ops of a unit on samples (or tasks) that are thread t's among n. */
static void run_unit(const fn_plan *plan, const unit *u, const fn_step *step, int t, int n, void *scratch)
{
    int64_t lo, hi;
    if (!u->rows) {
        const fn_op *op = &plan->ops[u->first];
        share(op->kernel->tasks(op, step), t, n, &lo, &hi);
        if (lo < hi)
            op->kernel->run(op, step, lo, hi, scratch);
        return;
    }
    share(step->rows, t, n, &lo, &hi);
    const int64_t chunk = u->chunk > 0 ? u->chunk : hi - lo;
    for (int64_t at = lo; at < hi; at += chunk) {
        const int64_t end = at + chunk < hi ? at + chunk : hi;
        for (int j = u->first; j < u->last; j++)
            plan->ops[j].kernel->run(&plan->ops[j], step, at, end, scratch);
    }
}

typedef struct {
    fn_plan *plan;
    const fn_run *run;
    size_t scratch;
    int64_t done;
    double cost; /* of a full step on one thread, ns */
    atomic_int no_memory;
    int stop[2]; /* written by thread 0 before the barrier that ends a step, read after it; two, so that the
                    next step's answer is not written while this one's is read */
} job;

static fn_step make_step(const fn_run *run, int64_t number)
{
    const int64_t at = run->first + number * run->batch, left = run->last - at;
    return (fn_step){
        .rows = left < run->batch ? left : run->batch,
        .index = run->index + number,
        .seed = run->seed,
        .hyper = run->hyper ? run->hyper + number * run->width : NULL,
        .order = run->order ? run->order + at : NULL,
        .first = at,
        .before = number,
        .after = (left - 1) / run->batch,
    };
}

static void run_member(void *context, fn_team *team, int t, int n)
{
    job *j = context;
    const fn_plan *plan = j->plan;
    const fn_run *run = j->run;
    const int64_t steps = (run->last - run->first + run->batch - 1) / run->batch;
    void *scratch = fn_scratch(j->scratch);
    if (scratch == NULL)
        atomic_store(&j->no_memory, 1);
    fn_team_barrier(team);
    if (atomic_load(&j->no_memory))
        return;

    const double start = run->seconds > 0 ? now() : 0;
    for (int64_t number = 0; number < steps; number++) {
        const fn_step step = make_step(run, number);
        int alone = 1; /* what went before ran on thread 0 alone */
        const int first = fn_makes_copies(&step) ? 0 : plan->once_units;
        for (int k = first; k < plan->units_count; k++) {
            const unit *u = &plan->units[k];
            const int m = n == 1 ? 1 : threads_worth(u->fixed + u->per_sample * (double)step.rows, n);
            if (!(alone && m == 1) && k > first)
                fn_team_barrier(team);
            alone = m == 1;
            if (t < m)
                run_unit(plan, u, &step, t, m, scratch);
        }
        if (t == 0) {
            j->done = step.first + step.rows - run->first;
            /* a look at the clock costs 25 ns: not after every step of a tiny net */
            if (run->seconds > 0 && (n > 1 || j->cost > NS_PER_THREAD || (number & 15) == 15))
                j->stop[number & 1] = now() - start > run->seconds * 1e9;
            else
                j->stop[number & 1] = 0;
        }
        fn_team_barrier(team);
        if (j->stop[number & 1])
            return;
    }
}

/* The same on one thread, with a clock around each op. */
static void run_timed(void *context, fn_team *team, int t, int n)
{
    (void)team; (void)t; (void)n;
    job *j = context;
    const fn_plan *plan = j->plan;
    const fn_run *run = j->run;
    const int64_t steps = (run->last - run->first + run->batch - 1) / run->batch;
    void *scratch = fn_scratch(j->scratch);
    if (scratch == NULL) {
        atomic_store(&j->no_memory, 1);
        return;
    }
    for (int64_t number = 0; number < steps; number++) {
        const fn_step step = make_step(run, number);
        for (int k = fn_makes_copies(&step) ? 0 : plan->once_ops; k < plan->ops_count; k++) {
            const fn_op *op = &plan->ops[k];
            const double start = now();
            op->kernel->run(op, &step, 0, op->kernel->tasks(op, &step), scratch);
            run->times[k] += now() - start;
        }
        j->done = step.first + step.rows - run->first;
    }
}

fn_status fn_plan_run(fn_plan *plan, const fn_run *run, int64_t *done)
{
    *done = 0;
    if (run->last <= run->first || run->batch < 1)
        return FN_OK;
    if (atomic_flag_test_and_set_explicit(&plan->busy, memory_order_acquire))
        return FN_EBUSY;

    job j = {.plan = plan, .run = run};
    fn_step full = make_step(run, 0);
    double cost = 0; /* of the parts that more threads would help */
    int threads = run->threads > 0 ? run->threads : fn_get_threads();
    for (int k = 0; k < plan->ops_count; k++) {
        size_t bytes = op_scratch(&plan->ops[k], &full);
        if (bytes > j.scratch)
            j.scratch = bytes;
    }
    for (int k = 0; k < plan->units_count; k++) {
        const unit *u = &plan->units[k];
        const double c = u->fixed + u->per_sample * (double)full.rows;
        j.cost += c;
        if (threads_worth(c, 2) > 1)
            cost += c;
    }
    fn_team_run(run->times ? run_timed : run_member, &j, run->times ? 1 : threads_worth(cost, threads));
    *done = j.done;
    atomic_flag_clear_explicit(&plan->busy, memory_order_release);
    return atomic_load(&j.no_memory) ? FN_ENOMEM : FN_OK;
}

/* ---- one operation ---- */

typedef struct {
    const fn_op *op;
    const fn_step *step;
    size_t scratch;
    int64_t tasks;
    atomic_int no_memory;
} single;

static void run_single(void *context, fn_team *team, int t, int n)
{
    single *s = context;
    void *scratch = NULL;
    if (s->scratch > 0) {
        scratch = fn_scratch(s->scratch);
        if (scratch == NULL)
            atomic_store(&s->no_memory, 1);
        fn_team_barrier(team);
        if (atomic_load(&s->no_memory))
            return;
    }
    int64_t lo, hi;
    share(s->tasks, t, n, &lo, &hi);
    if (lo < hi)
        s->op->kernel->run(s->op, s->step, lo, hi, scratch);
}

fn_status fn_run_op(const fn_op *op, const fn_step *step)
{
    single s = {.op = op, .step = step, .scratch = op_scratch(op, step), .tasks = op->kernel->tasks(op, step)};
    const double cost = op->batched ? op->cost * (double)step->rows : op->cost;
    int threads = threads_worth(cost, fn_get_threads());
    if (threads > s.tasks)
        threads = s.tasks < 1 ? 1 : (int)s.tasks;
    fn_team_run(run_single, &s, threads);
    return atomic_load(&s.no_memory) ? FN_ENOMEM : FN_OK;
}
