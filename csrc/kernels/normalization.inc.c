/* normalization.inc.c - batch, layer and group normalization, forward and backward.
 *
 * All take y = (x - mean) / sqrt(var + epsilon) * gamma + beta; they differ in what mean and (biased) variance are of:
 * a column of all rows, a row, or the channels of a group in one sample. Variances are sums of squared differences
 * from the mean of a block of rows that is in the cache, and blocks are combined as Chan et al. 1979 do: nothing
 * cancels, and nothing depends on the number of threads.
 */

enum { NORM_ELEMENTS = 4096 }; /* of a block of rows */

static inline int64_t norm_block(int64_t columns)
{
    const int64_t rows = NORM_ELEMENTS / (columns < 1 ? 1 : columns);
    return rows < 8 ? 8 : rows;
}

/* Sums over `rows` rows of n <= VL columns: of x, or with `mean` of (x - mean)^2. Four chains. */
FN_INLINE vec norm_column(const real *x, int64_t ld, int64_t rows, int64_t n, const vec *mean)
{
    vec s[4] = {};
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            vec z = n == VL ? vload(x + (r + j) * ld) : vload_n(x + (r + j) * ld, n);
            if (mean) {
                z -= *mean;
                z *= z;
            }
            s[j] += z;
        }
    for (; r < rows; r++) {
        vec z = vload_n(x + r * ld, n);
        if (mean) {
            z -= *mean;
            z *= z;
        }
        s[0] += z;
    }
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* mean[columns] and m2[columns] (sum of squared differences from it) of rows of x. */
static void norm_statistics(real *mean, real *m2, const real *x, int64_t rows, int64_t columns)
{
    const int64_t block = norm_block(columns);
    for (int64_t r = 0; r < rows || r == 0; r += block) {
        const int64_t n = gemm_min(block, rows - r);
        const vec part = vset1(n > 0 ? (real)1 / (real)n : 0), weight = vset1((real)n / (real)(r + n > 0 ? r + n : 1));
        for (int64_t c = 0; c < columns; c += VL) {
            const int64_t lanes = gemm_min(VL, columns - c);
            const real *at = x + r * columns + c;
            vec a = norm_column(at, columns, n, lanes, NULL) * part;
            vec b = norm_column(at, columns, n, lanes, &a);
            if (r > 0) {
                const vec old = vload_n(mean + c, lanes), delta = a - old;
                b += vload_n(m2 + c, lanes) + delta * delta * weight * vset1((real)r);
                a = old + delta * weight;
            }
            vstore_n(mean + c, a, lanes);
            vstore_n(m2 + c, b, lanes);
        }
    }
}

static inline int64_t norm_parts(const fn_op *op, const fn_step *step)
{
    return gemm_min(op->i[2], fn_rows(op, step));
}
static int64_t norm_parts_tasks(const fn_op *op, const fn_step *step) { return norm_parts(op, step); }

/* ---- batch_norm_parts: mean and squared differences of each part of the rows ----
 *   p  parts[n][2][columns], X    i  [0] rows [1] columns [2] n, the most parts    split  FN_SPLIT_BLOCKS: parts
 */
static void batch_norm_parts(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const int64_t rows = fn_rows(op, step), columns = op->i[1], parts = norm_parts(op, step);
    for (int64_t j = lo; j < hi; j++) {
        real *to = (real *)op->p[0] + j * 2 * columns;
        const int64_t r0 = rows * j / parts, r1 = rows * (j + 1) / parts;
        norm_statistics(to, to + columns, (const real *)op->p[1] + r0 * columns, r1 - r0, columns);
    }
}

/* ---- batch_norm_combine: mean and biased variance of all rows, from the parts ----
 *   p  mean[columns], var[columns], parts   i  as batch_norm_parts   split  FN_SPLIT_SERIAL
 */
static void batch_norm_combine(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)lo; (void)hi; (void)scratch;
    const int64_t rows = fn_rows(op, step), columns = op->i[1], parts = norm_parts(op, step);
    if (parts < 1)
        return;
    for (int64_t c = 0; c < columns; c += VL) {
        const int64_t lanes = gemm_min(VL, columns - c);
        const real *from = (const real *)op->p[2] + c;
        vec mean = vload_n(from, lanes), m2 = vload_n(from + columns, lanes);
        for (int64_t j = 1; j < parts; j++) {
            const int64_t before = rows * j / parts, after = rows * (j + 1) / parts;
            const vec weight = vset1((real)(after - before) / (real)after);
            const vec delta = vload_n(from + j * 2 * columns, lanes) - mean;
            m2 += vload_n(from + (j * 2 + 1) * columns, lanes) + delta * delta * weight * vset1((real)before);
            mean += delta * weight;
        }
        vstore_n((real *)op->p[0] + c, mean, lanes);
        vstore_n((real *)op->p[1] + c, m2 / vset1((real)rows), lanes);
    }
}

/* ---- batch_norm_apply: y = act((x - mean) / sqrt(var + epsilon) * gamma + beta) ----
 *   p  Y, X (may be Y), mean, var, gamma or NULL, beta or NULL
 *   i  [0] rows [1] columns [2] activation   f  [0] its alpha [1] epsilon   split  FN_SPLIT_ROWS
 */
static size_t batch_norm_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    return (size_t)(op->i[1] + VL) * 2 * sizeof(real);
}

/* to = gamma / sqrt(var + epsilon) */
static void norm_scale(real *to, const real *var, const real *gamma, int64_t columns, real epsilon)
{
    for (int64_t c = 0; c < columns; c += VL) {
        const int64_t lanes = gemm_min(VL, columns - c);
        const vec one = vset1(1);
        const vec g = gamma ? vload_n(gamma + c, lanes) : one;
        vstore_n(to + c, g / vsqrt(vload_n(var + c, lanes) + vset1(epsilon)), lanes);
    }
}

static void batch_norm_apply(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    const int64_t columns = op->i[1];
    const real *mean = op->p[2], *beta = op->p[5], alpha = (real)op->f[0];
    const int activation = (int)op->i[2];
    real *scale = scratch;
    norm_scale(scale, op->p[3], op->p[4], columns, (real)op->f[1]);
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t block = norm_block(columns);
    for (int64_t b0 = r0; b0 < r1; b0 += block)
        for (int64_t c = 0; c < columns; c += VL) {
            const int64_t lanes = gemm_min(VL, columns - c), b1 = gemm_min(r1, b0 + block);
            const vec m = vload_n(mean + c, lanes), s = vload_n(scale + c, lanes);
            const vec t = beta ? vload_n(beta + c, lanes) : (vec){};
            const real *x = (const real *)op->p[1] + c;
            real *y = (real *)op->p[0] + c;
            if (lanes == VL && activation <= FN_ACT_RELU) {
                const vec floor = vset1(activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY);
                for (int64_t r = b0; r < b1; r++)
                    vstore(y + r * columns, vmax(floor, (vload(x + r * columns) - m) * s + t));
            } else {
                for (int64_t r = b0; r < b1; r++)
                    vstore_n(y + r * columns,
                             gemm_activate(activation, (vload_n(x + r * columns, lanes) - m) * s + t, alpha), lanes);
            }
        }
}

/* ---- batch_norm_grad_parts: sums of dz xhat and of dz over each part of the rows, dz = dy act'(y) ----
 *   p  parts[n][2][columns], dY, X, mean, var, Y or NULL
 *   i  [0] rows [1] columns [2] n [3] activation   f  [0] alpha [1] epsilon   split  FN_SPLIT_BLOCKS: parts
 */
static void batch_norm_grad_parts(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    const int64_t rows = fn_rows(op, step), columns = op->i[1], parts = norm_parts(op, step);
    const int64_t block = norm_block(columns);
    const int activation = op->p[5] ? (int)op->i[3] : FN_ACT_NONE;
    const real alpha = (real)op->f[0];
    real *scale = scratch;
    norm_scale(scale, op->p[4], NULL, columns, (real)op->f[1]);
    for (int64_t j = lo; j < hi; j++) {
        real *to = (real *)op->p[0] + j * 2 * columns;
        memset(to, 0, (size_t)columns * 2 * sizeof(real));
        const int64_t r0 = rows * j / parts, r1 = rows * (j + 1) / parts;
        for (int64_t b0 = r0; b0 < r1; b0 += block)
            for (int64_t c = 0; c < columns; c += VL) {
                const int64_t lanes = gemm_min(VL, columns - c), b1 = gemm_min(r1, b0 + block);
                const vec m = vload_n((const real *)op->p[3] + c, lanes);
                vec products[2] = {}, sums[2] = {};
                for (int64_t r = b0; r < b1; r++) {
                    const int64_t at = r * columns + c;
                    vec g = vload_n((const real *)op->p[1] + at, lanes);
                    if (activation)
                        g *= gemm_derivative(activation, vload_n((const real *)op->p[5] + at, lanes), alpha);
                    products[r & 1] += g * (vload_n((const real *)op->p[2] + at, lanes) - m);
                    sums[r & 1] += g;
                }
                const vec p = (products[0] + products[1]) * vload_n(scale + c, lanes);
                vstore_n(to + c, vload_n(to + c, lanes) + p, lanes);
                vstore_n(to + columns + c, vload_n(to + columns + c, lanes) + sums[0] + sums[1], lanes);
            }
    }
}

/* ---- batch_norm_grad: dx = gamma / sqrt(var + epsilon) (dz - dbeta / rows - xhat dgamma / rows) ----
 *   p  dX (may be dY), dY, X, mean, var, gamma or NULL, dgamma, dbeta, Y or NULL
 *   i  [0] rows [1] columns [3] activation   f  [0] alpha [1] epsilon   split  FN_SPLIT_ROWS
 */
static void batch_norm_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    const int64_t columns = op->i[1], block = norm_block(columns);
    const int activation = op->p[8] ? (int)op->i[3] : FN_ACT_NONE;
    const real alpha = (real)op->f[0], share = (real)1 / (real)fn_rows(op, step);
    real *scale = scratch, *rstd = scale + columns + VL;
    norm_scale(scale, op->p[4], op->p[5], columns, (real)op->f[1]);
    norm_scale(rstd, op->p[4], NULL, columns, (real)op->f[1]);
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    for (int64_t b0 = r0; b0 < r1; b0 += block)
        for (int64_t c = 0; c < columns; c += VL) {
            const int64_t lanes = gemm_min(VL, columns - c), b1 = gemm_min(r1, b0 + block);
            const vec m = vload_n((const real *)op->p[3] + c, lanes), s = vload_n(scale + c, lanes);
            const vec a = vload_n((const real *)op->p[6] + c, lanes) * vset1(share) * vload_n(rstd + c, lanes);
            const vec b = vload_n((const real *)op->p[7] + c, lanes) * vset1(share);
            for (int64_t r = b0; r < b1; r++) {
                const int64_t at = r * columns + c;
                vec g = vload_n((const real *)op->p[1] + at, lanes);
                if (activation)
                    g *= gemm_derivative(activation, vload_n((const real *)op->p[8] + at, lanes), alpha);
                vstore_n((real *)op->p[0] + at, s * (g - b - (vload_n((const real *)op->p[2] + at, lanes) - m) * a),
                         lanes);
            }
        }
}

/* ---- layer_norm: each row by its own mean and variance ----
 *   p  Y, stats[rows][2] (mean, 1 / sqrt(var + epsilon)), X (may be Y), gamma[columns] or NULL, beta or NULL
 *   i  [0] rows [1] columns   f  [0] epsilon   split  FN_SPLIT_ROWS
 */
FN_INLINE vec norm_lanes(int64_t n) /* 1 in the first n lanes */
{
    real t[VL];
    for (int j = 0; j < VL; j++)
        t[j] = j < n;
    return vload(t);
}

static void layer_norm(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const int64_t n = op->i[1];
    const real *gamma = op->p[3], *beta = op->p[4];
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    for (int64_t r = r0; r < r1; r++) {
        const real *x = (const real *)op->p[2] + r * n;
        real *y = (real *)op->p[0] + r * n, *stats = (real *)op->p[1] + r * 2;
        const real mean = row_sum(x, n) / (real)n;
        vec squares = {};
        for (int64_t c = 0; c < n; c += VL) {
            const int64_t lanes = gemm_min(VL, n - c);
            vec z = vload_n(x + c, lanes) - vset1(mean);
            if (lanes < VL)
                z *= norm_lanes(lanes);
            squares += z * z;
        }
        const vec rstd = vset1(1) / vsqrt(vset1(vsum(squares) / (real)n + (real)op->f[0]));
        stats[0] = mean;
        stats[1] = rstd[0];
        for (int64_t c = 0; c < n; c += VL) {
            const int64_t lanes = gemm_min(VL, n - c);
            vec z = (vload_n(x + c, lanes) - vset1(mean)) * rstd;
            if (gamma)
                z *= vload_n(gamma + c, lanes);
            if (beta)
                z += vload_n(beta + c, lanes);
            vstore_n(y + c, z, lanes);
        }
    }
}

/* ---- layer_norm_grad: dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + epsilon), g = dy gamma ----
 *   p  dX (may be dY), dY, X, stats, gamma or NULL   i  [0] rows [1] columns   split  FN_SPLIT_ROWS
 */
static void layer_norm_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const int64_t n = op->i[1];
    const real *gamma = op->p[4];
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    for (int64_t r = r0; r < r1; r++) {
        const real *dy = (const real *)op->p[1] + r * n, *x = (const real *)op->p[2] + r * n;
        const real *stats = (const real *)op->p[3] + r * 2;
        real *dx = (real *)op->p[0] + r * n;
        const vec mean = vset1(stats[0]), rstd = vset1(stats[1]);
        vec s = {}, t = {};
        for (int64_t c = 0; c < n; c += VL) {
            const int64_t lanes = gemm_min(VL, n - c);
            vec g = vload_n(dy + c, lanes);
            if (gamma)
                g *= vload_n(gamma + c, lanes);
            s += g;
            t += g * (vload_n(x + c, lanes) - mean);
        }
        const vec a = vset1(vsum(s) / (real)n), b = vset1(vsum(t) / (real)n) * rstd * rstd;
        for (int64_t c = 0; c < n; c += VL) {
            const int64_t lanes = gemm_min(VL, n - c);
            vec g = vload_n(dy + c, lanes);
            if (gamma)
                g *= vload_n(gamma + c, lanes);
            vstore_n(dx + c, (g - a - (vload_n(x + c, lanes) - mean) * b) * rstd, lanes);
        }
    }
}

/* ---- layer_norm_parts: sums of dy xhat and of dy over each part of the rows ----
 *   p  parts[n][2][columns], dY, X, stats   i  [0] rows [1] columns [2] n   split  FN_SPLIT_BLOCKS: parts
 */
static void layer_norm_parts(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const int64_t rows = fn_rows(op, step), n = op->i[1], parts = norm_parts(op, step), block = norm_block(n);
    for (int64_t j = lo; j < hi; j++) {
        real *to = (real *)op->p[0] + j * 2 * n;
        memset(to, 0, (size_t)n * 2 * sizeof(real));
        const int64_t r0 = rows * j / parts, r1 = rows * (j + 1) / parts;
        for (int64_t b0 = r0; b0 < r1; b0 += block)
            for (int64_t c = 0; c < n; c += VL) {
                const int64_t lanes = gemm_min(VL, n - c), b1 = gemm_min(r1, b0 + block);
                vec products = vload_n(to + c, lanes), sums = vload_n(to + n + c, lanes);
                for (int64_t r = b0; r < b1; r++) {
                    const real *stats = (const real *)op->p[3] + r * 2;
                    const vec g = vload_n((const real *)op->p[1] + r * n + c, lanes);
                    products += g * ((vload_n((const real *)op->p[2] + r * n + c, lanes) - vset1(stats[0]))
                                     * vset1(stats[1]));
                    sums += g;
                }
                vstore_n(to + c, products, lanes);
                vstore_n(to + n + c, sums, lanes);
            }
    }
}

/* ---- group_norm: the channels of a group in one sample by their common mean and variance ----
 *   p  Y, stats[samples][groups][2] (mean, 1 / sqrt(var + epsilon)), X (may be Y), gamma[c] or NULL, beta[c] or NULL
 *   i  [0] samples [1] pixels of a sample [2] channels [3] groups   f  [0] epsilon   split  FN_SPLIT_ROWS
 */
static size_t group_norm_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    return (size_t)(op->i[2] + VL) * 4 * sizeof(real);
}

static void group_norm(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    const int64_t pixels = op->i[1], channels = op->i[2], groups = op->i[3], cg = channels / groups;
    const real *gamma = op->p[3], *beta = op->p[4];
    real *mean = scratch, *scale = mean + channels + VL;
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    for (int64_t n = n0; n < n1; n++) {
        const real *x = (const real *)op->p[2] + n * pixels * channels;
        real *y = (real *)op->p[0] + n * pixels * channels, *stats = (real *)op->p[1] + n * groups * 2;
        norm_statistics(mean, scale, x, pixels, channels);
        for (int64_t g = 0; g < groups; g++) {
            real a = 0, m2 = 0;
            for (int64_t c = g * cg; c < (g + 1) * cg; c++)
                a += mean[c];
            a /= (real)cg;
            for (int64_t c = g * cg; c < (g + 1) * cg; c++)
                m2 += scale[c] + (mean[c] - a) * (mean[c] - a) * (real)pixels;
            const vec rstd = vset1(1) / vsqrt(vset1(m2 / (real)(pixels * cg) + (real)op->f[0]));
            stats[g * 2] = a;
            stats[g * 2 + 1] = rstd[0];
            for (int64_t c = g * cg; c < (g + 1) * cg; c++) {
                mean[c] = a;
                scale[c] = gamma ? rstd[0] * gamma[c] : rstd[0];
            }
        }
        for (int64_t r = 0; r < pixels; r++)
            for (int64_t c = 0; c < channels; c += VL) {
                const int64_t lanes = gemm_min(VL, channels - c), at = r * channels + c;
                vec z = (vload_n(x + at, lanes) - vload_n(mean + c, lanes)) * vload_n(scale + c, lanes);
                if (beta)
                    z += vload_n(beta + c, lanes);
                vstore_n(y + at, z, lanes);
            }
    }
}

/* ---- group_norm_grad: dx, and each sample's share of dgamma and dbeta ----
 *   p  dX (may be dY), shares[samples][2][channels], dY, X, stats, gamma or NULL
 *   i  as group_norm   split  FN_SPLIT_ROWS
 */
static void group_norm_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    const int64_t pixels = op->i[1], channels = op->i[2], groups = op->i[3], cg = channels / groups;
    const real *gamma = op->p[5];
    real *mean = scratch, *rstd = mean + channels + VL, *a = rstd + channels + VL, *b = a + channels + VL;
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    for (int64_t n = n0; n < n1; n++) {
        const real *dy = (const real *)op->p[2] + n * pixels * channels;
        const real *x = (const real *)op->p[3] + n * pixels * channels;
        const real *stats = (const real *)op->p[4] + n * groups * 2;
        real *dx = (real *)op->p[0] + n * pixels * channels, *dgamma = (real *)op->p[1] + n * 2 * channels;
        real *dbeta = dgamma + channels;
        for (int64_t c = 0; c < channels; c++) {
            mean[c] = stats[c / cg * 2];
            rstd[c] = stats[c / cg * 2 + 1];
        }
        for (int64_t c = 0; c < channels; c += VL) {
            const int64_t lanes = gemm_min(VL, channels - c);
            const vec m = vload_n(mean + c, lanes);
            vec products = {}, sums = {};
            for (int64_t r = 0; r < pixels; r++) {
                const vec g = vload_n(dy + r * channels + c, lanes);
                products += g * (vload_n(x + r * channels + c, lanes) - m);
                sums += g;
            }
            vstore_n(dgamma + c, products * vload_n(rstd + c, lanes), lanes);
            vstore_n(dbeta + c, sums, lanes);
        }
        for (int64_t g = 0; g < groups; g++) {
            real s = 0, t = 0;
            for (int64_t c = g * cg; c < (g + 1) * cg; c++) {
                s += dbeta[c] * (gamma ? gamma[c] : 1);
                t += dgamma[c] * (gamma ? gamma[c] : 1);
            }
            s /= (real)(pixels * cg);
            t /= (real)(pixels * cg);
            for (int64_t c = g * cg; c < (g + 1) * cg; c++) {
                a[c] = s;
                b[c] = t * rstd[c];
            }
        }
        for (int64_t r = 0; r < pixels; r++)
            for (int64_t c = 0; c < channels; c += VL) {
                const int64_t lanes = gemm_min(VL, channels - c), at = r * channels + c;
                vec g = vload_n(dy + at, lanes);
                if (gamma)
                    g *= vload_n(gamma + c, lanes);
                const vec z = vload_n(x + at, lanes) - vload_n(mean + c, lanes);
                vstore_n(dx + at, (g - vload_n(a + c, lanes) - z * vload_n(b + c, lanes)) * vload_n(rstd + c, lanes),
                         lanes);
            }
    }
}

#define FN_NORMALIZATION_KERNELS(X)                                                                     \
    X(batch_norm_parts, FN_SPLIT_BLOCKS, norm_parts_tasks, NULL, batch_norm_parts)                      \
    X(batch_norm_combine, FN_SPLIT_SERIAL, fn_one_task, NULL, batch_norm_combine)                       \
    X(batch_norm_apply, FN_SPLIT_ROWS, fn_row_tasks, batch_norm_scratch, batch_norm_apply)              \
    X(batch_norm_grad_parts, FN_SPLIT_BLOCKS, norm_parts_tasks, batch_norm_scratch, batch_norm_grad_parts) \
    X(batch_norm_grad, FN_SPLIT_ROWS, fn_row_tasks, batch_norm_scratch, batch_norm_grad)                \
    X(layer_norm, FN_SPLIT_ROWS, fn_row_tasks, NULL, layer_norm)                                        \
    X(layer_norm_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, layer_norm_grad)                              \
    X(layer_norm_parts, FN_SPLIT_BLOCKS, norm_parts_tasks, NULL, layer_norm_parts)                      \
    X(group_norm, FN_SPLIT_ROWS, fn_row_tasks, group_norm_scratch, group_norm)                          \
    X(group_norm_grad, FN_SPLIT_ROWS, fn_row_tasks, group_norm_scratch, group_norm_grad)
