/* conv_tile.inc.c - the inner loops of convolutions: blocks of the result held in registers.
 *
 * Both walk along an image as it lies, so no patch is ever copied: neighbouring pixels' patches overlap in memory.
 * The vectors (of the kernel, or of dy) are read whole: who calls pads them where they are not.
 */

/* C[R pixels, NV vectors of filters] = start + patches B, then max(C, floor): 0, or -infinity for none.
 * A pixel's patch is `outer` x `inner` runs of k contiguous elements; pixels are lda apart. B has a row of ldb elements
 * for each element of the patch. start is NULL for zeros, or one row of NV vectors, the last of `tail` elements.
 * With two halves, R / 2 pixels are of one row and R / 2 of another, a_half on in A and c_half in C. */
typedef struct {
    const real *a, *b, *start;
    real *c;
    int64_t k, inner, inner_step, outer, outer_step, lda, ldb, ldc, tail, a_half, c_half;
    real floor;
} conv_tile;

typedef void conv_tile_fn(const conv_tile *t);

FN_INLINE void conv_tile_body(const int R, const int NV, const int halves, const conv_tile *t)
{
    const real *b = t->b;
    const int64_t lda = t->lda, ldb = t->ldb, k = t->k, tail = t->tail, half = t->a_half;
    vec acc[GEMM_TILE_VECS];

#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
        vec x = {};
        if (t->start)
            x = v < NV - 1 ? vload(t->start + v * VL) : vload_n(t->start + v * VL, tail);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
            acc[r * NV + v] = x;
    }
    const real *row = t->a;
    for (int64_t j = 0; j < t->outer; j++, row += t->outer_step) {
        const real *run = row;
        for (int64_t i = 0; i < t->inner; i++, run += t->inner_step) {
            const real *a = run;
            for (int64_t l = 0; l < k; l++, a++, b += ldb) {
                vec x[8];
#pragma GCC unroll 8
                for (int v = 0; v < NV; v++)
                    x[v] = vload(b + v * VL);
#pragma GCC unroll 16
                for (int r = 0; r < R; r++) {
                    const vec s = vset1(r < R / halves ? a[r * lda] : a[half + (r - R / halves) * lda]);
#pragma GCC unroll 8
                    for (int v = 0; v < NV; v++)
                        acc[r * NV + v] += s * x[v];
                }
            }
        }
    }
    if (t->floor == 0) {
        const vec zero = {};
#pragma GCC unroll 32
        for (int j = 0; j < R * NV; j++)
            acc[j] = vmax(zero, acc[j]); /* the element when it is NaN */
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
        real *c = t->c + (r < R / halves ? r * t->ldc : t->c_half + (r - R / halves) * t->ldc);
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) {
            if (v < NV - 1)
                vstore(c + v * VL, acc[r * NV + v]);
            else
                vstore_n(c + v * VL, acc[r * NV + v], tail);
        }
    }
}

/* C[R elements of a patch, NV vectors of filters] (+)= sum over rows x pixels of patch elements times B's row of the
 * pixel. The elements are those of `halves` runs `half_step` apart, R / halves of each; pixels are lda and rows a_step
 * apart in A, B's rows follow each other. */
typedef struct {
    const real *a, *b;
    real *c;
    int64_t pixels, rows, lda, a_step, half_step, ldb, ldc, c_half, tail;
    int add;
} conv_sum_tile;

typedef void conv_sum_fn(const conv_sum_tile *t);

FN_INLINE void conv_sum_body(const int R, const int NV, const int halves, const conv_sum_tile *t)
{
    const real *b = t->b, *row = t->a;
    const int64_t lda = t->lda, ldb = t->ldb, pixels = t->pixels, half = t->half_step;
    vec acc[GEMM_TILE_VECS];
#pragma GCC unroll 32
    for (int j = 0; j < R * NV; j++)
        acc[j] = (vec){};
    for (int64_t j = 0; j < t->rows; j++, row += t->a_step) {
        const real *a = row;
        for (int64_t l = 0; l < pixels; l++, a += lda, b += ldb) {
            vec x[8];
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++)
                x[v] = vload(b + v * VL);
#pragma GCC unroll 16
            for (int r = 0; r < R; r++) {
                const vec s = vset1(r < R / halves ? a[r] : a[half + r - R / halves]);
#pragma GCC unroll 8
                for (int v = 0; v < NV; v++)
                    acc[r * NV + v] += s * x[v];
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
        real *c = t->c + (r < R / halves ? r * t->ldc : t->c_half + (r - R / halves) * t->ldc);
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) {
            const int whole = v < NV - 1;
            vec x = acc[r * NV + v];
            if (t->add)
                x += whole ? vload(c + v * VL) : vload_n(c + v * VL, t->tail);
            if (whole)
                vstore(c + v * VL, x);
            else
                vstore_n(c + v * VL, x, t->tail);
        }
    }
}

#define CONV_TILES(X) GEMM_TILES_1(X) GEMM_TILES_2(X) GEMM_TILES_3(X) GEMM_TILES_4(X)
#define CONV_DEFINE(R, NV)                                                                                 \
    static void conv_tile_##R##x##NV(const conv_tile *t) { conv_tile_body(R, NV, 1, t); }                     \
    static void conv_sum_##R##x##NV(const conv_sum_tile *t) { conv_sum_body(R, NV, 1, t); }
CONV_TILES(CONV_DEFINE)
#undef CONV_DEFINE
#define CONV_TILE_ENTRY(R, NV) [NV][R] = conv_tile_##R##x##NV,
#define CONV_SUM_ENTRY(R, NV) [NV][R] = conv_sum_##R##x##NV,
static conv_tile_fn *const conv_tiles[5][17] = {CONV_TILES(CONV_TILE_ENTRY)};
static conv_sum_fn *const conv_sums[5][17] = {CONV_TILES(CONV_SUM_ENTRY)};
#undef CONV_TILE_ENTRY
#undef CONV_SUM_ENTRY

/* Two rows or runs of up to CONV_HALF elements side by side: where one is too short to fill the multipliers. */
#if defined(__AVX512F__) || defined(__ARM_NEON)
enum { CONV_HALF = 8 };
#define CONV_HALVES(X) X(1, 2) X(2, 4) X(3, 6) X(4, 8) X(5, 10) X(6, 12) X(7, 14) X(8, 16)
#else
enum { CONV_HALF = 6 };
#define CONV_HALVES(X) X(1, 2) X(2, 4) X(3, 6) X(4, 8) X(5, 10) X(6, 12)
#endif
#define CONV_DEFINE(H, R)                                                                                  \
    static void conv_tile2_##H(const conv_tile *t) { conv_tile_body(R, 1, 2, t); }                         \
    static void conv_sum2_##H(const conv_sum_tile *t) { conv_sum_body(R, 1, 2, t); }
CONV_HALVES(CONV_DEFINE)
#undef CONV_DEFINE
#define CONV_TILE_ENTRY(H, R) [H] = conv_tile2_##H,
#define CONV_SUM_ENTRY(H, R) [H] = conv_sum2_##H,
static conv_tile_fn *const conv_tiles_two[CONV_HALF + 1] = {CONV_HALVES(CONV_TILE_ENTRY)};
static conv_sum_fn *const conv_sums_two[CONV_HALF + 1] = {CONV_HALVES(CONV_SUM_ENTRY)};
#undef CONV_TILE_ENTRY
#undef CONV_SUM_ENTRY
