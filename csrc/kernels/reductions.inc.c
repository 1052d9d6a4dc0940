/* reductions.inc.c - sums, products, extremes along the last, the first or a middle axis.
 *
 * Sums are cut at fixed places, whatever the number of threads, and in blocks, so that the rounding error of
 * n terms grows with n / 1000, not with n.
 */

/* ---- along the last axis ----
 *
 * name_last: y[r] = reduction of x[r][...].  p: y, x.  i: rows, columns.  One result a row; FN_SPLIT_ROWS.
 * NaN wins. Of no columns: 0, NaN (mean), -inf and inf (max, min), 1 (prod), -inf (logsumexp), index 0.
 */

/* Sum of n elements: blocks of 64 vectors in four chains each, and pairs of blocks. */
static real row_sum(const real *x, int64_t n)
{
    enum { BLOCK = 64 * VL };
    if (n > BLOCK) {
        const int64_t half = (n + 2 * BLOCK - 1) / (2 * BLOCK) * BLOCK;
        return row_sum(x, half) + row_sum(x + half, n - half);
    }
    vec s0 = {}, s1 = {}, s2 = {}, s3 = {};
    int64_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL) {
        s0 += vload(x + j);
        s1 += vload(x + j + VL);
        s2 += vload(x + j + 2 * VL);
        s3 += vload(x + j + 3 * VL);
    }
    for (; j + VL <= n; j += VL)
        s0 += vload(x + j);
    if (j < n)
        s1 += vload_n(x + j, n - j);
    return vsum((s0 + s1) + (s2 + s3));
}

/* Sum of exp(x - shift). */
FN_INLINE real row_sum_exp(const real *x, int64_t n, real shift)
{
    vec s = {};
    int64_t j = 0;
    for (; j + VL <= n; j += VL)
        s += vexp(vload(x + j) - vset1(shift));
    real sum = vsum(s);
    if (j < n) {
        real rest[VL];
        vstore(rest, vexp(vload_n(x + j, n - j) - vset1(shift)));
        for (int64_t k = 0; k < n - j; k++)
            sum += rest[k];
    }
    return sum;
}

/* The first n lanes of VL loaded, the others `fill`. */
FN_INLINE vec vload_fill(const real *p, int64_t n, real fill)
{
    real t[VL];
    vstore(t, vset1(fill));
    vstore_n(t, vload_n(p, n), n);
    return vload(t);
}

FN_INLINE real row_extreme(const real *x, int64_t n, int largest)
{
    const real start = largest ? -FN_INFINITY : FN_INFINITY;
    vec m0 = vset1(start), m1 = m0;
    ivec nan = {};
    int64_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
        const vec a = vload(x + j), b = vload(x + j + VL);
        m0 = largest ? vmax(a, m0) : vmin(a, m0);
        m1 = largest ? vmax(b, m1) : vmin(b, m1);
        nan |= (a != a) | (b != b);
    }
    for (; j < n; j += VL) {
        const vec a = n - j >= VL ? vload(x + j) : vload_fill(x + j, n - j, start);
        m0 = largest ? vmax(a, m0) : vmin(a, m0);
        nan |= a != a;
    }
    m0 = vselect(nan, vset1((real)__builtin_nan("")), largest ? vmax(m0, m1) : vmin(m0, m1));
    return largest ? vreduce_max(m0) : vreduce_min(m0);
}

/* Index of the first largest (smallest) element, or of the first NaN. */
FN_INLINE int32_t row_extreme_index(const real *x, int64_t n, int largest)
{
    const real m = row_extreme(x, n, largest);
    int64_t j = 0;
    for (; j + VL <= n; j += VL) { /* skip vectors without it */
        const vec v = vload(x + j);
        const ivec found = (v == vset1(m)) | (v != v);
        ielem any = 0;
        for (int k = 0; k < VL; k++)
            any |= found[k];
        if (any)
            break;
    }
    for (; j < n; j++)
        if (x[j] == m || x[j] != x[j])
            return (int32_t)j;
    return 0;
}

FN_INLINE real row_product(const real *x, int64_t n)
{
    vec p = vset1(1);
    for (int64_t j = 0; j < n; j += VL)
        p *= n - j >= VL ? vload(x + j) : vload_fill(x + j, n - j, 1);
    real y = 1;
    for (int j = 0; j < VL; j++)
        y *= p[j];
    return y;
}

FN_INLINE real row_logsumexp(const real *x, int64_t n)
{
    const real m = row_extreme(x, n, 1);
    if (!(m < FN_INFINITY && m > -FN_INFINITY)) /* infinite or NaN: so is the result */
        return m;
    return m + vlog(vset1(row_sum_exp(x, n, m)))[0];
}

#define FN_LAST_KERNEL(name, type, value)                                                                    \
    static void name##_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)      \
    {                                                                                                        \
        (void)step; (void)scratch;                                                                           \
        int64_t r0, r1;                                                                                      \
        const int64_t n = op->i[1];                                                                          \
        fn_row_range(op, lo, hi, &r0, &r1);                                                                  \
        type *y = (type *)op->p[0];                                                                          \
        for (int64_t r = r0; r < r1; r++) {                                                                  \
            const real *x = (const real *)op->p[1] + r * n;                                                  \
            y[r] = (value);                                                                                  \
        }                                                                                                    \
    }

FN_LAST_KERNEL(sum_last, real, row_sum(x, n))
FN_LAST_KERNEL(mean_last, real, row_sum(x, n) / (real)n)
FN_LAST_KERNEL(max_last, real, row_extreme(x, n, 1))
FN_LAST_KERNEL(min_last, real, row_extreme(x, n, 0))
FN_LAST_KERNEL(prod_last, real, row_product(x, n))
FN_LAST_KERNEL(logsumexp_last, real, row_logsumexp(x, n))
FN_LAST_KERNEL(argmax_last, int32_t, row_extreme_index(x, n, 1))
FN_LAST_KERNEL(argmin_last, int32_t, row_extreme_index(x, n, 0))

/* ---- along the first axis ---- */

enum { COLUMN_VECTORS = 4, COLUMN_BLOCK = COLUMN_VECTORS * VL };

/* y[j] (+)= the sum over r of x[r][j] / divisor, 0 <= j < cols <= COLUMN_BLOCK; x advances by
 * ld. Chains of 32 rows, of 32 of those (FN_REDUCE_ROWS), of 32 of those, and of all that. */
FN_INLINE void column_block_sum(real *y, const real *x, int64_t rows, int64_t cols, int64_t ld,
                                int accumulate, real divisor)
{
    enum { CHAIN = 32 };
    vec total[COLUMN_VECTORS] = {}, group[COLUMN_VECTORS] = {};
    const int whole = cols == COLUMN_BLOCK;
    for (int64_t block = 0; block < rows; block += FN_REDUCE_ROWS) {
        const int64_t block_end = block + FN_REDUCE_ROWS < rows ? block + FN_REDUCE_ROWS : rows;
        vec part[COLUMN_VECTORS] = {};
        for (int64_t chain = block; chain < block_end; chain += CHAIN) {
            const int64_t end = chain + CHAIN < block_end ? chain + CHAIN : block_end;
            vec s[COLUMN_VECTORS] = {};
            if (whole)
                for (int64_t r = chain; r < end; r++)
                    for (int k = 0; k < COLUMN_VECTORS; k++)
                        s[k] += vload(x + r * ld + k * VL);
            else
                for (int k = 0; k * VL < cols; k++) {
                    const int64_t n = cols - k * VL < VL ? cols - k * VL : VL;
                    vec s0 = {}, s1 = {}, s2 = {}, s3 = {};
                    const real *p = x + k * VL;
                    int64_t r = chain;
                    for (; r + 4 <= end; r += 4) {
                        s0 += vload_n(p + r * ld, n);
                        s1 += vload_n(p + (r + 1) * ld, n);
                        s2 += vload_n(p + (r + 2) * ld, n);
                        s3 += vload_n(p + (r + 3) * ld, n);
                    }
                    for (; r < end; r++)
                        s0 += vload_n(p + r * ld, n);
                    s[k] = (s0 + s1) + (s2 + s3);
                }
            for (int k = 0; k < COLUMN_VECTORS; k++)
                part[k] += s[k];
        }
        const int last = block_end == rows || block / FN_REDUCE_ROWS % CHAIN == CHAIN - 1;
        for (int k = 0; k < COLUMN_VECTORS; k++) {
            group[k] += part[k];
            if (last) {
                total[k] += group[k];
                group[k] = (vec){};
            }
        }
    }
    for (int k = 0; k * VL < cols; k++) {
        const int64_t n = cols - k * VL < VL ? cols - k * VL : VL;
        vec v = total[k] / vset1(divisor);
        if (accumulate)
            v += vload_n(y + k * VL, n);
        vstore_n(y + k * VL, v, n);
    }
}

static int64_t column_tasks(const fn_op *op, const fn_step *step)
{
    (void)step;
    return (op->i[1] + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
}

/* sum_first: y[j] (+)= sum over r of x[r][j] (divided by the number of rows if mean).
 * p: y, x.  i: rows, columns, accumulate, mean.  A task is a block of columns; it reads every row. */
static void sum_first_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const int64_t rows = fn_rows(op, step), cols = op->i[1];
    const int64_t end = hi * COLUMN_BLOCK < cols ? hi * COLUMN_BLOCK : cols;
    for (int64_t j = lo * COLUMN_BLOCK; j < end; j += COLUMN_BLOCK)
        column_block_sum((real *)op->p[0] + j, (const real *)op->p[1] + j, rows,
                         end - j < COLUMN_BLOCK ? end - j : COLUMN_BLOCK, cols, op->i[2] != 0,
                         op->i[3] ? (real)rows : 1);
}

/* ---- along a middle axis ----
 *
 * name_middle: y[r][j] = reduction over k of x[r][k][j].  p: y, x.  i: rows, axis, inner.  FN_SPLIT_ROWS.
 */
static void sum_middle_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    const int64_t axis = op->i[1], inner = op->i[2];
    fn_row_range(op, lo, hi, &r0, &r1);
    for (int64_t r = r0; r < r1; r++) {
        const real *x = (const real *)op->p[1] + r * axis * inner;
        real *y = (real *)op->p[0] + r * inner;
        for (int64_t j = 0; j < inner; j += COLUMN_BLOCK)
            column_block_sum(y + j, x + j, axis, inner - j < COLUMN_BLOCK ? inner - j : COLUMN_BLOCK, inner,
                             0, 1);
    }
}

FN_INLINE void middle_extreme(const fn_op *op, int64_t lo, int64_t hi, int largest)
{
    int64_t r0, r1;
    const int64_t axis = op->i[1], inner = op->i[2];
    fn_row_range(op, lo, hi, &r0, &r1);
    for (int64_t r = r0; r < r1; r++) {
        const real *x = (const real *)op->p[1] + r * axis * inner;
        real *y = (real *)op->p[0] + r * inner;
        for (int64_t j = 0; j < inner; j += VL) {
            const int64_t n = inner - j < VL ? inner - j : VL;
            vec m = vset1(largest ? -FN_INFINITY : FN_INFINITY);
            for (int64_t k = 0; k < axis; k++) {
                const vec v = vload_n(x + k * inner + j, n);
                m = vselect(v == v, largest ? vmax(v, m) : vmin(v, m), v);
            }
            vstore_n(y + j, m, n);
        }
    }
}
static void max_middle_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    middle_extreme(op, lo, hi, 1);
}
static void min_middle_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    middle_extreme(op, lo, hi, 0);
}

/* ---- of everything ---- */

/* accumulate_mean: a running weighted mean, acc[0] / acc[1] in the end.
 * acc[0] += sum over rows and columns of value * weight[row];  acc[1] += columns * sum of weights (or of
 * ones). p: acc double[2], values, weights or NULL.  i: rows, columns.  Serial. */
static void accumulate_mean_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)lo; (void)hi; (void)scratch;
    double *acc = op->p[0];
    const real *values = op->p[1], *weights = op->p[2];
    const int64_t rows = fn_rows(op, step), cols = op->i[1];
    double sum = 0, weight = weights ? 0 : (double)rows;
    for (int64_t r = 0; r < rows; r++) {
        const double s = cols == 1 ? (double)values[r] : (double)row_sum(values + r * cols, cols);
        sum += weights ? s * (double)weights[r] : s;
        weight += weights ? (double)weights[r] : 0;
    }
    acc[0] += sum;
    acc[1] += weight * (double)cols;
}

enum { SQUARES_BLOCK = 1 << 14 };

static int64_t squares_tasks(const fn_op *op, const fn_step *step)
{
    return (fn_rows(op, step) + SQUARES_BLOCK - 1) / SQUARES_BLOCK;
}

/* sum_squares: partials[k] = sum of x^2 over block k of 2^14 elements, in double.
 * p: partials double[(n + 2^14 - 1) / 2^14], x.  i: n.  A task is a block. */
static void sum_squares_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    typedef real part __attribute__((vector_size(FN_VBYTES * sizeof(real) / 8), aligned(sizeof(real)),
                                     may_alias));
    typedef double wide __attribute__((vector_size(FN_VBYTES)));
    enum { WIDE = FN_VBYTES / 8 };
    const int64_t n = fn_rows(op, step);
    for (int64_t k = lo; k < hi; k++) {
        const real *x = (const real *)op->p[1] + k * SQUARES_BLOCK;
        const int64_t count = n - k * SQUARES_BLOCK < SQUARES_BLOCK ? n - k * SQUARES_BLOCK : SQUARES_BLOCK;
        wide s[4] = {};
        int64_t j = 0;
        for (; j + 4 * WIDE <= count; j += 4 * WIDE)
            for (int c = 0; c < 4; c++) {
                const wide v = __builtin_convertvector(*(const part *)(x + j + c * WIDE), wide);
                s[c] += v * v;
            }
        const wide t = (s[0] + s[1]) + (s[2] + s[3]);
        double sum = 0;
        for (int c = 0; c < WIDE; c++)
            sum += t[c];
        for (; j < count; j++)
            sum += (double)x[j] * (double)x[j];
        ((double *)op->p[0])[k] = sum;
    }
}

/* norm_total: out = square root of the sum of the partials.  p: out double[1], partials double.  i: their
 * number. Serial. */
static void norm_total_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)lo; (void)hi; (void)scratch;
    const double *partials = op->p[1];
    double sum = 0;
    for (int64_t k = 0; k < op->i[0]; k++)
        sum += partials[k];
    *(double *)op->p[0] = __builtin_sqrt(sum);
}

#define FN_REDUCTIONS_KERNELS(X)                                                   \
    X(sum_last, FN_SPLIT_ROWS, fn_row_tasks, NULL, sum_last_run)                   \
    X(mean_last, FN_SPLIT_ROWS, fn_row_tasks, NULL, mean_last_run)                 \
    X(max_last, FN_SPLIT_ROWS, fn_row_tasks, NULL, max_last_run)                   \
    X(min_last, FN_SPLIT_ROWS, fn_row_tasks, NULL, min_last_run)                   \
    X(prod_last, FN_SPLIT_ROWS, fn_row_tasks, NULL, prod_last_run)                 \
    X(logsumexp_last, FN_SPLIT_ROWS, fn_row_tasks, NULL, logsumexp_last_run)       \
    X(argmax_last, FN_SPLIT_ROWS, fn_row_tasks, NULL, argmax_last_run)             \
    X(argmin_last, FN_SPLIT_ROWS, fn_row_tasks, NULL, argmin_last_run)             \
    X(sum_first, FN_SPLIT_BLOCKS, column_tasks, NULL, sum_first_run)               \
    X(sum_middle, FN_SPLIT_ROWS, fn_row_tasks, NULL, sum_middle_run)               \
    X(max_middle, FN_SPLIT_ROWS, fn_row_tasks, NULL, max_middle_run)               \
    X(min_middle, FN_SPLIT_ROWS, fn_row_tasks, NULL, min_middle_run)               \
    X(accumulate_mean, FN_SPLIT_SERIAL, fn_one_task, NULL, accumulate_mean_run)    \
    X(sum_squares, FN_SPLIT_BLOCKS, squares_tasks, NULL, sum_squares_run)          \
    X(norm_total, FN_SPLIT_SERIAL, fn_one_task, NULL, norm_total_run)
