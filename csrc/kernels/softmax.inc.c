/* softmax.inc.c - softmax and log-softmax of each row, their gradients, and sums and maxima along rows.
 *
 * Rows of up to two vectors are done VL at a time: each stays a vector or two, and VL horizontal sums (maxima)
 * become one tree of shuffles that ends in one vector with a row in each lane, so that what follows once a row
 * (logarithm, division) is done for VL rows at once. Longer rows go alone, out of L1.
 * A row's result depends neither on its place in the group nor on the split.
 */

/* ---- sums and maxima of lanes, in one order everywhere: halves added to halves, as vsum does ---- */

/* Each lane's number. A literal, and every step below by a constant: masks of shuffles must be constants. */
#if defined(FN_REAL_32) && FN_VBYTES == 64
#define LANE ((ivec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#elif (defined(FN_REAL_32) && FN_VBYTES == 32) || FN_VBYTES == 64
#define LANE ((ivec){0, 1, 2, 3, 4, 5, 6, 7})
#elif defined(FN_REAL_32) || FN_VBYTES == 32
#define LANE ((ivec){0, 1, 2, 3})
#else
#define LANE ((ivec){0, 1})
#endif

#if defined(__clang__)
FN_INLINE vec vshuffle(vec a, vec b, ivec mask)
{
    vec r;
    for (int j = 0; j < VL; j++)
        r[j] = mask[j] < VL ? a[mask[j]] : b[mask[j] - VL];
    return r;
}
#else
FN_INLINE vec vshuffle(vec a, vec b, ivec mask) { return __builtin_shuffle(a, b, mask); }
#endif

typedef vec fold(vec a, vec b);
FN_INLINE vec fold_add(vec a, vec b) { return a + b; }
FN_INLINE vec fold_max(vec a, vec b) { return vmax(a, b); }

/* All lanes: the fold of all lanes. */
FN_INLINE vec fold_half(vec a, fold *f, const int h) { return f(a, vshuffle(a, a, LANE ^ h)); }
FN_INLINE vec vfold(vec a, fold *f)
{
    if (VL > 8)
        a = fold_half(a, f, 8);
    if (VL > 4)
        a = fold_half(a, f, 4);
    if (VL > 2)
        a = fold_half(a, f, 2);
    return fold_half(a, f, 1);
}
FN_INLINE vec vsum_all(vec a) { return vfold(a, fold_add); }
FN_INLINE vec vmax_all(vec a) { return vfold(a, fold_max); }

/* Lane r: the fold of the lanes of a[r]. Each level folds the halves of two vectors into the halves of one. */
FN_INLINE void fold_pairs(vec *a, fold *f, const int h)
{
    const ivec second = ((LANE & h) != 0) & (VL - h), low = LANE + second, high = LANE + h + second;
#pragma GCC unroll 8
    for (int j = 0; j < h; j++)
        a[j] = f(vshuffle(a[j], a[j + h], low), vshuffle(a[j], a[j + h], high));
}
FN_INLINE vec vfold_each(vec *a, fold *f)
{
    if (VL > 8)
        fold_pairs(a, f, 8);
    if (VL > 4)
        fold_pairs(a, f, 4);
    if (VL > 2)
        fold_pairs(a, f, 2);
    fold_pairs(a, f, 1);
    return a[0];
}

/* -1 in the first n lanes. */
FN_INLINE ivec vlanes(int64_t n) { return LANE < (ielem)(n < VL ? n : VL); }

/* exp(x) for x <= 0: without the care that vexp takes of large arguments. */
FN_INLINE vec vexp_of_negative(vec x)
{
    vec n;
    const vec r = vexp_reduce(vmax(vset1(FN_EXP_MIN), x), &n);
    const vec p = (r * r * vexp_tail(r) + r) + vset1(1);
    return vmask(~(x < vset1(FN_EXP_MIN)), p * vexp2_integer(n));
}

/* Largest element of a row, in every lane. */
FN_INLINE vec row_max(const real *x, int64_t n)
{
    const vec least = vset1(-FN_INFINITY);
    vec m0 = least, m1 = least, m2 = least, m3 = least;
    int64_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL) {
        m0 = vmax(m0, vload(x + j));
        m1 = vmax(m1, vload(x + j + VL));
        m2 = vmax(m2, vload(x + j + 2 * VL));
        m3 = vmax(m3, vload(x + j + 3 * VL));
    }
    for (; j + VL <= n; j += VL)
        m0 = vmax(m0, vload(x + j));
    if (j < n)
        m1 = vmax(m1, vselect(vlanes(n - j), vload_n(x + j, n - j), least));
    return vmax_all(vmax(vmax(m0, m1), vmax(m2, m3)));
}

/* e[j] = exp(x[j] - m), stored unless e is NULL; returns their sum, in every lane. e may be x. */
FN_INLINE vec row_exp(real *e, const real *x, int64_t n, vec m)
{
    vec s0 = {}, s1 = {};
    int64_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
        const vec e0 = vexp_of_negative(vload(x + j) - m), e1 = vexp_of_negative(vload(x + j + VL) - m);
        if (e) {
            vstore(e + j, e0);
            vstore(e + j + VL, e1);
        }
        s0 += e0;
        s1 += e1;
    }
    for (; j < n; j += VL) {
        const int64_t left = n - j < VL ? n - j : VL;
        const vec e0 = vmask(vlanes(left), vexp_of_negative(vload_n(x + j, left) - m));
        if (e)
            vstore_n(e + j, e0, left);
        s0 += e0;
    }
    return vsum_all(s0 + s1);
}

/* Up to VL rows of up to two vectors (K of them), n rows of `cols`: their elements less their maximum in d, the
 * exponentials of these in e, and one lane a row: maximum and sum. Lanes beyond the row: e 0, d -inf. */
typedef struct {
    vec d[VL][2], e[VL][2];
    vec max, sum;
} softmax_group;
FN_INLINE void softmax_rows(softmax_group *g, const real *x, int64_t n, int64_t cols, const int K)
{
    const int64_t last = cols - (K - 1) * VL;
    const ivec lanes = vlanes(last);
    vec t[VL];
    real m[VL];
    for (int64_t r = 0; r < VL; r++) {
        if (r >= n) {
            t[r] = g->d[r][0] = g->d[r][1] = (vec){};
            continue;
        }
        const real *row = x + r * cols;
        const vec end = vselect(lanes, vload_n(row + (K - 1) * VL, last), vset1(-FN_INFINITY));
        g->d[r][0] = K == 2 ? vload(row) : end;
        g->d[r][1] = end;
        t[r] = K == 2 ? vmax(g->d[r][0], end) : end;
    }
    g->max = vfold_each(t, fold_max);
    vstore(m, g->max);
    for (int64_t r = 0; r < VL; r++) {
        if (r >= n) {
            t[r] = vset1(1);
            g->e[r][0] = g->e[r][1] = (vec){};
            continue;
        }
        for (int k = 0; k < K; k++) {
            g->d[r][k] -= vset1(m[r]);
            g->e[r][k] = vexp_of_negative(g->d[r][k]);
        }
        g->e[r][K - 1] = vmask(lanes, g->e[r][K - 1]);
        t[r] = K == 2 ? g->e[r][0] + g->e[r][1] : g->e[r][0];
    }
    g->sum = vfold_each(t, fold_add);
}

/* y = exp(x - max) / sum(exp(x - max)); with `logarithm` y = x - max - log(sum ...), both of each row. y may be x. */
FN_INLINE void softmax_small(real *y, const real *x, int64_t rows, int64_t cols, const int K, const int logarithm)
{
    const int64_t last = cols - (K - 1) * VL;
    for (int64_t r0 = 0; r0 < rows; r0 += VL) {
        const int64_t n = rows - r0 < VL ? rows - r0 : VL;
        softmax_group g;
        softmax_rows(&g, x + r0 * cols, n, cols, K);
        real c[VL];
        vstore(c, logarithm ? vlog(g.sum) : vset1(1) / g.sum);
        for (int64_t r = 0; r < n; r++) {
            real *row = y + (r0 + r) * cols;
            for (int k = 0; k < K; k++) {
                const vec out = logarithm ? g.d[r][k] - vset1(c[r]) : g.e[r][k] * vset1(c[r]);
                if (k < K - 1)
                    vstore(row, out);
                else
                    vstore_n(row + k * VL, out, last);
            }
        }
    }
}
FN_INLINE void softmax_any(const fn_op *op, int64_t lo, int64_t hi, const int logarithm)
{
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t cols = op->i[1];
    const real *x = (const real *)op->p[1] + r0 * cols;
    real *y = (real *)op->p[0] + r0 * cols;
    if (cols <= 0)
        return;
    if (cols <= VL) {
        softmax_small(y, x, r1 - r0, cols, 1, logarithm);
    } else if (cols <= 2 * VL) {
        softmax_small(y, x, r1 - r0, cols, 2, logarithm);
    } else {
        for (int64_t r = r0; r < r1; r++, x += cols, y += cols) {
            const vec m = row_max(x, cols), s = row_exp(logarithm ? NULL : y, x, cols, m);
            const vec c = logarithm ? vlog(s) : vset1(1) / s;
            int64_t j = 0;
            for (; j + VL <= cols; j += VL)
                vstore(y + j, logarithm ? vload(x + j) - m - c : vload(y + j) * c);
            if (j < cols)
                vstore_n(y + j, logarithm ? vload_n(x + j, cols - j) - m - c : vload_n(y + j, cols - j) * c, cols - j);
        }
    }
}

/* softmax: y = exp(x) / sum(exp(x)) of each row, the row's maximum taken off first.
 * p: y, x.  i: rows, columns.  y may be x.  Split: rows. A row all of -inf gives NaN. */
static void softmax(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    softmax_any(op, lo, hi, 0);
}

/* log_softmax: y = x - log(sum(exp(x))) of each row.  p: y, x.  i: rows, columns.  y may be x.  Split: rows. */
static void log_softmax(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    softmax_any(op, lo, hi, 1);
}

FN_INLINE void softmax_grad_any(const fn_op *op, int64_t lo, int64_t hi, const int logarithm)
{
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t cols = op->i[1];
    const int accumulate = op->i[2] != 0;
    for (int64_t r = r0; r < r1; r++) {
        real *dx = (real *)op->p[0] + r * cols;
        const real *dy = (const real *)op->p[1] + r * cols, *y = (const real *)op->p[2] + r * cols;
        vec s = {};
        for (int64_t j = 0; j < cols; j += VL) {
            const int64_t n = cols - j < VL ? cols - j : VL;
            const vec g = vload_n(dy + j, n);
            s += logarithm ? g : g * vload_n(y + j, n);
        }
        s = vsum_all(s);
        for (int64_t j = 0; j < cols; j += VL) {
            const int64_t n = cols - j < VL ? cols - j : VL;
            const vec g = vload_n(dy + j, n), t = vload_n(y + j, n);
            vec d = logarithm ? g - vexp_of_negative(t) * s : t * (g - s);
            if (accumulate)
                d += vload_n(dx + j, n);
            vstore_n(dx + j, d, n);
        }
    }
}

/* softmax_grad: dx (+)= y (dy - sum(dy y)) of each row.
 * p: dx, dy, y.  i: rows, columns, accumulate.  dx may be dy unless accumulating.  Split: rows. */
static void softmax_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    softmax_grad_any(op, lo, hi, 0);
}

/* log_softmax_grad: dx (+)= dy - exp(y) sum(dy) of each row.
 * p: dx, dy, y.  i: rows, columns, accumulate.  dx may be dy unless accumulating.  Split: rows. */
static void log_softmax_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    softmax_grad_any(op, lo, hi, 1);
}

#define FN_SOFTMAX_KERNELS(X) \
    X(softmax, FN_SPLIT_ROWS, fn_row_tasks, NULL, softmax) \
    X(log_softmax, FN_SPLIT_ROWS, fn_row_tasks, NULL, log_softmax) \
    X(softmax_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, softmax_grad) \
    X(log_softmax_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, log_softmax_grad)
