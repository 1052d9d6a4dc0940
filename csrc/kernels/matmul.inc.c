/* matmul.inc.c - matrix products, the way C is cut into blocks, and what rides along with the store.
 *
 *     matmul_nn   C[m,n] = act((C +) (A[m,k] B[k,n]) * act'(S) + bias)
 *     matmul_nt   the same with B[n,k] transposed
 *     matmul_tn   the same with A[k,m] transposed, and column sums d[n] = (d +) sum over k of B[k,n]
 *
 *   p  C, A, B, bias[n] or NULL, Z[m,n] or NULL: written with the value before the activation,
 *      S[m,n] or NULL: operand of the activation's gradient, column sums d[n] or NULL (tn only).
 *      Z and S have C's leading dimension. C overlaps no operand but Z, which it may be.
 *      [7] a copy of B made by pack_weights for this product's [18] and [19], or NULL (one product, B as float32)
 *   i  [0] m (nn, nt) or k (tn): the rows of A, those of one sample when batched   [1] n   [2] k (nn, nt) or m (tn)
 *      [3] lda  [4] ldb  [5] ldc   [6] add to C (0: C is not read)   [7] activation   [8] gradient of activation, of S
 *      [9] add to the column sums
 *      [10] products (0 is 1), the elements from each to the next in [11] A, [12] B, [13] C; without column sums
 *      [14] 1: each sample is a product (or [10] of them) of its own, [0] counts its rows, the samples are [15] A,
 *      [16] B, [17] C apart; a task is a sample
 *      [18] 1, 2, 3: A and B may be split into so many parts of bfloat16 (see matmul_bfloat16.inc.c) where fn_cpu_pairs()
 *      says that the processor multiplies them   [19] on tiles: where the level is FN_ISA_AMX
 *      [20] which operands are stored as bfloat16, in products of one part: 1 A, 2 B (not transposed), 4 C (then k is at
 *      most GEMM_PAIRS_K, and nothing is added to C), 8 S
 *   f  [0] alpha of either activation
 *   split  FN_SPLIT_BLOCKS: blocks of C. nn and nt may be FN_SPLIT_ROWS: samples (rows when not batched).
 *
 * The k terms of an element are added in order in blocks of GEMM_K, and the blocks in order: the result depends on
 * nothing but the sizes. (A B)[i, j] with few rows and B transposed is summed along vectors instead: see uses_dots.
 *
 * Blocking: B goes panel by panel (up to GEMM_PANEL vectors wide) through blocks of GEMM_K rows and GEMM_COLUMNS
 * vectors, which stay in the second-level cache; A and B are read where they are if they can be, for a copy costs a pass:
 * see gemm_packs_b, gemm_packs_a.
 */
#include "activation_codes.h"
#include "matmul_tile.inc.c"
#include "vmath.h"

enum {
    GEMM_K_BITS = sizeof(real) == 4 ? 9 : 8,
    GEMM_K = 1 << GEMM_K_BITS,          /* terms in one chain */
    GEMM_COLUMNS_BITS = GEMM_K_BITS - 1,
    GEMM_COLUMNS = (1 << GEMM_COLUMNS_BITS) / VL, /* vectors of a block of columns */
    GEMM_ASKING = 2,                    /* blocks of rows that ask for the next block of B */
    GEMM_ROWS = 48,                     /* rows that use a panel of B in turn: a multiple of every tile's */
    GEMM_AHEAD = 32,                    /* rows of a k-major A that are asked for before their turn */
    GEMM_SHORT = 8,                     /* up to this k C is all the traffic: a few rows at a time */
    GEMM_TASK_ROWS = 8,
    GEMM_TALL = 256,                    /* rows that are worth a copy of all of B in each thread */
    GEMM_PACK_ROWS = FN_VBYTES == 64 ? 192 : 48, /* B is copied for more rows than this */
    GEMM_PAGE = 4096 / sizeof(real),
    GEMM_KEPT = 3 * GEMM_K * GEMM_COLUMNS * VL / 2, /* elements of B that stay in the second-level cache beside A and C */
    GEMM_FAR = 1000000 / sizeof(real),  /* more elements of C than a core's own caches hold */
    GEMM_PACK_AHEAD = 8 * VL,           /* elements of a copy that are made ready for writing before their turn */
    GEMM_STREAMS = 8,                   /* rows of B read side by side by one row of A */
    GEMM_NARROW = 3 * VL / 4,           /* up to this many columns, C^T may be made in place of C */
    GEMM_ROW_COLUMNS = 8 * VL,          /* one row of C: up to these many columns are one panel */
    GEMM_SCRATCH = GEMM_K * (GEMM_COLUMNS * VL + GEMM_ROWS + VL) /* elements: blocks of B and of A */
};

enum { GEMM_HALF_A = 1, GEMM_HALF_B = 2, GEMM_HALF_C = 4, GEMM_HALF_S = 8 };

typedef struct gemm gemm;

/* Copies elements [at, at + n) of lines [line, line + lines) of A, which lie ld apart in `to`: of rows of A, of columns
 * where A is k-major. */
typedef void gemm_fetch(const gemm *p, real *to, int64_t ld, int64_t line, int64_t lines, int64_t at, int64_t n);

struct gemm {
    const real *a, *b, *bias, *s;
    real *c, *z, *sums;
    int64_t m, n, k, lda, ldb, ldc;
    int k_major, b_transposed, add, activation, gradient, add_sums;
    int same_bias; /* bias is one number: C is a column taken as a row */
    int parts, tiled; /* of bfloat16 that operands are split into, 0: none; on tiles */
    int half;         /* GEMM_HALF_*: operands that are stored as bfloat16 */
    real alpha;
    /* of products of parts: */
    gemm_fetch *fetch; /* NULL, or what copies A where it does not lie as a matrix; knows `from` */
    const void *from;
    const real *packed; /* NULL, or all of B as pairs, see gemm_packed_at */
    int64_t across, down, c_row, c_image; /* rows of C are pixels of images of down x across, in rows c_row and images
                                           * c_image apart; 0: they are all ldc apart */
};

static inline int64_t gemm_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t gemm_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* ---- the epilogue ---- */

/* Elements at, at + 1 ... of an operand that is stored as float32 or (`half`) as bfloat16. */
FN_INLINE vec gemm_load(const real *x, int64_t at, int64_t n, int half)
{
#ifdef FN_PAIRS
    if (half)
        return vhalf_load_n((const uint16_t *)x + at, n);
#endif
    (void)half;
    return vload_n(x + at, n);
}

FN_INLINE void gemm_store_half(real *c, int64_t at, vec x, int64_t n)
{
#ifdef FN_PAIRS
    vhalf_store_n((uint16_t *)c + at, x, n);
#else
    (void)c, (void)at, (void)x, (void)n;
#endif
}

FN_INLINE vec gemm_activate(int code, vec x, real alpha)
{
    const vec zero = {}, one = vset1(1);
    switch (code) {
    case FN_ACT_RELU: return vmax(zero, x);
    case FN_ACT_LEAKY_RELU: return vselect(x > zero, x, vset1(alpha) * x);
    case FN_ACT_SIGMOID: return vsigmoid(x);
    case FN_ACT_TANH: return vtanh(x);
    case FN_ACT_ELU: return vselect(x > zero, x, vset1(alpha) * vexpm1(x));
    case FN_ACT_SELU: {
        const vec scale = vset1((real)1.05070098735548049342), a = vset1((real)1.67326324235437728481);
        return scale * vselect(x > zero, x, a * vexpm1(x));
    }
    case FN_ACT_EXPONENTIAL: return vexp(x);
    case FN_ACT_RELU6: return vmin(vset1(6), vmax(zero, x));
    case FN_ACT_HARD_SIGMOID: return vmin(one, vmax(zero, x * vset1((real)(1.0 / 6)) + vset1((real)0.5)));
    case FN_ACT_SOFTSIGN: return x / (one + vmax(x, -x));
    case FN_ACT_SILU: return x * vsigmoid(x);
    default: return x;
    }
}

FN_INLINE vec gemm_derivative(int code, vec y, real alpha)
{
    const vec zero = {}, one = vset1(1);
    switch (code) {
    case FN_ACT_RELU: return vselect(y > zero, one, zero);
    case FN_ACT_LEAKY_RELU: return vselect(y > zero, one, vset1(alpha));
    case FN_ACT_SIGMOID: return y * (one - y);
    case FN_ACT_TANH: return one - y * y;
    case FN_ACT_ELU: return vselect(y > zero, one, y + vset1(alpha));
    case FN_ACT_SELU: {
        const vec scale = vset1((real)1.05070098735548049342);
        return vselect(y > zero, scale, y + vset1((real)1.75809934084737685994));
    }
    case FN_ACT_EXPONENTIAL: return y;
    case FN_ACT_RELU6: return vselect((y > zero) & (y < vset1(6)), one, zero);
    case FN_ACT_HARD_SIGMOID: return vselect((y > zero) & (y < one), vset1((real)(1.0 / 6)), zero);
    case FN_ACT_SOFTSIGN: {
        const vec x = one - vmax(y, -y);
        return x * x;
    }
    case FN_ACT_SILU: {
        const vec s = vsigmoid(y);
        return s * (one + y * (one - s));
    }
    default: return one;
    }
}

/* Where row r of C (and of S and Z) begins. */
static inline int64_t gemm_row_at(const gemm *p, int64_t r)
{
    if (p->across == 0)
        return r * p->ldc;
    return r / p->across / p->down * p->c_image + r / p->across % p->down * p->c_row + r % p->across * p->ldc;
}

/* What the tiles do not do themselves, on rows x columns of C at (row, column), just computed and in the first-level
 * cache. The bare products are in `product`; when that is NULL they are in C, with bias and the old C added. */
static void gemm_finish(const gemm *p, int64_t row, int64_t rows, int64_t column, int64_t columns, const real *product,
                        int64_t ld, int first, int last)
{
    const int add = p->add || !first;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = gemm_row_at(p, row + r) + column;
        for (int64_t j = 0; j < columns; j += VL) {
            const int64_t n = gemm_min(VL, columns - j);
            vec x;
            if (product) {
                x = vload_n(product + r * ld + j, n);
                if (p->s)
                    x *= gemm_derivative(p->gradient, gemm_load(p->s, at + j, n, p->half & GEMM_HALF_S), p->alpha);
                if (first && p->bias)
                    x += p->same_bias ? vset1(*p->bias) : vload_n(p->bias + column + j, n);
                if (add)
                    x += vload_n(p->c + at + j, n);
            } else {
                x = vload_n(p->c + at + j, n);
            }
            if (last) {
                if (p->z)
                    vstore_n(p->z + at + j, x, n);
                x = gemm_activate(p->activation, x, p->alpha);
            }
            if (p->half & GEMM_HALF_C)
                gemm_store_half(p->c, at + j, x, n);
            else
                vstore_n(p->c + at + j, x, n);
        }
    }
}

/* ---- copies of B and A in the order of their use ---- */

/* to[l][columns up to whole vectors] = B[l, columns], the rest 0, for k rows. */
static void gemm_pack(real *restrict to, const real *restrict b, int64_t ldb, int64_t k, int64_t columns)
{
    const int64_t vectors = gemm_up(columns, VL), tail = columns - (vectors - 1) * VL;
    for (int64_t l = 0; l < k; l++, b += ldb) {
        for (int64_t v = 0; v < vectors - 1; v++, to += VL) {
            __builtin_prefetch(to + GEMM_PACK_AHEAD, 1);
            vstore(to, vload(b + v * VL));
        }
        __builtin_prefetch(to + GEMM_PACK_AHEAD, 1);
        vstore(to, vload_n(b + (vectors - 1) * VL, tail));
        to += VL;
    }
}

/* The same from B transposed: b[j ldb + l]. */
static void gemm_pack_transposed(real *restrict to, const real *restrict b, int64_t ldb, int64_t k, int64_t columns)
{
    const int64_t ld = gemm_up(columns, VL) * VL;
    for (int64_t j = 0; j < columns; j += VL, b += VL * ldb) {
        const int64_t have = gemm_min(VL, columns - j);
        for (int64_t l = 0; l < k; l += VL) {
            const int64_t n = gemm_min(VL, k - l);
            vec x[VL];
            if (have == VL && n == VL) {
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++)
                    x[i] = vload(b + i * ldb + l);
            } else {
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++)
                    x[i] = i < have ? vload_n(b + i * ldb + l, n) : (vec){};
            }
            gemm_transpose(x);
            real *row = to + l * ld + j;
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                if (i < n)
                    vstore(row + i * ld, x[i]);
        }
    }
}

/* d[columns] = (d +) sums of B's columns over k rows. */
static void gemm_column_sums(real *d, const real *b, int64_t ldb, int64_t k, int64_t columns, int add)
{
    for (int64_t j = 0; j < columns; j += VL) {
        const int64_t n = gemm_min(VL, columns - j);
        vec even = {}, odd = {};
        int64_t l = 0;
        for (; l + 2 <= k; l += 2) {
            even += vload_n(b + l * ldb + j, n);
            odd += vload_n(b + (l + 1) * ldb + j, n);
        }
        if (l < k)
            even += vload_n(b + l * ldb + j, n);
        even += odd;
        if (add)
            even += vload_n(d + j, n);
        vstore_n(d + j, even, n);
    }
}

/* ---- blocks ---- */

/* Few rows times B transposed: the dot products run along k as both operands lie, and no bit of B is moved. */
static inline int gemm_uses_dots(const gemm *p)
{
    return p->b_transposed && p->m <= 8 && p->k >= 2 * VL;
}

/* Vectors in the panel that begins at `at` of `vectors`. */
static inline int gemm_panel(int64_t vectors, int64_t at, int wide)
{
    const int64_t left = vectors - at;
    if (wide && left >= 8)
        return 8;
    return left <= GEMM_PANEL ? (int)left : (int)gemm_up(left, gemm_up(left, GEMM_PANEL));
}

static inline int gemm_plain(const gemm *p)
{
    return p->s == NULL && p->z == NULL && p->activation <= FN_ACT_RELU;
}

/* Whether the tiles apply the gradient of the activation themselves. */
static inline int gemm_gated(const gemm *p)
{
    return p->s && !p->z && !p->bias && p->activation == FN_ACT_NONE &&
           (p->gradient == FN_ACT_RELU || p->gradient == FN_ACT_LEAKY_RELU);
}

static void gemm_dots(const gemm *p, int64_t r0, int64_t r1, int64_t c0, int64_t c1)
{
    const int plain = gemm_plain(p);
    real product[4 * VL];
    for (int64_t j = c0; j < c1; j += VL) {
        const int64_t columns = gemm_min(VL, c1 - j);
        gemm_tile t = {.b = p->b + j * p->ldb, 
                       .start = p->s || !p->bias ? NULL : p->same_bias ? p->bias : p->bias + j, .k = p->k,
                       .same_start = p->same_bias,
                       .lda = p->lda, .ldb = p->ldb, .ldc = p->s ? VL : p->ldc, .add = p->s ? 0 : p->add,
                       .floor = plain && p->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY};
        for (int64_t r = r0; r < r1;) {
            int64_t rows = 1;
            t.a = p->a + r * p->lda;
            t.c = p->s ? product : p->c + r * p->ldc + j;
#if defined(__AVX512F__) || defined(__ARM_NEON)
            rows = gemm_min(3, r1 - r);
            if (rows == 3)
                gemm_dots_3(&t, columns);
            else if (rows == 2)
                gemm_dots_2(&t, columns);
            else
#endif
                gemm_dots_1(&t, columns);
            if (!plain)
                gemm_finish(p, r, rows, j, columns, p->s ? product : NULL, VL, 1, 1);
            r += rows;
        }
    }
}

/* c[n] = max(floor, start + R rows of B, each times its element of a); start is NULL for zeros. */
FN_INLINE void gemm_row_pass(const int R, real *c, const real *start, const real *a, const real *b, int64_t ldb,
                             int64_t n, real floor)
{
    const vec least = vset1(floor);
    vec s[GEMM_STREAMS] = {{0}};
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        s[r] = vset1(a[r]);
    int64_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
        vec x = {}, y = {};
        if (start) {
            x = vload(start + j);
            y = vload(start + j + VL);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            x += s[r] * vload(b + r * ldb + j);
            y += s[r] * vload(b + r * ldb + j + VL);
        }
        vstore(c + j, vmax(least, x)); /* x when it is NaN */
        vstore(c + j + VL, vmax(least, y));
    }
    for (; j < n; j += VL) {
        const int64_t tail = gemm_min(VL, n - j);
        vec x = {};
        if (start)
            x = vload_n(start + j, tail);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            x += s[r] * vload_n(b + r * ldb + j, tail);
        vstore_n(c + j, vmax(least, x), tail);
    }
}

/* One row of A times columns [c0, c1) of B, which are read a few rows at a time and in memory order: all that counts
 * here. The chains of GEMM_K terms grow in C, or beside it where it already holds a sum. */
static void gemm_row(const gemm *p, int64_t c0, int64_t c1, real *scratch)
{
    const int plain = gemm_plain(p), beside = p->k > GEMM_K || p->add || p->s || p->same_bias;
    real *sums = beside ? scratch : p->c + c0;
    int64_t l = 0;
    do {
        const int64_t rows = gemm_min(GEMM_STREAMS, p->k - l);
        const int done = l + rows == p->k;
        const real floor = plain && !beside && done && p->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY;
        const real *start = l % GEMM_K > 0 ? sums : beside || !p->bias ? NULL : p->bias + c0;
        const real *a = p->a + l, *b = p->b + l * p->ldb + c0;
        if (rows == GEMM_STREAMS)
            gemm_row_pass(GEMM_STREAMS, sums, start, a, b, p->ldb, c1 - c0, floor);
        else
            gemm_row_pass((int)rows, sums, start, a, b, p->ldb, c1 - c0, floor);
        l += rows;
        if (beside && (done || l % GEMM_K == 0))
            gemm_finish(p, 0, 1, c0, c1 - c0, sums, 0, l <= GEMM_K, done);
    } while (l < p->k);
    if (!beside && !plain)
        gemm_finish(p, 0, 1, c0, c1 - c0, NULL, 0, 1, 1);
}

/* Whether C and B are single columns that lie like rows. */
static inline int gemm_is_column(const gemm *p)
{
    return p->n == 1 && p->ldc == 1 && p->ldb == 1 && p->m > 1 && (p->k_major || p->k >= 2 * VL);
}

/* Such a product as a row: C^T = B^T A^T. */
static void gemm_column(const gemm *p, int64_t r0, int64_t r1, real *scratch)
{
    gemm q = *p;
    q.a = p->b;
    q.b = p->a;
    q.lda = p->k;
    q.ldb = p->lda;
    q.ldc = p->m;
    q.m = 1;
    q.n = p->m;
    q.k_major = 0;
    q.same_bias = p->bias != NULL;
    if (p->sums && r0 == 0)
        gemm_column_sums(p->sums, p->b, 1, p->k, 1, p->add_sums);
    if (p->k_major) {
        gemm_row(&q, r0, r1, scratch);
    } else {
        q.b_transposed = 1;
        gemm_dots(&q, 0, 1, r0, r1);
    }
}

/* C is an outer product: written row by row, for nothing but its bytes takes time. */
static inline int gemm_is_outer(const gemm *p)
{
    return p->k == 1 && p->n >= 4 * VL && (!p->b_transposed || p->ldb == 1) && (gemm_gated(p) || gemm_plain(p));
}

static void gemm_outer(const gemm *p, int64_t r0, int64_t r1, int64_t c0, int64_t c1)
{
    const vec floor = vset1(p->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY), zero = {}, one = vset1(1);
    const vec slope = vset1(p->gradient == FN_ACT_LEAKY_RELU ? p->alpha : 0);
    if (p->sums && r0 == 0)
        gemm_column_sums(p->sums + c0, p->b + c0, 0, 1, c1 - c0, p->add_sums);
    for (int64_t r = r0; r < r1; r++) {
        const vec a = vset1(p->a[p->k_major ? r : r * p->lda]);
        real *c = p->c + r * p->ldc;
        const real *s = p->s ? p->s + r * p->ldc : NULL;
        int64_t j = c0;
        if (!s && !p->bias && !p->add)
            for (; j + VL <= c1; j += VL)
                vstore(c + j, vmax(floor, vload(p->b + j) * a));
        for (; j < c1; j += VL) {
            const int64_t n = gemm_min(VL, c1 - j);
            vec x = vload_n(p->b + j, n) * a;
            if (s)
                x *= vselect(vload_n(s + j, n) > zero, one, slope);
            if (p->bias)
                x += vload_n(p->bias + j, n);
            if (p->add)
                x += vload_n(c + j, n);
            vstore_n(c + j, vmax(floor, x), n);
        }
    }
}

/* A k-major and B of few columns, which would leave lanes of C's vectors unused: C^T = B^T A has A's rows as vectors. */
static inline int gemm_is_narrow(const gemm *p)
{
    return p->k_major && p->n > 1 && p->n <= GEMM_NARROW && p->m >= 2 * VL && p->k >= VL && gemm_plain(p) && !p->bias;
}

static void gemm_narrow(const gemm *p, int64_t r0, int64_t r1)
{
    const vec floor = vset1(p->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY);
    if (p->sums && r0 == 0)
        gemm_column_sums(p->sums, p->b, p->ldb, p->k, p->n, p->add_sums);
    for (int64_t r = r0; r < r1;) {
        real product[VL * 4 * VL] = {0};
        const int nv = gemm_panel(gemm_up(r1 - r, VL), 0, 0), most = gemm_tile_rows[nv];
        const int64_t rows = gemm_min(nv * VL, r1 - r), over = r + nv * VL - p->m;
        for (int64_t k0 = 0; k0 < p->k;) {
            const int64_t left = p->k - k0, k = left <= GEMM_K ? left : gemm_up(left, gemm_up(left, GEMM_K));
            gemm_tile t = {.b = p->a + k0 * p->lda + r, .k = k, .lda = p->ldb, .ldb = p->lda, .ldc = nv * VL,
                           .tail = rows - (nv - 1) * VL, .add = k0 > 0 || p->add, .floor = -(real)FN_INFINITY,
                           .whole = over <= 0 ? k : gemm_min(k, p->k - gemm_up(over, p->lda) - k0)};
            if (k0 == 0 && p->add)
                for (int64_t i = 0; i < rows; i++)
                    for (int64_t j = 0; j < p->n; j++)
                        product[j * nv * VL + i] = p->c[(r + i) * p->ldc + j];
            for (int64_t j = 0; j < p->n;) {
                const int64_t n = p->n - j <= most ? p->n - j : gemm_up(p->n - j, gemm_up(p->n - j, most));
                t.a = p->b + k0 * p->ldb + j;
                t.c = product + j * nv * VL;
                gemm_tiles[1][nv][n](&t);
                j += n;
            }
            k0 += k;
        }
        for (int64_t i = 0; i < rows; i += VL) {
            vec x[VL];
#pragma GCC unroll 16
            for (int j = 0; j < VL; j++)
                x[j] = j < GEMM_NARROW ? vload(product + j * nv * VL + i) : (vec){};
            gemm_transpose(x);
#pragma GCC unroll 16
            for (int j = 0; j < VL; j++)
                if (i + j < rows)
                    vstore_n(p->c + (r + i + j) * p->ldc, vmax(floor, x[j]), p->n);
        }
        r += rows;
    }
}

#include "matmul_bfloat16.inc.c"

/* Asks for `rows` rows of n elements of A. */
static inline void gemm_ask_rows(const real *a, int64_t lda, int64_t n, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t l = 0; l < n; l += 64 / (int64_t)sizeof(real))
            __builtin_prefetch(a + r * lda + l, 0, 2);
}

/* Whether B is copied panel by panel: to transpose it, or for many rows of A. Panels of wide vectors are read as fast
 * where they lie, unless nearly each row is on a page of its own, or their columns are too many bytes to stay near. */
static inline int gemm_packs_b(const gemm *p, int64_t rows, int64_t columns)
{
    const int apart = FN_VBYTES < 64 || p->ldb >= GEMM_PAGE * 7 / 8 || p->k * columns > 2 * GEMM_KEPT;
    return p->b_transposed || (rows > GEMM_PACK_ROWS && columns > GEMM_PANEL * VL && apart);
}

/* Whether a k-major A is copied, for several panels of B. Wide ones ask for little of A, so that only rows whole pages
 * apart, which all meet in the same few lines of the caches, are in the way. */
static inline int gemm_packs_a(const gemm *p, int64_t vectors)
{
    return p->k_major && vectors > GEMM_PANEL && p->k > 64 && (FN_VBYTES < 64 || p->lda % GEMM_PAGE == 0);
}

/* Rows [r0, r1) and vectors of columns [v0, v1) of C; scratch holds GEMM_SCRATCH elements, and for one row or column of C
 * the sums of gemm_row. */
static void gemm_block(const gemm *p, int64_t r0, int64_t r1, int64_t v0, int64_t v1, real *scratch)
{
    const int64_t c0 = v0 * VL, c1 = gemm_min(p->n, v1 * VL), rows = r1 - r0, vectors = v1 - v0;
#ifdef FN_PAIRS
    if (gemm_in_parts(p)) {
        (p->tiled ? gemm_tiled_block : gemm_rounded_block)(p, r0, r1, c0, c1, scratch);
        return;
    }
#endif
    if (gemm_uses_dots(p)) {
        gemm_dots(p, r0, r1, c0, c1);
        return;
    }
    if (gemm_is_column(p)) {
        gemm_column(p, r0, r1, scratch);
        return;
    }
    if (p->m == 1 && p->n > GEMM_ROW_COLUMNS && !p->b_transposed && (!p->k_major || p->lda == 1)) {
        if (p->sums)
            gemm_column_sums(p->sums + c0, p->b + c0, p->ldb, p->k, c1 - c0, p->add_sums);
        gemm_row(p, c0, c1, scratch);
        return;
    }
    if (gemm_is_outer(p)) {
        gemm_outer(p, r0, r1, c0, c1);
        return;
    }
    if (gemm_is_narrow(p)) {
        gemm_narrow(p, r0, r1);
        return;
    }
    const int gated = gemm_gated(p), plain = gated || gemm_plain(p), beside = p->s && !gated;
    const int pack_b = gemm_packs_b(p, rows, c1 - c0), pack_a = gemm_packs_a(p, vectors);
    const int wide = !pack_b && rows <= GEMM_WIDE_ROWS;
    if (!pack_b && !p->k_major && p->k > GEMM_K && rows > GEMM_ROWS && p->k * (c1 - c0) <= GEMM_KEPT) {
        /* B stays in the second-level cache: some rows of A after the other meet all of it, and are read once */
        for (int64_t at = r0; at < r1; at += GEMM_ROWS)
            gemm_block(p, at, gemm_min(at + GEMM_ROWS, r1), v0, v1, scratch);
        return;
    }
    real *packed_a = scratch + GEMM_K * GEMM_COLUMNS * VL;
    real product[(VL < 8 ? 8 : VL) * GEMM_TILE_VECS];

    int64_t k0 = 0;
    do {
        const int64_t left = p->k - k0, k = left <= GEMM_K ? left : gemm_up(left, gemm_up(left, GEMM_K));
        const int first = k0 == 0, last = k0 + k >= p->k;
        const real *b = p->b_transposed ? p->b + c0 * p->ldb + k0 : p->b + k0 * p->ldb + c0;

        if (pack_b)
            for (int64_t v = 0; v < vectors;) {
                const int nv = gemm_panel(vectors, v, 0);
                const int64_t columns = gemm_min(nv * VL, c1 - c0 - v * VL);
                if (p->b_transposed)
                    gemm_pack_transposed(scratch + v * VL * k, b + v * VL * p->ldb, p->ldb, k, columns);
                else
                    gemm_pack(scratch + v * VL * k, b + v * VL, p->ldb, k, columns);
                v += nv;
            }
        if (p->sums && r0 == 0)
            gemm_column_sums(p->sums + c0, b, p->ldb, k, c1 - c0, p->add_sums || !first);

        /* the block of B that is copied after this one: asked for while the last rows of A meet this one */
        const int same_columns = k0 + k < p->k;
        const int64_t next_k = same_columns ? k0 + k : 0, next_column = same_columns ? c0 : c1;
        const real *next = NULL;
        int64_t next_rows = 0;
        if (pack_b && !p->k_major && next_column < p->n) {
            next = p->b_transposed ? p->b + next_column * p->ldb + next_k : p->b + next_k * p->ldb + next_column;
            next_rows = p->b_transposed ? gemm_min(p->n - next_column, c1 - c0) : gemm_min(p->k - next_k, GEMM_K);
        }

        /* of one panel all rows, for nothing is used again, unless what follows wants them near */
        const int64_t block_rows = gemm_panel(vectors, 0, wide) == vectors && plain && !beside ? r1 - r0
                                   : p->k <= GEMM_SHORT ? GEMM_ROWS / 4 : GEMM_ROWS;
        for (int64_t at = r0; at < r1; at += block_rows) {
            const int64_t end = gemm_min(at + block_rows, r1);
            const real *a = p->k_major ? p->a + k0 * p->lda + at : p->a + at * p->lda + k0;
            int64_t lda = p->lda;
            if (pack_a) {
                gemm_pack(packed_a, a, lda, k, end - at);
                a = packed_a;
                lda = gemm_up(end - at, VL) * VL;
            }
            /* the next rows of a k-major A lie far apart: asked for in step with the products of these */
            const real *ahead = p->a + k0 * p->lda + end;
            const int64_t ahead_rows = pack_a ? gemm_min(block_rows, r1 - end) : 0;
            int64_t made = 0, asked = 0;
            const int asks = next && r1 - at <= GEMM_ASKING * block_rows;
            for (int64_t v = 0; v < vectors;) {
                const int nv = gemm_panel(vectors, v, wide);
                const int64_t column = c0 + v * VL, columns = gemm_min(nv * VL, c1 - column);
                gemm_tile t = {.start = first && p->bias && p->s == NULL ? p->bias + column : NULL, .k = k, .lda = lda,
                               .ld_ask = p->ldb, .ask_bits = p->b_transposed ? GEMM_K_BITS : GEMM_COLUMNS_BITS,
                               .ldc = p->ldc, .tail = columns - (nv - 1) * VL, .add = p->add || !first,
                               .far = !beside && p->m * p->n > GEMM_FAR,
                               .floor = plain && last && p->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY,
                               .slope = p->gradient == FN_ACT_LEAKY_RELU ? p->alpha : 0};
                if (pack_b) {
                    t.b = scratch + v * VL * k;
                    t.ldb = nv * VL;
                    t.whole = k;
                } else {
                    t.b = b + v * VL;
                    t.ldb = p->ldb;
                    /* a last vector that is not full reads on into B's next row, where there is one */
                    const int64_t over = column + nv * VL - p->n;
                    t.whole = over <= 0 ? k : gemm_min(k, p->k - gemm_up(over, p->ldb > 0 ? p->ldb : 1) - k0);
                }
                if (beside) {
                    t.add = 0;
                    t.ldc = nv * VL;
                }
                const int most = gemm_tile_rows[nv];
                for (int64_t r = at; r < end;) {
                    int64_t n = gemm_tiles_below(end - r, most, &t.below);
                    if (beside || ahead_rows > 0) /* something follows each tile */
                        t.below = 1;
                    t.a = p->k_major ? a + (r - at) : a + (r - at) * lda;
                    /* of a k-major A some rows on, otherwise the rows of the next tile */
                    t.ahead = v > 0 || pack_a ? 0 : (p->k_major ? GEMM_AHEAD : n) * lda;
                    t.last_ahead = p->k_major || p->m - r > n * t.below ? t.ahead : 0;
                    t.ask = NULL;
                    if (asks && v > 0) {
                        t.ask_rows = k >> t.ask_bits > 1 ? n * (k >> t.ask_bits) : n;
                        if (t.ask_rows * t.below <= next_rows) {
                            t.ask = next;
                            next += t.ask_rows * t.below * p->ldb;
                            next_rows -= t.ask_rows * t.below;
                        }
                    }
                    t.c = beside ? product : p->c + r * p->ldc + column;
                    t.gate = gated ? p->s + r * p->ldc + column : NULL;
                    gemm_tiles[p->k_major][nv][n](&t);
                    n *= t.below;
                    if (ahead_rows > 0) {
                        made += n * nv;
                        const int64_t due = k * made / ((end - at) * vectors);
                        gemm_ask_rows(ahead + asked * p->lda, p->lda, ahead_rows, due - asked);
                        asked = due;
                    }
                    if (!plain && (beside || last))
                        gemm_finish(p, r, n, column, columns, beside ? product : NULL, nv * VL, first, last);
                    r += n;
                }
                v += nv;
            }
        }
        k0 += k;
    } while (k0 < p->k);
}

/* ---- tasks ---- */

typedef struct {
    int64_t row_tasks, column_blocks; /* tasks of one product: row tasks of each column block in turn */
    int64_t products;
} gemm_grid;

static inline int64_t gemm_vectors(const gemm *p) { return gemm_up(p->n, VL); }

static gemm_grid gemm_make_grid(const gemm *p, int64_t products)
{
    gemm_grid g = {1, 1, products > 1 ? products : 1};
    if (p->m > GEMM_TASK_ROWS)
        g.row_tasks = gemm_up(p->m, GEMM_TASK_ROWS);
    const int whole = p->parts == 0 && p->m >= GEMM_TALL && p->n * p->k <= GEMM_K * GEMM_COLUMNS * VL / 2;
    if (p->n > GEMM_COLUMNS * VL && !whole)
        g.column_blocks = gemm_up(gemm_vectors(p), GEMM_COLUMNS);
    return g;
}

/* Vectors of columns [*v0, *v1) of column block j. */
static inline void gemm_column_block(const gemm *p, const gemm_grid *g, int64_t j, int64_t *v0, int64_t *v1)
{
    const int64_t vectors = gemm_vectors(p), odd = p->tiled; /* tiles stand two by two */
    *v0 = (vectors * j / g->column_blocks + odd) & ~odd;
    *v1 = gemm_min(vectors, (vectors * (j + 1) / g->column_blocks + odd) & ~odd);
}

enum { GEMM_NN, GEMM_NT, GEMM_TN };

static inline gemm gemm_of(const fn_op *op, const fn_step *step, int form)
{
    const int64_t rows = op->i[14] ? op->i[0] : fn_rows(op, step);
    return (gemm){
        .c = op->p[0], .a = op->p[1], .b = op->p[2], .bias = op->p[3], .z = op->p[4],
        .s = op->i[8] ? op->p[5] : NULL, .sums = op->p[6],
        .m = form == GEMM_TN ? op->i[2] : rows, .n = op->i[1], .k = form == GEMM_TN ? rows : op->i[2],
        .lda = op->i[3], .ldb = op->i[4], .ldc = op->i[5], .k_major = form == GEMM_TN,
        .b_transposed = form == GEMM_NT, .add = op->i[6] != 0, .activation = (int)op->i[7],
        .gradient = (int)op->i[8], .add_sums = op->i[9] != 0, .parts = (int)op->i[18], .tiled = op->i[19] != 0,
        .packed = fn_has_copies(step) ? op->p[7] : NULL,
        .half = (int)op->i[20], .alpha = (real)op->f[0],
    };
}

static int64_t gemm_tasks(const fn_op *op, const fn_step *step, int form)
{
    if (op->i[14])
        return step->rows;
    if (op->split == FN_SPLIT_ROWS)
        return fn_row_tasks(op, step);
    const gemm p = gemm_of(op, step, form);
    const gemm_grid g = gemm_make_grid(&p, op->i[10]);
    return g.products * g.column_blocks * g.row_tasks;
}

static size_t gemm_scratch(const fn_op *op, const fn_step *step)
{
    const int64_t one_row = fn_rows(op, step) * (op->i[1] == 1) + op->i[1] + op->i[2]; /* the sums of gemm_row */
    return (GEMM_SCRATCH + (size_t)one_row) * sizeof(real);
}

/* Tasks [lo, hi) of a product's grid. */
static void gemm_run_grid(const gemm *p, const gemm_grid *g, int64_t lo, int64_t hi, real *scratch)
{
    if (p->m == 1 && !p->half) { /* nothing is packed: the blocks as one */
        int64_t v0, v1, unused;
        gemm_column_block(p, g, lo, &v0, &unused);
        gemm_column_block(p, g, hi - 1, &unused, &v1);
        gemm_block(p, 0, 1, v0, v1, scratch);
        return;
    }
    while (lo < hi) {
        const int64_t block = lo / g->row_tasks, t0 = lo % g->row_tasks;
        const int64_t t1 = gemm_min(g->row_tasks, t0 + hi - lo);
        int64_t v0, v1;
        gemm_column_block(p, g, block, &v0, &v1);
        gemm_block(p, t0 * GEMM_TASK_ROWS, gemm_min(p->m, t1 * GEMM_TASK_ROWS), v0, v1, scratch);
        lo += t1 - t0;
    }
}

static void gemm_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch, int form)
{
    gemm p = gemm_of(op, step, form);
    if (p.m < 1 || p.n < 1)
        return;
    const gemm_grid g = gemm_make_grid(&p, op->i[10]);
    const int64_t tasks = g.column_blocks * g.row_tasks;
    if (tasks == 1 && g.products == 1 && !op->i[14] && op->split != FN_SPLIT_ROWS) {
        gemm_block(&p, 0, p.m, 0, gemm_vectors(&p), scratch);
        return;
    }
    const gemm first = p;
    if (op->i[14]) {
        for (int64_t sample = lo; sample < hi; sample++)
            for (int64_t j = 0; j < g.products; j++) {
                p.a = first.a + sample * op->i[15] + j * op->i[11];
                p.b = first.b + sample * op->i[16] + j * op->i[12];
                p.c = first.c + sample * op->i[17] + j * op->i[13];
                gemm_run_grid(&p, &g, 0, tasks, scratch);
            }
    } else if (op->split == FN_SPLIT_ROWS) {
        int64_t r0, r1;
        fn_row_range(op, lo, hi, &r0, &r1);
        for (int64_t j = 0; j < g.products; j++) {
            p.a = first.a + j * op->i[11];
            p.b = first.b + j * op->i[12];
            p.c = first.c + j * op->i[13];
            for (int64_t block = 0; block < g.column_blocks; block++) {
                int64_t v0, v1;
                gemm_column_block(&p, &g, block, &v0, &v1);
                gemm_block(&p, r0, r1, v0, v1, scratch);
            }
        }
    } else if (g.products == 1) {
        gemm_run_grid(&p, &g, lo, hi, scratch);
    } else {
        while (lo < hi) {
            const int64_t j = lo / tasks, t0 = lo % tasks, t1 = gemm_min(tasks, t0 + hi - lo);
            p.a = first.a + j * op->i[11];
            p.b = first.b + j * op->i[12];
            p.c = first.c + j * op->i[13];
            gemm_run_grid(&p, &g, t0, t1, scratch);
            lo += t1 - t0;
        }
    }
}

#define GEMM_FORM(name, form)                                                                                     \
    static int64_t name##_tasks(const fn_op *op, const fn_step *step) { return gemm_tasks(op, step, form); }       \
    static void name(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)                  \
    {                                                                                                             \
        gemm_run(op, step, lo, hi, scratch, form);                                                                \
    }
GEMM_FORM(matmul_nn, GEMM_NN)
GEMM_FORM(matmul_nt, GEMM_NT)
GEMM_FORM(matmul_tn, GEMM_TN)
#undef GEMM_FORM

#define FN_MATMUL_KERNELS(X)                                                       \
    X(matmul_nn, FN_SPLIT_BLOCKS, matmul_nn_tasks, gemm_scratch, matmul_nn)        \
    X(matmul_nt, FN_SPLIT_BLOCKS, matmul_nt_tasks, gemm_scratch, matmul_nt)        \
    X(matmul_tn, FN_SPLIT_BLOCKS, matmul_tn_tasks, gemm_scratch, matmul_tn)
