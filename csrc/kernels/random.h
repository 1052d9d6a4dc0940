/* random.h - Philox4x32 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
 * 2011): random words as a function of a counter and a key, so of where they are used and never of who draws
 * first.
 *
 * The key is the seed. The counter's four words are: number of the draw (low, high), step index, stream. Ten
 * rounds are the authors' default; seven pass BigCrush (their table 2) and serve for dropout masks.
 *
 * A group is 8 draws, that is 32 words or 512 bits on any instruction set, kept as two rows of 8 lanes of 64
 * bits: row 0: word 0 of the draw in the high half of a lane, word 1 in the low half; row 1: words 2 and 3.
 * That order costs four instructions a round and row.
 */
#ifndef FN_RANDOM_H
#define FN_RANDOM_H

#include "simd.h"

typedef uint64_t lanes __attribute__((vector_size(FN_VBYTES)));
enum { FN_GROUP_VECTORS = 64 / FN_VBYTES }; /* of a row */

typedef struct { lanes row[2][FN_GROUP_VECTORS]; } fn_random_group;

/* The low halves of each lane multiplied. */
FN_INLINE lanes multiply_low_halves(lanes a, lanes b)
{
#if defined(__AVX512F__)
    return (lanes)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (lanes)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    const lanes low = (lanes){} + 0xffffffffu;
    return (a & low) * (b & low);
#endif
}

/* Draws 8 group .. 8 group + 7 of (seed, index, stream). `rounds` is a constant. */
FN_INLINE fn_random_group fn_philox(uint64_t seed, uint64_t index, uint64_t stream, uint64_t group,
                                    int rounds)
{
    static const uint64_t eight[] = {0, 1, 2, 3, 4, 5, 6, 7};
    fn_random_group g;
#pragma GCC unroll 4
    for (int v = 0; v < FN_GROUP_VECTORS; v++) {
        lanes number;
        memcpy(&number, eight + v * (FN_VBYTES / 8), sizeof number);
        number += 8 * group;
        g.row[0][v] = number << 32 | number >> 32;
        g.row[1][v] = (lanes){} + (index << 32 | (stream & 0xffffffff));
    }
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 16
    for (int r = 0; r < rounds; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < FN_GROUP_VECTORS; v++) {
            const lanes a = g.row[0][v], b = g.row[1][v];
            const lanes p0 = multiply_low_halves(a >> 32, (lanes){} + 0xD2511F53u);
            const lanes p1 = multiply_low_halves(b >> 32, (lanes){} + 0xCD9E8D57u);
            g.row[0][v] = p1 ^ (a << 32) ^ ((lanes){} + ((uint64_t)k0 << 32));
            g.row[1][v] = p0 ^ (b << 32) ^ ((lanes){} + ((uint64_t)k1 << 32));
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return g;
}

#endif
