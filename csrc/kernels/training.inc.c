/* training.inc.c - what joins a batch's rows to its mean, and keeps the books of a run. */

/* mean_seed: g[r] = scale * w[r], divided by the number of rows when i[1] is set: what the mean (or sum) over a
 * batch sends back to each of its terms.  p: g, w or NULL (all 1).  i: rows, mean.  f: scale.  split ROWS */
static void mean_seed(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    real *g = op->p[0];
    const real *w = op->p[1];
    const real scale = (real)(op->i[1] ? op->f[0] / (double)fn_rows(op, step) : op->f[0]);
    for (int64_t r = r0; r < r1; r++)
        g[r] = w ? w[r] * scale : scale;
}

/* spread_rows: y[r][j] = x[j], divided by the number of rows when i[2] is set: the gradient of sum_first.
 * p: y, x.  i: rows, columns, mean.  split ROWS */
static void spread_rows(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t columns = op->i[1];
    const real *x = op->p[1];
    const real scale = op->i[2] ? (real)(1.0 / (double)fn_rows(op, step)) : 1;
    for (int64_t r = r0; r < r1; r++) {
        real *y = (real *)op->p[0] + r * columns;
        for (int64_t j = 0; j < columns; j++)
            y[j] = x[j] * scale;
    }
}

/* accumulate_scalar: acc[0] += rows * value, acc[1] += rows, in double.
 * p: acc (double[2]), value (one element).  i: rows.  split SERIAL */
static void accumulate_scalar(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)lo; (void)hi; (void)scratch;
    double *acc = op->p[0];
    const double rows = (double)fn_rows(op, step);
    acc[0] += rows * (double)*(const real *)op->p[1];
    acc[1] += rows;
}

/* divide_samples: y[j] = x[j] / rows.  p: y, x.  i: rows, n.  split SERIAL */
static void divide_samples(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)lo; (void)hi; (void)scratch;
    real *y = op->p[0];
    const real *x = op->p[1];
    const real scale = (real)(1.0 / (double)fn_rows(op, step));
    for (int64_t j = 0; j < op->i[1]; j++)
        y[j] = x[j] * scale;
}

#define FN_TRAINING_KERNELS(X)                                \
    X(divide_samples, FN_SPLIT_SERIAL, fn_one_task, NULL, divide_samples) \
    X(mean_seed, FN_SPLIT_ROWS, fn_row_tasks, NULL, mean_seed) \
    X(spread_rows, FN_SPLIT_ROWS, fn_row_tasks, NULL, spread_rows) \
    X(accumulate_scalar, FN_SPLIT_SERIAL, fn_one_task, NULL, accumulate_scalar)
