/* simd.h - the one vector type that kernels are written with, and its operations.
 *
 * `vec` is a GNU vector of VL elements of `real` (float or double, set by isa_*.c); its width follows
 * from the instruction set this file is compiled for. + - * / and comparisons work on it directly;
 * a * b + c becomes a fused multiply-add where the set has one (-ffp-contract=fast). Intrinsics appear
 * here only. All functions are static and always inlined: see table.inc.c for why.
 */
#ifndef FN_SIMD_H
#define FN_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define FN_INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__)
#define FN_VBYTES 64
#elif defined(__AVX2__)
#define FN_VBYTES 32
#else
#define FN_VBYTES 16
#endif

enum { VL = FN_VBYTES / sizeof(real) };

typedef real vec __attribute__((vector_size(FN_VBYTES)));
typedef real vec_u __attribute__((vector_size(FN_VBYTES), aligned(sizeof(real)), may_alias)); /* unaligned */
#ifdef FN_REAL_32
typedef int32_t ielem;
typedef uint32_t uelem;
#else
typedef int64_t ielem;
typedef uint64_t uelem;
#endif
typedef ielem ivec __attribute__((vector_size(FN_VBYTES))); /* comparisons give -1 or 0 in each lane */
typedef uelem uvec __attribute__((vector_size(FN_VBYTES)));

FN_INLINE vec vset1(real x) { return x - (vec){}; }
FN_INLINE vec vset1_bits(const real *p) /* *p in every lane, untouched whatever its bits mean */
{
    uelem bits;
    memcpy(&bits, p, sizeof bits);
    return (vec)(bits + (uvec){});
}
FN_INLINE vec vload(const real *p) { return *(const vec_u *)p; }
FN_INLINE void vstore(real *p, vec x) { *(vec_u *)p = x; }

/* The first n of VL elements, 0 <= n <= VL; the other lanes read as 0 and are not written. No call to memcpy: it
 * would cost a kernel all its vector registers. */
#if defined(__AVX2__) && !defined(__AVX512F__)
FN_INLINE __m256i vfirst_lanes(int64_t n)
{
#ifdef FN_REAL_32
    return (__m256i)((ivec){0, 1, 2, 3, 4, 5, 6, 7} < (ielem)n);
#else
    return (__m256i)((ivec){0, 1, 2, 3} < (ielem)n);
#endif
}
#endif
FN_INLINE vec vload_n(const real *p, int64_t n)
{
#if defined(__AVX512F__) && defined(FN_REAL_32)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#elif defined(__AVX2__) && defined(FN_REAL_32)
    return (vec)_mm256_maskload_ps(p, vfirst_lanes(n));
#elif defined(__AVX2__)
    return (vec)_mm256_maskload_pd(p, vfirst_lanes(n));
#else
    if (n == VL)
        return vload(p);
    vec x = {};
    for (int j = 0; j < VL - 1; j++)
        if (j < n)
            x[j] = p[j];
    return x;
#endif
}
FN_INLINE void vstore_n(real *p, vec x, int64_t n)
{
#if defined(__AVX512F__) && defined(FN_REAL_32)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
#elif defined(__AVX512F__)
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)x);
#else
    if (n == VL) {
        vstore(p, x);
        return;
    }
#if defined(__AVX2__) && defined(FN_REAL_32)
    _mm256_maskstore_ps(p, vfirst_lanes(n), (__m256)x);
#elif defined(__AVX2__)
    _mm256_maskstore_pd(p, vfirst_lanes(n), (__m256d)x);
#else
    for (int j = 0; j < VL - 1; j++)
        if (j < n)
            p[j] = x[j];
#endif
#endif
}

/* mask ? a : b, lane by lane; mask lanes are -1 or 0. */
FN_INLINE vec vselect(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

/* The x86 intrinsic `name` at this width and type; FN_NATIVE is unset where there is none. */
#if defined(__AVX512F__) && defined(FN_REAL_32)
#define FN_NATIVE(name) _mm512_##name##_ps
typedef __m512 native;
#elif defined(__AVX512F__)
#define FN_NATIVE(name) _mm512_##name##_pd
typedef __m512d native;
#elif defined(__AVX2__) && defined(FN_REAL_32)
#define FN_NATIVE(name) _mm256_##name##_ps
typedef __m256 native;
#elif defined(__AVX2__)
#define FN_NATIVE(name) _mm256_##name##_pd
typedef __m256d native;
#elif defined(__SSE2__) && defined(FN_REAL_32)
#define FN_NATIVE(name) _mm_##name##_ps
typedef __m128 native;
#elif defined(__SSE2__)
#define FN_NATIVE(name) _mm_##name##_pd
typedef __m128d native;
#endif

/* Larger / smaller of two, lane by lane; b if either is NaN (as the x86 instructions do). */
FN_INLINE vec vmax(vec a, vec b)
{
#ifdef FN_NATIVE
    return (vec)FN_NATIVE(max)((native)a, (native)b);
#else
    return vselect(a > b, a, b);
#endif
}
FN_INLINE vec vmin(vec a, vec b)
{
#ifdef FN_NATIVE
    return (vec)FN_NATIVE(min)((native)a, (native)b);
#else
    return vselect(a < b, a, b);
#endif
}

FN_INLINE vec vsqrt(vec x)
{
#ifdef FN_NATIVE
    return (vec)FN_NATIVE(sqrt)((native)x);
#else
    for (int j = 0; j < VL; j++)
        x[j] = sizeof(real) == 4 ? (real)__builtin_sqrtf((float)x[j]) : (real)__builtin_sqrt((double)x[j]);
    return x;
#endif
}

FN_INLINE vec vabs(vec x) { return (vec)((uvec)x & ((uvec){} + ((uelem)-1 >> 1))); }

/* The size of a with the sign of b. */
FN_INLINE vec vcopysign(vec a, vec b)
{
    const uvec size = (uvec){} + ((uelem)-1 >> 1);
    return (vec)(((uvec)a & size) | ((uvec)b & ~size));
}

#if defined(__AVX512F__) && defined(FN_REAL_32)
#define FN_LOOKUP 1
/* table[index % 16], lane by lane, where the set has it as one instruction. */
FN_INLINE vec vlookup(const real *table, ivec index)
{
    return (vec)_mm512_permutexvar_ps((__m512i)index, _mm512_loadu_ps(table));
}
#endif

/* Where mask is -1: x, elsewhere 0. */
FN_INLINE vec vmask(ivec mask, vec x) { return (vec)(mask & (ivec)x); }

/* A truth for each lane: a mask register where the set has them, else -1 or 0 in each lane. */
#if defined(__AVX512F__)
#ifdef FN_REAL_32
typedef __mmask16 vflag;
#define FN_FLAG(name) _mm512_##name##_ps_mask
#define FN_FLAG_INT(name) _mm512_##name##_epi32_mask
#else
typedef __mmask8 vflag;
#define FN_FLAG(name) _mm512_##name##_pd_mask
#define FN_FLAG_INT(name) _mm512_##name##_epi64_mask
#endif
FN_INLINE vflag vflag_more(vec a, vec b) { return FN_FLAG(cmp)((native)a, (native)b, _CMP_GT_OQ); }
FN_INLINE vflag vflag_same(vec a, vec b) { return FN_FLAG(cmp)((native)a, (native)b, _CMP_EQ_OQ); }
FN_INLINE vflag vflag_differ(vec a, vec b) { return FN_FLAG(cmp)((native)a, (native)b, _CMP_NEQ_UQ); }
FN_INLINE vflag vflag_also_differ(vflag f, vec a, vec b)
{
    return FN_FLAG(mask_cmp)(f, (native)a, (native)b, _CMP_NEQ_UQ);
}
FN_INLINE vflag vflag_equal(ivec a, ivec b) { return FN_FLAG_INT(cmpeq)((__m512i)a, (__m512i)b); }
#ifdef FN_REAL_32
FN_INLINE ivec vflag_pick_int(vflag f, ivec a, ivec b)
{
    return (ivec)_mm512_mask_blend_epi32(f, (__m512i)b, (__m512i)a);
}
FN_INLINE vec vflag_keep(vflag f, vec a) { return (vec)_mm512_maskz_mov_ps(f, (native)a); }
#else
FN_INLINE ivec vflag_pick_int(vflag f, ivec a, ivec b)
{
    return (ivec)_mm512_mask_blend_epi64(f, (__m512i)b, (__m512i)a);
}
FN_INLINE vec vflag_keep(vflag f, vec a) { return (vec)_mm512_maskz_mov_pd(f, (native)a); }
#endif
#else
typedef ivec vflag;
FN_INLINE vflag vflag_more(vec a, vec b) { return a > b; }
FN_INLINE vflag vflag_same(vec a, vec b) { return a == b; }
FN_INLINE vflag vflag_differ(vec a, vec b) { return a != b; }
FN_INLINE vflag vflag_also_differ(vflag f, vec a, vec b) { return f & (a != b); }
FN_INLINE vflag vflag_equal(ivec a, ivec b) { return a == b; }
FN_INLINE ivec vflag_pick_int(vflag f, ivec a, ivec b) { return (f & a) | (~f & b); }
FN_INLINE vec vflag_keep(vflag f, vec a) { return vmask(f, a); }
#endif

/* Pairs of bfloat16: an element of 32 bits holds two, the first in its lower half. They travel in `vec`, whose moves
 * and shuffles keep all bits. The instructions (AVX512_BF16) may only be run where fn_cpu_pairs() says so; they are
 * written out because a function that uses their intrinsics cannot be inlined into one compiled without that set. */
#if defined(__AVX512F__) && defined(FN_REAL_32)
#define FN_PAIRS
/* sums + both products of each pair. Subnormals, of operands and results, are 0. */
FN_INLINE vec vpairs_dot(vec sums, vec a, vec b)
{
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
    return sums;
}
/* Neighbours rounded to nearest even: pair j is elements 2 j and 2 j + 1 of `first` and `second` in a row. */
FN_INLINE vec vpairs_round(vec first, vec second)
{
    vec pairs;
    __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(pairs) : "v"(first), "v"(second));
    return pairs;
}
/* The same, pair j made of element j of each. */
FN_INLINE vec vpairs_join(vec first, vec second)
{
    const __m512i turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                           23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (vec)_mm512_permutexvar_epi16(turns, (__m512i)vpairs_round(first, second));
}
/* VL elements of bfloat16, of which n exist, as float32; and x rounded, its first n elements. */
FN_INLINE vec vhalf_load_n(const uint16_t *p, int64_t n)
{
    const __m256i x = _mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p);
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16);
}
FN_INLINE void vhalf_store_n(uint16_t *p, vec x, int64_t n)
{
    __m256i y;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(y) : "v"(x));
    _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), y);
}
#endif

/* A byte for each lane. The conversions are intrinsics because compilers take the bytes one by one. */
typedef uint8_t vbytes __attribute__((vector_size(VL)));
FN_INLINE ivec vbytes_int(vbytes b)
{
#if defined(__AVX2__)
    __m128i x = _mm_setzero_si128();
    memcpy(&x, &b, sizeof b);
#if defined(__AVX512F__) && defined(FN_REAL_32)
    return (ivec)_mm512_cvtepu8_epi32(x);
#elif defined(__AVX512F__)
    return (ivec)_mm512_cvtepu8_epi64(x);
#elif defined(FN_REAL_32)
    return (ivec)_mm256_cvtepu8_epi32(x);
#else
    return (ivec)_mm256_cvtepu8_epi64(x);
#endif
#else
    return __builtin_convertvector(b, ivec);
#endif
}
FN_INLINE vbytes vint_bytes(ivec x)
{
#if defined(__AVX2__)
#if defined(__AVX512F__) && defined(FN_REAL_32)
    const __m128i y = _mm512_cvtepi32_epi8((__m512i)x);
#elif defined(__AVX512F__)
    const __m128i y = _mm512_cvtepi64_epi8((__m512i)x);
#elif defined(FN_REAL_32)
    const __m128i first = _mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i y = _mm_unpacklo_epi32(_mm_shuffle_epi8(_mm256_castsi256_si128((__m256i)x), first),
                                         _mm_shuffle_epi8(_mm256_extracti128_si256((__m256i)x, 1), first));
#else
    const __m128i first = _mm_setr_epi8(0, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i y = _mm_unpacklo_epi16(_mm_shuffle_epi8(_mm256_castsi256_si128((__m256i)x), first),
                                         _mm_shuffle_epi8(_mm256_extracti128_si256((__m256i)x, 1), first));
#endif
    vbytes b;
    memcpy(&b, &y, sizeof b);
    return b;
#else
    return __builtin_convertvector(x, vbytes);
#endif
}

/* How many truths held, a byte for each lane. */
#if defined(__AVX512F__)
typedef __m128i vcount;
FN_INLINE vcount vcount_add(vcount n, vflag f) { return _mm_mask_add_epi8(n, (__mmask16)f, n, _mm_set1_epi8(1)); }
FN_INLINE vbytes vcount_bytes(vcount n)
{
    vbytes b;
    memcpy(&b, &n, sizeof b);
    return b;
}
#else
typedef ivec vcount;
FN_INLINE vcount vcount_add(vcount n, vflag f) { return n - f; }
FN_INLINE vbytes vcount_bytes(vcount n) { return vint_bytes(n); }
#endif
/* Which bytes are n. */
FN_INLINE vflag vflag_byte(vbytes b, int n)
{
#if defined(__AVX512F__)
    __m128i x = _mm_setzero_si128();
    memcpy(&x, &b, sizeof b);
    return (vflag)_mm_cmpeq_epi8_mask(x, _mm_set1_epi8((char)n));
#else
    return vbytes_int(b) == n;
#endif
}

/* Larger of two, lane by lane; NaN if either is. */
FN_INLINE vec vmax_nan(vec a, vec b)
{
#if defined(__AVX512F__) && defined(FN_REAL_32)
    return (vec)_mm512_fixupimm_ps((native)vmax(a, b), (native)a, _mm512_set1_epi32(0x22), 0);
#elif defined(__AVX512F__)
    return (vec)_mm512_fixupimm_pd((native)vmax(a, b), (native)a, _mm512_set1_epi64(0x22), 0);
#else
    return vselect(a != a, a, vmax(a, b));
#endif
}

/* a * b - c with one rounding, which error-free products need: the compiler may fold a * b - c by itself, but
 * need not. Only where FN_HAS_FMA is defined. */
#if defined(__FMA__) && defined(FN_NATIVE)
#define FN_HAS_FMA
FN_INLINE vec vfms(vec a, vec b, vec c) { return (vec)FN_NATIVE(fmsub)((native)a, (native)b, (native)c); }
#elif defined(__ARM_FEATURE_FMA)
#define FN_HAS_FMA
FN_INLINE vec vfms(vec a, vec b, vec c)
{
    for (int j = 0; j < VL; j++)
        a[j] = sizeof(real) == 4 ? (real)__builtin_fmaf((float)a[j], (float)b[j], -(float)c[j])
                                 : (real)__builtin_fma((double)a[j], (double)b[j], -(double)c[j]);
    return a;
}
#endif

/* Nearest integer (ties to even), and the integers below and above. Signed zeros, infinities and NaN stay. */
#if defined(__AVX512F__)
#define FN_ROUND(x, mode) (vec)FN_NATIVE(roundscale)((native)(x), mode)
#elif defined(__SSE4_1__)
#define FN_ROUND(x, mode) (vec)FN_NATIVE(round)((native)(x), (mode) | _MM_FROUND_NO_EXC)
#endif
FN_INLINE vec vround(vec x)
{
#ifdef FN_ROUND
    return FN_ROUND(x, _MM_FROUND_TO_NEAREST_INT);
#else
    const vec big = vset1(sizeof(real) == 4 ? (real)0x1p23 : (real)0x1p52); /* from here on all are whole */
    const vec size = vabs(x), y = (size + big) - big;
    return vselect(size < big, vcopysign(y, x), x);
#endif
}
FN_INLINE vec vfloor(vec x)
{
#ifdef FN_ROUND
    return FN_ROUND(x, _MM_FROUND_TO_NEG_INF);
#else
    const vec y = vround(x);
    return vcopysign(y - vmask(y > x, vset1(1)), x);
#endif
}
FN_INLINE vec vceil(vec x)
{
#ifdef FN_ROUND
    return FN_ROUND(x, _MM_FROUND_TO_POS_INF);
#else
    const vec y = vround(x);
    return vcopysign(y + vmask(y < x, vset1(1)), x);
#endif
}

/* x 2^n for integers n, with overflow to infinity and denormal results as the mode says. */
#if defined(__AVX512F__)
#define FN_HAS_SCALE
FN_INLINE vec vscale(vec x, vec n) { return (vec)FN_NATIVE(scalef)((native)x, (native)n); }
#endif

/* Sum of the lanes, always in the same order (halves added to halves). */
FN_INLINE real vsum(vec x)
{
    real t[VL];
    memcpy(t, &x, sizeof t);
    for (int h = VL / 2; h > 0; h /= 2)
        for (int j = 0; j < h; j++)
            t[j] += t[j + h];
    return t[0];
}

/* Largest / smallest lane; NaN if there is one. */
FN_INLINE real vreduce_max(vec x)
{
    real t = x[0];
    for (int j = 1; j < VL; j++)
        t = x[j] > t || x[j] != x[j] ? x[j] : t;
    return t;
}
FN_INLINE real vreduce_min(vec x)
{
    real t = x[0];
    for (int j = 1; j < VL; j++)
        t = x[j] < t || x[j] != x[j] ? x[j] : t;
    return t;
}

#endif
