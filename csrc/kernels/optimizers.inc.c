/* optimizers.inc.c - parameter updates over ranges of the flat store, one fused pass each.
 *
 * Operands of every update:
 *   p: 0 parameters, 1 gradient (read only), 2.. slots (see each kernel), all distinct;
 *      8 one double that multiplies the gradient (the factor of a clip by norm), or NULL
 *      9, 10 where the new parameters are copied for products with them and with them transposed (see pack_weights), or
 *        NULL; not after the last step of a run, for the next begins with copies of its own
 *   i: 0 elements, 1 flags (FN_UPDATE_*), 2 column of step->hyper that says 0 when this step makes no update
 *      (gradient accumulation), or 0: every step makes one
 *      6 columns, 7 parts, 8 tiled, of the copies
 *   f: 0 learning-rate factor of the range, 1 weight decay, 2 constant that multiplies the gradient,
 *      3 clip value (0: none), 4.. constants of the method
 *   step->hyper: 0 learning rate, 1.. what changes per step; computed in float64 by fastnn.optimizers
 *
 * The gradient that a rule sees is g <- clip(g * f[2] * p[8], -f[3], f[3]). Weight decay is decoupled,
 * p <- p - lr wd p before the update, or with FN_UPDATE_L2 added to the gradient, g <- g + wd p.
 * Split: BLOCKS of FN_UPDATE_BLOCK elements, or of whole rows where there are copies; each element stands alone, so
 * any split gives the same bits.
 * Elements with p = g = slots = 0 (the gaps of the store) stay 0: denominators are kept above 0.
 */

#include <math.h>

enum { FN_UPDATE_BLOCK = 4096 };
enum {
    FN_UPDATE_L2 = 1,       /* weight decay is added to the gradient */
    FN_UPDATE_TORCH = 2,    /* PyTorch's form of the method, see each kernel */
    FN_UPDATE_AMSGRAD = 4,
    FN_UPDATE_CENTERED = 8,
    FN_UPDATE_MOMENTUM = 16,
    FN_UPDATE_GENERAL = 32  /* set here: the gradient or the decay needs work before the rule */
};

static inline int update_copies(const fn_op *op) { return op->p[9] || op->p[10]; }

static inline int64_t update_block(const fn_op *op)
{
    return update_copies(op) ? op->i[6] * weights_rows_at_once(op->i[6]) : FN_UPDATE_BLOCK;
}

static int64_t update_tasks(const fn_op *op, const fn_step *step)
{
    (void)step;
    return (op->i[0] + update_block(op) - 1) / update_block(op);
}

static inline void update_range(const fn_op *op, int64_t lo, int64_t hi, int64_t *begin, int64_t *end)
{
    const int64_t block = update_block(op);
    *begin = lo * block;
    *end = hi * block < op->i[0] ? hi * block : op->i[0];
}

static inline int update_is_off(const double *hyper, int64_t column) { return column > 0 && hyper[column] == 0; }

/* Everything that a rule reads, as vectors. */
typedef struct {
    int64_t begin, end;
    real *p, *s0, *s1, *s2;
    const real *g;
    double lr;                   /* learning rate of this range in this step */
    vec factor, clip, l2, decay; /* used with FN_UPDATE_GENERAL only */
    vec c0, c1, c2, c3, c4, c5;  /* constants of the rule */
    int flags;
} update;

static inline int update_start(update *u, const fn_op *op, const fn_step *step, int64_t lo, int64_t hi)
{
    if (update_is_off(step->hyper, op->i[2]))
        return 0;
    update_range(op, lo, hi, &u->begin, &u->end);
    u->p = op->p[0];
    u->g = op->p[1];
    u->s0 = op->p[2];
    u->s1 = op->p[3];
    u->s2 = op->p[4];
    u->lr = step->hyper[0] * op->f[0];
    u->flags = (int)op->i[1];
    const double factor = op->f[2] * (op->p[8] ? *(const double *)op->p[8] : 1);
    const int l2 = (u->flags & FN_UPDATE_L2) != 0;
    u->factor = vset1((real)factor);
    u->clip = vset1(op->f[3] > 0 ? (real)op->f[3] : (real)INFINITY);
    u->l2 = vset1((real)(l2 ? op->f[1] : 0));
    u->decay = vset1((real)(l2 ? 0 : op->f[1] * u->lr));
    if (factor != 1 || op->f[1] != 0 || op->f[3] > 0)
        u->flags |= FN_UPDATE_GENERAL;
    return u->begin < u->end;
}

/* eps as a vector that no rounding makes 0: 0 / (0 + eps) must be 0. */
static inline vec update_epsilon(double eps)
{
    const double least = sizeof(real) == 4 ? 1.17549435e-38 : 2.2250738585072014e-308;
    return vset1((real)(eps > least ? eps : least));
}

/* a / b for b > 0. In float32 on AVX-512 by the 14-bit estimate of 1 / b and a Newton step, within 2 ulp: beside a
 * square root the divider is what these rules wait for in cache: 30,000 parameters in L2 take 8.7 us against 9.0
 * (adam), 6.9 against 8.3 (rmsprop), 6.3 against 8.3 (adagrad) on Zen 4. Estimating the root too was slower there.
 * An infinite b gives 0 (the step would make NaN of it), NaN stays. */
#if defined(__AVX512F__) && defined(FN_REAL_32)
FN_INLINE vec update_over(vec a, vec b)
{
    vec r = (vec)_mm512_rcp14_ps((__m512)b);
    r += r * (vset1(1) - b * r);
    return a * vmask(b != FN_INFINITY, r);
}
#else
FN_INLINE vec update_over(vec a, vec b) { return a / b; }
#endif

/* The range, a vector at a time: `rule` takes the gradient and changes parameter and slots. NaN passes
 * through the clip because vmin and vmax give their second operand then. */
typedef void update_rule(const update *u, vec g, vec *p, vec *s0, vec *s1, vec *s2, const int flags);
FN_INLINE void update_one(const update *u, update_rule *rule, vec g, vec *p, vec *s0, vec *s1, vec *s2,
                          const int flags)
{
    if (flags & FN_UPDATE_GENERAL) {
        g = vmin(u->clip, vmax(-u->clip, g * u->factor));
        g += *p * u->l2;
        *p -= *p * u->decay;
    }
    rule(u, g, p, s0, s1, s2, flags);
}
FN_INLINE void update_sweep(const update *u, update_rule *rule, const int slots, const int flags)
{
    int64_t j = u->begin;
    for (; j + VL <= u->end; j += VL) {
        vec p = vload(u->p + j), s0 = {}, s1 = {}, s2 = {};
        if (slots > 0) s0 = vload(u->s0 + j);
        if (slots > 1) s1 = vload(u->s1 + j);
        if (slots > 2) s2 = vload(u->s2 + j);
        update_one(u, rule, vload(u->g + j), &p, &s0, &s1, &s2, flags);
        vstore(u->p + j, p);
        if (slots > 0) vstore(u->s0 + j, s0);
        if (slots > 1) vstore(u->s1 + j, s1);
        if (slots > 2) vstore(u->s2 + j, s2);
    }
    const int64_t n = u->end - j;
    if (n > 0) {
        vec p = vload_n(u->p + j, n), s0 = {}, s1 = {}, s2 = {};
        if (slots > 0) s0 = vload_n(u->s0 + j, n);
        if (slots > 1) s1 = vload_n(u->s1 + j, n);
        if (slots > 2) s2 = vload_n(u->s2 + j, n);
        update_one(u, rule, vload_n(u->g + j, n), &p, &s0, &s1, &s2, flags);
        vstore_n(u->p + j, p, n);
        if (slots > 0) vstore_n(u->s0 + j, s0, n);
        if (slots > 1) vstore_n(u->s1 + j, s1, n);
        if (slots > 2) vstore_n(u->s2 + j, s2, n);
    }
}
FN_INLINE void update_run(const update *u, update_rule *rule, const int slots, const int flags)
{
    if (u->flags & FN_UPDATE_GENERAL)
        update_sweep(u, rule, slots, flags | FN_UPDATE_GENERAL);
    else
        update_sweep(u, rule, slots, flags);
}

#define FN_UNUSED __attribute__((unused))
#define UPDATE_RULE(name) \
    FN_INLINE void name(const update *u, vec g, vec *p, vec *s0, vec *s1, vec *s2, const int flags)
#define UPDATE_UNUSED (void)u, (void)s0, (void)s1, (void)s2, (void)flags

/* Copies the parameters [begin, end), whole rows, that were just made. */
static void update_copy(const fn_op *op, int64_t begin, int64_t end)
{
    const int64_t columns = op->i[6];
    const weights w = {op->p[0], op->i[0] / columns, columns, (int)op->i[7], op->i[8] != 0};
    for (int transposed = 0; transposed < 2; transposed++)
        if (op->p[9 + transposed])
            weights_pack(&w, op->p[9 + transposed], transposed, begin / columns, end / columns);
}

/* The kernel `name`: what follows sets the constants of its rule and runs it. Where parameters are copied, block by
 * block, while they are near. */
#define UPDATE(name)                                                                              \
    FN_INLINE void name##_update(update *u, const fn_op *op, const fn_step *step);                \
    static void name(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch) \
    {                                                                                             \
        (void)scratch;                                                                            \
        update u;                                                                                 \
        const int copies = update_copies(op) && step->after > 0;                                  \
        for (int64_t at = lo; at < hi; at = copies ? at + 1 : hi)                                 \
            if (update_start(&u, op, step, at, copies ? at + 1 : hi)) {                           \
                name##_update(&u, op, step);                                                      \
                if (copies)                                                                       \
                    update_copy(op, u.begin, u.end);                                              \
            }                                                                                     \
    }                                                                                             \
    FN_INLINE void name##_update(update *u, FN_UNUSED const fn_op *op, FN_UNUSED const fn_step *step)

/* sgd: p <- p - lr g.  No slots. */
UPDATE_RULE(sgd_rule)
{
    UPDATE_UNUSED;
    *p -= u->c0 * g;
}
UPDATE(sgd)
{
    u->c0 = vset1((real)u->lr);
    update_run(u, sgd_rule, 0, 0);
}

/* momentum: v <- mu v - lr g; p <- p + v  (Sutskever et al. 2013; Keras).
 * FN_UPDATE_TORCH: v <- mu v + gain g; p <- p - lr v; both the same while lr is constant.
 * Slot: v.  hyper: 1 mu, 2 gain (1 - dampening; 1 in the first step). */
UPDATE_RULE(momentum_rule)
{
    UPDATE_UNUSED;
    *s0 = u->c0 * *s0 + u->c1 * g;
    *p += u->c2 * *s0;
}
UPDATE(momentum)
{
    const int torch = u->flags & FN_UPDATE_TORCH;
    u->c0 = vset1((real)step->hyper[1]);
    u->c1 = vset1((real)(torch ? step->hyper[2] : -u->lr));
    u->c2 = vset1((real)(torch ? -u->lr : 1));
    update_run(u, momentum_rule, 1, 0);
}

/* nesterov: v <- mu v - lr g; p <- p + mu' v - lr g  (Keras: mu' = mu).
 * With mu' = the next step's momentum p is the look-ahead point of Nesterov's method, exactly, for any
 * schedule of mu; the plain iterate is then p - mu' v.
 * FN_UPDATE_TORCH: v <- mu v + gain g; p <- p - lr (g + mu' v).
 * Slot: v.  hyper: 1 mu, 2 gain, 3 mu'. */
UPDATE_RULE(nesterov_rule)
{
    UPDATE_UNUSED;
    *s0 = u->c0 * *s0 + u->c1 * g;
    *p += u->c2 * *s0 + u->c3 * g;
}
UPDATE(nesterov)
{
    const int torch = u->flags & FN_UPDATE_TORCH;
    u->c0 = vset1((real)step->hyper[1]);
    u->c1 = vset1((real)(torch ? step->hyper[2] : -u->lr));
    u->c2 = vset1((real)(torch ? -u->lr * step->hyper[3] : step->hyper[3]));
    u->c3 = vset1((real)-u->lr);
    update_run(u, nesterov_rule, 1, 0);
}

/* The two moments of adam and its kin: m <- m + c0 (g - m), v <- v + c1 (g^2 - v); c0 = 1 - f[4], c1 = 1 - f[5]. */
FN_INLINE void update_moments(const update *u, vec g, vec *m, vec *v)
{
    *m += u->c0 * (g - *m);
    *v += u->c1 * (g * g - *v);
}
FN_INLINE void update_rates(update *u, const fn_op *op)
{
    u->c0 = vset1((real)(1 - op->f[4]));
    u->c1 = vset1((real)(1 - op->f[5]));
}

/* adam: m <- m + (1-b1)(g - m); v <- v + (1-b2)(g^2 - v); p <- p - lr c m / (sqrt(v) + eps)
 * (Kingma & Ba 2015, the "epsilon hat" form of their section 2, as Keras). c = sqrt(1-b2^t) / (1-b1^t).
 * PyTorch's form, lr / (1-b1^t) m / (sqrt(v / (1-b2^t)) + eps), is the same with eps sqrt(1-b2^t) for eps.
 * FN_UPDATE_AMSGRAD: w <- max(w, v) stands for v in the last formula (Reddi et al. 2018).
 * Slots: m, v (, w).  hyper: 1 c, 2 eps.  f: 4 b1, 5 b2. */
UPDATE_RULE(adam_rule)
{
    UPDATE_UNUSED;
    update_moments(u, g, s0, s1);
    vec v = *s1;
    if (flags & FN_UPDATE_AMSGRAD)
        v = *s2 = vmax(*s2, v);
    *p -= update_over(u->c2 * *s0, vsqrt(v) + u->c3);
}
UPDATE(adam)
{
    update_rates(u, op);
    u->c2 = vset1((real)(u->lr * step->hyper[1]));
    u->c3 = update_epsilon(step->hyper[2]);
    if (u->flags & FN_UPDATE_AMSGRAD)
        update_run(u, adam_rule, 3, FN_UPDATE_AMSGRAD);
    else
        update_run(u, adam_rule, 2, 0);
}

/* nadam: m, v as adam; p <- p - lr (cm m + cg g) / (sqrt(c v) + eps)  (Dozat 2016).
 * Slots: m, v.  hyper: 1 cm, 2 cg, 3 c = 1 / (1-b2^t).  f: 4 b1, 5 b2, 6 eps. */
UPDATE_RULE(nadam_rule)
{
    UPDATE_UNUSED;
    update_moments(u, g, s0, s1);
    *p -= update_over(u->c2 * *s0 + u->c3 * g, vsqrt(u->c4 * *s1) + u->c5);
}
UPDATE(nadam)
{
    update_rates(u, op);
    u->c2 = vset1((real)(u->lr * step->hyper[1]));
    u->c3 = vset1((real)(u->lr * step->hyper[2]));
    u->c4 = vset1((real)step->hyper[3]);
    u->c5 = update_epsilon(op->f[6]);
    update_run(u, nadam_rule, 2, 0);
}

/* adamax: m <- m + (1-b1)(g - m); w <- max(b2 w, |g|); p <- p - lr c m / (w + eps)  (Kingma & Ba 2015, section 7.1).
 * FN_UPDATE_TORCH: w <- max(b2 w, |g| + eps); p <- p - lr c m / w.
 * Slots: m, w.  hyper: 1 c = 1 / (1-b1^t).  f: 4 b1, 5 b2, 6 eps. */
UPDATE_RULE(adamax_rule)
{
    UPDATE_UNUSED;
    *s0 += u->c0 * (g - *s0);
    vec a = vmax(g, -g);
    if (flags & FN_UPDATE_TORCH) {
        *s1 = vmax(u->c1 * *s1, a + u->c3);
        *p -= u->c2 * *s0 / *s1;
        return;
    }
    *s1 = vmax(u->c1 * *s1, a);
    *p -= u->c2 * *s0 / (*s1 + u->c3);
}
UPDATE(adamax)
{
    u->c0 = vset1((real)(1 - op->f[4]));
    u->c1 = vset1((real)op->f[5]);
    u->c2 = vset1((real)(u->lr * step->hyper[1]));
    u->c3 = update_epsilon(op->f[6]);
    if (u->flags & FN_UPDATE_TORCH)
        update_run(u, adamax_rule, 2, FN_UPDATE_TORCH);
    else
        update_run(u, adamax_rule, 2, 0);
}

/* rmsprop: v <- rho v + (1-rho) g^2; p <- p - lr g / sqrt(v + eps)  (Tieleman & Hinton 2012; eps as Keras).
 * FN_UPDATE_CENTERED: m <- rho m + (1-rho) g, and v - m^2 stands for v in the root.
 * FN_UPDATE_MOMENTUM: b <- mu b + lr g / sqrt(...); p <- p - b.
 * FN_UPDATE_TORCH: g / (sqrt(v) + eps); and with momentum b <- mu b + g / (...); p <- p - lr b.
 * Slots: v (, b if momentum) (, m if centered).  f: 4 rho, 5 eps, 6 mu. */
UPDATE_RULE(rmsprop_rule)
{
    UPDATE_UNUSED;
    vec *m = flags & FN_UPDATE_MOMENTUM ? s2 : s1;
    *s0 = u->c0 * *s0 + (u->c1 * g) * g;
    vec v = *s0;
    if (flags & FN_UPDATE_CENTERED) {
        *m = u->c0 * *m + u->c1 * g;
        v = vmax((vec){}, v - *m * *m); /* a variance that rounding took below 0 */
    }
    vec d = update_over(g, vsqrt(v + u->c2) + u->c3);
    if (flags & FN_UPDATE_MOMENTUM) {
        if (flags & FN_UPDATE_TORCH) {
            *s1 = u->c5 * *s1 + d;
            *p -= u->c4 * *s1;
        } else {
            *s1 = u->c5 * *s1 + u->c4 * d;
            *p -= *s1;
        }
    } else {
        *p -= u->c4 * d;
    }
}
UPDATE(rmsprop)
{
    const int torch = u->flags & FN_UPDATE_TORCH;
    u->c0 = vset1((real)op->f[4]);
    u->c1 = vset1((real)(1 - op->f[4]));
    u->c2 = torch ? (vec){} : update_epsilon(op->f[5]);
    u->c3 = torch ? update_epsilon(op->f[5]) : (vec){};
    u->c4 = vset1((real)u->lr);
    u->c5 = vset1((real)op->f[6]);
    switch (u->flags & (FN_UPDATE_CENTERED | FN_UPDATE_MOMENTUM | FN_UPDATE_TORCH)) {
    case FN_UPDATE_CENTERED | FN_UPDATE_MOMENTUM | FN_UPDATE_TORCH:
        update_run(u, rmsprop_rule, 3, FN_UPDATE_CENTERED | FN_UPDATE_MOMENTUM | FN_UPDATE_TORCH);
        break;
    case FN_UPDATE_CENTERED | FN_UPDATE_MOMENTUM:
        update_run(u, rmsprop_rule, 3, FN_UPDATE_CENTERED | FN_UPDATE_MOMENTUM);
        break;
    case FN_UPDATE_MOMENTUM | FN_UPDATE_TORCH:
        update_run(u, rmsprop_rule, 2, FN_UPDATE_MOMENTUM | FN_UPDATE_TORCH);
        break;
    case FN_UPDATE_MOMENTUM:
        update_run(u, rmsprop_rule, 2, FN_UPDATE_MOMENTUM);
        break;
    case FN_UPDATE_CENTERED:
    case FN_UPDATE_CENTERED | FN_UPDATE_TORCH:
        update_run(u, rmsprop_rule, 2, FN_UPDATE_CENTERED);
        break;
    default:
        update_run(u, rmsprop_rule, 1, 0);
    }
}

/* adagrad: s <- s + g^2; p <- p - lr g / sqrt(s + eps)  (Duchi et al. 2011; eps as Keras).
 * FN_UPDATE_TORCH: lr g / (sqrt(s) + eps).
 * Slot: s.  f: 4 eps. */
UPDATE_RULE(adagrad_rule)
{
    UPDATE_UNUSED;
    *s0 += g * g;
    *p -= update_over(u->c2 * g, vsqrt(*s0 + u->c0) + u->c1);
}
UPDATE(adagrad)
{
    const int torch = u->flags & FN_UPDATE_TORCH;
    u->c0 = torch ? (vec){} : update_epsilon(op->f[4]);
    u->c1 = torch ? update_epsilon(op->f[4]) : (vec){};
    u->c2 = vset1((real)u->lr);
    update_run(u, adagrad_rule, 1, 0);
}

/* adadelta: s <- rho s + (1-rho) g^2; d = sqrt((a + eps) / (s + eps)) g; a <- rho a + (1-rho) d^2;
 * p <- p - lr d  (Zeiler 2012).
 * Slots: s, a.  f: 4 rho, 5 eps. */
UPDATE_RULE(adadelta_rule)
{
    UPDATE_UNUSED;
    *s0 = u->c0 * *s0 + (u->c1 * g) * g;
    vec d = vsqrt(update_over(*s1 + u->c2, *s0 + u->c2)) * g;
    *s1 = u->c0 * *s1 + (u->c1 * d) * d;
    *p -= u->c3 * d;
}
UPDATE(adadelta)
{
    u->c0 = vset1((real)op->f[4]);
    u->c1 = vset1((real)(1 - op->f[4]));
    u->c2 = update_epsilon(op->f[5]);
    u->c3 = vset1((real)u->lr);
    update_run(u, adadelta_rule, 2, 0);
}

/* lion: p <- p - lr sign(b1 m + (1-b1) g); m <- b2 m + (1-b2) g  (Chen et al. 2023); sign(0) = 0.
 * Slot: m.  f: 4 b1, 5 b2. */
UPDATE_RULE(lion_rule)
{
    UPDATE_UNUSED;
    vec c = u->c0 * *s0 + u->c1 * g;
    vec sign = vselect(c > 0, vset1(1), vselect(c < 0, vset1(-1), c)); /* 0 and NaN are their own sign */
    *p -= u->c4 * sign;
    *s0 = u->c2 * *s0 + u->c3 * g;
}
UPDATE(lion)
{
    u->c0 = vset1((real)op->f[4]);
    u->c1 = vset1((real)(1 - op->f[4]));
    u->c2 = vset1((real)op->f[5]);
    u->c3 = vset1((real)(1 - op->f[5]));
    u->c4 = vset1((real)u->lr);
    update_run(u, lion_rule, 1, 0);
}

/* ftrl: with q = -power, s' = s + g^2:  z <- z + g + 2 shrink p - (s'^q - s^q) / lr p;  s <- s';
 * p <- (clip(z, -l1, l1) - z) / (s^q / lr + 2 l2)  (McMahan et al. 2013, algorithm 1; Keras' terms).
 * Nothing happens at a rate of 0, where these formulas have no value.
 * Slots: s, z.  hyper: 1 l2.  f: 4 q, 5 l1, 6 shrink. */
UPDATE_RULE(ftrl_rule)
{
    (void)s2; (void)flags;
    const vec before = vpow(*s0, u->c1);
    *s1 += g + u->c4 * *p;
    *s0 += g * g;
    const vec after = vpow(*s0, u->c1);
    *s1 -= (after - before) * u->c0 * *p;
    *p = (vmin(u->c3, vmax(-u->c3, *s1)) - *s1) / vmax(u->c5, after * u->c0 + u->c2);
}
UPDATE(ftrl)
{
    if (u->lr == 0)
        return;
    u->c0 = vset1((real)(1 / u->lr));
    u->c1 = vset1((real)op->f[4]);
    u->c2 = vset1((real)(2 * step->hyper[1]));
    u->c3 = vset1((real)op->f[5]);
    u->c4 = vset1((real)(2 * op->f[6]));
    u->c5 = update_epsilon(0);
    update_sweep(u, ftrl_rule, 2, FN_UPDATE_GENERAL);
}

/* schedule_free: v <- v + (1-b2)(g^2 - v); x = (p - (1-b1) z) / b1; z <- z - lr g / (sqrt(c v) + eps);
 * x <- x + w (z - x); p <- z + b1 (x - z)  (Defazio et al. 2024; the average's weight w is 1 / t, as Keras').
 * z is p before the first step.  p is where gradients are taken, x what is to be used.
 * Slots: z, v.  hyper: 1 w, 2 c = 1 / (1-b2^t).  f: 4 b1, 5 b2, 6 eps. */
UPDATE_RULE(schedule_free_rule)
{
    (void)s2; (void)flags;
    const vec z = vselect(u->c1 == 1, *p, *s0), x = (*p - z + u->c0 * z) / u->c0;
    *s1 += u->c5 * (g * g - *s1);
    *s0 = z - u->c2 * g / (vsqrt(u->c3 * *s1) + u->c4);
    *p = *s0 + u->c0 * (x + u->c1 * (*s0 - x) - *s0);
}
UPDATE(schedule_free)
{
    u->c0 = vset1((real)op->f[4]);
    u->c1 = vset1((real)step->hyper[1]);
    u->c2 = vset1((real)u->lr);
    u->c3 = vset1((real)step->hyper[2]);
    u->c4 = update_epsilon(op->f[6]);
    u->c5 = vset1((real)(1 - op->f[5]));
    update_sweep(u, schedule_free_rule, 2, FN_UPDATE_GENERAL);
}

/* ---- updates whose length is set for a variable as a whole: a direction d, its norm, then sgd along it ----
 *
 * direction_ratio gives the factor of the direction; sgd with d as gradient and that factor is the update. */

/* lamb: m, v as adam; d = cm m / (sqrt(cv v) + eps)  (You et al. 2020). p takes its weight decay here.
 * Slots: m, v, and d.  hyper: 1 cm = 1 / (1-b1^t), 2 cv = 1 / (1-b2^t).  f: 4 b1, 5 b2, 6 eps. */
UPDATE_RULE(lamb_rule)
{
    (void)p; (void)flags;
    update_moments(u, g, s0, s1);
    *s2 = u->c2 * *s0 / (vsqrt(u->c3 * *s1) + u->c4);
}
UPDATE(lamb)
{
    update_rates(u, op);
    u->c2 = vset1((real)step->hyper[1]);
    u->c3 = vset1((real)step->hyper[2]);
    u->c4 = update_epsilon(op->f[6]);
    update_sweep(u, lamb_rule, 3, FN_UPDATE_GENERAL);
}

/* adafactor, of vectors: v <- b v + (1-b)(g^2 + eps); d = g / sqrt(v)  (Shazeer & Stern 2018). p takes its
 * weight decay here, and in adafactor_gradient, which is what matrices begin with: d = g.
 * Slots: v, d; d.  hyper: 1 b.  f: 4 eps. */
UPDATE_RULE(adafactor_rule)
{
    (void)p; (void)s2; (void)flags;
    *s0 += u->c0 * (g * g + u->c1 - *s0);
    *s1 = g / vsqrt(vmax(u->c2, *s0));
}
UPDATE_RULE(adafactor_gradient_rule)
{
    (void)u; (void)p; (void)s1; (void)s2; (void)flags;
    *s0 = g;
}
UPDATE(adafactor)
{
    u->c0 = vset1((real)(1 - step->hyper[1]));
    u->c1 = vset1((real)op->f[4]);
    u->c2 = update_epsilon(0);
    update_sweep(u, adafactor_rule, 2, FN_UPDATE_GENERAL);
}
UPDATE(adafactor_gradient)
{
    update_sweep(u, adafactor_gradient_rule, 1, FN_UPDATE_GENERAL);
}

/* muon: m <- mu m + g; d = g + mu m, or m  (Jordan et al. 2024). p takes its weight decay here.
 * Slots: m, d.  f: 4 mu, 5 factor of m in d, 6 factor of g. */
UPDATE_RULE(muon_rule)
{
    (void)p; (void)s2; (void)flags;
    *s0 = u->c0 * *s0 + g;
    *s1 = u->c1 * *s0 + u->c2 * g;
}
UPDATE(muon)
{
    u->c0 = vset1((real)op->f[4]);
    u->c1 = vset1((real)op->f[5]);
    u->c2 = vset1((real)op->f[6]);
    update_sweep(u, muon_rule, 2, FN_UPDATE_GENERAL);
}

/* muon_terms: S <- f2 A + f1 I, T <- f0 I, so that T + A S = f0 I + f1 A + f2 A^2.
 * p: 0 S, 1 T, 2 A, all [n, n].  i: 0 n, 1 n.  Split: a row. */
static void muon_terms(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const int64_t n = op->i[1];
    const vec c = vset1((real)op->f[2]);
    for (int64_t row = lo; row < hi; row++) {
        real *s = (real *)op->p[0] + row * n, *t = (real *)op->p[1] + row * n;
        const real *a = (const real *)op->p[2] + row * n;
        for (int64_t j = 0; j < n; j += VL) {
            const int64_t count = n - j < VL ? n - j : VL;
            vstore_n(s + j, c * vload_n(a + j, count), count);
            vstore_n(t + j, (vec){}, count);
        }
        s[row] += (real)op->f[1];
        t[row] = (real)op->f[0];
    }
}

/* adafactor_rows: r[i] <- b r[i] + (1-b)(mean of row i of g^2 + eps).
 * p: 0 r, 1 g.  i: 0 rows (of all matrices), 1 columns, 2 as the updates.  hyper: 1 b.  f: 0 eps.
 * Split: a row. */
static void adafactor_rows(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    if (update_is_off(step->hyper, op->i[2]))
        return;
    const int64_t cols = op->i[1];
    const real b = (real)step->hyper[1], eps = (real)op->f[0];
    real *r = op->p[0];
    for (int64_t row = lo; row < hi; row++) {
        const real *g = (const real *)op->p[1] + row * cols;
        vec sum = {};
        for (int64_t j = 0; j < cols; j += VL) {
            const vec x = vload_n(g + j, cols - j < VL ? cols - j : VL);
            sum += x * x;
        }
        r[row] = b * r[row] + (1 - b) * (vsum(sum) / (real)cols + eps);
    }
}

/* adafactor_columns: c[m][j] <- b c[m][j] + (1-b)(mean of column j of g^2 in matrix m + eps), and s[m][j] =
 * c[m][j] / (mean of the matrix' r), so that r[i] s[j] is the estimate of g[i][j]^2.
 * p: 0 c, 1 s, 2 r, 3 g.  i: 0 matrices, 1 rows, 2 columns, 3 as the updates' 2.  hyper: 1 b.  f: 0 eps.
 * Split: a matrix. */
static void adafactor_columns(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    if (update_is_off(step->hyper, op->i[3]))
        return;
    const int64_t rows = op->i[1], cols = op->i[2];
    const real b = (real)step->hyper[1], eps = (real)op->f[0];
    const vec keep = vset1(b), take = vset1(1 - b);
    for (int64_t m = lo; m < hi; m++) {
        const real *r = (const real *)op->p[2] + m * rows, *g = (const real *)op->p[3] + m * rows * cols;
        double total = 0;
        for (int64_t i = 0; i < rows; i++)
            total += r[i];
        const vec over = vset1((real)(total > 0 ? (double)rows / total : 0));
        for (int64_t j = 0; j < cols; j += VL) {
            const int64_t n = cols - j < VL ? cols - j : VL;
            vec sum = {};
            for (int64_t i = 0; i < rows; i++) {
                const vec x = vload_n(g + i * cols + j, n);
                sum += x * x;
            }
            real *c = (real *)op->p[0] + m * cols + j;
            const vec mean = keep * vload_n(c, n) + take * (sum / vset1((real)rows) + vset1(eps));
            vstore_n(c, mean, n);
            vstore_n((real *)op->p[1] + m * cols + j, mean * over, n);
        }
    }
}

/* adafactor_direction: d[i][j] <- d[i][j] / sqrt(r[i] s[j]).
 * p: 0 d, 1 r, 2 s.  i: 0 rows (of all matrices), 1 columns, 2 rows of a matrix, 3 as the updates' 2.
 * Split: a row. */
static void adafactor_direction(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    if (update_is_off(step->hyper, op->i[3]))
        return;
    const int64_t cols = op->i[1];
    const real *r = op->p[1];
    for (int64_t row = lo; row < hi; row++) {
        const real *s = (const real *)op->p[2] + row / op->i[2] * cols;
        real *d = (real *)op->p[0] + row * cols;
        for (int64_t j = 0; j < cols; j += VL) {
            const int64_t n = cols - j < VL ? cols - j : VL;
            const vec v = vset1(r[row]) * vload_n(s + j, n);
            vstore_n(d + j, vload_n(d + j, n) / vsqrt(vmax(update_epsilon(0), v)), n);
        }
    }
}

/* ---- passes beside the updates ---- */

/* ema: a <- mu a + (1-mu) p; and then p <- a in steps that say so.
 * p: 0 a, 1 p.  i: 0 elements, 1 column of mu, 2 column of the flag "overwrite p", or 0: never. */
static void ema(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t j, end;
    update_range(op, lo, hi, &j, &end);
    real *a = op->p[0], *p = op->p[1];
    const double mu = step->hyper[op->i[1]];
    const int overwrite = op->i[2] > 0 && step->hyper[op->i[2]] != 0;
    const vec keep = vset1((real)mu), take = vset1((real)(1 - mu));
    for (; j < end; j += VL) {
        const int64_t n = end - j < VL ? end - j : VL;
        vec x = keep * vload_n(a + j, n) + take * vload_n(p + j, n);
        vstore_n(a + j, x, n);
        if (overwrite)
            vstore_n(p + j, x, n);
    }
}

/* y <- rule(y, x, a) over a range of op's elements; x may be y. */
typedef vec pass_rule(vec y, vec x, vec a);
FN_INLINE vec pass_take(vec y, vec x, vec a) { return (void)y, (void)a, x; }
FN_INLINE vec pass_scale(vec y, vec x, vec a) { return (void)y, a * x; }
FN_INLINE vec pass_add(vec y, vec x, vec a) { return y + a * x; }
FN_INLINE vec pass_clip(vec y, vec x, vec a) { return (void)y, vmin(a, vmax(-a, x)); }
FN_INLINE void pass_sweep(const fn_op *op, int64_t lo, int64_t hi, pass_rule *rule, real *y, const real *x, double a)
{
    int64_t j, end;
    update_range(op, lo, hi, &j, &end);
    const vec v = vset1((real)a);
    for (; j + VL <= end; j += VL)
        vstore(y + j, rule(vload(y + j), vload(x + j), v));
    if (j < end)
        vstore_n(y + j, rule(vload_n(y + j, end - j), vload_n(x + j, end - j), v), end - j);
}

/* accumulate: a <- g in the first step of a group, a <- a + g in the others.
 * p: 0 a, 1 g.  i: 0 elements, 1 column of the flag "first". */
static void accumulate(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    if (step->hyper[op->i[1]] != 0)
        pass_sweep(op, lo, hi, pass_take, op->p[0], op->p[1], 1);
    else
        pass_sweep(op, lo, hi, pass_add, op->p[0], op->p[1], 1);
}

/* scale: x <- f0 x.  p: 0 x, 1 one double that multiplies f0, or NULL.  i: 0 elements. */
static void scale(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const double factor = op->p[1] ? *(const double *)op->p[1] : 1;
    pass_sweep(op, lo, hi, pass_scale, op->p[0], op->p[0], op->f[0] * factor);
}

/* add_scaled: y <- y + f0 x.  p: 0 y, 1 x.  i: 0 elements. */
static void add_scaled(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    pass_sweep(op, lo, hi, pass_add, op->p[0], op->p[1], op->f[0]);
}

/* gradient_clip_value: g <- min(max(g, -f0), f0); NaN stays.  p: 0 g.  i: 0 elements. */
static void gradient_clip_value(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    pass_sweep(op, lo, hi, pass_clip, op->p[0], op->p[0], op->f[0]);
}

/* gradient_norm: s[b] = sum of the squares of block b, in float64.
 * p: 0 s (one double a block of FN_UPDATE_BLOCK), 1 g.  i: 0 elements, 1 column that says 0 when the step makes
 * no update, or 0.  Sixteen sums side by side whatever the instruction set. */
static void gradient_norm(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    if (op->i[1] > 0 && update_is_off(step->hyper, op->i[1]))
        return;
    enum { LANES = 16 };
    double *s = op->p[0];
    for (int64_t b = lo; b < hi; b++) {
        int64_t j, end;
        update_range(op, b, b + 1, &j, &end);
        const real *g = op->p[1];
        double sum[LANES] = {0};
        for (; j + LANES <= end; j += LANES)
            for (int k = 0; k < LANES; k++)
                sum[k] += (double)g[j + k] * (double)g[j + k];
        for (int k = 0; j < end; j++, k++)
            sum[k] += (double)g[j] * (double)g[j];
        for (int h = LANES / 2; h > 0; h /= 2)
            for (int k = 0; k < h; k++)
                sum[k] += sum[k + h];
        s[b] = sum[0];
    }
}

/* clip_factor: norm = f1 sqrt(sum of s); factor = c / max(norm, c), c = f0; NaN when the norm is not finite.
 * FN_UPDATE_TORCH: min(1, c / (norm + 1e-6)).
 * p: 0 two doubles: factor, norm; 1 s.  i: 0 number of sums, 1 flags. */
static void clip_factor(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)lo; (void)hi; (void)scratch;
    const double *s = op->p[1], c = op->f[0];
    double *out = op->p[0], sum = 0;
    for (int64_t j = 0; j < op->i[0]; j++)
        sum += s[j];
    const double norm = op->f[1] * __builtin_sqrt(sum);
    if (op->i[1] & FN_UPDATE_TORCH)
        out[0] = c < norm + 1e-6 ? c / (norm + 1e-6) : 1;
    else
        out[0] = norm > c ? c / norm : 1;
    if (!(norm - norm == 0))
        out[0] = NAN;
    out[1] = norm;
}

/* direction_ratio: the factor of a variable's direction d, from the sums of squares of p and d by block.
 * lamb: |p| / |d|, 1 where either is 0.
 * adafactor, where f[1] > 0: c max(f[0], rms(p)) / max(1, rms(d) / f[1]).
 * muon, where f[1] < 0: 1 / (|d| + f[0]).
 * p: 0 the factor, 1 sums of p, 2 sums of d (doubles).  i: 0 sums of either.  hyper: 2 c.
 * f: 0 least rms of p, 1 limit of d, 2 elements. */
static void direction_ratio(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)lo; (void)hi; (void)scratch;
    const double *p = op->p[1], *d = op->p[2];
    double pp = 0, dd = 0;
    for (int64_t j = 0; j < op->i[0]; j++) {
        pp += p[j];
        dd += d[j];
    }
    double ratio = pp > 0 && dd > 0 ? __builtin_sqrt(pp / dd) : 1;
    if (op->f[1] > 0) {
        const double size = __builtin_sqrt(pp / op->f[2]), length = __builtin_sqrt(dd / op->f[2]) / op->f[1];
        ratio = step->hyper[2] * (size > op->f[0] ? size : op->f[0]) / (length > 1 ? length : 1);
    }
    if (op->f[1] < 0)
        ratio = 1 / (__builtin_sqrt(dd) + op->f[0]);
    *(double *)op->p[0] = ratio;
}

/* ---- updates of a table's rows at `indices` alone, for methods to which a gradient of zeros is no update ----
 *
 * p: as above, for the whole table, the gradient's rows at `indices` alone being read, and 7 indices int32.
 * i: 0 indices, 1 flags, 2 column, as above, 3 columns of the table, 4 its rows.   f: as above.
 * A row's gradient is made 0 after its update, so that an index that comes again changes nothing. One task. */
FN_INLINE void update_rows(void (*update)(const fn_op *, const fn_step *, int64_t, int64_t, void *), const fn_op *op,
                           const fn_step *step)
{
    const int64_t n = fn_rows(op, step), columns = op->i[3];
    const int32_t *indices = op->p[7];
    fn_op row = *op; /* without copies */
    row.i[0] = columns;
    row.p[9] = row.p[10] = NULL;
    for (int64_t r = 0; r < n; r++) {
        if (indices[r] < 0 || indices[r] >= op->i[4])
            continue;
        for (int k = 0; k < 5; k++)
            row.p[k] = op->p[k] == NULL ? NULL : (real *)op->p[k] + indices[r] * columns;
        update(&row, step, 0, update_tasks(&row, step), NULL);
        memset(row.p[1], 0, (size_t)columns * sizeof(real));
    }
}

static void sgd_rows(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)lo; (void)hi; (void)scratch;
    update_rows(sgd, op, step);
}

static void adagrad_rows(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)lo; (void)hi; (void)scratch;
    update_rows(adagrad, op, step);
}

#undef FN_UNUSED
#undef UPDATE
#undef UPDATE_RULE
#undef UPDATE_UNUSED

#define FN_OPTIMIZERS_KERNELS(X) \
    X(sgd, FN_SPLIT_BLOCKS, update_tasks, NULL, sgd) \
    X(sgd_rows, FN_SPLIT_SERIAL, fn_one_task, NULL, sgd_rows) \
    X(momentum, FN_SPLIT_BLOCKS, update_tasks, NULL, momentum) \
    X(nesterov, FN_SPLIT_BLOCKS, update_tasks, NULL, nesterov) \
    X(adam, FN_SPLIT_BLOCKS, update_tasks, NULL, adam) \
    X(nadam, FN_SPLIT_BLOCKS, update_tasks, NULL, nadam) \
    X(adamax, FN_SPLIT_BLOCKS, update_tasks, NULL, adamax) \
    X(rmsprop, FN_SPLIT_BLOCKS, update_tasks, NULL, rmsprop) \
    X(adagrad, FN_SPLIT_BLOCKS, update_tasks, NULL, adagrad) \
    X(adagrad_rows, FN_SPLIT_SERIAL, fn_one_task, NULL, adagrad_rows) \
    X(adadelta, FN_SPLIT_BLOCKS, update_tasks, NULL, adadelta) \
    X(lion, FN_SPLIT_BLOCKS, update_tasks, NULL, lion) \
    X(ftrl, FN_SPLIT_BLOCKS, update_tasks, NULL, ftrl) \
    X(schedule_free, FN_SPLIT_BLOCKS, update_tasks, NULL, schedule_free) \
    X(lamb, FN_SPLIT_BLOCKS, update_tasks, NULL, lamb) \
    X(adafactor, FN_SPLIT_BLOCKS, update_tasks, NULL, adafactor) \
    X(adafactor_gradient, FN_SPLIT_BLOCKS, update_tasks, NULL, adafactor_gradient) \
    X(adafactor_rows, FN_SPLIT_BLOCKS, fn_row_tasks, NULL, adafactor_rows) \
    X(adafactor_columns, FN_SPLIT_BLOCKS, fn_row_tasks, NULL, adafactor_columns) \
    X(adafactor_direction, FN_SPLIT_BLOCKS, fn_row_tasks, NULL, adafactor_direction) \
    X(muon, FN_SPLIT_BLOCKS, update_tasks, NULL, muon) \
    X(muon_terms, FN_SPLIT_BLOCKS, fn_row_tasks, NULL, muon_terms) \
    X(direction_ratio, FN_SPLIT_SERIAL, fn_one_task, NULL, direction_ratio) \
    X(ema, FN_SPLIT_BLOCKS, update_tasks, NULL, ema) \
    X(accumulate, FN_SPLIT_BLOCKS, update_tasks, NULL, accumulate) \
    X(scale, FN_SPLIT_BLOCKS, update_tasks, NULL, scale) \
    X(add_scaled, FN_SPLIT_BLOCKS, update_tasks, NULL, add_scaled) \
    X(gradient_clip_value, FN_SPLIT_BLOCKS, update_tasks, NULL, gradient_clip_value) \
    X(gradient_norm, FN_SPLIT_BLOCKS, update_tasks, NULL, gradient_norm) \
    X(clip_factor, FN_SPLIT_SERIAL, fn_one_task, NULL, clip_factor)
