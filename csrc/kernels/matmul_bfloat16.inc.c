/* matmul_bfloat16.inc.c - products of float32 matrices made of products of bfloat16, with sums in float32.
 *
 * Each element is the sum of up to three bfloat16 parts, each part what rounding to nearest even left of the one
 * before. The products of parts are made whose error is not below that of the parts left out:
 *
 *     parts  products  |C - A B| / |A| |B|
 *       1       1      2^-7 at most
 *       2       3      2^-15 and the sums' rounding
 *       3       6      that of a float32 product
 *
 * (Henry, Tang, Heinecke: Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations,
 * 2019.) Two neighbours along k share 32 bits. With one part, vectors multiply pairs: twice the multiply-adds of
 * float32. Several parts pay on tiles only (AMX, ten times as fast). Subnormals count as 0, as do parts below 2^-126.
 * With several parts an infinity would become NaN, its second part being one: elements of a block's result that are not
 * finite are made again in float32. As in the float32 product an element is a sum in order of k, in blocks of k,
 * whatever the blocks of C.
 */
#ifdef FN_PAIRS
#include "tiles.h"

enum {
    GEMM_PAIRS_K = 2 * GEMM_K, /* terms in one chain: as many bytes as GEMM_K of float32; a half for each of two parts */
    GEMM_PAIRS_K_3 = 128,      /* of three: fresh sums as often as that are what makes them better than float32 */
    GEMM_TILED = 2 * TILE_ROWS, /* C is made in squares of this side: four tiles */
    GEMM_TILED_ROWS = 64,      /* rows of A copied at a time for tiles */
    GEMM_FETCHED = 8           /* rows of A fetched at a time: some stay in the first-level cache until they are copied */
};

/* ---- copies of A and B, rounded, as pairs along k; an odd last element is paired with zero ---- */

/* What is left of x after `part` roundings. */
FN_INLINE vec gemm_part(vec x, int part)
{
    for (int j = 0; j < part; j++) {
        const uvec bits = (uvec)x;
        x -= (vec)((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u);
    }
    return x;
}

/* to[l ld + columns up to whole vectors] = pairs of b[2 l ldb + at ...] and the row after. */
FN_INLINE void gemm_pack_pairs(real *restrict to, int64_t ld, const real *restrict b, int64_t at, int64_t ldb,
                               int64_t k, int64_t columns, int part, const int half)
{
    for (int64_t l = 0; l < k; l += 2, at += 2 * ldb, to += ld)
        for (int64_t j = 0; j < columns; j += VL) {
            const int64_t n = gemm_min(VL, columns - j);
            const vec odd = l + 1 < k ? gemm_load(b, at + ldb + j, n, half) : (vec){};
            vstore(to + j, vpairs_join(gemm_part(gemm_load(b, at + j, n, half), part), gemm_part(odd, part)));
        }
}

/* VL pairs of a row that begins at `at`, of which k elements exist. */
FN_INLINE vec gemm_load_pairs(const real *x, int64_t at, int64_t k, int part, const int half)
{
    return vpairs_round(gemm_part(gemm_load(x, at, gemm_min(VL, k), half), part),
                        k > VL ? gemm_part(gemm_load(x, at + VL, gemm_min(VL, k - VL), half), part) : (vec){});
}

/* The same from B transposed: b[at + j ldb + l], float32. */
static void gemm_pack_pairs_transposed(real *restrict to, int64_t ld, const real *restrict b, int64_t at, int64_t ldb,
                                       int64_t k, int64_t columns, int part)
{
    const int64_t pairs = gemm_up(k, 2);
    for (int64_t j = 0; j < columns; j += VL, at += VL * ldb) {
        const int64_t have = gemm_min(VL, columns - j);
        for (int64_t l = 0; l < pairs; l += VL) {
            const int64_t n = gemm_min(VL, pairs - l);
            vec x[VL];
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                x[i] = i < have ? gemm_load_pairs(b, at + i * ldb + 2 * l, k - 2 * l, part, 0) : (vec){};
            gemm_transpose(x);
            real *row = to + l * ld + j;
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                if (i < n)
                    vstore(row + i * ld, x[i]);
        }
    }
}

/* to[i][pairs up to whole vectors] = pairs of a[at + i lda + 0 .. k). */
FN_INLINE void gemm_pack_rows(real *restrict to, const real *restrict a, int64_t at, int64_t lda, int64_t k,
                              int64_t rows, int part, const int half)
{
    for (int64_t i = 0; i < rows; i++, at += lda)
        for (int64_t l = 0; l < k; l += 2 * VL, to += VL)
            vstore(to, gemm_load_pairs(a, at + l, k - l, part, half));
}

/* The same from a k-major A: a[at + l lda + i], into rows ld apart. */
FN_INLINE void gemm_pack_rows_transposed(real *restrict to, int64_t ld, const real *restrict a, int64_t at, int64_t lda,
                                         int64_t k, int64_t rows, int part, const int half)
{
    for (int64_t l = 0; l < k; l += 2 * VL, at += 2 * VL * lda) /* rows of A are far apart: all of one's columns at once */
        for (int64_t i = 0; i < rows; i += VL) {
            const int64_t have = gemm_min(VL, rows - i), left = k - l;
            vec x[VL];
#pragma GCC unroll 16
            for (int j = 0; j < VL; j++) {
                const int64_t row = at + 2 * j * lda + i;
                const vec even = 2 * j < left ? gemm_load(a, row, have, half) : (vec){};
                const vec odd = 2 * j + 1 < left ? gemm_load(a, row + lda, have, half) : (vec){};
                x[j] = vpairs_join(gemm_part(even, part), gemm_part(odd, part));
            }
            gemm_transpose(x);
#pragma GCC unroll 16
            for (int j = 0; j < VL; j++)
                if (j < have)
                    vstore(to + (i + j) * ld + l / 2, x[j]);
        }
}

/* ---- blocks ---- */

/* Whether it pays (or has to be, for operands that are stored as bfloat16), by the sizes of the whole product alone:
 * below these the copies cost more than the products gain. */
static inline int gemm_in_parts(const gemm *p)
{
    if (p->half)
        return 1;
    const int64_t rows = p->parts == 3 ? 128 : p->parts == 2 ? 64 : p->tiled ? 32 : VL;
    return p->parts > 0 && p->m >= rows && p->n >= (rows < 32 ? 32 : rows) && p->k >= (p->parts > 1 ? 64 : 32);
}

/* Terms in a block of k, of `left` that are still to come. */
static int64_t gemm_chain(const gemm *p, int64_t left)
{
    const int64_t most = p->parts == 3 ? GEMM_PAIRS_K_3 : GEMM_PAIRS_K / p->parts;
    return left <= most ? left : gemm_up(gemm_up(left, gemm_up(left, most)), 2 * VL) * 2 * VL;
}

/* Rows [row, row + rows) of A in a block of k, as pairs. */
__attribute__((noinline)) static void gemm_pack_a_parts(const gemm *p, real *to, int64_t row, int64_t rows, int64_t k0,
                                                        int64_t k, int part)
{
    const int64_t at = p->k_major ? k0 * p->lda + row : row * p->lda + k0, ld = gemm_up(k, 2 * VL) * VL;
    real lines[GEMM_FETCHED * GEMM_PAIRS_K]; /* or 2 VL of GEMM_TILED_ROWS */
    if (p->fetch && p->k_major)
        for (int64_t l = 0; l < k; l += 2 * VL) {
            const int64_t n = gemm_min(2 * VL, k - l);
            p->fetch(p, lines, GEMM_TILED_ROWS, k0 + l, n, row, rows);
            gemm_pack_rows_transposed(to + l / 2, ld, lines, 0, GEMM_TILED_ROWS, n, rows, part, 0);
        }
    else if (p->fetch)
        for (int64_t i = 0; i < rows; i += GEMM_FETCHED) {
            const int64_t n = gemm_min(GEMM_FETCHED, rows - i);
            p->fetch(p, lines, k, row + i, n, k0, k);
            gemm_pack_rows(to + i * ld, lines, 0, k, k, n, part, 0);
        }
    else if (p->k_major && p->half & GEMM_HALF_A)
        gemm_pack_rows_transposed(to, ld, p->a, at, p->lda, k, rows, 0, 1);
    else if (p->k_major)
        gemm_pack_rows_transposed(to, ld, p->a, at, p->lda, k, rows, part, 0);
    else if (p->half & GEMM_HALF_A)
        gemm_pack_rows(to, p->a, at, p->lda, k, rows, 0, 1);
    else
        gemm_pack_rows(to, p->a, at, p->lda, k, rows, part, 0);
}

__attribute__((noinline)) static void gemm_pack_b_parts(const gemm *p, real *to, int64_t ld, int64_t column,
                                                        int64_t columns, int64_t k0, int64_t k, int part)
{
    if (p->b_transposed)
        gemm_pack_pairs_transposed(to, ld, p->b, column * p->ldb + k0, p->ldb, k, columns, part);
    else if (p->half & GEMM_HALF_B)
        gemm_pack_pairs(to, ld, p->b, k0 * p->ldb + column, p->ldb, k, columns, 0, 1);
    else
        gemm_pack_pairs(to, ld, p->b, k0 * p->ldb + column, p->ldb, k, columns, part, 0);
}

/* ---- a block of B: its panels one behind the other, of each its parts, of each a row for each pair of k ----
 *
 * Where the block begins in a copy of all of B (made by pack_weights, kept by gemm.packed) is a matter of sizes alone:
 * the blocks of columns one behind the other, of each the blocks of k. On tiles there are zeros up to whole ones. */

/* Pairs in k terms, or in the first k of more, which are then a whole number of blocks. */
static inline int64_t gemm_pairs(const gemm *p, int64_t k)
{
    return p->tiled ? gemm_up(k, 2 * TILE_PAIRS) * TILE_PAIRS : gemm_up(k, 2);
}

static inline int64_t gemm_width(const gemm *p, int64_t columns)
{
    const int64_t vectors = gemm_up(columns, VL);
    return (p->tiled ? gemm_up(vectors, 2) * 2 : vectors) * VL;
}

static inline int64_t gemm_packed_at(const gemm *p, int64_t c0, int64_t c1, int64_t k0)
{
    return p->parts * (c0 * gemm_pairs(p, p->k) + gemm_width(p, c1 - c0) * gemm_pairs(p, k0));
}

/* Puts what lies in columns [column, column + columns) and terms [term, term + terms) of B to its places in the block
 * of columns [c0, c1) and terms [k0, k0 + k). They begin with whole vectors and pairs. */
static void gemm_pack_part_of_block(const gemm *p, real *to, int64_t c0, int64_t c1, int64_t k0, int64_t k,
                                    int64_t column, int64_t columns, int64_t term, int64_t terms)
{
    const int64_t vectors = gemm_up(c1 - c0, VL), pairs = gemm_pairs(p, k);
    for (int64_t v = 0; v < vectors;) {
        const int nv = p->tiled ? 2 : gemm_panel(vectors, v, 0);
        const int64_t at = c0 + v * VL, ld = nv * VL;
        const int64_t first = at > column ? at : column, end = gemm_min(gemm_min(at + ld, c1), column + columns);
        if (first < end)
            for (int part = 0; part < p->parts; part++)
                gemm_pack_b_parts(p, to + (v * p->parts + part * nv) * VL * pairs + (term - k0) / 2 * ld + first - at,
                                  ld, first, end - first, term, terms, part);
        v += nv;
    }
}

/* The block of columns [c0, c1) and terms [k0, k0 + k): where it is kept, or made in `scratch`. */
static const real *gemm_packed_block(const gemm *p, real *scratch, int64_t c0, int64_t c1, int64_t k0, int64_t k)
{
    if (p->packed)
        return p->packed + gemm_packed_at(p, c0, c1, k0);
    if (p->tiled) { /* what the copy leaves: of whole tiles, terms beyond k and the second half of the last panel */
        const int64_t pairs = gemm_pairs(p, k), have = gemm_up(k, 2), width = gemm_width(p, c1 - c0);
        for (int64_t j = 0; have < pairs && j < width / GEMM_TILED * p->parts; j++)
            memset(scratch + (j * pairs + have) * GEMM_TILED, 0, (size_t)((pairs - have) * GEMM_TILED) * sizeof(real));
        if (gemm_up(c1 - c0, VL) % 2)
            memset(scratch + (width - GEMM_TILED) * p->parts * pairs, 0,
                   (size_t)(GEMM_TILED * p->parts * pairs) * sizeof(real));
    }
    gemm_pack_part_of_block(p, scratch, c0, c1, k0, k, c0, c1 - c0, k0, k);
    return scratch;
}

/* Column sums of B's rows [k0, k0 + k), added to those of the rows before. */
static void gemm_sum_b(const gemm *p, int64_t c0, int64_t c1, int64_t k0, int64_t k)
{
    const int add = p->add_sums || k0 > 0;
    if (!(p->half & GEMM_HALF_B)) {
        gemm_column_sums(p->sums + c0, p->b + k0 * p->ldb + c0, p->ldb, k, c1 - c0, add);
        return;
    }
    for (int64_t j = c0; j < c1; j += VL) {
        const int64_t n = gemm_min(VL, c1 - j);
        vec sum = add ? vload_n(p->sums + j, n) : (vec){};
        for (int64_t l = k0; l < k0 + k; l++)
            sum += gemm_load(p->b, l * p->ldb + j, n, 1);
        vstore_n(p->sums + j, sum, n);
    }
}

/* Rows [r0, r1) and columns [c0, c1) of C on vectors, by one part. */
static void gemm_rounded_block(const gemm *p, int64_t r0, int64_t r1, int64_t c0, int64_t c1, real *scratch)
{
    const int gated = gemm_gated(p) && !(p->half & (GEMM_HALF_C | GEMM_HALF_S)) && p->across == 0;
    const int plain = gated || gemm_plain(p), beside = (p->s && !gated) || p->half & GEMM_HALF_C || p->across > 0;
    const int64_t vectors = gemm_up(c1 - c0, VL);
    real *packed_a = scratch + GEMM_K * GEMM_COLUMNS * VL;
    real product[GEMM_TILE_VECS * VL];

    for (int64_t k0 = 0; k0 < p->k;) {
        const int64_t k = gemm_chain(p, p->k - k0), pairs = gemm_up(k, 2), lda = gemm_up(k, 2 * VL) * VL;
        const int first = k0 == 0, last = k0 + k >= p->k;
        const real *b = gemm_packed_block(p, scratch, c0, c1, k0, k);
        if (p->sums && r0 == 0)
            gemm_sum_b(p, c0, c1, k0, k);

        for (int64_t at = r0; at < r1; at += GEMM_ROWS) {
            const int64_t end = gemm_min(at + GEMM_ROWS, r1);
            gemm_pack_a_parts(p, packed_a, at, end - at, k0, k, 0);
            for (int64_t v = 0; v < vectors;) {
                const int nv = gemm_panel(vectors, v, 0), most = gemm_tile_rows[nv];
                const int64_t column = c0 + v * VL, columns = gemm_min(nv * VL, c1 - column);
                gemm_tile t = {.b = b + v * VL * pairs, .k = pairs, .lda = lda, .ldb = nv * VL,
                               .start = first && !beside && p->bias ? p->bias + column : NULL,
                               .ldc = beside ? nv * VL : p->ldc, .tail = columns - (nv - 1) * VL,
                               .add = !beside && (p->add || !first), .whole = pairs,
                               .floor = plain && last && !beside && p->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY,
                               .slope = p->gradient == FN_ACT_LEAKY_RELU ? p->alpha : 0};
                for (int64_t r = at; r < end;) {
                    int64_t n = gemm_tiles_below(end - r, most, &t.below);
                    if (beside) /* something follows each tile */
                        t.below = 1;
                    t.a = packed_a + (r - at) * lda;
                    t.c = beside ? product : p->c + r * p->ldc + column;
                    t.gate = gated ? p->s + r * p->ldc + column : NULL;
                    gemm_pair_tiles[nv][n](&t);
                    n *= t.below;
                    if (beside || (!plain && last))
                        gemm_finish(p, r, n, column, columns, beside ? product : NULL, nv * VL, first, last);
                    r += n;
                }
                v += nv;
            }
        }
        k0 += k;
    }
}

/* ---- tiles ---- */

/* product[32][32] = A B of one block of k: A's rows are lda pairs apart, B has a row of 32 pairs for each pair of k (a
 * multiple of 16 in all); their parts are next_a and next_b apart. Only 16 rows unless `tall`. */
static void gemm_tiled_square(real *product, const real *a, int64_t lda, int64_t next_a, const real *b, int64_t next_b,
                              int64_t pairs, int parts, int tall)
{
    /* parts of A and B to multiply, small products first; one of the two stays where it is from each to the next */
    static const int8_t turns[4][6][2] = {
        [1] = {{0, 0}}, [2] = {{1, 0}, {0, 0}, {0, 1}}, [3] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 0}, {0, 2}}};
    const int count = parts * (parts + 1) / 2;
    const int64_t row_a = lda * (int64_t)sizeof(real), row_b = GEMM_TILED * (int64_t)sizeof(real);
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int64_t l = 0; l < pairs; l += TILE_PAIRS) {
        int of_a = -1, of_b = -1;
        for (int j = 0; j < count; j++) {
            if (turns[parts][j][0] != of_a) {
                of_a = turns[parts][j][0];
                const real *from = a + of_a * next_a + l;
                TILE_LOAD(4, from, row_a);
                if (tall)
                    TILE_LOAD(5, from + TILE_ROWS * lda, row_a);
            }
            if (turns[parts][j][1] != of_b) {
                of_b = turns[parts][j][1];
                const real *from = b + of_b * next_b + l * GEMM_TILED;
                TILE_LOAD(6, from, row_b);
                TILE_LOAD(7, from + TILE_ROWS, row_b);
            }
            TILE_DOT(0, 4, 6);
            TILE_DOT(1, 4, 7);
            if (tall) {
                TILE_DOT(2, 5, 6);
                TILE_DOT(3, 5, 7);
            }
        }
    }
    TILE_STORE(0, product, row_b);
    TILE_STORE(1, product + TILE_ROWS, row_b);
    TILE_STORE(2, product + TILE_ROWS * GEMM_TILED, row_b);
    TILE_STORE(3, product + TILE_ROWS * GEMM_TILED + TILE_ROWS, row_b);
}

static inline int gemm_is_finite(real x) { return x - x == 0; }

static int gemm_all_finite(const real *product, int64_t rows, int64_t columns)
{
    ivec wrong = {};
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j += VL) {
            const vec x = vload_n(product + r * GEMM_TILED + j, gemm_min(VL, columns - j));
            wrong |= x - x != 0;
        }
    for (int j = 0; j < VL; j++)
        if (wrong[j])
            return 0;
    return 1;
}

/* What is not finite of a block of k's product once more, in float32; nothing else, for what shares a square with it
 * depends on how the rows are divided among threads. */
static void gemm_redo(const gemm *p, real *product, int64_t row, int64_t rows, int64_t column, int64_t columns,
                      int64_t k0, int64_t k)
{
    real a[GEMM_PAIRS_K];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t l = 0; l < k; l++)
            if (p->fetch == NULL)
                a[l] = p->a[p->k_major ? (k0 + l) * p->lda + row + r : (row + r) * p->lda + k0 + l];
            else if (p->k_major)
                p->fetch(p, a + l, 1, k0 + l, 1, row + r, 1);
        if (p->fetch && !p->k_major)
            p->fetch(p, a, k, row + r, 1, k0, k);
        for (int64_t j = 0; j < columns; j++) {
            real sum = 0;
            if (gemm_is_finite(product[r * GEMM_TILED + j]))
                continue;
            for (int64_t l = 0; l < k; l++)
                sum += a[l] * p->b[p->b_transposed ? (column + j) * p->ldb + k0 + l : (k0 + l) * p->ldb + column + j];
            product[r * GEMM_TILED + j] = sum;
        }
    }
}

/* Rows [r0, r1) and columns [c0, c1) of C on tiles. */
static void gemm_tiled_block(const gemm *p, int64_t r0, int64_t r1, int64_t c0, int64_t c1, real *scratch)
{
    const int parts = p->parts;
    real *packed_a = scratch + GEMM_K * GEMM_COLUMNS * VL;
    real product[GEMM_TILED * GEMM_TILED] __attribute__((aligned(64)));

    tiles_begin();
    for (int64_t k0 = 0; k0 < p->k;) {
        const int64_t k = gemm_chain(p, p->k - k0), pairs = gemm_pairs(p, k);
        const int64_t next_a = GEMM_TILED_ROWS * pairs, next_b = GEMM_TILED * pairs;
        const int first = k0 == 0, last = k0 + k >= p->k;
        const real *b = gemm_packed_block(p, scratch, c0, c1, k0, k);
        if (p->sums && r0 == 0)
            gemm_sum_b(p, c0, c1, k0, k);

        for (int64_t at = r0; at < r1; at += GEMM_TILED_ROWS) {
            const int64_t end = gemm_min(at + GEMM_TILED_ROWS, r1);
            for (int part = 0; part < parts; part++)
                gemm_pack_a_parts(p, packed_a + part * next_a, at, end - at, k0, k, part);
            for (int64_t c = c0; c < c1; c += GEMM_TILED) {
                const int64_t columns = gemm_min(GEMM_TILED, c1 - c);
                for (int64_t r = at; r < end; r += GEMM_TILED) {
                    const int64_t rows = gemm_min(GEMM_TILED, end - r);
                    gemm_tiled_square(product, packed_a + (r - at) * pairs, pairs, next_a,
                                      b + (c - c0) * pairs * parts, next_b, pairs, parts, rows > TILE_ROWS);
                    if (parts > 1 && !gemm_all_finite(product, rows, columns))
                        gemm_redo(p, product, r, rows, c, columns, k0, k);
                    gemm_finish(p, r, rows, c, columns, product, GEMM_TILED, first, last);
                }
            }
        }
        k0 += k;
    }
    tiles_end();
}
#endif
