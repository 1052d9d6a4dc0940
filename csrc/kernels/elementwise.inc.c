/* elementwise.inc.c - functions of each element: activations, arithmetic, and their gradients. */

/* relu: y = max(x, 0).  p: y, x.  i: rows, columns.  y may be x. */
static void relu(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const real *x = (const real *)op->p[1] + r0 * op->i[1];
    real *y = (real *)op->p[0] + r0 * op->i[1];
    int64_t n = (r1 - r0) * op->i[1], j = 0;
    for (; j + VL <= n; j += VL)
        vstore(y + j, vmax(vload(x + j), vset1(0)));
    if (j < n)
        vstore_n(y + j, vmax(vload_n(x + j, n - j), vset1(0)), n - j);
}

#define FN_ELEMENTWISE_KERNELS(X) \
    X(relu, FN_SPLIT_ROWS, fn_row_tasks, NULL, relu)
