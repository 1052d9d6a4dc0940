/* pooling.inc.c - the largest and the mean element of each channel in windows of NHWC images, and their gradients.
 *
 *     max_pool       y[n, p, q, c] = max over the window of x[n, p sh + i - top, q sw + j - left, c]; NaN wins
 *     average_pool   the mean over the window; what is outside of the image counts for neither
 *     *_grad         dx from dy; that of the largest goes to the first of equal ones
 *
 *   p  max_pool: Y, X, index or NULL     max_pool_grad: dX, dY, index, S or NULL
 *      average_pool: Y, X                average_pool_grad: dX, dY
 *      index[n, p, q, c] = i kw + j, of one byte each or, with [12], int32. With S (Y's layout) dy is multiplied by the
 *      gradient [13] of the activation whose result, pooled, S is. dX overlaps no input.
 *      With [12] average_pool and its gradient take sums instead of means.
 *   i  [0] images (in a sample when batched) [1] ih [2] iw [3] channels [4] oh [5] ow [6] kh [7] kw [8] sh [9] sw
 *      [10] top [11] left [12] index of int32 [13] gradient of an activation
 *   f  [0] the activation's alpha
 *   split  FN_SPLIT_ROWS: images
 */

typedef uint8_t bytes __attribute__((vector_size(VL)));
typedef int32_t words __attribute__((vector_size(VL * 4)));

typedef struct {
    int64_t ih, iw, c, oh, ow, kh, kw, sh, sw, top, left;
    int wide; /* an index is an int32; of averages: they are sums */
    int gradient;
    real alpha;
    int apart; /* no element is in two windows */
} pool;

static pool pool_of(const fn_op *op)
{
    const int64_t *i = op->i;
    pool p = {.ih = i[1], .iw = i[2], .c = i[3], .oh = i[4], .ow = i[5], .kh = i[6], .kw = i[7], .sh = i[8], .sw = i[9],
              .top = i[10], .left = i[11], .wide = (int)i[12], .gradient = (int)i[13], .alpha = (real)op->f[0]};
    p.apart = p.sh >= p.kh && p.sw >= p.kw;
    return p;
}

/* The part of a window that lies in the image: [*lo, *hi) of its taps; *at: the first pixel. */
static inline void pool_span(int64_t o, int64_t stride, int64_t before, int64_t k, int64_t size, int64_t *lo,
                             int64_t *hi, int64_t *at)
{
    const int64_t first = o * stride - before;
    *lo = first < 0 ? -first : 0;
    *hi = gemm_min(k, size - first);
    *at = first + *lo;
}

FN_INLINE void pool_store_index(const pool *p, void *index, int64_t at, ivec x, int64_t n)
{
    if (p->wide) {
        const words w = __builtin_convertvector(x, words);
        memcpy((int32_t *)index + at, &w, (size_t)n * 4);
    } else {
        const bytes b = __builtin_convertvector(x, bytes);
        if (n == VL)
            memcpy((uint8_t *)index + at, &b, VL);
        else
            memcpy((uint8_t *)index + at, &b, (size_t)n);
    }
}

FN_INLINE ivec pool_load_index(const pool *p, const void *index, int64_t at, int64_t n)
{
    if (p->wide) {
        words w = {};
        memcpy(&w, (const int32_t *)index + at, (size_t)n * 4);
        return __builtin_convertvector(w, ivec);
    }
    bytes b = {};
    if (n == VL)
        memcpy(&b, (const uint8_t *)index + at, VL);
    else
        memcpy(&b, (const uint8_t *)index + at, (size_t)n);
    return __builtin_convertvector(b, ivec);
}

/* One pixel's n <= VL channels of max_pool: taps [i0, i1) x [j0, j1), x at the first of them. */
FN_INLINE void pool_max_pixel(const pool *p, real *y, void *index, int64_t at, const real *x, int64_t i0, int64_t i1,
                              int64_t j0, int64_t j1, int64_t kw, int64_t n)
{
    vec best = vload_n(x, n);
    ivec where = (ivec){} + (ielem)(i0 * kw + j0);
    for (int64_t i = i0; i < i1; i++)
        for (int64_t j = j0; j < j1; j++) {
            const vec z = vload_n(x + ((i - i0) * p->iw + (j - j0)) * p->c, n);
            const ivec take = (z > best) | (z != z);
            best = vselect(take, z, best);
            where = (take & ((ivec){} + (ielem)(i * kw + j))) | (~take & where);
        }
    vstore_n(y + at, best, n);
    if (index)
        pool_store_index(p, index, at, where, n);
}

/* ---- windows of 2x2 over few channels: both pixels of a window's row in one vector ---- */

/* Lane l is channel l mod c of tap l / c. */
typedef struct {
    ivec channel, right, tap;
} pool_pair;

static pool_pair pool_pair_of(int64_t c)
{
    pool_pair k;
    for (int l = 0; l < VL; l++) {
        k.channel[l] = (ielem)(l % c);
        k.right[l] = (ielem)((l + c) % VL);
        k.tap[l] = (ielem)(l / c);
    }
    return k;
}

FN_INLINE void pool_max_pair(const pool *p, const pool_pair *k, real *y, void *index, int64_t at, const real *x)
{
    const vec above = vload(x), below = vload(x + p->iw * p->c);
    const ivec down = (below > above) | (below != below);
    const vec a = vselect(down, below, above), b = __builtin_shuffle(a, k->right);
    const ivec two = (ivec){} + 2, i = k->tap + (down & two), j = __builtin_shuffle(i, k->right);
    /* of equal ones the first in the window: the right column's upper one comes before the left one's lower */
    const ivec take = (b > a) | ((b == a) & (j < i)) | ((b != b) & ~((a != a) & (i < j)));
    vstore(y + at, vselect(take, b, a));
    if (index)
        pool_store_index(p, index, at, (take & j) | (~take & i), VL);
}

static void max_pool(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const pool p = pool_of(op);
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    void *index = op->p[2];
    const int two = p.kh == 2 && p.kw == 2;
    /* fewer channels than a vector has: what is read beyond them counts for nothing, what is written is written again
     * with the next pixel; up to the ends of what this task may touch */
    const real *const x_end = (const real *)op->p[1] + n1 * p.ih * p.iw * p.c;
    const int64_t y_end = n1 * p.oh * p.ow * p.c;
    const int pairs = two && 2 * p.c <= VL;
    const pool_pair pair = pool_pair_of(p.c);
    for (int64_t n = n0; n < n1; n++)
        for (int64_t a = 0; a < p.oh; a++) {
            int64_t i0, i1, y, j0, j1, x;
            pool_span(a, p.sh, p.top, p.kh, p.ih, &i0, &i1, &y);
            for (int64_t b = 0; b < p.ow; b++) {
                pool_span(b, p.sw, p.left, p.kw, p.iw, &j0, &j1, &x);
                const real *from = (const real *)op->p[1] + ((n * p.ih + y) * p.iw + x) * p.c;
                const int64_t at = ((n * p.oh + a) * p.ow + b) * p.c;
                const int whole = two && i1 - i0 == 2 && j1 - j0 == 2;
                if (pairs && whole && at + VL <= y_end && x_end - from >= p.iw * p.c + VL) {
                    pool_max_pair(&p, &pair, op->p[0], index, at, from);
                    continue;
                }
                for (int64_t c = 0; c < p.c; c += VL) {
                    const int64_t lanes = gemm_min(VL, p.c - c);
                    const int full = lanes == VL
                                     || (at + c + VL <= y_end && x_end - (from + c) >= (p.iw + 1) * p.c + VL);
                    if (whole && full)
                        pool_max_pixel(&p, op->p[0], index, at + c, from + c, 0, 2, 0, 2, 2, VL);
                    else if (whole)
                        pool_max_pixel(&p, op->p[0], index, at + c, from + c, 0, 2, 0, 2, 2, lanes);
                    else
                        pool_max_pixel(&p, op->p[0], index, at + c, from + c, i0, i1, j0, j1, p.kw, lanes);
                }
            }
        }
}

/* dx (+)= dy at the tap of the index, of one pixel's n channels. */
FN_INLINE void pool_max_grad_pixel(const pool *p, real *dx, vec dy, ivec where, int64_t i0, int64_t i1, int64_t j0,
                                   int64_t j1, int64_t kw, int64_t n, int add)
{
    for (int64_t i = i0; i < i1; i++)
        for (int64_t j = j0; j < j1; j++) {
            real *to = dx + ((i - i0) * p->iw + (j - j0)) * p->c;
            vec z = vmask(where == (ielem)(i * kw + j), dy);
            if (add)
                z += vload_n(to, n);
            vstore_n(to, z, n);
        }
}

/* Whether every element of an image is in a window. */
static int pool_covers(const pool *p)
{
    return p->sh == p->kh && p->sw == p->kw && p->oh * p->sh - p->top >= p->ih && p->ow * p->sw - p->left >= p->iw;
}

static void max_pool_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const pool p = pool_of(op);
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    const real *dy = op->p[1], *s = p.gradient ? op->p[3] : NULL;
    const int two = p.kh == 2 && p.kw == 2 && p.apart, covers = pool_covers(&p), add = !p.apart;
    /* as in max_pool; here a row's end is the limit, since its second half of taps is written before the next row */
    const int narrow = covers && p.c < VL, pairs = narrow && two && 2 * p.c <= VL;
    const int64_t y_end = n1 * p.oh * p.ow * p.c;
    const pool_pair pair = pool_pair_of(p.c);
    for (int64_t n = n0; n < n1; n++) {
        real *image = (real *)op->p[0] + n * p.ih * p.iw * p.c;
        if (!covers)
            memset(image, 0, (size_t)(p.ih * p.iw * p.c) * sizeof(real));
        for (int64_t a = 0; a < p.oh; a++) {
            int64_t i0, i1, y, j0, j1, x;
            pool_span(a, p.sh, p.top, p.kh, p.ih, &i0, &i1, &y);
            for (int64_t b = 0; b < p.ow; b++) {
                pool_span(b, p.sw, p.left, p.kw, p.iw, &j0, &j1, &x);
                real *to = image + (y * p.iw + x) * p.c;
                const int64_t at = ((n * p.oh + a) * p.ow + b) * p.c;
                const int whole = two && i1 - i0 == 2 && j1 - j0 == 2;
                if (pairs && whole && at + VL <= y_end && (p.iw - x) * p.c >= VL) {
                    vec g = vload(dy + at);
                    if (s)
                        g *= gemm_derivative(p.gradient, vload(s + at), p.alpha);
                    g = __builtin_shuffle(g, pair.channel);
                    const ivec where = __builtin_shuffle(pool_load_index(&p, op->p[2], at, VL), pair.channel);
                    vstore(to, vmask(where == pair.tap, g));
                    vstore(to + p.iw * p.c, vmask(where == pair.tap + 2, g));
                    continue;
                }
                for (int64_t c = 0; c < p.c; c += VL) {
                    const int64_t lanes = gemm_min(VL, p.c - c);
                    const int full = lanes == VL || (narrow && at + VL <= y_end && (p.iw - x - 1) * p.c >= VL);
                    if (whole && full) {
                        vec g = vload(dy + at + c);
                        if (s)
                            g *= gemm_derivative(p.gradient, vload(s + at + c), p.alpha);
                        const ivec where = pool_load_index(&p, op->p[2], at + c, VL);
                        pool_max_grad_pixel(&p, to + c, g, where, 0, 2, 0, 2, 2, VL, 0);
                        continue;
                    }
                    vec g = vload_n(dy + at + c, lanes);
                    if (s)
                        g *= gemm_derivative(p.gradient, vload_n(s + at + c, lanes), p.alpha);
                    const ivec where = pool_load_index(&p, op->p[2], at + c, lanes);
                    if (whole)
                        pool_max_grad_pixel(&p, to + c, g, where, 0, 2, 0, 2, 2, lanes, 0);
                    else
                        pool_max_grad_pixel(&p, to + c, g, where, i0, i1, j0, j1, p.kw, lanes, add);
                }
            }
        }
    }
}

static void average_pool(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const pool p = pool_of(op);
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    for (int64_t n = n0; n < n1; n++)
        for (int64_t a = 0; a < p.oh; a++) {
            int64_t i0, i1, y, j0, j1, x;
            pool_span(a, p.sh, p.top, p.kh, p.ih, &i0, &i1, &y);
            for (int64_t b = 0; b < p.ow; b++) {
                pool_span(b, p.sw, p.left, p.kw, p.iw, &j0, &j1, &x);
                const real *from = (const real *)op->p[1] + ((n * p.ih + y) * p.iw + x) * p.c;
                real *to = (real *)op->p[0] + ((n * p.oh + a) * p.ow + b) * p.c;
                const vec part = vset1(p.wide ? 1 : (real)1 / (real)((i1 - i0) * (j1 - j0)));
                for (int64_t c = 0; c < p.c; c += VL) {
                    const int64_t lanes = gemm_min(VL, p.c - c);
                    vec total = {};
                    for (int64_t i = 0; i < i1 - i0; i++) {
                        vec row = {};
                        for (int64_t j = 0; j < j1 - j0; j++)
                            row += vload_n(from + (i * p.iw + j) * p.c + c, lanes);
                        total += row;
                    }
                    vstore_n(to + c, total * part, lanes);
                }
            }
        }
}

static void average_pool_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const pool p = pool_of(op);
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    const int covers = pool_covers(&p);
    for (int64_t n = n0; n < n1; n++) {
        real *image = (real *)op->p[0] + n * p.ih * p.iw * p.c;
        if (!covers)
            memset(image, 0, (size_t)(p.ih * p.iw * p.c) * sizeof(real));
        for (int64_t a = 0; a < p.oh; a++) {
            int64_t i0, i1, y, j0, j1, x;
            pool_span(a, p.sh, p.top, p.kh, p.ih, &i0, &i1, &y);
            for (int64_t b = 0; b < p.ow; b++) {
                pool_span(b, p.sw, p.left, p.kw, p.iw, &j0, &j1, &x);
                const real *from = (const real *)op->p[1] + ((n * p.oh + a) * p.ow + b) * p.c;
                real *to = image + (y * p.iw + x) * p.c;
                const vec part = vset1(p.wide ? 1 : (real)1 / (real)((i1 - i0) * (j1 - j0)));
                for (int64_t c = 0; c < p.c; c += VL) {
                    const int64_t lanes = gemm_min(VL, p.c - c);
                    const vec g = vload_n(from + c, lanes) * part;
                    for (int64_t i = 0; i < i1 - i0; i++)
                        for (int64_t j = 0; j < j1 - j0; j++) {
                            real *z = to + (i * p.iw + j) * p.c + c;
                            vstore_n(z, p.apart ? g : g + vload_n(z, lanes), lanes);
                        }
                }
            }
        }
    }
}

#define FN_POOLING_KERNELS(X)                                                  \
    X(max_pool, FN_SPLIT_ROWS, fn_row_tasks, NULL, max_pool)                   \
    X(max_pool_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, max_pool_grad)         \
    X(average_pool, FN_SPLIT_ROWS, fn_row_tasks, NULL, average_pool)           \
    X(average_pool_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, average_pool_grad)
