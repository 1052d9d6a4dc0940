/* losses.inc.c - losses with their gradients in one pass, and per-row metrics.
 *
 * One contract for all losses:
 *   p: 0 loss[rows] or NULL, 1 dy[rows, cols] or NULL, 2 y[rows, cols] (predictions or logits),
 *      3 t (targets: like y, or int32 class ids [rows]), 4 w[rows] or NULL
 *   i: 0 rows, 1 columns, 2 mean flag, 3.. see each kernel
 *   f: 0 parameter, 1 scale, 2.. see each kernel
 *   loss[r] is the unweighted loss of the row;
 *   dy = (d loss[r] / d y) * (w ? w[r] : 1) * scale * (mean ? 1 / actual rows : 1).   dy may be y.
 * Split: rows; a row's result does not depend on the others. Class ids are checked by the caller.
 * Formulas, clips and means are Keras'; FN_EPSILON is keras.backend.epsilon(). Where a maximum or a clip has two
 * derivatives, each kernel says which one it takes.
 */

#define FN_EPSILON ((real)1e-7)

/* Factor of a row's gradient before its weight. */
static inline double loss_scale(const fn_op *op, const fn_step *step)
{
    const int64_t rows = fn_rows(op, step);
    return op->f[1] * (op->i[2] && rows > 0 ? 1.0 / (double)rows : 1.0);
}

typedef struct {
    real *loss, *dy;
    const real *y, *t, *w;
    int64_t cols;
    real scale;
} loss_rows;

static inline loss_rows loss_start(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, int64_t *rows)
{
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t cols = op->i[1];
    *rows = cols > 0 ? r1 - r0 : 0;
    return (loss_rows){
        .loss = op->p[0] ? (real *)op->p[0] + r0 : NULL,
        .dy = op->p[1] ? (real *)op->p[1] + r0 * cols : NULL,
        .y = (const real *)op->p[2] + r0 * cols,
        .t = (const real *)op->p[3] + r0 * cols,
        .w = op->p[4] ? (const real *)op->p[4] + r0 : NULL,
        .cols = cols,
        .scale = (real)loss_scale(op, step),
    };
}

/* Factors of the gradients of rows [r, r + n). */
FN_INLINE vec loss_factors(const loss_rows *a, int64_t r, int64_t n)
{
    return a->w ? vload_n(a->w + r, n) * vset1(a->scale) : vset1(a->scale);
}
static inline real loss_factor(const loss_rows *a, int64_t r) { return a->w ? a->w[r] * a->scale : a->scale; }

/* ---- softmax with cross-entropy ---- */

/* One long row: shared by both forms. Targets: class `label` (t == NULL) or t; smoothed as (1 - e) t + e / cols. */
FN_INLINE void softmax_crossentropy_row(real *loss, real *dy, const real *y, const real *t, int64_t label,
                                        int64_t cols, real c, double smoothing)
{
    const vec keep = vset1((real)(1 - smoothing)), level = vset1((real)(smoothing / (double)cols));
    const vec m = row_max(y, cols);
    vec s = {}, total = {}, dot = {};
    real at_label = 0;
    if (t == NULL)
        at_label = y[label];
    if (t == NULL && smoothing == 0) {
        s = row_exp(dy, y, cols, m);
    } else {
        for (int64_t j = 0; j < cols; j += VL) {
            const int64_t n = cols - j < VL ? cols - j : VL;
            const ivec lanes = vlanes(n);
            const vec d = vload_n(y + j, n) - m, e = vmask(lanes, vexp_of_negative(d));
            const vec q = vmask(lanes, t ? vload_n(t + j, n) * keep + level : level);
            s += e;
            total += q;
            dot += vmask(q != 0, q * d); /* 0 * -inf counts 0 */
            if (dy)
                vstore_n(dy + j, e, n);
        }
        s = vsum_all(s);
        total = vsum_all(total);
        dot = vsum_all(dot);
    }
    if (t == NULL) {
        total = vset1(1);
        dot += keep * (vset1(at_label) - m);
    }
    if (loss) {
        const vec l = total * vlog(s) - dot;
        *loss = l[0];
    }
    if (dy) {
        const vec p = total * vset1(c) / s, q = keep * vset1(c), flat = level * vset1(c);
        int64_t j = 0;
        for (; j + VL <= cols; j += VL)
            vstore(dy + j, vload(dy + j) * p - flat - (t ? vload(t + j) * q : (vec){}));
        const int64_t n = cols - j;
        if (n > 0)
            vstore_n(dy + j, vload_n(dy + j, n) * p - flat - (t ? vload_n(t + j, n) * q : (vec){}), n);
        if (t == NULL)
            dy[label] -= q[0];
    }
}

/* Rows of up to two vectors, VL at a time. ids: class ids, or NULL: the targets are a->t. */
FN_INLINE void softmax_crossentropy_small(const fn_op *op, const loss_rows *a, int64_t rows, const int32_t *ids,
                                          const int K, const int smooth)
{
    const int64_t cols = a->cols, last = cols - (K - 1) * VL;
    const int ignoring = ids && op->i[4];
    const ivec lanes = vlanes(last);
    const vec keep = vset1((real)(1 - op->f[0])), level = vset1((real)(op->f[0] / (double)cols));
    for (int64_t r0 = 0; r0 < rows; r0 += VL) {
        const int64_t n = rows - r0 < VL ? rows - r0 : VL;
        const real *y = a->y + r0 * cols;
        softmax_group g;
        softmax_rows(&g, y, n, cols, K);
        vec total = vset1(1), dot = {}, c = loss_factors(a, r0, n), kept = vset1(1);
        vec q[VL][2];
        if (ids) {
            real x[VL] = {0}, k[VL];
            for (int64_t r = 0; r < n; r++) {
                const int ignored = ignoring && ids[r0 + r] == op->i[3];
                k[r] = ignored ? 0 : 1;
                x[r] = y[r * cols + (ignored ? 0 : ids[r0 + r])];
            }
            for (int64_t r = n; r < VL; r++)
                k[r] = 0;
            kept = vload(k);
            dot = vload(x) - g.max;
            if (smooth) {
                vec sums[VL];
                for (int64_t r = 0; r < VL; r++) {
                    if (r >= n) {
                        sums[r] = (vec){};
                        continue;
                    }
                    const vec end = vmask(lanes, g.d[r][K - 1]);
                    sums[r] = K == 2 ? g.d[r][0] + end : end;
                }
                dot = keep * dot + level * vfold_each(sums, fold_add);
            }
        } else {
            vec sums[VL], dots[VL];
            for (int64_t r = 0; r < VL; r++) {
                sums[r] = dots[r] = q[r][0] = q[r][1] = (vec){};
                if (r >= n)
                    continue;
                const real *t = a->t + (r0 + r) * cols;
                for (int k = 0; k < K; k++) {
                    vec x = k < K - 1 ? vload(t) : vload_n(t + k * VL, last);
                    if (smooth)
                        x = x * keep + level;
                    if (k == K - 1)
                        x = vmask(lanes, x);
                    q[r][k] = x;
                    sums[r] += x;
                    dots[r] += vmask(x != 0, x * g.d[r][k]);
                }
            }
            total = vfold_each(sums, fold_add);
            dot = vfold_each(dots, fold_add);
        }
        if (a->loss) {
            const vec l = total * vlog(g.sum) - dot;
            vstore_n(a->loss + r0, ignoring ? vmask(kept != 0, l) : l, n);
        }
        if (!a->dy)
            continue;
        if (ignoring)
            c = vmask(kept != 0, c);
        real p[VL], f[VL];
        vstore(p, total * c / g.sum);
        vstore(f, c);
        for (int64_t r = 0; r < n; r++) {
            real *dy = a->dy + (r0 + r) * cols;
            const vec factor = vset1(f[r]);
            for (int k = 0; k < K; k++) {
                vec x;
                if (ids) {
                    const ielem at = (ielem)ids[r0 + r] - k * VL;
                    x = vmask(LANE == at, smooth ? keep : vset1(1));
                    if (smooth)
                        x += level;
                } else {
                    x = q[r][k];
                }
                vec d = g.e[r][k] * vset1(p[r]) - x * factor;
                if (ignoring) /* the row may hold anything */
                    d = vmask(factor != 0, d);
                if (k < K - 1)
                    vstore(dy, d);
                else
                    vstore_n(dy + k * VL, d, last);
            }
        }
    }
}

/* sparse_softmax_crossentropy: loss = log(sum(exp(y))) - y[t], t int32 class ids [rows]; with smoothing f[0] = e
 * against the target (1 - e) onehot(t) + e / cols.
 * i: 3 class to ignore (loss and gradient 0), 4 whether to. */
static void sparse_softmax_crossentropy(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t rows, r0, r1;
    loss_rows a = loss_start(op, step, lo, hi, &rows);
    fn_row_range(op, lo, hi, &r0, &r1);
    const int32_t *ids = (const int32_t *)op->p[3] + r0;
    const int64_t cols = a.cols;
    const int smooth = op->f[0] != 0;
    if (cols <= VL) {
        softmax_crossentropy_small(op, &a, rows, ids, 1, smooth);
        return;
    }
    if (cols <= 2 * VL) {
        softmax_crossentropy_small(op, &a, rows, ids, 2, smooth);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        real *loss = a.loss ? a.loss + r : NULL, *dy = a.dy ? a.dy + r * cols : NULL;
        if (op->i[4] && ids[r] == op->i[3]) {
            if (loss)
                *loss = 0;
            if (dy)
                memset(dy, 0, (size_t)cols * sizeof *dy);
            continue;
        }
        softmax_crossentropy_row(loss, dy, a.y + r * cols, NULL, ids[r], cols, loss_factor(&a, r), op->f[0]);
    }
}

/* softmax_crossentropy: loss = -sum(t log_softmax(y)), t like y; smoothing f[0] as above. */
static void softmax_crossentropy(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t rows;
    loss_rows a = loss_start(op, step, lo, hi, &rows);
    const int64_t cols = a.cols;
    if (cols <= VL) {
        softmax_crossentropy_small(op, &a, rows, NULL, 1, op->f[0] != 0);
    } else if (cols <= 2 * VL) {
        softmax_crossentropy_small(op, &a, rows, NULL, 2, op->f[0] != 0);
    } else {
        for (int64_t r = 0; r < rows; r++)
            softmax_crossentropy_row(a.loss ? a.loss + r : NULL, a.dy ? a.dy + r * cols : NULL, a.y + r * cols,
                                     a.t + r * cols, 0, cols, loss_factor(&a, r), op->f[0]);
    }
}

/* ---- losses that are a sum over elements ---- */

/* Constants of a rule: what it makes of f[0], and two more. */
typedef struct {
    vec a, b, c;
} loss_constants;

/* Returns the loss of each element, gives its derivative by y. */
typedef vec loss_rule(const loss_constants *k, vec y, vec t, vec *grad);

/* loss[r] = sum over columns / divisor. */
FN_INLINE void loss_each(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, const loss_constants *k,
                         loss_rule *rule, double divisor)
{
    int64_t rows;
    const loss_rows a = loss_start(op, step, lo, hi, &rows);
    const int64_t cols = a.cols;
    const vec by = vset1((real)divisor), part = vset1((real)(1 / divisor));
    vec d;
    if (cols == 1) { /* one element a row: rows run along the vector */
        for (int64_t r = 0; r < rows; r += VL) {
            const int64_t n = rows - r < VL ? rows - r : VL;
            const vec l = rule(k, vload_n(a.y + r, n), vload_n(a.t + r, n), &d);
            if (a.loss)
                vstore_n(a.loss + r, l / by, n);
            if (a.dy)
                vstore_n(a.dy + r, d * (part * loss_factors(&a, r, n)), n);
        }
        return;
    }
    for (int64_t r0 = 0; r0 < rows; r0 += VL) {
        const int64_t n = rows - r0 < VL ? rows - r0 : VL;
        vec sums[VL];
        real f[VL];
        vstore(f, part * loss_factors(&a, r0, n));
        for (int64_t r = 0; r < VL; r++) {
            vec s = {};
            const real *y = a.y + (r0 + r) * cols, *t = a.t + (r0 + r) * cols;
            real *dy = a.dy ? a.dy + (r0 + r) * cols : NULL;
            const vec factor = vset1(f[r]);
            int64_t j = r < n ? 0 : cols;
            for (; j + VL <= cols; j += VL) {
                s += rule(k, vload(y + j), vload(t + j), &d);
                if (dy)
                    vstore(dy + j, d * factor);
            }
            if (j < cols) {
                const int64_t left = cols - j;
                s += vmask(vlanes(left), rule(k, vload_n(y + j, left), vload_n(t + j, left), &d));
                if (dy)
                    vstore_n(dy + j, d * factor, left);
            }
            sums[r] = s;
        }
        if (a.loss)
            vstore_n(a.loss + r0, vfold_each(sums, fold_add) / by, n);
    }
}

/* A kernel from a rule: `divisor` and the constants may use op. */
#define LOSS_KERNEL(name, divisor, ...) \
    static void name(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch) \
    { \
        (void)scratch; \
        const loss_constants k = {__VA_ARGS__}; \
        loss_each(op, step, lo, hi, &k, name##_rule, divisor); \
    }
#define LOSS_COLUMNS ((double)op->i[1])

/* 1, 0 or -1 as x is above, at or below 0; NaN for NaN. */
FN_INLINE vec vsign(vec x) { return vselect(x > 0, vset1(1), vselect(x < 0, vset1(-1), x)); }

/* mean_squared_error: mean((y - t)^2). */
FN_INLINE vec mean_squared_error_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    (void)k;
    const vec e = y - t;
    *grad = e + e;
    return e * e;
}
LOSS_KERNEL(mean_squared_error, LOSS_COLUMNS, .a = {})

/* mean_absolute_error: mean(|y - t|); derivative 0 at y = t. */
FN_INLINE vec mean_absolute_error_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    (void)k;
    const vec e = y - t;
    *grad = vsign(e);
    return vabs(e);
}
LOSS_KERNEL(mean_absolute_error, LOSS_COLUMNS, .a = {})

/* huber: mean(e^2 / 2 if |e| <= delta else delta |e| - delta^2 / 2), e = y - t, delta = f[0]. */
FN_INLINE vec huber_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    const vec e = y - t, size = vabs(e), half = vset1((real)0.5);
    *grad = vmin(k->a, vmax(-k->a, e));
    return vselect(size <= k->a, half * e * e, k->a * size - half * k->a * k->a);
}
LOSS_KERNEL(huber, LOSS_COLUMNS, .a = vset1((real)op->f[0]))

/* log(1 + x) for 0 <= x <= 1: vlog1p without the care it takes of limits and signs. */
FN_INLINE vec vlog1p_of_unit(vec x)
{
    ivec shift;
    const vec k = vlog_exponent(x + vset1(1), &shift);
    const vec quarter = (vec)((ivec)vset1(4) - shift);
    /* shifting the exponent of 0 would make a number of it */
    const vec f = x * (vset1((real)0.25) * quarter) + (vset1((real)0.25) * quarter - vset1(1));
    return vlog_core(k, f);
}

/* log_cosh: mean(log(cosh(e))), e = y - t, as |e| + log1p(exp(-2 |e|)) - log(2). */
FN_INLINE vec log_cosh_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    (void)k;
    const vec e = y - t, size = vabs(e);
    *grad = vtanh(e);
    return size + vlog1p_of_unit(vexp_of_negative(size * vset1(-2))) - vset1((real)0.69314718055994530942);
}
LOSS_KERNEL(log_cosh, LOSS_COLUMNS, .a = {})

/* mean_absolute_percentage_error: 100 mean(|t - y| / max(|t|, eps)). */
FN_INLINE vec mean_absolute_percentage_error_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    (void)k;
    const vec e = y - t, by = vset1(100) / vmax(vset1(FN_EPSILON), vabs(t));
    *grad = vsign(e) * by;
    return vabs(e) * by;
}
LOSS_KERNEL(mean_absolute_percentage_error, LOSS_COLUMNS, .a = {})

/* mean_squared_logarithmic_error: mean((log(max(y, eps) + 1) - log(max(t, eps) + 1))^2); derivative 0 below eps. */
FN_INLINE vec mean_squared_logarithmic_error_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    (void)k;
    const vec eps = vset1(FN_EPSILON), one = vset1(1);
    const vec u = vmax(eps, y) + one, e = vlog(u) - vlog(vmax(eps, t) + one);
    *grad = vmask(~(y < eps), (e + e) / u);
    return e * e;
}
LOSS_KERNEL(mean_squared_logarithmic_error, LOSS_COLUMNS, .a = {})

/* poisson: mean(y - t log(y + eps)). */
FN_INLINE vec poisson_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    (void)k;
    const vec u = y + vset1(FN_EPSILON);
    *grad = vset1(1) - t / u;
    return y - t * vlog(u);
}
LOSS_KERNEL(poisson, LOSS_COLUMNS, .a = {})

/* kl_divergence: sum(t log(t / y)), both clipped to [eps, 1]; derivative 0 where y was clipped. */
FN_INLINE vec kl_divergence_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    (void)k;
    const vec eps = vset1(FN_EPSILON), one = vset1(1);
    const vec u = vmin(one, vmax(eps, y)), v = vmin(one, vmax(eps, t));
    *grad = vmask(~((y < eps) | (y > one)), -v / u);
    return v * vlog(v / u);
}
LOSS_KERNEL(kl_divergence, 1, .a = {})

/* binary_crossentropy: -mean(t log(q) + (1 - t) log(1 - q)), q = y clipped to [eps, 1 - eps]; derivative 0 where
 * clipped. f: 0 smoothing e, t <- t (1 - e) + e / 2. */
FN_INLINE vec binary_crossentropy_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    const vec low = vset1(FN_EPSILON), high = vset1((real)(1 - 1e-7)), one = vset1(1);
    const vec q = vmin(high, vmax(low, y)), r = one - q;
    t = t * k->a + k->b;
    *grad = vmask(~((y < low) | (y > high)), (one - t) / r - t / q);
    return -(t * vlog(q) + (one - t) * vlog(r));
}
LOSS_KERNEL(binary_crossentropy, LOSS_COLUMNS, .a = vset1((real)(1 - op->f[0])), .b = vset1((real)(op->f[0] / 2)))

/* sigmoid_crossentropy: mean(max(y, 0) - y t + log1p(exp(-|y|))), binary cross-entropy of sigmoid(y). f: 0 smoothing. */
FN_INLINE vec sigmoid_crossentropy_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    const vec e = vexp_of_negative(-vabs(y)), one = vset1(1);
    t = t * k->a + k->b;
    *grad = vselect(y < 0, e, one) / (one + e) - t;
    return vmax((vec){}, y) - y * t + vlog1p_of_unit(e);
}
LOSS_KERNEL(sigmoid_crossentropy, LOSS_COLUMNS, .a = vset1((real)(1 - op->f[0])), .b = vset1((real)(op->f[0] / 2)))

/* hinge: mean(max(1 - t y, 0)), t in {-1, 1}; i: 3 whether t is in {0, 1} and becomes 2 t - 1. Derivative 0 at 0. */
FN_INLINE vec hinge_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    t = t * k->a - k->b;
    const vec u = vset1(1) - t * y;
    *grad = vmask(~(u <= 0), -t);
    return vmax((vec){}, u);
}
LOSS_KERNEL(hinge, LOSS_COLUMNS, .a = vset1(op->i[3] ? 2 : 1), .b = vset1(op->i[3] ? 1 : 0))

/* squared_hinge: mean(max(1 - t y, 0)^2); t as hinge. */
FN_INLINE vec squared_hinge_rule(const loss_constants *k, vec y, vec t, vec *grad)
{
    t = t * k->a - k->b;
    const vec u = vmax((vec){}, vset1(1) - t * y);
    *grad = -(u + u) * t;
    return u * u;
}
LOSS_KERNEL(squared_hinge, LOSS_COLUMNS, .a = vset1(op->i[3] ? 2 : 1), .b = vset1(op->i[3] ? 1 : 0))

/* ---- losses of a whole row ---- */

#define LOSS_EACH_VECTOR(n) \
    for (int64_t j = 0, n = a.cols < VL ? a.cols : VL; j < a.cols; j += VL, n = a.cols - j < VL ? a.cols - j : VL)

/* categorical_crossentropy: -sum(t log(clip(y / sum(y), eps, 1 - eps))), t like y; derivative 0 through the clip.
 * f: 0 smoothing e, t <- t (1 - e) + e / cols. */
static void categorical_crossentropy(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t rows;
    const loss_rows a = loss_start(op, step, lo, hi, &rows);
    const vec low = vset1(FN_EPSILON), high = vset1((real)(1 - 1e-7));
    const vec keep = vset1((real)(1 - op->f[0])), level = vset1((real)(op->f[0] / (double)a.cols));
    for (int64_t r = 0; r < rows; r++) {
        const real *y = a.y + r * a.cols, *t = a.t + r * a.cols;
        vec sum = {}, loss = {}, inside = {};
        LOSS_EACH_VECTOR(n)
            sum += vload_n(y + j, n);
        sum = vsum_all(sum);
        LOSS_EACH_VECTOR(n) {
            const vec q = vload_n(y + j, n) / sum, target = vmask(vlanes(n), vload_n(t + j, n) * keep + level);
            loss -= target * vlog(vmin(high, vmax(low, q)));
            inside += vmask(~((q < low) | (q > high)), target);
        }
        if (a.loss)
            a.loss[r] = vsum_all(loss)[0];
        if (!a.dy)
            continue;
        inside = vsum_all(inside);
        const vec c = vset1(loss_factor(&a, r)) / sum;
        LOSS_EACH_VECTOR(n) {
            const vec q = vload_n(y + j, n) / sum, target = vload_n(t + j, n) * keep + level;
            const vec through = vmask(~((q < low) | (q > high)), target / q);
            vstore_n(a.dy + r * a.cols + j, (inside - through) * c, n);
        }
    }
}

/* sparse_categorical_crossentropy: -log(clip(y[t] / sum(y), eps, 1 - eps)), t int32 class ids [rows]; derivative 0
 * where clipped. i: 3 class to ignore (loss and gradient 0), 4 whether to. */
static void sparse_categorical_crossentropy(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi,
                                            void *scratch)
{
    (void)scratch;
    int64_t rows, r0, r1;
    const loss_rows a = loss_start(op, step, lo, hi, &rows);
    fn_row_range(op, lo, hi, &r0, &r1);
    const int32_t *ids = (const int32_t *)op->p[3] + r0;
    const real low = FN_EPSILON, high = (real)(1 - 1e-7);
    for (int64_t r = 0; r < rows; r++) {
        const int ignored = op->i[4] && ids[r] == op->i[3];
        const real *y = a.y + r * a.cols;
        vec sum = {};
        LOSS_EACH_VECTOR(n)
            sum += vload_n(y + j, n);
        sum = vsum_all(sum);
        const real q = ignored ? 1 : y[ids[r]] / sum[0];
        const int clipped = q < low || q > high;
        if (a.loss)
            a.loss[r] = ignored ? 0 : -vlog(vmin(vset1(high), vmax(vset1(low), vset1(q))))[0];
        if (!a.dy)
            continue;
        const vec c = clipped || ignored ? (vec){} : vset1(loss_factor(&a, r)) / sum;
        real *dy = a.dy + r * a.cols;
        LOSS_EACH_VECTOR(n)
            vstore_n(dy + j, c, n);
        if (!clipped && !ignored)
            dy[ids[r]] -= c[0] / q;
    }
}

/* categorical_hinge: max(max((1 - t) y) - sum(t y) + 1, 0). Equal maxima share their derivative; it is 0 at 0. */
static void categorical_hinge(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t rows;
    const loss_rows a = loss_start(op, step, lo, hi, &rows);
    const vec one = vset1(1), least = vset1(-FN_INFINITY);
    for (int64_t r = 0; r < rows; r++) {
        const real *y = a.y + r * a.cols, *t = a.t + r * a.cols;
        vec right = {}, wrong = least, count = {};
        LOSS_EACH_VECTOR(n) {
            const vec u = vload_n(y + j, n), v = vload_n(t + j, n);
            right += u * v;
            wrong = vmax(wrong, vselect(vlanes(n), (one - v) * u, least));
        }
        right = vsum_all(right);
        wrong = vmax_all(wrong);
        const vec h = wrong - right + one;
        if (a.loss)
            a.loss[r] = vmax((vec){}, h)[0];
        if (!a.dy)
            continue;
        LOSS_EACH_VECTOR(n)
            count += vmask(vlanes(n) & ((one - vload_n(t + j, n)) * vload_n(y + j, n) == wrong), one);
        const vec each = one / vsum_all(count), c = vmask(~(h <= 0), vset1(loss_factor(&a, r)));
        LOSS_EACH_VECTOR(n) {
            const vec v = vload_n(t + j, n), u = (one - v) * vload_n(y + j, n);
            vstore_n(a.dy + r * a.cols + j, (vmask(u == wrong, (one - v) * each) - v) * c, n);
        }
    }
}

/* cosine_similarity: -sum(t y) / (|t| |y|), each norm at least eps. */
static void cosine_similarity(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t rows;
    const loss_rows a = loss_start(op, step, lo, hi, &rows);
    const vec most = vset1((real)1e7);
    for (int64_t r = 0; r < rows; r++) {
        const real *y = a.y + r * a.cols, *t = a.t + r * a.cols;
        vec yy = {}, tt = {}, yt = {};
        LOSS_EACH_VECTOR(n) {
            const vec u = vload_n(y + j, n), v = vload_n(t + j, n);
            yy += u * u;
            tt += v * v;
            yt += u * v;
        }
        yy = vset1(1) / vsqrt(vsum_all(yy)); /* infinite for a row of zeros */
        tt = vmin(most, vset1(1) / vsqrt(vsum_all(tt)));
        const ivec clipped = yy > most;
        yy = vmin(most, yy);
        const vec cosine = vsum_all(yt) * yy * tt;
        if (a.loss)
            a.loss[r] = -cosine[0];
        if (!a.dy)
            continue;
        const vec c = vset1(loss_factor(&a, r)) * yy, along = vmask(~clipped, cosine * yy);
        LOSS_EACH_VECTOR(n)
            vstore_n(a.dy + r * a.cols + j, (vload_n(y + j, n) * along - vload_n(t + j, n) * tt) * c, n);
    }
}

/* ---- metrics: one number a row ---- */

/* Rows of a metric: p: 0 out[rows], 1 y[rows, cols], 2 t. */
typedef struct {
    int64_t r0, r1, cols;
    real *out;
    const real *y;
} metric_rows;
static inline metric_rows metric_start(const fn_op *op, int64_t lo, int64_t hi)
{
    metric_rows a = {.cols = op->i[1], .out = op->p[0], .y = op->p[1]};
    fn_row_range(op, lo, hi, &a.r0, &a.r1);
    if (a.cols <= 0)
        a.r1 = a.r0;
    return a;
}

/* The first of the largest elements. */
static inline int64_t row_argmax(const real *x, int64_t n)
{
    const vec m = row_max(x, n);
    const real most = m[0];
    for (int64_t j = 0; j < n; j++)
        if (x[j] == most)
            return j;
    return 0;
}

/* Whether element k is the first of the largest: nothing before it as large, nothing after it larger. */
static inline real row_is_largest(const real *x, int64_t n, int64_t k)
{
    const vec at = vset1(x[k]);
    vec above = {};
    for (int64_t j = 0; j < n; j += VL) {
        const int64_t left = n - j < VL ? n - j : VL;
        const vec u = vload_n(x + j, left);
        const ivec before = vlanes(k > j ? k - j : 0);
        above += vmask(vlanes(left) & ((u > at) | ((u == at) & before)), vset1(1));
    }
    return x[k] == x[k] && vsum_all(above)[0] == 0;
}

/* Whether fewer than k elements are larger than x[t]; ties count in its favour, as in TensorFlow's in_top_k. */
static inline real row_in_top(const real *x, int64_t n, int64_t t, int64_t k)
{
    const vec at = vset1(x[t]);
    vec above = {};
    for (int64_t j = 0; j < n; j += VL) {
        const int64_t left = n - j < VL ? n - j : VL;
        above += vmask(vlanes(left) & (vload_n(x + j, left) > at), vset1(1));
    }
    return x[t] - x[t] == 0 && vsum_all(above)[0] < (real)k;
}

/* sparse_accuracy: argmax(y) == t, t int32 class ids.  p: out, y, t.  i: rows, columns.  Split: rows. */
static void sparse_accuracy(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const metric_rows a = metric_start(op, lo, hi);
    const int32_t *t = op->p[2];
    for (int64_t r = a.r0; r < a.r1; r++)
        a.out[r] = t[r] >= 0 && t[r] < a.cols ? row_is_largest(a.y + r * a.cols, a.cols, t[r]) : 0;
}

/* categorical_accuracy: argmax(y) == argmax(t), t like y.  p: out, y, t.  i: rows, columns.  Split: rows. */
static void categorical_accuracy(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const metric_rows a = metric_start(op, lo, hi);
    const real *t = op->p[2];
    for (int64_t r = a.r0; r < a.r1; r++)
        a.out[r] = row_is_largest(a.y + r * a.cols, a.cols, row_argmax(t + r * a.cols, a.cols));
}

/* binary_accuracy: mean((y > f[0]) == t), t like y.  p: out, y, t.  i: rows, columns.  Split: rows. */
static void binary_accuracy(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const metric_rows a = metric_start(op, lo, hi);
    const real *t = op->p[2];
    const vec threshold = vset1((real)op->f[0]);
    for (int64_t r = a.r0; r < a.r1; r++) {
        vec right = {};
        for (int64_t j = 0; j < a.cols; j += VL) {
            const int64_t n = a.cols - j < VL ? a.cols - j : VL;
            const vec label = vmask(vload_n(a.y + r * a.cols + j, n) > threshold, vset1(1));
            right += vmask(vlanes(n) & (label == vload_n(t + r * a.cols + j, n)), vset1(1));
        }
        a.out[r] = vsum_all(right)[0] / (real)a.cols;
    }
}

/* top_k: whether y[t] is among the i[2] largest, t int32 class ids.  p: out, y, t.  i: rows, columns, k.
 * Split: rows. */
static void top_k(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const metric_rows a = metric_start(op, lo, hi);
    const int32_t *t = op->p[2];
    for (int64_t r = a.r0; r < a.r1; r++)
        a.out[r] = t[r] >= 0 && t[r] < a.cols ? row_in_top(a.y + r * a.cols, a.cols, t[r], op->i[2]) : 0;
}

/* categorical_top_k: top_k for t like y, the class being argmax(t).  p: out, y, t.  i: rows, columns, k. */
static void categorical_top_k(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const metric_rows a = metric_start(op, lo, hi);
    const real *t = op->p[2];
    for (int64_t r = a.r0; r < a.r1; r++)
        a.out[r] = row_in_top(a.y + r * a.cols, a.cols, row_argmax(t + r * a.cols, a.cols), op->i[2]);
}

#undef LOSS_EACH_VECTOR
#undef LOSS_KERNEL
#undef LOSS_COLUMNS

#define FN_LOSSES_KERNELS(X) \
    X(sparse_softmax_crossentropy, FN_SPLIT_ROWS, fn_row_tasks, NULL, sparse_softmax_crossentropy) \
    X(softmax_crossentropy, FN_SPLIT_ROWS, fn_row_tasks, NULL, softmax_crossentropy) \
    X(categorical_crossentropy, FN_SPLIT_ROWS, fn_row_tasks, NULL, categorical_crossentropy) \
    X(sparse_categorical_crossentropy, FN_SPLIT_ROWS, fn_row_tasks, NULL, sparse_categorical_crossentropy) \
    X(binary_crossentropy, FN_SPLIT_ROWS, fn_row_tasks, NULL, binary_crossentropy) \
    X(sigmoid_crossentropy, FN_SPLIT_ROWS, fn_row_tasks, NULL, sigmoid_crossentropy) \
    X(mean_squared_error, FN_SPLIT_ROWS, fn_row_tasks, NULL, mean_squared_error) \
    X(mean_absolute_error, FN_SPLIT_ROWS, fn_row_tasks, NULL, mean_absolute_error) \
    X(huber, FN_SPLIT_ROWS, fn_row_tasks, NULL, huber) \
    X(log_cosh, FN_SPLIT_ROWS, fn_row_tasks, NULL, log_cosh) \
    X(mean_absolute_percentage_error, FN_SPLIT_ROWS, fn_row_tasks, NULL, mean_absolute_percentage_error) \
    X(mean_squared_logarithmic_error, FN_SPLIT_ROWS, fn_row_tasks, NULL, mean_squared_logarithmic_error) \
    X(poisson, FN_SPLIT_ROWS, fn_row_tasks, NULL, poisson) \
    X(kl_divergence, FN_SPLIT_ROWS, fn_row_tasks, NULL, kl_divergence) \
    X(hinge, FN_SPLIT_ROWS, fn_row_tasks, NULL, hinge) \
    X(squared_hinge, FN_SPLIT_ROWS, fn_row_tasks, NULL, squared_hinge) \
    X(categorical_hinge, FN_SPLIT_ROWS, fn_row_tasks, NULL, categorical_hinge) \
    X(cosine_similarity, FN_SPLIT_ROWS, fn_row_tasks, NULL, cosine_similarity) \
    X(sparse_accuracy, FN_SPLIT_ROWS, fn_row_tasks, NULL, sparse_accuracy) \
    X(categorical_accuracy, FN_SPLIT_ROWS, fn_row_tasks, NULL, categorical_accuracy) \
    X(binary_accuracy, FN_SPLIT_ROWS, fn_row_tasks, NULL, binary_accuracy) \
    X(top_k, FN_SPLIT_ROWS, fn_row_tasks, NULL, top_k) \
    X(categorical_top_k, FN_SPLIT_ROWS, fn_row_tasks, NULL, categorical_top_k)
