/* matmul_tile.inc.c - the inner loops of matrix products: tiles of C held in registers.
 *
 * Two kinds. A broadcast tile walks along k, multiplying a row of B (vectors) with single elements of A; every
 * element of C is one chain of k multiply-adds, so all tile shapes give the same bits. A dot tile (below) has its
 * vectors along k, for products with B transposed that are too small to repay a transposition.
 */

/* C[R, NV vectors] = (start + A B) * gate', or C += that when `add`; then max(C, floor): 0, or -infinity for none.
 * gate' is 1 where `gate` (which lies as C does) is above 0, else `slope`: the gradient of ReLU and its leaky kin.
 * k-major A: A(i, l) is a[l lda + i]; otherwise a[i lda + l]. B(l, j) is b[l ldb + j]. start is NULL for zeros, or
 * rows ld_start apart: a bias (ld_start 0), or C itself, which continues its chains.
 * The last vector has `tail` columns, and may be read whole in the first `whole` rows of B.
 * What other memory is slow to give is asked for in step with the products: the elements of A that lie `ahead` elements
 * on from those in use (0: none), or, with rows of A and where `ask` is not NULL, rows of other memory, ld_ask apart
 * and of 1 << ask_bits elements, ask_rows of them by a tile; and C where it is `far`.
 * `below` tiles (0 is 1) are made one below the other by one call; `ahead` is of all but the last, which has
 * last_ahead. */
typedef struct {
    const real *a, *b, *start, *gate;
    real *c;
    int64_t k, lda, ldb, ldc, ld_start, tail, whole, below, ahead, last_ahead;
    const real *ask;
    int64_t ld_ask, ask_bits, ask_rows;
    int add, far, same_start; /* same_start: of dot tiles: one start for all columns */
    real floor, slope;
} gemm_tile;

typedef void gemm_tile_fn(const gemm_tile *t);

enum { GEMM_TILE_VECS = 32 }; /* at least the vectors of any tile */

/* A tile's rows where `left` are to be cut evenly into tiles of at most `most`; *below: how many tiles have as many. */
static inline int64_t gemm_tiles_below(int64_t left, int64_t most, int64_t *below)
{
    const int64_t tiles = (left + most - 1) / most, rows = (left + tiles - 1) / tiles;
    *below = left - tiles * (rows - 1);
    return rows;
}

/* Tile `number` of those below each other. With `pairs`, elements of A and B are pairs of bfloat16 and k counts pairs;
 * C, start and gate are as ever. */
FN_INLINE void gemm_tile_body(const int R, const int NV, const int k_major, const int pairs, const gemm_tile *t,
                              int64_t number)
{
#ifdef FN_PAIRS
#define GEMM_MULTIPLY(sum, s, x) (sum) = pairs ? vpairs_dot(sum, x, s) : (sum) + (s) * (x)
#else
#define GEMM_MULTIPLY(sum, s, x) (sum) += (s) * (x)
    (void)pairs;
#endif
    const int64_t lda = t->lda, ldb = t->ldb, ldc = t->ldc, tail = t->tail, row = number * R;
    const int64_t step_a = k_major ? lda : 1, row_a = k_major ? 1 : lda;
    const real *a = t->a + row * row_a, *b = t->b;
    const int64_t ahead = number + 1 < t->below ? t->ahead : t->last_ahead;
    const real *ask = a + ahead;
    int64_t ld_ask = row_a, bits = 63, due = ahead ? 0 : -1; /* products before more is asked for; -1: nothing is */
    if (!k_major && t->ask) {
        ask = t->ask + number * t->ask_rows * t->ld_ask;
        ld_ask = t->ld_ask;
        bits = t->ask_bits;
        due = 0;
    }
    real *c = t->c + row * ldc;
    vec acc[GEMM_TILE_VECS];

    if (t->far) {
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++)
                __builtin_prefetch(c + r * ldc + v * VL, 1);
    }
    if (t->start == NULL) {
#pragma GCC unroll 32
        for (int j = 0; j < R * NV; j++)
            acc[j] = (vec){};
    } else {
        const real *start = t->start + row * t->ld_start;
#pragma GCC unroll 16
        for (int r = 0; r < R; r++, start += t->ld_start) {
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++)
                acc[r * NV + v] = v < NV - 1 ? vload(start + v * VL) : vload_n(start + v * VL, tail);
        }
    }
#if defined(__AVX512F__)
    const int64_t whole = t->k; /* masks are free here */
#else
    const int64_t whole = t->whole;
#endif
    int64_t l = 0;
    for (; l < whole; l++) {
        vec x[8];
        if (k_major) {
            __builtin_prefetch(a + R - 1 + ahead);
        } else if (l == due) { /* a line of each of R rows; those done, of the next R */
            int64_t ld = ld_ask;
            __asm__ volatile("" : "+r"(ld)); /* or multiples of it are made for every tile, before all else */
            const real *line = ask + (l & (((int64_t)1 << bits) - 1)) + (l >> bits) * R * ld;
#pragma GCC unroll 16
            for (int r = 0; r < R; r++, line += ld)
                __builtin_prefetch(line);
            due += 64 / (int64_t)sizeof(real);
        }
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) {
#if defined(__AVX512F__)
            x[v] = v < NV - 1 ? vload(b + v * VL) : vload_n(b + v * VL, tail);
#else
            x[v] = vload(b + v * VL);
#endif
        }
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            const vec s = pairs ? vset1_bits(a + r * row_a) : vset1(a[r * row_a]);
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++)
                GEMM_MULTIPLY(acc[r * NV + v], s, x[v]);
        }
        a += step_a;
        b += ldb;
    }
#undef GEMM_MULTIPLY
#if !defined(__AVX512F__)
    for (; l < t->k; l++) {
        vec x[8];
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++)
            x[v] = v < NV - 1 ? vload(b + v * VL) : vload_n(b + v * VL, tail);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            const vec s = vset1(a[r * row_a]);
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++)
                acc[r * NV + v] += s * x[v];
        }
        a += step_a;
        b += ldb;
    }
#endif
    /* one thing at a time: what a product does without is passed over */
    if (t->gate) {
        const real *gate = t->gate + row * ldc;
        const vec zero = {}, one = vset1(1), slope = vset1(t->slope);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++, gate += ldc)
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++) {
                const vec s = v < NV - 1 ? vload(gate + v * VL) : vload_n(gate + v * VL, tail);
                acc[r * NV + v] *= vselect(s > zero, one, slope);
            }
    }
    if (t->add) {
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++)
                acc[r * NV + v] += v < NV - 1 ? vload(c + r * ldc + v * VL) : vload_n(c + r * ldc + v * VL, tail);
    }
    if (t->floor == 0) {
        const vec zero = {};
#pragma GCC unroll 32
        for (int j = 0; j < R * NV; j++)
            acc[j] = vmax(zero, acc[j]); /* the element when it is NaN */
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++, c += ldc) {
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) {
            if (v < NV - 1)
                vstore(c + v * VL, acc[r * NV + v]);
            else
                vstore_n(c + v * VL, acc[r * NV + v], tail);
        }
    }
}

FN_INLINE void gemm_tiles_down(const int R, const int NV, const int k_major, const int pairs, const gemm_tile *t)
{
    int64_t number = 0;
    do
        gemm_tile_body(R, NV, k_major, pairs, t, number++);
    while (number < t->below);
}

/* The tiles, by vectors across (NV) and rows. More rows use B's vectors more often, up to the number of registers;
 * eight vectors across are for one to three rows, where only several chains side by side fill the multipliers. */
#if defined(__AVX512F__) || defined(__ARM_NEON)
#define GEMM_TILES_1(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) \
    X(12, 1) X(13, 1) X(14, 1) X(15, 1) X(16, 1)
#define GEMM_TILES_2(X) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) \
    X(12, 2)
#define GEMM_TILES_3(X) X(1, 3) X(2, 3) X(3, 3) X(4, 3) X(5, 3) X(6, 3) X(7, 3) X(8, 3)
#define GEMM_TILES_4(X) X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4)
#define GEMM_TILES_8(X) X(1, 8) X(2, 8) X(3, 8)
static const int gemm_tile_rows[9] = {[1] = 16, [2] = 12, [3] = 8, [4] = 6, [8] = 3};
enum { GEMM_PANEL = 4, GEMM_WIDE_ROWS = 3 };
#else
#define GEMM_TILES_1(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) \
    X(12, 1)
#define GEMM_TILES_2(X) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2)
#define GEMM_TILES_3(X) X(1, 3)
#define GEMM_TILES_4(X) X(1, 4)
#define GEMM_TILES_8(X) X(1, 8)
static const int gemm_tile_rows[9] = {[1] = 12, [2] = 6, [3] = 1, [4] = 1, [8] = 1};
enum { GEMM_PANEL = 2, GEMM_WIDE_ROWS = 1 };
#endif
#define GEMM_TILES(X) GEMM_TILES_1(X) GEMM_TILES_2(X) GEMM_TILES_3(X) GEMM_TILES_4(X) GEMM_TILES_8(X)

#define GEMM_DEFINE(R, NV)                                                                          \
    static void gemm_rows_##R##x##NV(const gemm_tile *t) { gemm_tiles_down(R, NV, 0, 0, t); }           \
    static void gemm_kmajor_##R##x##NV(const gemm_tile *t) { gemm_tiles_down(R, NV, 1, 0, t); }
GEMM_TILES(GEMM_DEFINE)
#undef GEMM_DEFINE
#define GEMM_ROWS_ENTRY(R, NV) [NV][R] = gemm_rows_##R##x##NV,
#define GEMM_KMAJOR_ENTRY(R, NV) [NV][R] = gemm_kmajor_##R##x##NV,
static gemm_tile_fn *const gemm_tiles[2][9][17] = {{GEMM_TILES(GEMM_ROWS_ENTRY)}, {GEMM_TILES(GEMM_KMAJOR_ENTRY)}};
#undef GEMM_ROWS_ENTRY
#undef GEMM_KMAJOR_ENTRY

#ifdef FN_PAIRS
#define GEMM_PAIR_TILES(X) GEMM_TILES_1(X) GEMM_TILES_2(X) GEMM_TILES_3(X) GEMM_TILES_4(X)
#define GEMM_DEFINE(R, NV) \
    static void gemm_pairs_##R##x##NV(const gemm_tile *t) { gemm_tiles_down(R, NV, 0, 1, t); }
GEMM_PAIR_TILES(GEMM_DEFINE)
#undef GEMM_DEFINE
#define GEMM_PAIRS_ENTRY(R, NV) [NV][R] = gemm_pairs_##R##x##NV,
static gemm_tile_fn *const gemm_pair_tiles[5][17] = {GEMM_PAIR_TILES(GEMM_PAIRS_ENTRY)};
#undef GEMM_PAIRS_ENTRY
#endif

/* ---- exchanging lanes ---- */

/* Of blocks of h lanes: first gives a's even blocks with b's even ones behind each, second the odd blocks. */
#define GEMM_FIRST(l, h) ((l) & (h) ? VL + (l) - (h) : (l))
#define GEMM_SECOND(l, h) ((l) & (h) ? VL + (l) : (l) + (h))
#if FN_VBYTES == 64 && defined(FN_REAL_32)
#define GEMM_LANES(f, h) f(0, h), f(1, h), f(2, h), f(3, h), f(4, h), f(5, h), f(6, h), f(7, h), \
    f(8, h), f(9, h), f(10, h), f(11, h), f(12, h), f(13, h), f(14, h), f(15, h)
#define GEMM_HALVINGS(X) X(8) X(4) X(2) X(1)
#elif FN_VBYTES == 64 || (FN_VBYTES == 32 && defined(FN_REAL_32))
#define GEMM_LANES(f, h) f(0, h), f(1, h), f(2, h), f(3, h), f(4, h), f(5, h), f(6, h), f(7, h)
#define GEMM_HALVINGS(X) X(4) X(2) X(1)
#elif FN_VBYTES == 32 || defined(FN_REAL_32)
#define GEMM_LANES(f, h) f(0, h), f(1, h), f(2, h), f(3, h)
#define GEMM_HALVINGS(X) X(2) X(1)
#else
#define GEMM_LANES(f, h) f(0, h), f(1, h)
#define GEMM_HALVINGS(X) X(1)
#endif

/* x[i] becomes column i of the VL x VL matrix whose rows x held. */
FN_INLINE void gemm_transpose(vec *x)
{
#define GEMM_STAGE(h)                                                                          \
    _Pragma("GCC unroll 16") for (int i = 0; i < VL; i++) if (!(i & (h)))                      \
    {                                                                                          \
        const vec a = x[i], b = x[i + (h)];                                                    \
        x[i] = __builtin_shufflevector(a, b, GEMM_LANES(GEMM_FIRST, h));                       \
        x[i + (h)] = __builtin_shufflevector(a, b, GEMM_LANES(GEMM_SECOND, h));                \
    }
    GEMM_HALVINGS(GEMM_STAGE)
#undef GEMM_STAGE
}

/* Lane i of the result is the sum of x[i]'s lanes. */
FN_INLINE vec gemm_sums(vec *x)
{
#define GEMM_STAGE(h)                                                                          \
    _Pragma("GCC unroll 8") for (int i = 0; i < (h); i++)                                      \
        x[i] = __builtin_shufflevector(x[i], x[i + (h)], GEMM_LANES(GEMM_FIRST, h)) +          \
               __builtin_shufflevector(x[i], x[i + (h)], GEMM_LANES(GEMM_SECOND, h));
    GEMM_HALVINGS(GEMM_STAGE)
#undef GEMM_STAGE
    return x[0];
}

/* c[r ldc + j] = dot(row r of A, row j of B), both contiguous along k, for R rows of A and VL rows of B, of which
 * the first `columns` exist. */
FN_INLINE void gemm_dots_body(const int R, const gemm_tile *t, int64_t columns)
{
    enum { GROUP = VL < 8 ? VL : 8 }; /* columns at a time: 8 streams of B, 8 R chains */
    vec sums[4][VL];
#pragma GCC unroll 4
    for (int g = 0; g < VL; g += GROUP) {
        vec acc[4][GROUP];
        const real *b[GROUP];
        if (g >= columns) {
#pragma GCC unroll 4
            for (int r = 0; r < R; r++)
#pragma GCC unroll 8
                for (int j = 0; j < GROUP; j++)
                    sums[r][g + j] = (vec){};
            continue;
        }
#pragma GCC unroll 8
        for (int j = 0; j < GROUP; j++) { /* a column that does not exist repeats the last that does */
            b[j] = t->b + (g + j < columns ? g + j : columns - 1) * t->ldb;
#pragma GCC unroll 4
            for (int r = 0; r < R; r++)
                acc[r][j] = (vec){};
        }
        int64_t l = 0;
        for (; l + VL <= t->k; l += VL) {
            vec x[4];
#pragma GCC unroll 4
            for (int r = 0; r < R; r++)
                x[r] = vload(t->a + r * t->lda + l);
#pragma GCC unroll 8
            for (int j = 0; j < GROUP; j++) {
                const vec y = vload(b[j] + l);
#pragma GCC unroll 4
                for (int r = 0; r < R; r++)
                    acc[r][j] += x[r] * y;
            }
        }
        if (l < t->k) {
            vec x[4];
#pragma GCC unroll 4
            for (int r = 0; r < R; r++)
                x[r] = vload_n(t->a + r * t->lda + l, t->k - l);
#pragma GCC unroll 8
            for (int j = 0; j < GROUP; j++) {
                const vec y = vload_n(b[j] + l, t->k - l);
#pragma GCC unroll 4
                for (int r = 0; r < R; r++)
                    acc[r][j] += x[r] * y;
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int j = 0; j < GROUP; j++)
                sums[r][g + j] = acc[r][j];
    }
    real *c = t->c;
#pragma GCC unroll 4
    for (int r = 0; r < R; r++, c += t->ldc) {
        vec x = gemm_sums(sums[r]);
        if (t->start)
            x += t->same_start ? vset1(*t->start) : vload_n(t->start, columns);
        if (t->add)
            x += vload_n(c, columns);
        vstore_n(c, vmax(vset1(t->floor), x), columns);
    }
}

static void gemm_dots_1(const gemm_tile *t, int64_t columns) { gemm_dots_body(1, t, columns); }
#if defined(__AVX512F__) || defined(__ARM_NEON)
static void gemm_dots_2(const gemm_tile *t, int64_t columns) { gemm_dots_body(2, t, columns); }
static void gemm_dots_3(const gemm_tile *t, int64_t columns) { gemm_dots_body(3, t, columns); }
#endif
