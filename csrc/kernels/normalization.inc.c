/* normalization.inc.c - batch, layer and group normalization, forward and backward.
 *
 * All take y = (x - mean) / sqrt(var + epsilon) * gamma + beta; they differ in what mean and (biased) variance are of:
 * a column of all rows, a row, or the channels of a group in one sample. Variances are sums of squared differences
 * from the mean of the rows before, and blocks are combined as Chan et al. 1979 do: nothing that counts cancels, and
 * nothing depends on the number of threads.
 */

enum {
    NORM_ELEMENTS = 4096,  /* of a block of rows */
    NORM_NARROW = 4 * VL,  /* up to so many columns that are no whole vectors, rows are folded */
    NORM_TILE = sizeof(real) * VL == 64 ? 4 : 2 /* vectors of a row taken in turn: as many as registers last */
};

/* Runs `body` for each of the columns in tiles: `at` is the first of `wide` vectors, or of `lanes` columns that are no
 * whole vector; both are constants to the compiler, as is `wide`. */
#define NORM_TILES(columns, at, wide, lanes, body)                                          \
    do {                                                                                    \
        int64_t at = 0;                                                                     \
        for (const int wide = NORM_TILE, lanes = VL; at + wide * VL <= (columns); at += wide * VL) \
            body;                                                                           \
        if (NORM_TILE > 2)                                                                  \
            for (const int wide = 2, lanes = VL; at + wide * VL <= (columns); at += wide * VL) \
                body;                                                                       \
        for (const int wide = 1, lanes = VL; at + VL <= (columns); at += VL)                \
            body;                                                                           \
        if (at < (columns)) {                                                               \
            const int wide = 1, lanes = (int)((columns) - at);                              \
            body;                                                                           \
        }                                                                                   \
    } while (0)

FN_INLINE vec norm_load(const real *x, int lanes) { return lanes == VL ? vload(x) : vload_n(x, lanes); }
FN_INLINE void norm_store(real *y, vec x, int lanes)
{
    if (lanes == VL)
        vstore(y, x);
    else
        vstore_n(y, x, lanes);
}

/* How many rows, side by side, are taken as one that fills whole vectors: of `rows` rows that are worth it. What holds
 * for the columns of such a wide row is joined at the end. */
static inline int64_t norm_fold(int64_t rows, int64_t columns)
{
    int64_t fold = 1;
    if (columns > 0 && columns < NORM_NARROW)
        while (fold * columns % VL)
            fold *= 2;
    return rows >= 4 * fold ? fold : 1;
}

/* Elements of a wide row, and of what is read beyond its end. */
static inline int64_t norm_wide(int64_t columns) { return (columns < NORM_NARROW ? VL * columns : columns) + VL; }

/* The columns of a row, `fold` times side by side. */
static inline void norm_spread(real *row, int64_t columns, int64_t fold)
{
    for (int64_t j = columns; j < fold * columns; j++)
        row[j] = row[j - columns];
}

static size_t norm_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    return (size_t)norm_wide(op->i[1]) * 5 * sizeof(real);
}

static inline int64_t norm_block(int64_t columns)
{
    const int64_t rows = NORM_ELEMENTS / (columns < 1 ? 1 : columns);
    return rows < 8 ? 8 : rows;
}

/* Sums of x - shift (all 0 when NULL) and, with `squares`, of its squares over `rows` rows of `wide` vectors of x. Two
 * chains each. */
FN_INLINE void norm_column(vec *sums, vec *squares, const real *x, int64_t ld, int64_t rows, int wide, int lanes,
                           const vec *shift)
{
    vec s[NORM_TILE][2] = {}, q[NORM_TILE][2] = {};
    for (int64_t r = 0; r < rows; r += 2)
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            if (r + k == rows)
                break;
#pragma GCC unroll 4
            for (int j = 0; j < wide; j++) {
                vec z = norm_load(x + (r + k) * ld + j * VL, lanes);
                if (shift)
                    z -= shift[j];
                s[j][k] += z;
                if (squares)
                    q[j][k] += z * z;
            }
        }
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++) {
        sums[j] = s[j][0] + s[j][1];
        if (squares)
            squares[j] = q[j][0] + q[j][1];
    }
}

/* Mean and squared differences of columns [c, c + wide VL) of r rows, joined with those of a block of n that comes
 * after them. The first block is passed twice, for its mean and the differences from that; later ones once, as
 * differences from the mean so far: where that is far from the block's own, so far does the variance of all grow. */
FN_INLINE void norm_block_statistics(real *mean, real *m2, const real *x, int64_t ld, int64_t r, int64_t n, int wide,
                                     int lanes)
{
    const vec part = vset1(n > 0 ? (real)1 / (real)n : 0), weight = vset1((real)n / (real)(r + n > 0 ? r + n : 1));
    vec a[NORM_TILE], b[NORM_TILE], old[NORM_TILE];
    if (r == 0)
        norm_column(old, NULL, x, ld, n, wide, lanes, NULL);
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++)
        old[j] = r == 0 ? old[j] * part : norm_load(mean + j * VL, lanes);
    norm_column(a, b, x, ld, n, wide, lanes, old);
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++) {
        const vec delta = a[j] * part;
        if (r > 0) /* of the block's own mean: b - a delta */
            b[j] = norm_load(m2 + j * VL, lanes) + (b[j] - a[j] * delta) + delta * delta * weight * vset1((real)r);
        norm_store(mean + j * VL, r == 0 ? old[j] : old[j] + delta * weight, lanes);
        norm_store(m2 + j * VL, b[j], lanes);
    }
}

/* mean[columns] and m2[columns] (sum of squared differences from it) of rows of x. */
static void norm_statistics(real *mean, real *m2, const real *x, int64_t rows, int64_t columns)
{
    const int64_t block = norm_block(columns);
    for (int64_t r = 0; r < rows || r == 0; r += block)
        NORM_TILES(columns, c, wide, lanes,
                   norm_block_statistics(mean + c, m2 + c, x + r * columns + c, columns, r, gemm_min(block, rows - r),
                                         wide, lanes));
}

static inline int64_t norm_parts(const fn_op *op, const fn_step *step)
{
    return gemm_min(op->i[2], fn_rows(op, step));
}
static int64_t norm_parts_tasks(const fn_op *op, const fn_step *step) { return norm_parts(op, step); }

/* Mean and squared differences of `have` rows, joined with those of `rows` others. */
static void norm_join(real *mean, real *m2, int64_t have, const real *mean2, const real *m22, int64_t rows,
                      int64_t columns)
{
    const vec weight = vset1((real)rows / (real)(have + rows)), before = vset1((real)have);
    for (int64_t c = 0; c < columns; c += VL) {
        const int64_t lanes = gemm_min(VL, columns - c);
        vec a = vload_n(mean2 + c, lanes), b = vload_n(m22 + c, lanes);
        if (have > 0) {
            const vec old = vload_n(mean + c, lanes), delta = a - old;
            a = old + delta * weight;
            b += vload_n(m2 + c, lanes) + delta * delta * weight * before;
        }
        vstore_n(mean + c, a, lanes);
        vstore_n(m2 + c, b, lanes);
    }
}

/* ---- batch_norm_parts: mean and squared differences of each part of the rows ----
 *   p  parts[n][2][columns], X    i  [0] rows [1] columns [2] n, the most parts    split  FN_SPLIT_BLOCKS: parts
 */
static void batch_norm_parts(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    const int64_t rows = fn_rows(op, step), columns = op->i[1], parts = norm_parts(op, step);
    real *mean = scratch, *m2 = mean + norm_wide(columns);
    for (int64_t j = lo; j < hi; j++) {
        real *to = (real *)op->p[0] + j * 2 * columns;
        const int64_t r0 = rows * j / parts, n = rows * (j + 1) / parts - r0, fold = norm_fold(n, columns);
        const real *x = (const real *)op->p[1] + r0 * columns;
        norm_statistics(mean, m2, x, n / fold, fold * columns);
        int64_t have = 0;
        for (; have < n - n % fold; have += n / fold)
            norm_join(to, to + columns, have, mean + have / (n / fold) * columns, m2 + have / (n / fold) * columns,
                      n / fold, columns);
        if (have == n)
            continue;
        norm_statistics(mean, m2, x + have * columns, n - have, columns);
        norm_join(to, to + columns, have, mean, m2, n - have, columns);
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

/* Rows of `wide` vectors of y from x; mean, scale and beta of their columns. */
FN_INLINE void norm_block_apply(real *y, const real *x, const real *mean, const real *scale, const real *beta,
                                int64_t rows, int64_t ld, int wide, int lanes, int activation, real alpha)
{
    const vec floor = vset1(activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY);
    vec m[NORM_TILE], s[NORM_TILE], t[NORM_TILE];
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++) {
        m[j] = norm_load(mean + j * VL, lanes);
        s[j] = norm_load(scale + j * VL, lanes);
        t[j] = norm_load(beta + j * VL, lanes);
    }
    for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int j = 0; j < wide; j++) {
            const vec z = (norm_load(x + r * ld + j * VL, lanes) - m[j]) * s[j] + t[j];
            norm_store(y + r * ld + j * VL,
                       activation <= FN_ACT_RELU ? vmax(floor, z) : gemm_activate(activation, z, alpha), lanes);
        }
}

static void norm_apply(real *y, const real *x, const real *mean, const real *scale, const real *beta, int64_t rows,
                       int64_t columns, int activation, real alpha)
{
    const int64_t block = norm_block(columns);
    for (int64_t r = 0; r < rows; r += block) {
        const int64_t n = gemm_min(block, rows - r);
        const real *from = x + r * columns;
        real *to = y + r * columns;
        if (activation == FN_ACT_NONE || activation == FN_ACT_RELU) {
            const int relu = activation;
            NORM_TILES(columns, c, wide, lanes,
                       norm_block_apply(to + c, from + c, mean + c, scale + c, beta + c, n, columns, wide, lanes,
                                        relu ? FN_ACT_RELU : FN_ACT_NONE, 0));
        } else {
            for (int64_t c = 0; c < columns; c += VL)
                norm_block_apply(to + c, from + c, mean + c, scale + c, beta + c, n, columns, 1,
                                 (int)gemm_min(VL, columns - c), activation, alpha);
        }
    }
}

/* Copies of the columns of mean, gamma / sqrt(var + epsilon) and beta (NULL: zeros), `fold` times side by side. */
static void norm_prepare(real *mean, real *scale, real *beta, const real *mean1, const real *var, const real *gamma,
                         const real *beta1, int64_t columns, real epsilon, int64_t fold)
{
    memcpy(mean, mean1, (size_t)columns * sizeof(real));
    norm_scale(scale, var, gamma, columns, epsilon);
    if (beta1)
        memcpy(beta, beta1, (size_t)columns * sizeof(real));
    else
        memset(beta, 0, (size_t)columns * sizeof(real));
    norm_spread(mean, columns, fold);
    norm_spread(scale, columns, fold);
    norm_spread(beta, columns, fold);
}

static void batch_norm_apply(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t columns = op->i[1], fold = norm_fold(r1 - r0, columns), wide = (r1 - r0) / fold;
    real *mean = scratch, *scale = mean + norm_wide(columns), *beta = scale + norm_wide(columns);
    norm_prepare(mean, scale, beta, op->p[2], op->p[3], op->p[4], op->p[5], columns, (real)op->f[1], fold);
    const real *x = (const real *)op->p[1] + r0 * columns;
    real *y = (real *)op->p[0] + r0 * columns;
    const int64_t done = wide * fold * columns;
    norm_apply(y, x, mean, scale, beta, wide, fold * columns, (int)op->i[2], (real)op->f[0]);
    if (fold > 1)
        norm_apply(y + done, x + done, mean, scale, beta, r1 - r0 - wide * fold, columns, (int)op->i[2],
                   (real)op->f[0]);
}

/* ---- batch_norm_fold: W' = W s, b' = (b - mean) s + beta, s = gamma / sqrt(var + epsilon): weights and bias of the
 * product or convolution that gives batch_norm_apply's result at once ----
 *   p  W', b'[columns], W, mean, var, gamma or NULL, beta or NULL, b or NULL
 *   i  [0] rows of W [1] columns   f  [0] - [1] epsilon   split  FN_SPLIT_SERIAL
 */
static void batch_norm_fold(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)lo; (void)hi;
    const int64_t rows = op->i[0], columns = op->i[1];
    const real *w = op->p[2], *mean = op->p[3], *beta = op->p[6], *bias = op->p[7];
    real *to = op->p[0], *scale = scratch;
    norm_scale(scale, op->p[4], op->p[5], columns, (real)op->f[1]);
    for (int64_t c = 0; c < columns; c++)
        ((real *)op->p[1])[c] = ((bias ? bias[c] : 0) - mean[c]) * scale[c] + (beta ? beta[c] : 0);
    for (int64_t r = 0; r < rows; r++, w += columns, to += columns)
        for (int64_t c = 0; c < columns; c += VL) {
            const int lanes = (int)gemm_min(VL, columns - c);
            norm_store(to + c, norm_load(w + c, lanes) * norm_load(scale + c, lanes), lanes);
        }
}

/* The gradient that reaches (x - mean) scale + beta, z = x - mean: with `relu` where it is above zero. */
FN_INLINE vec norm_dz(vec g, vec z, vec scale, vec beta, int relu)
{
    return relu ? vflag_keep(vflag_more(z * scale + beta, (vec){}), g) : g;
}

/* products += dz (x - mean), sums += dz over rows of `wide` vectors. */
FN_INLINE void norm_block_sums(real *products, real *sums, const real *dy, const real *x, const real *mean,
                               const real *scale, const real *beta, int64_t rows, int64_t ld, int wide, int lanes,
                               int relu)
{
    vec p[NORM_TILE] = {}, q[NORM_TILE] = {}, m[NORM_TILE], s[NORM_TILE], t[NORM_TILE];
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++) {
        m[j] = norm_load(mean + j * VL, lanes);
        s[j] = norm_load(scale + j * VL, lanes);
        t[j] = norm_load(beta + j * VL, lanes);
    }
    for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int j = 0; j < wide; j++) {
            const vec z = norm_load(x + r * ld + j * VL, lanes) - m[j];
            const vec g = norm_dz(norm_load(dy + r * ld + j * VL, lanes), z, s[j], t[j], relu);
            p[j] += g * z;
            q[j] += g;
        }
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++) {
        norm_store(products + j * VL, norm_load(products + j * VL, lanes) + p[j], lanes);
        norm_store(sums + j * VL, norm_load(sums + j * VL, lanes) + q[j], lanes);
    }
}

FN_INLINE void norm_grad_sums(real *products, real *sums, const real *dy, const real *x, const real *mean,
                              const real *scale, const real *beta, int64_t rows, int64_t columns, int relu)
{
    const int64_t block = norm_block(columns);
    for (int64_t r = 0; r < rows; r += block) {
        const int64_t n = gemm_min(block, rows - r), at = r * columns;
        NORM_TILES(columns, c, wide, lanes,
                   norm_block_sums(products + c, sums + c, dy + at + c, x + at + c, mean + c, scale + c, beta + c, n,
                                   columns, wide, lanes, relu));
    }
}

/* ---- batch_norm_grad_parts: sums of dz xhat and of dz over each part of the rows ----
 * dz is dy or, with [3], where y = relu(...), dy times its gradient: found again from x, which is read anyway.
 *   p  parts[n][2][columns], dY, X, mean, var, gamma or NULL, beta or NULL
 *   i  [0] rows [1] columns [2] n [3] relu   f  [0] - [1] epsilon   split  FN_SPLIT_BLOCKS: parts
 */
static void batch_norm_grad_parts(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    const int64_t rows = fn_rows(op, step), columns = op->i[1], parts = norm_parts(op, step), size = norm_wide(columns);
    const int64_t fold = norm_fold(rows / parts, columns);
    real *mean = scratch, *scale = mean + size, *beta = scale + size, *products = beta + size, *sums = products + size;
    norm_prepare(mean, scale, beta, op->p[3], op->p[4], op->p[5], op->p[6], columns, (real)op->f[1], fold);
    for (int64_t j = lo; j < hi; j++) {
        real *to = (real *)op->p[0] + j * 2 * columns;
        const int64_t r0 = rows * j / parts, n = rows * (j + 1) / parts - r0, wide = n / fold;
        const real *dy = (const real *)op->p[1] + r0 * columns, *x = (const real *)op->p[2] + r0 * columns;
        const int64_t done = wide * fold * columns;
        memset(products, 0, (size_t)(fold * columns) * sizeof(real));
        memset(sums, 0, (size_t)(fold * columns) * sizeof(real));
        if (op->i[3]) {
            norm_grad_sums(products, sums, dy, x, mean, scale, beta, wide, fold * columns, 1);
            norm_grad_sums(products, sums, dy + done, x + done, mean, scale, beta, n - wide * fold, columns, 1);
        } else {
            norm_grad_sums(products, sums, dy, x, mean, scale, beta, wide, fold * columns, 0);
            norm_grad_sums(products, sums, dy + done, x + done, mean, scale, beta, n - wide * fold, columns, 0);
        }
        for (int64_t k = columns; k < fold * columns; k++) {
            products[k % columns] += products[k];
            sums[k % columns] += sums[k];
        }
        norm_scale(to, op->p[4], NULL, columns, (real)op->f[1]);
        for (int64_t c = 0; c < columns; c++) {
            to[c] *= products[c];
            to[columns + c] = sums[c];
        }
    }
}

FN_INLINE void norm_block_grad(real *dx, const real *dy, const real *x, const real *mean, const real *scale,
                               const real *beta, const real *slope, const real *shift, int64_t rows, int64_t ld,
                               int wide, int lanes, int relu)
{
    vec m[NORM_TILE], s[NORM_TILE], t[NORM_TILE], a[NORM_TILE], b[NORM_TILE];
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++) {
        m[j] = norm_load(mean + j * VL, lanes);
        s[j] = norm_load(scale + j * VL, lanes);
        t[j] = norm_load(beta + j * VL, lanes);
        a[j] = norm_load(slope + j * VL, lanes);
        b[j] = norm_load(shift + j * VL, lanes);
    }
    for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int j = 0; j < wide; j++) {
            const vec z = norm_load(x + r * ld + j * VL, lanes) - m[j];
            const vec g = norm_dz(norm_load(dy + r * ld + j * VL, lanes), z, s[j], t[j], relu);
            norm_store(dx + r * ld + j * VL, s[j] * (g - b[j] - z * a[j]), lanes);
        }
}

FN_INLINE void norm_grad(real *dx, const real *dy, const real *x, const real *mean, const real *scale,
                         const real *beta, const real *slope, const real *shift, int64_t rows, int64_t columns,
                         int relu)
{
    const int64_t block = norm_block(columns);
    for (int64_t r = 0; r < rows; r += block) {
        const int64_t n = gemm_min(block, rows - r), at = r * columns;
        NORM_TILES(columns, c, wide, lanes,
                   norm_block_grad(dx + at + c, dy + at + c, x + at + c, mean + c, scale + c, beta + c, slope + c,
                                   shift + c, n, columns, wide, lanes, relu));
    }
}

/* ---- batch_norm_grad: dx = gamma / sqrt(var + epsilon) (dz - dbeta / rows - xhat dgamma / rows) ----
 *   p  dX (may be dY), dY, X, mean, var, gamma or NULL, beta or NULL, dgamma, dbeta
 *   i  [0] rows [1] columns [3] relu, as batch_norm_grad_parts   f  [0] - [1] epsilon   split  FN_SPLIT_ROWS
 */
static void batch_norm_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t columns = op->i[1], size = norm_wide(columns), fold = norm_fold(r1 - r0, columns);
    const int64_t wide = (r1 - r0) / fold, rest = r1 - r0 - wide * fold, done = wide * fold * columns;
    real *mean = scratch, *scale = mean + size, *beta = scale + size, *slope = beta + size, *shift = slope + size;
    const real share = (real)1 / (real)fn_rows(op, step);
    norm_prepare(mean, scale, beta, op->p[3], op->p[4], op->p[5], op->p[6], columns, (real)op->f[1], fold);
    norm_scale(slope, op->p[4], NULL, columns, (real)op->f[1]);
    for (int64_t c = 0; c < columns; c++) {
        slope[c] *= ((const real *)op->p[7])[c] * share;
        shift[c] = ((const real *)op->p[8])[c] * share;
    }
    norm_spread(slope, columns, fold);
    norm_spread(shift, columns, fold);
    const real *dy = (const real *)op->p[1] + r0 * columns, *x = (const real *)op->p[2] + r0 * columns;
    real *dx = (real *)op->p[0] + r0 * columns;
    if (op->i[3]) {
        norm_grad(dx, dy, x, mean, scale, beta, slope, shift, wide, fold * columns, 1);
        norm_grad(dx + done, dy + done, x + done, mean, scale, beta, slope, shift, rest, columns, 1);
    } else {
        norm_grad(dx, dy, x, mean, scale, beta, slope, shift, wide, fold * columns, 0);
        norm_grad(dx + done, dy + done, x + done, mean, scale, beta, slope, shift, rest, columns, 0);
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
    X(batch_norm_parts, FN_SPLIT_BLOCKS, norm_parts_tasks, norm_scratch, batch_norm_parts)              \
    X(batch_norm_combine, FN_SPLIT_SERIAL, fn_one_task, NULL, batch_norm_combine)                       \
    X(batch_norm_apply, FN_SPLIT_ROWS, fn_row_tasks, norm_scratch, batch_norm_apply)                    \
    X(batch_norm_fold, FN_SPLIT_SERIAL, fn_one_task, norm_scratch, batch_norm_fold)                     \
    X(batch_norm_grad_parts, FN_SPLIT_BLOCKS, norm_parts_tasks, norm_scratch, batch_norm_grad_parts)    \
    X(batch_norm_grad, FN_SPLIT_ROWS, fn_row_tasks, norm_scratch, batch_norm_grad)                      \
    X(layer_norm, FN_SPLIT_ROWS, fn_row_tasks, NULL, layer_norm)                                        \
    X(layer_norm_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, layer_norm_grad)                              \
    X(layer_norm_parts, FN_SPLIT_BLOCKS, norm_parts_tasks, NULL, layer_norm_parts)                      \
    X(group_norm, FN_SPLIT_ROWS, fn_row_tasks, group_norm_scratch, group_norm)                          \
    X(group_norm_grad, FN_SPLIT_ROWS, fn_row_tasks, group_norm_scratch, group_norm_grad)
