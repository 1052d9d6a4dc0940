/* sparse.inc.c - products of a sparse matrix in compressed rows (CSR).
 *
 * csr_matmul: y_r = sum_k a_rk x_k, y (rows, columns), x (inner, columns) dense.
 * p: y, values (nonzeros), column of each value int32, start of each row int64 (rows + 1), x.
 * i: rows, columns, leading dimensions of y and x.  y is not x.  FN_SPLIT_ROWS.
 */

/* `wide` vectors of columns at a time, accumulated in registers; count <= wide VL of them exist. */
FN_INLINE void csr_row(const int wide, real *y, const real *value, const int32_t *column, int64_t n, const real *x,
                       int64_t ldx, int64_t count)
{
    vec sum[8] = {};
    const int64_t last = count - (wide - 1) * VL;
    for (int64_t k = 0; k < n; k++) {
        const real *from = x + column[k] * ldx;
        const vec a = vset1(value[k]);
#pragma GCC unroll 8
        for (int v = 0; v < wide - 1; v++)
            sum[v] += a * vload(from + v * VL);
        sum[wide - 1] += a * vload_n(from + (wide - 1) * VL, last);
    }
#pragma GCC unroll 8
    for (int v = 0; v < wide - 1; v++)
        vstore(y + v * VL, sum[v]);
    vstore_n(y + (wide - 1) * VL, sum[wide - 1], last);
}

static void csr_matmul_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const real *value = op->p[1], *x = op->p[4];
    const int32_t *column = op->p[2];
    const int64_t *start = op->p[3], columns = op->i[1], ldy = op->i[2], ldx = op->i[3];
    for (int64_t r = lo; r < hi; r++) {
        const int64_t first = start[r], n = start[r + 1] - first;
        real *y = (real *)op->p[0] + r * ldy;
        int64_t c = 0;
        for (; c + 8 * VL <= columns; c += 8 * VL)
            csr_row(8, y + c, value + first, column + first, n, x + c, ldx, 8 * VL);
        for (; c + 2 * VL < columns; c += 2 * VL)
            csr_row(2, y + c, value + first, column + first, n, x + c, ldx, 2 * VL);
        for (; c < columns; c += VL)
            csr_row(1, y + c, value + first, column + first, n, x + c, ldx,
                    columns - c < VL ? columns - c : VL);
    }
}

#define FN_SPARSE_KERNELS(X) X(csr_matmul, FN_SPLIT_ROWS, fn_row_tasks, NULL, csr_matmul_run)
