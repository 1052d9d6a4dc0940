/* kernels.h - the contract between a kernel and everything above it.
 *
 * A kernel is a plain C function over a range of independent tasks. It cannot fail, allocates
 * nothing, holds no state and takes its scratch memory from the caller. Every family file
 * (elementwise.inc.c, matmul.inc.c, ...) is compiled once per instruction set and element type
 * (isa_*.c, through table.inc.c) and ends with the list of its kernels:
 *
 *     #define FN_<FAMILY>_KERNELS(X)  X(name, split, tasks, scratch, run) ...
 *
 * The order of the lists is the numbering of the kernels: the same in every table.
 */
#ifndef FN_KERNELS_H
#define FN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { FN_MAX_OPERANDS = 16, FN_MAX_INTS = 40, FN_MAX_REALS = 8 };

/* How a kernel's tasks may be cut. The executor needs no barrier between two operations that are both
 * FN_SPLIT_ROWS over the same samples: a thread then reads only what it wrote itself. */
typedef enum {
    FN_SPLIT_ROWS,   /* batched: one task a sample; otherwise one task per leading row */
    FN_SPLIT_BLOCKS, /* tasks are blocks of the result, any of which may read every sample */
    FN_SPLIT_SERIAL  /* one task */
} fn_split;

/* What changes from step to step. Constant while a step runs. */
typedef struct fn_step {
    int64_t rows;        /* samples in this batch, 1 .. the plan's capacity */
    int64_t index;       /* optimizer steps made since training began: part of every random counter */
    uint64_t seed;       /* key of the random streams */
    const double *hyper; /* this step's row of the optimizer's table (learning rate, corrections ...) */
    const int64_t *order; /* source row of each sample, or NULL: first, first + 1, ... */
    int64_t first;       /* source row of the first sample when order is NULL */
    int64_t before, after; /* steps of its run that were made, and that are still asked for */
} fn_step;

typedef struct fn_op fn_op;

typedef struct fn_kernel {
    const char *name;
    fn_split split;
    int64_t (*tasks)(const fn_op *op, const fn_step *step);  /* number of tasks; a function of sizes alone */
    size_t (*scratch)(const fn_op *op, const fn_step *step); /* bytes a thread needs, or NULL: none */
    void (*run)(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch);
} fn_kernel;

/* One bound operation. Constant while a step runs; everything that changes is in fn_step.
 *
 * p[]  operands, outputs first. What each slot means is said at the head of the kernel; an unused
 *      optional slot is NULL.
 * i[]  sizes, leading dimensions and flags. i[0] is always the number of leading rows: of the whole
 *      array when batched == 0, of one sample when batched == 1 (fn_rows() gives the actual number).
 * f[]  real constants.
 */
struct fn_op {
    const fn_kernel *kernel;
    int32_t split;   /* fn_split; a product may be given another than its kernel's default */
    int32_t batched; /* i[0] counts the rows of one sample */
    double cost;     /* rough nanoseconds on one thread: per sample when batched, else in all */
    void *p[FN_MAX_OPERANDS];
    int64_t i[FN_MAX_INTS];
    double f[FN_MAX_REALS];
};

/* The actual number of leading rows. */
static inline int64_t fn_rows(const fn_op *op, const fn_step *step)
{
    return op->batched ? op->i[0] * step->rows : op->i[0];
}

/* Tasks of a FN_SPLIT_ROWS kernel, and the leading rows [*r0, *r1) of tasks [lo, hi). */
static inline int64_t fn_row_tasks(const fn_op *op, const fn_step *step)
{
    return op->batched ? step->rows : op->i[0];
}
static inline void fn_row_range(const fn_op *op, int64_t lo, int64_t hi, int64_t *r0, int64_t *r1)
{
    int64_t scale = op->batched ? op->i[0] : 1;
    *r0 = lo * scale;
    *r1 = hi * scale;
}
static inline int64_t fn_one_task(const fn_op *op, const fn_step *step)
{
    (void)op; (void)step;
    return 1;
}

/* Copies of weights, in the order that products want, are made in the first of several steps and kept up to date by
 * what updates the weights. A step alone has none: anything may change the weights before the next run. */
static inline int fn_makes_copies(const fn_step *step) { return step->before == 0 && step->after > 0; }
static inline int fn_has_copies(const fn_step *step) { return step->before + step->after > 0; }

/* Reductions cut their rows into blocks of this size whatever the number of threads. */
enum { FN_REDUCE_ROWS = 1024 };

/* One instruction set's kernels for one element type; made by table.inc.c, found by dispatch.c. */
typedef struct fn_table {
    const char *isa;   /* "base", "avx2", "avx512" */
    const char *dtype; /* "float32", "float64" */
    int width;         /* elements in a vector */
    int count;
    const fn_kernel *kernels;
} fn_table;

#endif
