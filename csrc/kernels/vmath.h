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

/* x = n log(2) + r with |r| <= log(2) / 2; returns r. The high part of log(2) is short, n times it exact. */
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
#ifdef FN_HAS_SCALE
    const vec in = vmax(vset1(FN_EXP_MIN * 2), vmin(vset1(FN_EXP_MAX), x)); /* second operands: NaN stays */
#else
    const vec in = vmax(vset1(FN_EXP_MIN), vmin(vset1(FN_EXP_MAX), x));
#endif
    const vec r = vexp_reduce(in, &n);
    const vec p = (r * r * vexp_tail(r) + r) + vset1(1);
#ifdef FN_HAS_SCALE
    return vscale(p, n);
#else
    /* 2^128 (2^1024) is no number: the last doubling apart */
    const vec most = vmin(n, vset1(FN_EXPONENT_BIAS));
    const vec y = p * vexp2_integer(most) * (n - most + vset1(1));
    return vmask(~(x < vset1(FN_EXP_MIN)), y);
#endif
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

/* log(1 + x); -inf at -1, NaN below. Error 1.5 / 1.5 ulp. The exponent is that of 1 + x, but f is scaled from
 * x itself, so that nothing of x is lost: f = x 2^-k + (2^-k - 1). */
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

/* ---- erf and the normal distribution ---- */

/* The exact a b - p, p = a b rounded. Without fused multiply-add by Dekker's splitting. |a|, |b| < 2^100. */
FN_INLINE vec vproduct_error(vec a, vec b, vec p)
{
#ifdef FN_HAS_FMA
    return vfms(a, b, p);
#else
    const uvec high = (uvec){} + ((uelem)-1 << FN_32_64(12, 27));
    const vec ah = (vec)((uvec)a & high), bh = (vec)((uvec)b & high), al = a - ah, bl = b - bh;
    return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
#endif
}

/* exp(u^2) erfc(u) for 0 <= u <= 9.5 / 27. Relative error of the polynomial 2.3e-8 / 5.3e-17. With
 * w = (u - K) / (u + K) (Shepherd and Laframboise 1981), (u + K) erfcx(u) is nearly a short polynomial. */
FN_INLINE vec verfcx(vec u)
{
    static const real c[] = {
#ifdef FN_REAL_32
        1.02158272f, -0.68716085f, 0.279471517f, -0.0364369676f, -0.0215042364f, 0.0064391396f, 0.0030508351f,
        -0.000728493731f, -0.00054046564f, -5.24196184e-05f,
#else
        1.095995661000491, -0.9765487290808819, 0.7732087022652491, -0.5408538313132414, 0.33085158787749525,
        -0.17401093724003758, 0.07638151491878808, -0.02637005333399002, 0.006112055562460235,
        -0.00028095895823193097, -0.00045505214275780184, 0.00017681349131657838, -3.6370914071892184e-06,
        -1.886370747581987e-05, 4.6985326748837295e-06, 1.431351142312869e-06, -8.511251849166411e-07,
        -8.63846020880763e-08, 1.264885092604122e-07, 9.925062310228864e-09, -1.4599963608741484e-08,
        -3.0627061261632137e-09,
#endif
    };
    const vec k = vset1(FN_32_64(2, 4)), r = vset1(1) / (u + k);
    return vpolynomial((u - k) * r, c, sizeof c / sizeof *c) * r;
}

/* exp(-c u^2), where the rounding of u^2 does not count (it would cost 80 ulp in the tail). */
FN_INLINE vec vgauss(vec u, real c)
{
    const vec square = u * u;
    return vexp(square * vset1(-c)) * (vset1(1) - vset1(c) * vproduct_error(u, u, square));
}

/* 1 - erf(x), relatively exact in the tail. Error 5.0 / 7.0 ulp. */
FN_INLINE vec verfc(vec x)
{
    const vec u = vmin(vset1((real)FN_32_64(9.5, 27)), vabs(x));
    const vec tail = vgauss(u, 1) * verfcx(u);
    return vselect(x < vset1(0), vset1(2) - tail, tail);
}

/* erf(x). Error 1.5 / 1.5 ulp (without fused multiply-add: for |x| above 8 times the smallest normal number).
 * x P(x^2) below 1 (relative error 1.5e-9 / 1.4e-17), 1 - erfc above. */
FN_INLINE vec verf(vec x)
{
    static const real c[] = {
#ifdef FN_REAL_32
        0.128379166f, -0.37612626f, 0.112835824f, -0.0268536452f, 0.00518797059f, -0.000800690032f,
        7.84275471e-05f,
#else
        0.12837916709551256, -0.3761263890318344, 0.11283791670941776, -0.026866170642802868,
        0.005223977603977841, -0.0008548325839848787, 0.00012055291195344696, -1.4924670962883086e-05,
        1.6446665352671387e-06, -1.6203020165313484e-07, 1.36977401542244e-08, -7.756355043503881e-10,
#endif
    };
    const vec size = vabs(x);
    const vec small = size * vpolynomial(x * x, c, sizeof c / sizeof *c) + size;
    return vcopysign(vselect(size < vset1(1), small, vset1(1) - verfc(size)), x);
}

/* The standard normal distribution: probability of less than x, relatively exact in the lower tail, and
 * density. Error 5.0 / 7.0 and 4.0 / 4.0 ulp. */
FN_INLINE vec vnormal_cdf(vec x, vec *density)
{
    const vec t = vmin(vset1((real)FN_32_64(13.4, 38.1)), vabs(x));
    const vec g = vgauss(t, (real)0.5);
    const vec tail = vset1((real)0.5) * g * verfcx(t * vset1((real)0.70710678118654752440));
    *density = g * vset1((real)0.39894228040143267794);
    return vselect(x < vset1(0), tail, vset1(1) - tail);
}

/* ---- sine and cosine ---- */

#define FN_TRIG_MAX ((real)0x1p20) /* from here on x is reduced lane by lane */

/* x = q pi / 2 + r, |r| <= pi / 4, for any finite x (Payne and Hanek 1983): x 2 / pi modulo 4 needs only
 * those bits of 2 / pi that neither make multiples of 4 nor lie below the wanted precision. */
static __attribute__((noinline, cold, unused)) double trig_reduce_large(double x, int *quadrant)
{
    static const uint64_t two_over_pi[] = { /* after 64 zero bits: 1280 bits behind the point */
        0, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561, 0xb7246e3a424dd2e0,
        0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4,
        0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
        0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab, 0xf0cfbc209af4361d,
    };
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t m = (bits & 0xfffffffffffff) | 0x10000000000000;    /* |x| = m 2^e */
    const int e = (int)(bits >> 52 & 0x7ff) - 1075, at = e + 62;       /* the bit of weight 2^(1 - e) */
    uint64_t w[3];
    for (int j = 0; j < 3; j++) {
        const int word = at / 64 + j, shift = at % 64;
        w[j] = two_over_pi[word] << shift | (shift ? two_over_pi[word + 1] >> (64 - shift) : 0);
    }
    /* m w modulo 2^192: 2 bits before the point */
    typedef unsigned __int128 wide;
    const wide p2 = (wide)m * w[2], p1 = (wide)m * w[1] + (uint64_t)(p2 >> 64);
    const uint64_t high = m * w[0] + (uint64_t)(p1 >> 64), low = (uint64_t)p1;
    const wide turns = (wide)high << 64 | low;             /* quarter turns, 126 bits behind the point */
    const __int128 fraction = (__int128)(turns << 2) >> 2; /* the nearest whole number taken off */
    int q = (int)((turns - (wide)fraction) >> 126) & 3;
    double r = (double)fraction * (0x1p-126 * 1.57079632679489661923);
    if (x < 0) {
        q = -q & 3;
        r = -r;
    }
    *quadrant = q;
    return r;
}

/* x = q pi / 2 + r, |r| <= pi / 4 and a rounding; the low two bits of *quadrant are q modulo 4. */
FN_INLINE vec vtrig_reduce(vec x, ivec *quadrant)
{
    /* pi / 2 in parts of 33 bits, so that n times a part is exact up to FN_TRIG_MAX (constants of fdlibm) */
    const double part1 = 1.57079632673412561417, part2 = 6.07710050630396597660e-11;
#ifdef FN_REAL_32
    typedef double wide __attribute__((vector_size(2 * FN_VBYTES)));
    const wide in = __builtin_convertvector(x, wide), rounder = (wide){} + 0x1.8p52;
    const wide n = (in * 0.63661977236758134308 + rounder) - rounder;
    vec r = __builtin_convertvector((in - n * part1) - n * part2, vec);
    const vec whole = __builtin_convertvector(n, vec);
#else
    const double part3 = 2.02226624879595063154e-21;
    const vec whole = (x * vset1(0.63661977236758134308) + vset1(FN_ROUNDER)) - vset1(FN_ROUNDER);
    const vec a = x - whole * vset1(part1), b = whole * vset1(part2);
    const vec c = a - b, lost = (a - c) - b;
    vec r = c + (lost - whole * vset1(part3));
#endif
    *quadrant = (ivec)(whole + vset1(FN_ROUNDER));
    const ivec large = (vabs(x) >= vset1(FN_TRIG_MAX)) & (vabs(x) < vset1(FN_INFINITY));
    ielem any = 0;
    for (int j = 0; j < VL; j++)
        any |= large[j];
    if (__builtin_expect(any != 0, 0))
        for (int j = 0; j < VL; j++)
            if (large[j]) {
                int q;
                r[j] = (real)trig_reduce_large((double)x[j], &q);
                (*quadrant)[j] = q;
            }
    return r;
}

/* The sine of r + (quadrant) pi / 2. Relative error of the polynomials 4.0e-9, 1.3e-10 / 3.8e-18, 5.9e-20. */
FN_INLINE vec vtrig(vec r, ivec quadrant)
{
    static const real s[] = {
        FN_32_64(-0.166666552f, -0.1666666666666663), FN_32_64(0.00833218917f, 0.00833333333332191),
        FN_32_64(-0.000195182642f, -0.0001984126982944628),
#ifdef FN_REAL_64
        2.755731357664317e-06, -2.5050741267766673e-08, 1.589587427120601e-10,
#endif
    };
    static const real c[] = {
        FN_32_64(0.0416666456f, 0.041666666666666595), FN_32_64(-0.00138873083f, -0.0013888888888873361),
        FN_32_64(2.44322255e-05f, 2.4801587289019325e-05),
#ifdef FN_REAL_64
        -2.75573142224477e-07, 2.0875706114597245e-09, -1.1358783469016217e-11,
#endif
    };
    const vec z = r * r, half = vset1((real)0.5) * z, w = vset1(1) - half;
    const vec sine = r + r * z * vpolynomial(z, s, sizeof s / sizeof *s);
    const vec cosine = w + (((vset1(1) - w) - half) + z * z * vpolynomial(z, c, sizeof c / sizeof *c));
    const ivec odd = -(quadrant & 1), negative = quadrant >> 1 << (8 * (int)sizeof(real) - 1);
    return (vec)((ivec)vselect(odd, cosine, sine) ^ negative);
}

/* sin(x) and cos(x), NaN for infinities. Error 1.5 / 2.5 ulp, for any x. */
FN_INLINE vec vsin(vec x)
{
    ivec quadrant;
    const vec r = vtrig_reduce(x, &quadrant), y = vtrig(r, quadrant);
    return vselect(x == vset1(0), x, y);
}
FN_INLINE vec vcos(vec x)
{
    ivec quadrant;
    const vec r = vtrig_reduce(x, &quadrant);
    return vtrig(r, quadrant + 1);
}

/* ---- power ---- */

/* |x|^y = exp(y log |x|), with the logarithm and the product in two parts; the cases of C's pow().
 * Error 4 / 20 ulp. Relative error of the polynomial 2.7e-11 / 1.4e-19. */
FN_INLINE vec vpow(vec x, vec y)
{
    static const real c[] = {
#ifdef FN_REAL_32
        0.666666627f, 0.400009155f, 0.285049111f, 0.241263315f,
#else
        0.666666666666666, 0.40000000000056724, 0.2857142855581756, 0.22222224297608098, 0.1818166580703549,
        0.1539111431815381, 0.1317355620528524, 0.13843356759369727,
#endif
    };
    const vec size = vabs(x), zero = vset1(0), one = vset1(1), inf = vset1(FN_INFINITY);
    ivec shift;
    const vec k = vlog_exponent(size, &shift);
    const vec f = (vec)((ivec)size - shift) - one;

    /* log(1 + f) = 2 s + s^3 P(s^2), s = f / (2 + f) in two parts */
    const vec d = f + vset1(2), d_error = f - (d - vset1(2));
    const vec s = f / d, p = s * d;
    const vec s_error = (((f - p) - vproduct_error(s, d, p)) - s * d_error) / d;
    const vec z = s * s;
    const vec high = k * vset1((real)FN_32_64(0.693359375, 6.93145751953125e-1)), twice = s + s;
    const vec sum = high + twice, sum_error = (high - (sum - twice)) + (twice - (sum - (sum - twice)));
    const vec low = sum_error + (k * vset1((real)FN_32_64(-2.12194440054690583e-4, 1.42860682030941723212e-6))
                                 + (s_error + s_error + s * z * vpolynomial(z, c, sizeof c / sizeof *c)));
    const vec log_high = sum + low, log_low = low - (log_high - sum);

    /* beyond this the result is 0 or infinite, and the product could overflow */
    const vec most = vset1((real)FN_32_64(0x1p60, 0x1p500)), bounded = vmax(-most, vmin(most, y));
    const vec exponent = bounded * log_high;
    const vec rest = vproduct_error(bounded, log_high, exponent) + bounded * log_low;
    const vec e = vexp(exponent);
    vec result = vselect((e > zero) & (e < inf), e * (one + rest), e);

    result = vselect(size == one, one, result);
    const ivec none = size == zero;
    result = vselect(none | (size == inf), vselect(none == (y > zero), zero, inf), result);
    const ivec whole = vround(y) == y, odd = whole & (vround(y * vset1((real)0.5)) != y * vset1((real)0.5));
    result = vselect(odd, vcopysign(result, x), result);
    const vec nan = vset1((real)__builtin_nan(""));
    result = vselect((x < zero) & ~whole & (size < inf), nan, result);
    result = vselect((x != x) | (y != y), nan, result);
    return vselect((x == one) | (y == zero), one, result);
}

#endif
