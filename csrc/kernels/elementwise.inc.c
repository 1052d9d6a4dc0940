/* elementwise.inc.c - functions of each element: activations, arithmetic, and their gradients.
 *
 * All rows are independent: FN_SPLIT_ROWS. A function is one line of a table below: its value, and for the
 * activations its gradient, as expressions of vec. The kernels around them are made by the macros.
 */

/* Every n elements from x (and more operands) to y, whole vectors first, then the tail: `value` may use j. */
#define FN_EACH(y, n, load_whole, load_tail, value)           \
    do {                                                      \
        int64_t j = 0;                                        \
        for (; j + VL <= (n); j += VL) {                      \
            load_whole                                        \
            vstore((y) + j, (value));                         \
        }                                                     \
        if (j < (n)) {                                        \
            const int64_t rest = (n) - j;                     \
            load_tail                                         \
            vstore_n((y) + j, (value), rest);                 \
        }                                                     \
    } while (0)

/* The elements of leading rows [*r0, *r1): offset and count. */
FN_INLINE int64_t flat_range(const fn_op *op, int64_t lo, int64_t hi, int64_t cols, int64_t *n)
{
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    *n = (r1 - r0) * cols;
    return r0 * cols;
}

/* ---- functions of one element ----
 *
 * name: y = value(x).                p: y, x.      i: rows, columns.              y may be x.
 * name_grad: dx (+)= dy value'(x).   p: dx, dy, s. i: rows, columns, accumulate.  dx may be dy or s.
 * f: parameters a, b of the table.
 *
 * The third entry says what s is: `output` (y) where the derivative follows from y exactly and
 * well-conditioned, else `input` (x); the fourth is the gradient in terms of dy and s. At kinks: relu 0,
 * leaky_relu the slope, elu alpha, selu scale alpha, celu 1, abs 0, and 0 at both ends of hard_tanh,
 * hard_sigmoid and relu6, but 1 at the ends of clip (as PyTorch). From outputs: leaky_relu, elu and celu need
 * a >= 0.
 */
#define FN_SELU_ALPHA ((real)1.6732632423543772848170429916717)
#define FN_SELU_SCALE ((real)1.0507009873554804934193349852946)
#define FN_GELU_LINEAR ((real)1.59576912160573071176) /* 2 sqrt(2 / pi) */
#define FN_GELU_CUBIC ((real)(1.59576912160573071176 * 0.044715))

FN_INLINE vec clamp(vec x, real low, real high) { return vmin(vset1(high), vmax(vset1(low), x)); }
FN_INLINE vec hard_sigmoid_value(vec x) { return clamp(x + vset1(3), 0, 6) * vset1((real)(1.0 / 6)); }

/* x g, which is 0 where g is (also for an infinite x). */
FN_INLINE vec gated(vec x, vec g) { return vmask(g != vset1(0), x * g); }

FN_INLINE vec elu_value(vec x, vec a) { return vselect(x > vset1(0), x, a * vexpm1(x)); }

/* A slope that rises from 0 to 1 (and a little beyond either): 1/2 + G(|x|) with the sign of x, G by sixteen
 * polynomials of degree 5 in u = |x| scale - k, k the nearest whole number, the last one the constant 1/2;
 * c[d] holds the coefficients of u^d. Absolute error 2e-7. 131,072 elements take 0.39 ns each against 0.82
 * (gelu_grad) and 0.37 against 0.56 (gelu_tanh_grad) on Zen 4: bench_elementwise.py. */
#ifdef FN_LOOKUP
FN_INLINE vec slope_by_pieces(vec x, real scale, const real c[6][16])
{
    const vec t = vmin(vset1(15), vabs(x) * vset1(scale)), whole = vset1(0x1p23f);
    const vec k = t + whole, u = t - (k - whole); /* k's low bits are the number */
    vec g = vlookup(c[5], (ivec)k);
#pragma GCC unroll 5
    for (int d = 4; d >= 0; d--)
        g = g * u + vlookup(c[d], (ivec)k);
    return vset1((real)0.5) + vcopysign(g, x);
}
#endif

/* x times the probability of less than x. */
FN_INLINE vec gelu_value(vec x)
{
    vec density;
    return gated(x, vnormal_cdf(x, &density));
}
FN_INLINE vec gelu_slope(vec x)
{
#ifdef FN_LOOKUP
    static const real c[6][16] = {
        {0, 0.312021881f, 0.530470014f, 0.621951938f, 0.618880689f, 0.577807426f, 0.538910151f, 0.51552856f,
         0.505044699f, 0.501348376f, 0.50029844f, 0.500054896f, 0.500008404f, 0.500001073f, 0.500000119f,
         0.5f},
        {0.330159068f, 0.277123034f, 0.154144704f, 0.0350635797f, -0.0310307331f, -0.0442814305f,
         -0.0315281413f, -0.0158974342f, -0.0061707804f, -0.00190745934f, -0.000477769237f,
         -9.79624674e-05f, -1.6551061e-05f, -2.3145401e-06f, -2.68766513e-07f, 0},
        {0, -0.0496665016f, -0.0665282533f, -0.048248373f, -0.018112259f, 0.00233076373f, 0.00841687527f,
         0.00654590689f, 0.00328315794f, 0.00122211326f, 0.000354889635f, 8.2363782e-05f, 1.54895333e-05f,
         2.38120219e-06f, 3.01014524e-07f, 0},
        {-0.0188423973f, -0.0122408159f, 0.00108693913f, 0.00961867999f, 0.00918561965f, 0.00423406763f,
         0.000249292614f, -0.00111199089f, -0.000931400806f, -0.000455309375f, -0.000159875737f,
         -4.30406071e-05f, -9.15588225e-06f, -1.56524607e-06f, -2.17332939e-07f, 0},
        {0, 0.00294328853f, 0.00309565431f, 0.000964241801f, -0.000924027641f, -0.00126259541f,
         -0.000657005876f, -8.87914357e-05f, 0.000115026727f, 0.000101713864f, 4.77976428e-05f,
         1.57207669e-05f, 3.91301637e-06f, 7.63327364e-07f, 1.18974974e-07f, 0},
        {0.00071632053f, 0.000356821722f, -0.000273270212f, -0.000483982672f, -0.000227386787f,
         6.54941396e-05f, 0.000141409546f, 7.65930236e-05f, 1.14337181e-05f, -1.07026071e-05f,
         -9.11729239e-06f, -3.95171946e-06f, -1.18210073e-06f, -2.6536901e-07f, -4.64046082e-08f, 0},
    };
    return slope_by_pieces(x, 2.4166667f, c);
#else
    vec density;
    const vec cdf = vnormal_cdf(x, &density);
    return cdf + gated(x, density);
#endif
}

/* x (1 + tanh(z)) / 2 = x sigmoid(2 z), z = sqrt(2 / pi) (x + 0.044715 x^3): without the cancellation below
 * 0. */
FN_INLINE vec gelu_tanh_gate(vec x)
{
    return vsigmoid(x * (vset1(FN_GELU_LINEAR) + vset1(FN_GELU_CUBIC) * x * x));
}
FN_INLINE vec gelu_tanh_slope(vec x)
{
#ifdef FN_LOOKUP
    static const real c[6][16] = {
        {0, 0.283766806f, 0.496691763f, 0.606539309f, 0.628008187f, 0.600719631f, 0.561449647f,
         0.530364335f, 0.512256503f, 0.504015505f, 0.501053154f, 0.500217259f, 0.500034571f, 0.500004172f,
         0.500000358f, 0.5f},
        {0.297143191f, 0.257852495f, 0.162489235f, 0.0600969419f, -0.0100400606f, -0.0381818563f,
         -0.0370436311f, -0.024470821f, -0.0123754255f, -0.00491675688f, -0.00153258303f, -0.000370383437f,
         -6.82828468e-05f, -9.42994302e-06f, -9.57023303e-07f, 0},
        {0, -0.0372296013f, -0.0536874682f, -0.0452509783f, -0.0241623074f, -0.00520809973f, 0.00476414058f,
         0.00680740643f, 0.00497273821f, 0.00256423233f, 0.000988926739f, 0.000287507253f, 6.25272223e-05f,
         1.00338366e-05f, 1.16858462e-06f, 0},
        {-0.0138044199f, -0.00975246076f, -0.000995759969f, 0.00584569713f, 0.0073283664f, 0.00493453909f,
         0.00180438999f, -0.000195862245f, -0.000838286534f, -0.000693262846f, -0.00036048147f,
         -0.000132111876f, -3.49139627e-05f, -6.64730123e-06f, -9.02882903e-07f, 0},
        {0, 0.00184246292f, 0.00218087365f, 0.00106459891f, -0.000233273138f, -0.000797256012f,
         -0.000676431344f, -0.0003167041f, -3.56351666e-05f, 7.7519464e-05f, 7.49398023e-05f,
         3.87914442e-05f, 1.32695759e-05f, 3.13566011e-06f, 5.16072589e-07f, 0},
        {0.000433638314f, 0.000248455035f, -0.000110070163f, -0.000288478623f, -0.000199158516f,
         -3.07561277e-05f, 6.28442212e-05f, 7.06403516e-05f, 3.92553302e-05f, 8.09273479e-06f,
         -6.22893504e-06f, -6.82516293e-06f, -3.34174206e-06f, -1.01397677e-06f, -2.03480724e-07f, 0},
    };
    return slope_by_pieces(x, 2.6851852f, c);
#else
    x = clamp(x, -30, 30); /* the gate is 0 or 1 long before; x^2 must not overflow */
    const vec g = gelu_tanh_gate(x);
    const vec slope = vset1(FN_GELU_LINEAR) + vset1(3 * FN_GELU_CUBIC) * x * x;
    return g + x * g * (vset1(1) - g) * slope;
#endif
}

FN_INLINE vec swish_value(vec x, vec beta) { return gated(x, vsigmoid(beta * x)); }
FN_INLINE vec swish_slope(vec x, vec beta)
{
    const vec g = vsigmoid(beta * x);
    return g + gated(beta * x, g * (vset1(1) - g));
}

/* tanh(softplus(x)) = n / (n + 2), n = e (e + 2), e = exp(x); 1 from x = 20 (40) on. */
FN_INLINE vec mish_value(vec x)
{
    const vec e = vexp(vmin(vset1((real)FN_32_64(20, 40)), x)), n = e * (e + vset1(2));
    return gated(x, n / (n + vset1(2)));
}
FN_INLINE vec mish_slope(vec x)
{
    const vec bounded = vmin(vset1((real)FN_32_64(20, 40)), x);
    const vec e = vexp(bounded), n = e * (e + vset1(2)), d = vset1(1) / (n + vset1(2));
    return n * d + gated(bounded, vset1(4) * e * (e + vset1(1)) * d * d);
}

/* sqrt(x^2 + b), also where the square would overflow or vanish. */
FN_INLINE vec squareplus_root(vec x, vec b)
{
    const vec size = vabs(x), bounded = vmin(vset1((real)FN_32_64(0x1p60, 0x1p500)), size);
    return vmax(vsqrt(bounded * bounded + b), size);
}
/* (x + root) / 2: below 0, where that would cancel, b / 2 / (root - x). */
FN_INLINE vec squareplus_value(vec x, vec b)
{
    const vec root = squareplus_root(x, b), half = vset1((real)0.5);
    return vselect(x < vset1(0), half * b / (root - x), half * x + half * root);
}
FN_INLINE vec squareplus_slope(vec x, vec b)
{
    const vec most = vset1((real)FN_32_64(0x1p60, 0x1p500)), in = vmax(-most, vmin(most, x));
    const vec root = vmax(vset1((real)FN_32_64(0x1p-126, 0x1p-1022)), squareplus_root(in, b)); /* b may be 0 */
    return vset1((real)0.5) + vset1((real)0.5) * in / root;
}

FN_INLINE vec soft_shrink_value(vec x, vec a)
{
    return vselect(vabs(x) <= a, vset1(0), x - vcopysign(a, x));
}
FN_INLINE vec sign_value(vec x)
{
    return vselect((x < vset1(0)) | (x > vset1(0)), vcopysign(vset1(1), x), x);
}
FN_INLINE vec hard_swish_slope(vec x)
{
    const vec inner = x * vset1((real)(1.0 / 3)) + vset1((real)0.5);
    return vselect(x >= vset1(3), vset1(1), vmask(~(x <= vset1(-3)), inner));
}
FN_INLINE vec power_slope(vec x, vec a) { return vmask(a != vset1(0), a * vpow(x, a - vset1(1))); }

#define FN_ACTIVATIONS(A, X) \
    A(X, relu, vmax(zero, x), output, vmask(s > zero, dy)) \
    A(X, leaky_relu, vselect(x > zero, x, a * x), output, vselect(s > zero, dy, a * dy)) \
    A(X, elu, elu_value(x, a), output, vselect(s > zero, dy, dy * (s + a))) \
    A(X, celu, vselect(x > zero, x, a * vexpm1(x / a)), output, vselect(s > zero, dy, dy * (one + s / a))) \
    A(X, selu, vset1(FN_SELU_SCALE) * elu_value(x, vset1(FN_SELU_ALPHA)), output, \
      dy * vselect(s > zero, vset1(FN_SELU_SCALE), s + vset1(FN_SELU_SCALE * FN_SELU_ALPHA))) \
    A(X, gelu, gelu_value(x), input, dy * gelu_slope(s)) \
    A(X, gelu_tanh, gated(x, gelu_tanh_gate(x)), input, dy * gelu_tanh_slope(s)) \
    A(X, gelu_sigmoid, swish_value(x, vset1((real)1.702)), input, dy * swish_slope(s, vset1((real)1.702))) \
    A(X, sigmoid, vsigmoid(x), output, dy * s * (one - s)) \
    A(X, tanh, vtanh(x), output, dy * ((one - s) * (one + s))) \
    A(X, swish, swish_value(x, a), input, dy * swish_slope(s, a)) \
    A(X, softplus, vsoftplus(x), output, -dy * vexpm1(-s)) \
    A(X, softsign, x / (one + vabs(x)), input, dy / ((one + vabs(s)) * (one + vabs(s)))) \
    A(X, hard_sigmoid, hard_sigmoid_value(x), input, vmask(vabs(s) < vset1(3), dy * vset1((real)(1.0 / 6)))) \
    A(X, hard_swish, gated(x, hard_sigmoid_value(x)), input, dy * hard_swish_slope(s)) \
    A(X, hard_tanh, clamp(x, -1, 1), input, vmask(vabs(s) < one, dy)) \
    A(X, hard_shrink, vmask(~(vabs(x) <= a), x), input, vmask(~(vabs(s) <= a), dy)) \
    A(X, soft_shrink, soft_shrink_value(x, a), input, vmask(~(vabs(s) <= a), dy)) \
    A(X, tanh_shrink, x - vtanh(x), input, dy * vtanh(s) * vtanh(s)) \
    A(X, threshold, vselect(x > a, x, b), input, vmask(s > a, dy)) \
    A(X, relu6, clamp(x, 0, 6), output, vmask((s > zero) & (s < vset1(6)), dy)) \
    A(X, mish, mish_value(x), input, dy * mish_slope(s)) \
    A(X, log_sigmoid, -vsoftplus(-x), input, dy * vsigmoid(-s)) \
    A(X, squareplus, squareplus_value(x, a), input, dy * squareplus_slope(s, a)) \
    A(X, exp, vexp(x), output, dy * s) \
    A(X, expm1, vexpm1(x), input, dy * vexp(s)) \
    A(X, log, vlog(x), input, dy / s) \
    A(X, log1p, vlog1p(x), input, dy / (one + s)) \
    A(X, sqrt, vsqrt(x), output, dy * vset1((real)0.5) / s) \
    A(X, rsqrt, vrsqrt(x), input, dy * vset1((real)-0.5) / (s * vsqrt(s))) \
    A(X, square, x * x, input, dy * (s + s)) \
    A(X, abs, vabs(x), input, dy * sign_value(s)) \
    A(X, negative, -x, input, -dy) \
    A(X, reciprocal, one / x, input, -dy / (s * s)) \
    A(X, sin, vsin(x), input, dy * vcos(s)) \
    A(X, cos, vcos(x), input, -dy * vsin(s)) \
    A(X, erf, verf(x), input, dy * vset1((real)1.12837916709551257390) * vgauss(clamp(s, -28, 28), 1)) \
    A(X, affine, a * x + b, input, a * dy) \
    A(X, power_scalar, vpow(x, a), input, dy * power_slope(s, a)) \
    A(X, clip, vmin(b, vmax(a, x)), input, vmask((s >= a) & (s <= b), dy)) \
    A(X, copy, x, input, dy)

/* The same without a gradient (it is 0 wherever it exists). */
#define FN_PIECEWISE_CONSTANTS(A, X) \
    A(X, sign, sign_value(x)) \
    A(X, floor, vfloor(x)) \
    A(X, ceil, vceil(x)) \
    A(X, round, vround(x)) \
    A(X, isnan, vmask(x != x, one)) \
    A(X, is_finite, vmask(vabs(x) < vset1(FN_INFINITY), one))

#define FN_VALUE_KERNEL(X, name, value)                                                                      \
    static void name##_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)  \
    {                                                                                                        \
        (void)step; (void)scratch;                                                                           \
        int64_t n;                                                                                           \
        const int64_t at = flat_range(op, lo, hi, op->i[1], &n);                                             \
        real *y = (real *)op->p[0] + at;                                                                     \
        const real *in = (const real *)op->p[1] + at;                                                        \
        const vec zero = {}, one = vset1(1), a = vset1((real)op->f[0]), b = vset1((real)op->f[1]);           \
        (void)zero; (void)one; (void)a; (void)b;                                                             \
        FN_EACH(y, n, const vec x = vload(in + j);, const vec x = vload_n(in + j, rest);, value);            \
    }

#define FN_SLOPE_KERNEL(X, name, value, from, gradient)                                                      \
    FN_VALUE_KERNEL(X, name, value)                                                                          \
    static void name##_backward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch) \
    {                                                                                                        \
        (void)step; (void)scratch;                                                                           \
        int64_t n;                                                                                           \
        const int64_t at = flat_range(op, lo, hi, op->i[1], &n);                                             \
        real *dx = (real *)op->p[0] + at;                                                                    \
        const real *dys = (const real *)op->p[1] + at, *from = (const real *)op->p[2] + at;                  \
        const vec zero = {}, one = vset1(1), a = vset1((real)op->f[0]), b = vset1((real)op->f[1]);           \
        (void)zero; (void)one; (void)a; (void)b;                                                             \
        if (op->i[2])                                                                                        \
            FN_EACH(dx, n, FN_LOAD_DY_S(vload(dys + j), vload(from + j), vload(dx + j)),                     \
                    FN_LOAD_DY_S(vload_n(dys + j, rest), vload_n(from + j, rest), vload_n(dx + j, rest)),    \
                    old + (gradient));                                                                       \
        else                                                                                                 \
            FN_EACH(dx, n, FN_LOAD_DY_S(vload(dys + j), vload(from + j), zero),                              \
                    FN_LOAD_DY_S(vload_n(dys + j, rest), vload_n(from + j, rest), zero), (gradient));        \
    }
#define FN_LOAD_DY_S(a_dy, a_s, an_old) \
    const vec dy = a_dy, s = a_s, old = an_old; (void)dy; (void)s; (void)old;

#define FN_VALUE_ENTRY(X, name, value) X(name, FN_SPLIT_ROWS, fn_row_tasks, NULL, name##_forward)
#define FN_SLOPE_ENTRY(X, name, value, from, gradient) \
    FN_VALUE_ENTRY(X, name, value) X(name##_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, name##_backward)

FN_ACTIVATIONS(FN_SLOPE_KERNEL, )
FN_PIECEWISE_CONSTANTS(FN_VALUE_KERNEL, )

/* ---- functions of two elements ----
 *
 * name: y (+)= value(a, b).  p: y, a, b.  i: rows, columns, mode of a, mode of b, accumulate.
 * A mode says what shape the operand has and how it is broadcast to (rows, columns): see enum. y may be an
 * operand of mode FULL.
 */
enum { MODE_FULL, MODE_ROW, MODE_COLUMN, MODE_SCALAR };

/* An operand in one row: elements from p, advancing by `advance` for each element of y. A broadcast one is a
 * vector of equal elements that never advances, so that one inner loop does for all modes. */
typedef struct {
    const real *p;
    int64_t advance;
    vec equal;
} row_operand;

FN_INLINE void set_operand(row_operand *o, const real *p, int64_t mode, int64_t row, int64_t cols)
{
    o->advance = mode <= MODE_ROW;
    if (mode == MODE_FULL)
        o->p = p + row * cols;
    else if (mode == MODE_ROW)
        o->p = p;
    else {
        o->equal = vset1(p[mode == MODE_COLUMN ? row : 0]);
        o->p = (const real *)&o->equal;
    }
}

/* What a leading row advances an operand by. */
FN_INLINE int64_t mode_step(int64_t mode, int64_t cols)
{
    return mode == MODE_FULL ? cols : mode == MODE_COLUMN;
}

/* a modulo b with the sign of b, and the quotient rounded down: NumPy's mod and floor_divide. Exact as long
 * as the quotient is a whole number of the type. */
FN_INLINE vec vfloor_divide(vec a, vec b, vec *remainder)
{
    const vec zero = {}, inf = vset1(FN_INFINITY);
    vec q = vfloor(a / b);
    const vec p = q * b;
    vec r = (a - p) - vproduct_error(q, b, p);
    const ivec below = (r != zero) & ((r < zero) != (b < zero)), beyond = ~below & (vabs(r) >= vabs(b));
    q += vmask(beyond, vset1(1)) - vmask(below, vset1(1));
    r += vmask(below, b) - vmask(beyond, b);
    const ivec endless = (vabs(b) == inf) & (vabs(a) < inf), apart = (a != zero) & ((a < zero) != (b < zero));
    q = vselect(endless, vmask(apart, vset1(-1)), vselect(vabs(a / b) < inf, q, a / b));
    *remainder = vselect(endless, vselect(apart, b, a), vselect(r == zero, vcopysign(r, b), r));
    return q;
}
FN_INLINE vec floor_divide_value(vec a, vec b)
{
    vec remainder;
    return vfloor_divide(a, b, &remainder);
}
FN_INLINE vec mod_value(vec a, vec b)
{
    vec remainder;
    vfloor_divide(a, b, &remainder);
    return remainder;
}

/* Of maximum and minimum NaN wins (as in NumPy); comparisons and logic give 1 or 0. */
#define FN_BINARIES(A, X) \
    A(X, add, a + b) \
    A(X, subtract, a - b) \
    A(X, multiply, a * b) \
    A(X, divide, a / b) \
    A(X, maximum, vselect(a == a, vmax(a, b), a)) \
    A(X, minimum, vselect(a == a, vmin(a, b), a)) \
    A(X, power, vpow(a, b)) \
    A(X, squared_difference, (a - b) * (a - b)) \
    A(X, floor_divide, floor_divide_value(a, b)) \
    A(X, mod, mod_value(a, b)) \
    A(X, equal, vmask(a == b, one)) \
    A(X, not_equal, vmask(a != b, one)) \
    A(X, greater, vmask(a > b, one)) \
    A(X, greater_equal, vmask(a >= b, one)) \
    A(X, less, vmask(a < b, one)) \
    A(X, less_equal, vmask(a <= b, one)) \
    A(X, logical_and, vmask((a != zero) & (b != zero), one)) \
    A(X, logical_or, vmask((a != zero) | (b != zero), one))

#define FN_BINARY_KERNEL(X, name, value)                                                                     \
    static void name##_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)  \
    {                                                                                                        \
        (void)step; (void)scratch;                                                                           \
        const int64_t mode_a = op->i[2], mode_b = op->i[3], accumulate = op->i[4];                           \
        const vec zero = {}, one = vset1(1);                                                                 \
        (void)zero; (void)one;                                                                               \
        int64_t r0, r1, cols = op->i[1];                                                                     \
        fn_row_range(op, lo, hi, &r0, &r1);                                                                  \
        real *y = (real *)op->p[0] + r0 * cols;                                                              \
        const real *pa = (const real *)op->p[1] + r0 * mode_step(mode_a, cols);                              \
        const real *pb = (const real *)op->p[2] + r0 * mode_step(mode_b, cols);                              \
        int64_t rows = r1 - r0;                                                                              \
        if (mode_a % 3 == 0 && mode_b % 3 == 0) { /* full or scalar: all is one row */                       \
            cols *= rows;                                                                                    \
            rows = cols > 0;                                                                                 \
        }                                                                                                    \
        for (int64_t r = 0; r < rows; r++, y += cols) {                                                      \
            row_operand oa, ob;                                                                              \
            set_operand(&oa, pa, mode_a, r, cols);                                                           \
            set_operand(&ob, pb, mode_b, r, cols);                                                           \
            const real *qa = oa.p, *qb = ob.p; /* out of the structs: a store might have changed those */    \
            const int64_t da = oa.advance, db = ob.advance;                                                  \
            if (accumulate)                                                                                  \
                FN_EACH(y, cols, FN_LOAD_A_B(vload(qa + j * da), vload(qb + j * db)),    \
                        FN_LOAD_A_B(vload_n(qa + j * da, rest), vload_n(qb + j * db, rest)), \
                        (rest_or_all(y + j, cols - j) + (value)));                                           \
            else                                                                                             \
                FN_EACH(y, cols, FN_LOAD_A_B(vload(qa + j * da), vload(qb + j * db)),    \
                        FN_LOAD_A_B(vload_n(qa + j * da, rest), vload_n(qb + j * db, rest)), \
                        (value));                                                                            \
        }                                                                                                    \
    }
#define FN_LOAD_A_B(an_a, a_b) const vec a = an_a, b = a_b; (void)a; (void)b;
FN_INLINE vec rest_or_all(const real *p, int64_t n) { return n >= VL ? vload(p) : vload_n(p, n); }

#define FN_BINARY_ENTRY(X, name, value) X(name, FN_SPLIT_ROWS, fn_row_tasks, NULL, name##_forward)

FN_BINARIES(FN_BINARY_KERNEL, )

/* where: y = a where c is not 0, else b.  p: y, c, a, b.  i: rows, columns, modes of c, a, b. */
static void where_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    const int64_t cols = op->i[1];
    fn_row_range(op, lo, hi, &r0, &r1);
    for (int64_t r = r0; r < r1; r++) {
        real *y = (real *)op->p[0] + r * cols;
        row_operand o[3];
        for (int k = 0; k < 3; k++)
            set_operand(&o[k], op->p[1 + k], op->i[2 + k], r, cols);
        const real *pc = o[0].p, *pa = o[1].p, *pb = o[2].p;
        const int64_t dc = o[0].advance, da = o[1].advance, db = o[2].advance;
#define FN_LOAD_C_A_B(load, ...) \
        const vec c = load(pc + j * dc __VA_ARGS__), a = load(pa + j * da __VA_ARGS__), \
                  b = load(pb + j * db __VA_ARGS__);
        FN_EACH(y, cols, FN_LOAD_C_A_B(vload), FN_LOAD_C_A_B(vload_n, , rest), vselect(c != vset1(0), a, b));
    }
}

/* multiply_add: y = a b + c.  p: y, a, b, c.  i: rows, columns.  All of one shape; y may be any of them. */
static void multiply_add_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t n;
    const int64_t at = flat_range(op, lo, hi, op->i[1], &n);
    real *y = (real *)op->p[0] + at;
    const real *a = (const real *)op->p[1] + at, *b = (const real *)op->p[2] + at;
    const real *c = (const real *)op->p[3] + at;
    FN_EACH(y, n, , , rest_or_all(a + j, n - j) * rest_or_all(b + j, n - j) + rest_or_all(c + j, n - j));
}

/* add_relu: y = max(a + b, 0).  p: y, a, b.  i: rows, columns.  y may be a or b. Its gradient by either
 * operand is relu_grad from the output. */
static void add_relu_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t n;
    const int64_t at = flat_range(op, lo, hi, op->i[1], &n);
    real *y = (real *)op->p[0] + at;
    const real *a = (const real *)op->p[1] + at, *b = (const real *)op->p[2] + at;
    FN_EACH(y, n, , , vmax(vset1(0), rest_or_all(a + j, n - j) + rest_or_all(b + j, n - j)));
}

/* ---- between real and int32 ---- */

/* equal_int: y = 1 where a = b, else 0.  p: y real, a int32, b int32.  i: rows, columns. */
static void equal_int_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t n;
    const int64_t at = flat_range(op, lo, hi, op->i[1], &n);
    real *restrict y = (real *)op->p[0] + at;
    const int32_t *a = (const int32_t *)op->p[1] + at, *b = (const int32_t *)op->p[2] + at;
    for (int64_t j = 0; j < n; j++)
        y[j] = a[j] == b[j];
}

/* cast_int: y = x without its fraction; what int32 cannot hold is undefined.  p: y int32, x real.  i: rows,
 * columns. */
static void cast_int_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t n;
    const int64_t at = flat_range(op, lo, hi, op->i[1], &n);
    int32_t *restrict y = (int32_t *)op->p[0] + at;
    const real *x = (const real *)op->p[1] + at;
    for (int64_t j = 0; j < n; j++)
        y[j] = (int32_t)x[j];
}

/* cast_real: y = x.  p: y real, x int32.  i: rows, columns. */
static void cast_real_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t n;
    const int64_t at = flat_range(op, lo, hi, op->i[1], &n);
    real *restrict y = (real *)op->p[0] + at;
    const int32_t *x = (const int32_t *)op->p[1] + at;
    for (int64_t j = 0; j < n; j++)
        y[j] = (real)x[j];
}

/* one_hot: y[r][c] = 1 where c is indices[r], else 0.  p: y, indices int32.  i: rows, classes. */
static void one_hot_forward(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    const int64_t classes = op->i[1];
    fn_row_range(op, lo, hi, &r0, &r1);
    real *y = (real *)op->p[0];
    const int32_t *indices = op->p[1];
    memset(y + r0 * classes, 0, (size_t)((r1 - r0) * classes) * sizeof(real));
    for (int64_t r = r0; r < r1; r++)
        if (indices[r] >= 0 && indices[r] < classes)
            y[r * classes + indices[r]] = 1;
}

#define FN_ELEMENTWISE_KERNELS(X)                                            \
    FN_ACTIVATIONS(FN_SLOPE_ENTRY, X)                                        \
    FN_PIECEWISE_CONSTANTS(FN_VALUE_ENTRY, X)                                \
    FN_BINARIES(FN_BINARY_ENTRY, X)                                          \
    X(where, FN_SPLIT_ROWS, fn_row_tasks, NULL, where_forward)               \
    X(multiply_add, FN_SPLIT_ROWS, fn_row_tasks, NULL, multiply_add_forward) \
    X(add_relu, FN_SPLIT_ROWS, fn_row_tasks, NULL, add_relu_forward)         \
    X(equal_int, FN_SPLIT_ROWS, fn_row_tasks, NULL, equal_int_forward)       \
    X(cast_int, FN_SPLIT_ROWS, fn_row_tasks, NULL, cast_int_forward)         \
    X(cast_real, FN_SPLIT_ROWS, fn_row_tasks, NULL, cast_real_forward)       \
    X(one_hot, FN_SPLIT_ROWS, fn_row_tasks, NULL, one_hot_forward)
