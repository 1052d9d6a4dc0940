/* vmath.h - elementary functions of a vec, for float32 and float64.
 *
 * Each head says the largest error found by tests/test_vmath.py in units in the last place (ulp), as
 * float32 / float64, on any instruction set. NaN gives NaN, infinities their limits. Kernels run with
 * denormals as zero: a denormal argument counts as 0, a denormal result is 0.
 *
 * Polynomials: least squares in 50 digits, reweighted towards the smallest largest relative error (Lawson),
 * over the interval said, coefficients rounded to the element type one after another, lowest first, the
 * rest refitted each time. The arrays begin with the coefficient of the lowest power.
 */
#ifndef FN_VMATH_H
#define FN_VMATH_H

#include "simd.h"

#ifdef FN_REAL_32
#define FN_32_64(a, b) a
enum { FN_MANTISSA = 23, FN_EXPONENT_BIAS = 127 };
#else
#define FN_32_64(a, b) b
enum { FN_MANTISSA = 52, FN_EXPONENT_BIAS = 1023 };
#endif

/* Adding this rounds to an integer, which then stands in the low bits. */
#define FN_ROUNDER ((real)FN_32_64(0x1.8p23, 0x1.8p52))
#define FN_INFINITY ((real)__builtin_inf())

/* c[0] + c[1] x + ... + c[n - 1] x^(n - 1), by Horner's rule; n is a constant. */
FN_INLINE vec vpolynomial(vec x, const real *c, int n)
{
    vec y = vset1(c[n - 1]);
#pragma GCC unroll 32
    for (int j = n - 2; j >= 0; j--)
        y = y * x + vset1(c[j]);
    return y;
}

/* The reciprocal and its square root, each with one rounding per operation. */
FN_INLINE vec vrecip(vec x) { return vset1(1) / x; }
FN_INLINE vec vrsqrt(vec x) { return vset1(1) / vsqrt(x); }

/* (exp(r) - 1 - r) / r^2 on |r| <= log(2) / 2; relative error of exp(r) - 1: 4.6e-10 / 3.0e-19. */
FN_INLINE vec vexp_tail(vec r)
{
    static const real c[] = {
#ifdef FN_REAL_32
        0.5f, 0.166666657f, 0.0416664854f, 0.0083335666f, 0.00139331038f, 0.00019743896f,
#else
        0.5, 0.16666666666666677, 0.0416666666666666, 0.008333333333321324, 0.0013888888888927832,
        0.00019841269887093654, 2.480158722961593e-05, 2.7557243074560518e-06, 2.755735925692958e-07,
        2.5109481397229562e-08, 2.0887713332608336e-09,
#endif
    };
    return vpolynomial(r, c, sizeof c / sizeof *c);
}

/* x = n log(2) + r with |r| <= log(2) / 2; returns r. The high part of log(2) is short: n times it is exact. */
FN_INLINE vec vexp_reduce(vec x, vec *n)
{
    *n = (x * vset1((real)1.4426950408889634074) + vset1(FN_ROUNDER)) - vset1(FN_ROUNDER);
    const vec r = x - *n * vset1((real)FN_32_64(0.693359375, 6.93145751953125e-1));
    return r - *n * vset1((real)FN_32_64(-2.12194440054690583e-4, 1.42860682030941723212e-6));
}

/* 2^n for an integer n between the exponents of the smallest normal number and of the largest number. */
FN_INLINE vec vexp2_integer(vec n)
{
    const ivec bits = (ivec)(n + vset1(FN_ROUNDER + FN_EXPONENT_BIAS));
    return (vec)(bits << FN_MANTISSA);
}

#define FN_EXP_MAX ((real)FN_32_64(88.73, 709.8))                    /* exp of this is infinite */
#define FN_EXP_MIN ((real)FN_32_64(-87.33654, -708.3964185322641))   /* exp of less is denormal */

/* exp(x). Error 1.0 / 1.0 ulp. */
FN_INLINE vec vexp(vec x)
{
    vec n;
    const vec in = vmax(vset1(FN_EXP_MIN), vmin(vset1(FN_EXP_MAX), x)); /* the second operand: NaN stays */
    const vec r = vexp_reduce(in, &n);
    const vec p = (r * r * vexp_tail(r) + r) + vset1(1);
    /* 2^128 (2^1024) is no number: the last doubling apart */
    const vec most = vmin(n, vset1(FN_EXPONENT_BIAS));
    const vec y = p * vexp2_integer(most) * (n - most + vset1(1));
    return vmask(~(x < vset1(FN_EXP_MIN)), y);
}

/* exp(x) - 1 for x up to some 87 (708), without a signed zero. */
FN_INLINE vec vexpm1_core(vec x, vec *n)
{
    const vec r = vexp_reduce(x, n);
    const vec p = r * r * vexp_tail(r) + r;
    const vec scale = vexp2_integer(vmin(*n, vset1(FN_EXPONENT_BIAS)));
    return p * scale + (scale - vset1(1));
}

/* exp(x) - 1. Error 1.5 / 2.0 ulp. */
FN_INLINE vec vexpm1(vec x)
{
    vec n;
    const vec in = vmax(vset1((real)FN_32_64(-20, -40)), vmin(vset1(FN_EXP_MAX), x));
    const vec y = vexpm1_core(in, &n);
    return vcopysign(y * (n - vmin(n, vset1(FN_EXPONENT_BIAS)) + vset1(1)), x);
}

/* x = 2^k m with 2/3 <= m < 4/3: k, and its bits where the exponent of a number has them. x > 0. */
FN_INLINE vec vlog_exponent(vec x, ivec *shifted)
{
    const uelem one = (uelem)FN_EXPONENT_BIAS << FN_MANTISSA;
    const uelem two_thirds = (uelem)FN_32_64(0x3f2aaaabu, 0x3fe5555555555555ull);
    const uvec e = ((uvec)x + (one - two_thirds)) >> FN_MANTISSA;
    const vec rounder = vset1((real)FN_32_64(0x1p23, 0x1p52));
    *shifted = (ivec)(e << FN_MANTISSA) - (ivec)((uvec){} + one);
    return (vec)(e | (uvec)rounder) - (rounder + vset1(FN_EXPONENT_BIAS));
}

/* k log(2) + log(1 + f), -1/3 <= f <= 1/3. Relative error of the polynomials 9.0e-10 / 1.5e-17. */
FN_INLINE vec vlog_core(vec k, vec f)
{
    const vec high = vset1((real)FN_32_64(0.693359375, 6.93145751953125e-1));
    const vec low = vset1((real)FN_32_64(-2.12194440054690583e-4, 1.42860682030941723212e-6));
#ifdef FN_REAL_32
    /* log(1 + f) = f - f^2 / 2 + f^3 P(f) */
    static const real c[] = {0.333333343f, -0.249998197f, 0.199997053f, -0.166796014f, 0.143017486f,
                             -0.121954985f, 0.107820138f, -0.128461018f, 0.119072087f};
    const vec square = f * f;
    vec y = f * square * vpolynomial(f, c, sizeof c / sizeof *c);
    y += k * low;
    y -= vset1(0.5f) * square;
    return k * high + (f + y);
#else
    /* s = f / (2 + f): log(1 + f) = f - s (f - z P(z)), z = s^2; the parts in the order of fdlibm's log */
    static const real c[] = {0.6666666666667284, 0.39999999996099106, 0.2857142940589593, 0.22222137662821959,
                             0.1818638979377709, 0.15249520844142506, 0.15373354364113343};
    const vec s = f / (f + vset1(2)), z = s * s, half = vset1(0.5) * f * f;
    const vec r = z * vpolynomial(z, c, sizeof c / sizeof *c);
    return k * high - ((half - (s * (half + r) + k * low)) - f);
#endif
}

/* y = log(u) where u is positive and finite; else what the limit is. x: u, or what u was made from. */
FN_INLINE vec vlog_limits(vec u, vec x, vec y)
{
    const vec nan = vset1((real)__builtin_nan("")), inf = vset1(FN_INFINITY);
    const vec limit = vselect(u == vset1(0), -inf, vselect(u > vset1(0), x, nan));
    return vselect((u > vset1(0)) & (x < inf), y, limit);
}

/* log(x); -inf at 0, NaN below. Error 0.8 / 0.9 ulp. */
FN_INLINE vec vlog(vec x)
{
    ivec shift;
    const vec k = vlog_exponent(x, &shift);
    const vec y = vlog_core(k, (vec)((ivec)x - shift) - vset1(1));
    return vlog_limits(x, x, y);
}

/* log(1 + x); -inf at -1, NaN below. Error 1.5 / 1.5 ulp. The exponent is that of 1 + x, but f is scaled from x
 * itself, so that nothing of x is lost: f = x 2^-k + (2^-k - 1). */
FN_INLINE vec vlog1p(vec x)
{
    ivec shift;
    const vec u = x + vset1(1), k = vlog_exponent(u, &shift);
    const vec quarter = (vec)((ivec)vset1(4) - shift); /* 4 * 2^-k: never denormal */
    const vec f = (vec)((ivec)x - shift) + (vset1((real)0.25) * quarter - vset1(1));
    const vec y = vcopysign(vlog_core(k, f), x);
    return vlog_limits(u, x, y);
}

/* tanh(x) = t / (t + 2), t = exp(2 |x|) - 1. Error 2.3 / 2.6 ulp. */
FN_INLINE vec vtanh(vec x)
{
    vec n;
    const vec size = vmin(vset1((real)FN_32_64(10, 20)), vabs(x)); /* 1 from here on */
    const vec t = vexpm1_core(size + size, &n);
    return vcopysign(t / (t + vset1(2)), x);
}

/* 1 / (1 + exp(-x)). Error 2.3 / 2.3 ulp. */
FN_INLINE vec vsigmoid(vec x) { return vset1(1) / (vset1(1) + vexp(-x)); }

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)). Error 1.9 / 1.9 ulp. */
FN_INLINE vec vsoftplus(vec x)
{
    const vec e = vexp(-vabs(x)); /* NaN of x comes back through max */
    return vmax(vset1(0), x) + vlog1p(e);
}

#endif
