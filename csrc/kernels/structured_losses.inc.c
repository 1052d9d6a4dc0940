/* structured_losses.inc.c - losses of more than one row at a time: circle (pairs of samples), ctc (alignments).
 *
 * Logarithms of sums of exponentials are taken with the largest term apart; what cannot be is LOG_NONE, which stays
 * finite when such terms are added, so that no difference of infinities arises.
 */

#define LOG_NONE ((real)-1e30)
#define NOT_INLINE static __attribute__((noinline)) /* called from several places, and large */

/* log(e^x[0] + ... + e^x[n - 1]) */
NOT_INLINE real log_sum(const real *x, int64_t n)
{
    if (n == 0)
        return -FN_INFINITY;
    const vec m = row_max(x, n);
    return (m + vlog(row_exp(NULL, x, n, m)))[0];
}

/* ---- circle ----
 *
 * Of embeddings x[i] (anchors) and z[j] (references), each of length 1, with distances D = max(1 - x[i] . z[j], 0):
 *     P[i] = log sum over j of the same class  e^(-gamma max(m + D, 0) (m - D))
 *     N[i] = log sum over j of another class   e^( gamma max(1 + m - D, 0) (1 - m - D))
 *     loss[i] = log(1 + e^(P[i] + N[i]))       (Sun et al. 2020)
 *
 *   i  [0] rows  [1] columns  [2] the others' rows (0: samples of the step)  [3] 1: i == j is no pair
 *   f  [0] gamma [1] margin m
 *   split  FN_SPLIT_BLOCKS: a row
 */
typedef struct {
    const real *x, *z;
    const int32_t *ids, *other_ids;
    int64_t cols, others;
    int apart;
    real gamma, margin;
} circle_pairs;

static inline int64_t circle_others(const fn_op *op, const fn_step *step) { return op->i[2] ? op->i[2] : step->rows; }
static size_t circle_scratch(const fn_op *op, const fn_step *step)
{
    return 2 * sizeof(real) * (size_t)circle_others(op, step);
}
static inline circle_pairs circle_start(const fn_op *op, const fn_step *step, int first)
{
    return (circle_pairs){
        .x = op->p[first], .ids = op->p[first + 1], .z = op->p[first + 2], .other_ids = op->p[first + 3],
        .cols = op->i[1], .others = circle_others(op, step), .apart = (int)op->i[3],
        .gamma = (real)op->f[0], .margin = (real)op->f[1],
    };
}

/* The term of pair (i, j), its derivative by D unless D is cut off, and whether it is of P (1), of N (0) or none (-1). */
NOT_INLINE int circle_pair(const circle_pairs *a, int64_t i, int64_t j, real *term, real *slope)
{
    const real *x = a->x + i * a->cols, *z = a->z + j * a->cols, m = a->margin;
    if (a->apart && i == j && a->ids[i] == a->other_ids[j])
        return -1;
    vec dot = {};
    for (int64_t k = 0; k < a->cols; k += VL) {
        const int64_t n = a->cols - k < VL ? a->cols - k : VL;
        dot += vload_n(x + k, n) * vload_n(z + k, n);
    }
    const real c = 1 - vsum(dot), d = c < 0 ? 0 : c;
    const int same = a->ids[i] == a->other_ids[j];
    const real weight = same ? m + d : 1 + m - d;
    const int live = !(weight < 0);
    *term = same ? -a->gamma * (live ? weight : 0) * (m - d) : a->gamma * (live ? weight : 0) * (1 - m - d);
    *slope = !live || c < 0 ? 0 : same ? 2 * a->gamma * d : -2 * a->gamma * (1 - d);
    return same;
}

/* circle_loss.   p  0 loss[rows]  1 parts[rows, 3]: P, N, sigmoid(P + N)  2 x  3 ids of x  4 z  5 ids of z */
static void circle_loss(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    const circle_pairs a = circle_start(op, step, 2);
    real *loss = op->p[0], *positive = scratch, *negative = positive + a.others;
    for (int64_t i = lo; i < hi; i++) {
        int64_t same = 0, other = 0;
        for (int64_t j = 0; j < a.others; j++) {
            real term, slope;
            const int kind = circle_pair(&a, i, j, &term, &slope);
            if (kind == 1)
                positive[same++] = term;
            else if (kind == 0)
                negative[other++] = term;
        }
        real *parts = (real *)op->p[1] + 3 * i;
        parts[0] = log_sum(positive, same);
        parts[1] = log_sum(negative, other);
        const vec sum = vset1(same && other ? parts[0] + parts[1] : LOG_NONE);
        parts[2] = vsigmoid(sum)[0];
        loss[i] = same && other ? vsoftplus(sum)[0] : 0;
    }
}

/* circle_grad: the gradient of the sum over the anchors of dy loss, by the rows of x.
 *   p  0 dx  1 x  2 ids of x  3 z  4 ids of z  5 parts of the anchors  6 dy[anchors]
 *   i  [4] 1: x are the references and z the anchors */
static void circle_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    const circle_pairs a = circle_start(op, step, 1);
    const real *parts = op->p[5], *dy = op->p[6];
    real *power = scratch, *factor = power + a.others;
    for (int64_t i = lo; i < hi; i++) {
        for (int64_t j = 0; j < a.others; j++) {
            const int64_t anchor = op->i[4] ? j : i;
            real term, slope;
            const int kind = circle_pair(&a, i, j, &term, &slope);
            const int counts = kind >= 0 && parts[3 * anchor + 2] != 0;
            power[j] = counts ? term - parts[3 * anchor + (kind == 0)] : 0;
            factor[j] = counts ? slope * parts[3 * anchor + 2] * dy[anchor] : 0;
        }
        for (int64_t j = 0; j < a.others; j += VL) {
            const int64_t n = a.others - j < VL ? a.others - j : VL;
            vstore_n(factor + j, vload_n(factor + j, n) * vexp(vload_n(power + j, n)), n);
        }
        real *dx = (real *)op->p[0] + i * a.cols;
        for (int64_t k = 0; k < a.cols; k += VL) {
            const int64_t n = a.cols - k < VL ? a.cols - k : VL;
            vec sum = {};
            for (int64_t j = 0; j < a.others; j++)
                sum -= vset1(factor[j]) * vload_n(a.z + j * a.cols + k, n);
            vstore_n(dx + k, sum, n);
        }
    }
}

/* ---- ctc ----
 *
 * loss = -log of the probability that classes drawn step by step from softmax(y[t]) spell the labels, once runs of a
 * class are made one and blanks (class 0) taken out  (Graves et al. 2006). Labels end at their first 0. The states
 * of an alignment are blank, label, blank, label, ..., blank; from a state one goes on to itself, to the next, or
 * from a label to the next one if that differs. alpha[t][s]: log of what leads to state s at t, t included;
 * beta[s]: of what follows after t. The gradient of y[t] is softmax(y[t]) less the share of each class at t.
 * Labels that do not fit into the steps: loss infinite, gradient 0. A class that does not exist: NaN.
 *
 *   p, f  as in losses.inc.c: 0 loss[rows] or NULL  1 dy or NULL  2 y[rows, steps, classes]
 *         3 labels int32[rows, most]  4 w[rows] or NULL
 *   i  [0] rows  [1] steps * classes  [2] mean flag  [3] classes  [4] most labels a row
 *   split  FN_SPLIT_ROWS
 */
static inline int64_t ctc_width(const fn_op *op) { return 2 * op->i[4] + 1 + 4 + 2 * VL; }
static size_t ctc_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    const int64_t steps = op->i[3] > 0 ? op->i[1] / op->i[3] : 0;
    return sizeof(real) * (size_t)((steps + 4) * ctc_width(op) + steps);
}

NOT_INLINE vec ctc_log_sum(vec a, vec b, vec c)
{
    const vec m = vmax(a, vmax(b, c));
    return m + vlog(vexp(a - m) + vexp(b - m) + vexp(c - m));
}
static inline int64_t ctc_class(const int32_t *labels, int64_t s) { return s % 2 ? labels[s / 2] : 0; }

static void ctc(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    int64_t rows;
    const loss_rows a = loss_start(op, step, lo, hi, &rows);
    const int64_t classes = op->i[3], most = op->i[4], steps = a.cols / (classes > 0 ? classes : 1);
    const int64_t width = ctc_width(op);
    int64_t first, last;
    fn_row_range(op, lo, hi, &first, &last);
    /* Two places before the states and the rest behind them are LOG_NONE. */
    real *alpha = (real *)scratch + 2, *beta = alpha + steps * width, *emit = beta + width, *skip = emit + width;
    real *work = skip + width, *norm = work + width - 2;
    for (int64_t r = 0; r < rows; r++) {
        const real *y = a.y + r * a.cols;
        const int32_t *labels = (const int32_t *)op->p[3] + (first + r) * most;
        real *dy = a.dy ? a.dy + r * a.cols : NULL;
        int64_t count = 0;
        int known = 1;
        for (; count < most && labels[count] != 0; count++)
            known &= labels[count] > 0 && labels[count] < classes;
        if (!known) {
            if (a.loss)
                a.loss[r] = (real)__builtin_nan("");
            for (int64_t j = 0; dy && j < a.cols; j++)
                dy[j] = (real)__builtin_nan("");
            continue;
        }
        const int64_t states = 2 * count + 1;
        for (int64_t j = -2; j < (steps + 4) * width - 2; j++)
            alpha[j] = LOG_NONE;
        for (int64_t s = 3; s < states; s += 2)
            if (labels[s / 2] != labels[s / 2 - 1])
                skip[s] = 0;
        for (int64_t t = 0; t < steps; t++) {
            const real *yt = y + t * classes;
            real *now = alpha + t * width;
            norm[t] = log_sum(yt, classes);
            for (int64_t s = 0; s < states; s++)
                emit[s] = yt[ctc_class(labels, s)] - norm[t];
            if (t == 0) {
                now[0] = emit[0];
                if (states > 1)
                    now[1] = emit[1];
                continue;
            }
            const real *was = now - width;
            for (int64_t s = 0; s < states; s += VL)
                vstore(now + s, vload(emit + s) + ctc_log_sum(vload(was + s), vload(was + s - 1),
                                                              vload(was + s - 2) + vload(skip + s)));
        }
        const real *end = alpha + (steps - 1) * width;
        const real log_p = ctc_log_sum(vset1(end[states - 1]), vset1(end[states - 2]), vset1(LOG_NONE))[0];
        const int possible = !(log_p < LOG_NONE / 2);
        if (a.loss)
            a.loss[r] = possible ? -log_p : FN_INFINITY;
        if (!dy)
            continue;
        const real c = possible ? loss_factor(&a, r) : 0;
        beta[states - 1] = 0;
        if (states > 1)
            beta[states - 2] = 0;
        for (int64_t t = steps - 1; t >= 0; t--) {
            const real *yt = y + t * classes, *now = alpha + t * width;
            real *dt = dy + t * classes;
            for (int64_t k = 0; k < classes; k += VL) {
                const int64_t n = classes - k < VL ? classes - k : VL;
                vstore_n(dt + k, vset1(c) * vexp(vload_n(yt + k, n) - vset1(norm[t])), n);
            }
            for (int64_t s = 0; s < states; s += VL)
                vstore(work + s, vset1(c) * vexp(vload(now + s) + vload(beta + s) - vset1(log_p)));
            for (int64_t s = 0; s < states; s++)
                dt[ctc_class(labels, s)] -= work[s];
            for (int64_t s = 0; s < states; s++)
                work[s] = beta[s] + yt[ctc_class(labels, s)] - norm[t];
            for (int64_t s = states; s < states + VL + 2; s++)
                work[s] = LOG_NONE;
            for (int64_t s = 0; s < states; s += VL)
                vstore(beta + s, ctc_log_sum(vload(work + s), vload(work + s + 1),
                                             vload(work + s + 2) + vload(skip + s + 2)));
        }
    }
}

#undef LOG_NONE
#undef NOT_INLINE

#define FN_STRUCTURED_LOSSES_KERNELS(X) \
    X(circle_loss, FN_SPLIT_BLOCKS, fn_row_tasks, circle_scratch, circle_loss) \
    X(circle_grad, FN_SPLIT_BLOCKS, fn_row_tasks, circle_scratch, circle_grad) \
    X(ctc, FN_SPLIT_ROWS, fn_row_tasks, ctc_scratch, ctc)
