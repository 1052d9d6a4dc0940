/* fastnn.h - all that the Cython boundary may call. Knows nothing of Python.
 *
 * Layers, bottom up: cpu (what the processor can do), dispatch (which table of kernels), memory (aligned
 * blocks), pool (threads), plan (a list of operations and the loop that runs it). kernels/kernels.h is
 * the contract of a kernel.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include "kernels/kernels.h"

typedef enum { FN_OK = 0, FN_ENOMEM, FN_EBUSY } fn_status;

/* ---- cpu.c ---- */
enum { FN_ISA_BASE, FN_ISA_AVX2, FN_ISA_AVX512, FN_ISA_AMX, FN_ISA_COUNT };
extern const char *const fn_isa_names[FN_ISA_COUNT];
int fn_cpu_isa(void);              /* the highest level this processor and kernel support */
int fn_cpu_pairs(void);            /* whether vectors multiply pairs of bfloat16 (AVX512_BF16) */
enum { FN_TILES_NONE, FN_TILES_REFUSED, FN_TILES_USABLE };
int fn_cpu_tiles(void);            /* whether there are tiles (AMX), and the operating system lets us use them */
int fn_cpu_count(void);            /* processors this process may use: affinity and container quota */
int64_t fn_cpu_cache(int level);   /* bytes of the data cache at level 1, 2 or 3; 0 unknown */
void fn_cpu_name(char *out, size_t size);

/* ---- dispatch.c ---- */
const fn_table *fn_find_table(int isa, int float64); /* NULL when that level was not compiled */

/* ---- memory.c ---- */
/* 64-byte aligned and zeroed; blocks of 4 MiB and more are aligned for, and asked to use, huge pages. */
void *fn_alloc(size_t bytes);
void fn_free(void *block, size_t bytes);

/* ---- check.c ---- */
/* Index of the first of n class ids that is not in 0 .. classes - 1, or -1. kind: load_batch's code of the dtype. */
int64_t fn_first_outside(const void *data, int kind, int64_t n, int64_t classes);
/* Index of the first of n floats or doubles that is NaN or infinite, or -1. */
int64_t fn_first_not_finite(const void *data, int float64, int64_t n);

/* ---- pool.c ---- */
int fn_get_threads(void);
void fn_set_threads(int n);        /* 1 .. FN_MAX_THREADS */
enum { FN_MAX_THREADS = 256 };

/* ---- plan.c ---- */
/* A list of bound operations, cut into units: a unit is a run of operations that split by the same samples, or
 * one other operation. Threads meet at a barrier between units, not inside them. */
typedef struct fn_plan fn_plan;

/* Copies ops. chunk[j]: samples that go through the unit beginning at op j at a time (depth-first), 0: all;
 * NULL: 0 for all. The first `once` ops make copies of weights (fn_makes_copies). */
fn_status fn_plan_new(fn_plan **out, const fn_op *ops, int count, const int64_t *chunk, int once);
void fn_plan_free(fn_plan *plan);                           /* NULL is fine */
fn_op *fn_plan_op(fn_plan *plan, int index);                /* to rebind data before a run */

typedef struct fn_run {
    const int64_t *order;  /* source row of each sample, or NULL: in sequence */
    int64_t first, last;   /* samples [first, last) of order (or of the source) */
    int64_t batch;         /* samples a step; the last step may have fewer */
    int64_t index;         /* fn_step.index of the first step */
    uint64_t seed;
    const double *hyper;   /* a row of `width` doubles for each step, or NULL */
    int64_t width;
    int threads;           /* at most; 0: fn_get_threads() */
    double seconds;        /* return after the step that passes this time; 0: no limit */
    double *times;         /* nanoseconds spent in each op are added here (then one thread runs), or NULL */
} fn_run;

/* Runs steps until all samples are through or the time is up; *done: samples gone through. One run of a plan at a
 * time: FN_EBUSY otherwise. FN_ENOMEM: no step was run. */
fn_status fn_plan_run(fn_plan *plan, const fn_run *run, int64_t *done);

/* Runs one operation, on as many threads as its cost is worth. step->rows must be set. */
fn_status fn_run_op(const fn_op *op, const fn_step *step);

#endif
