/* pooling.inc.c - the largest and the mean element of each channel in windows of NHWC images, and their gradients.
 *
 *     max_pool       y[n, p, q, c] = max over the window of x[n, p sh + i - top, q sw + j - left, c]; NaN wins
 *     average_pool   the mean over the window; what is outside of the image counts for neither
 *     *_grad         dx from dy; that of the largest goes to the first of equal ones
 *
 *   p  max_pool: Y, X, index or NULL     max_pool_grad: dX, dY, index, S or NULL
 *      average_pool: Y, X                average_pool_grad: dX, dY
 *      index[n, p, q, c] = i kw + j, of one byte each or, with [12], int32. With S (Y's layout) dy is multiplied by the
 *      gradient of ReLU, whose result, pooled, S is. dX overlaps no input.
 *      With [12] average_pool and its gradient take sums instead of means.
 *   i  [0] images (in a sample when batched) [1] ih [2] iw [3] channels [4] oh [5] ow [6] kh [7] kw [8] sh [9] sw
 *      [10] top [11] left [12] index of int32
 *   split  FN_SPLIT_ROWS: images
 *
 * No store is masked but at the end of what a task may touch. Channels beyond whole vectors are done again with the
 * last vector; where there are fewer than a vector has, what is written beyond a pixel is written again with the pixels
 * behind it, which is why the order of the pixels matters. A gradient is gathered: each element of dX is written once.
 * Windows of 2x2, two apart, have paths of their own, with several pixels in a vector where channels are few.
 */

typedef int32_t words __attribute__((vector_size(VL * 4)));

typedef struct {
    int64_t ih, iw, c, oh, ow, kh, kw, sh, sw, top, left;
    int wide; /* an index is an int32; of averages: they are sums */
    /* windows of 2x2, two apart: of `twos` columns in each row; `group` of them fill `lanes` of a vector of y, and two
     * vectors of a row of x, the second from `second`. group is 0 unless a vector is wider than a pixel */
    int64_t twos, group, lanes, second;
    int partial; /* some windows lie partly outside */
    const real *x, *x_end, *dy, *s; /* inputs; ends: of what this task may touch */
    real *y, *dx, *dx_end;
    void *index;
    int64_t y_end; /* elements */
} pool;

enum { POOL_MAX, POOL_AVERAGE };

/* i: oh and what follows it. */
static pool pool_between(int64_t ih, int64_t iw, int64_t c, const int64_t *i)
{
    pool p = {.ih = ih, .iw = iw, .c = c, .oh = i[0], .ow = i[1], .kh = i[2], .kw = i[3], .sh = i[4], .sw = i[5],
              .top = i[6], .left = i[7]};
    p.partial = p.top > 0 || p.left > 0 || (p.oh - 1) * p.sh + p.kh > p.ih || (p.ow - 1) * p.sw + p.kw > p.iw;
    if (p.kh == 2 && p.kw == 2 && p.sh == 2 && p.sw == 2 && p.top == 0 && p.left == 0) {
        p.twos = gemm_min(p.ow, p.iw / 2);
        if (p.c < VL) {
            p.group = gemm_min(VL / (p.c < 1 ? 1 : p.c), p.twos);
            p.lanes = p.group * p.c;
            p.second = 2 * p.lanes - VL;
            if (p.second < 0)
                p.twos = 0;
        }
    }
    return p;
}

static pool pool_of(const fn_op *op)
{
    pool p = pool_between(op->i[1], op->i[2], op->i[3], op->i + 4);
    p.wide = (int)op->i[12];
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

FN_INLINE void pool_store_bytes(uint8_t *to, vbytes b, int64_t n)
{
    if (n == VL)
        memcpy(to, &b, VL);
    else
        for (int j = 0; j < VL; j++)
            if (j < n)
                to[j] = b[j];
}

FN_INLINE void pool_store_index(const pool *p, int64_t at, ivec x, int64_t n)
{
    if (p->wide) {
        const words w = __builtin_convertvector(x, words);
        memcpy((int32_t *)p->index + at, &w, (size_t)n * 4);
    } else {
        pool_store_bytes((uint8_t *)p->index + at, vint_bytes(x), n);
    }
}

FN_INLINE vbytes pool_load_bytes(const uint8_t *from, int64_t n)
{
    vbytes b = {};
    if (n == VL)
        memcpy(&b, from, VL);
    else
        for (int j = 0; j < VL; j++)
            b[j] = j < n ? from[j] : 0;
    return b;
}

/* Whether the index of each of n elements at `at` is `tap`. */
FN_INLINE vflag pool_is_tap(const pool *p, int64_t at, int64_t n, int64_t tap)
{
    if (p->wide) {
        words w = {};
        memcpy(&w, (const int32_t *)p->index + at, (size_t)n * 4);
        return vflag_equal(__builtin_convertvector(w, ivec), (ivec){} + (ielem)tap);
    }
    return vflag_byte(pool_load_bytes((const uint8_t *)p->index + at, n), (int)tap);
}

FN_INLINE vec pool_load(const real *x, int64_t n) { return n == VL ? vload(x) : vload_n(x, n); }
FN_INLINE void pool_store(real *y, vec x, int64_t n)
{
    if (n == VL)
        vstore(y, x);
    else
        vstore_n(y, x, n);
}

/* ---- forward, any window ---- */

/* n <= VL channels of y at `at`: taps [i0, i1) x [j0, j1), all of them or not, x at the first of them. */
FN_INLINE void pool_pixel(const pool *p, int kind, int64_t at, const real *x, int64_t i0, int64_t i1, int64_t j0,
                          int64_t j1, int64_t kw, int64_t n, int whole)
{
    if (kind == POOL_AVERAGE) {
        vec total = {};
#pragma GCC unroll 3
        for (int64_t i = 0; i < i1 - i0; i++) {
            vec row = {};
#pragma GCC unroll 3
            for (int64_t j = 0; j < j1 - j0; j++)
                row += pool_load(x + (i * p->iw + j) * p->c, n);
            total += row;
        }
        pool_store(p->y + at, p->wide ? total : total * vset1((real)1 / (real)((i1 - i0) * (j1 - j0))), n);
        return;
    }
    vec best = {};
#pragma GCC unroll 3
    for (int64_t i = 0; i < i1 - i0; i++) {
        vec row = pool_load(x + i * p->iw * p->c, n);
#pragma GCC unroll 3
        for (int64_t j = 1; j < j1 - j0; j++)
            row = vmax_nan(row, pool_load(x + (i * p->iw + j) * p->c, n));
        best = i == 0 ? row : vmax_nan(best, row);
    }
    pool_store(p->y + at, best, n);
    if (!p->index)
        return;
    if (whole && !p->wide) { /* the taps before the first that is equal are counted; the last is not asked */
        vflag before = vflag_differ(pool_load(x, n), best);
        vcount where = vcount_add((vcount){}, before);
#pragma GCC unroll 3
        for (int64_t i = 0; i < i1; i++)
#pragma GCC unroll 3
            for (int64_t j = 0; j < j1; j++) {
                if (i + j == 0 || i + j == i1 + j1 - 2)
                    continue;
                before = vflag_also_differ(before, pool_load(x + (i * p->iw + j) * p->c, n), best);
                where = vcount_add(where, before);
            }
        if (i1 * j1 > 1)
            pool_store_bytes((uint8_t *)p->index + at, vcount_bytes(where), n);
        else
            pool_store_bytes((uint8_t *)p->index + at, (vbytes){}, n);
        return;
    }
    ivec where = (ivec){} + (ielem)((i1 - 1) * kw + j1 - 1); /* the last, as above, where nothing is equal: not a number */
    for (int64_t i = i1 - i0 - 1; i >= 0; i--)
        for (int64_t j = j1 - j0 - 1; j >= 0; j--) {
            const vflag here = vflag_same(pool_load(x + (i * p->iw + j) * p->c, n), best);
            where = vflag_pick_int(here, (ivec){} + (ielem)((i + i0) * kw + j + j0), where);
        }
    pool_store_index(p, at, where, n);
}

/* Columns [b0, b1) of row a of image n. */
static inline __attribute__((always_inline)) void pool_columns(const pool *p, int kind, int64_t n, int64_t a,
                                                               int64_t b0, int64_t b1)
{
    int64_t i0, i1, y, j0, j1, x;
    pool_span(a, p->sh, p->top, p->kh, p->ih, &i0, &i1, &y);
    for (int64_t b = b0; b < b1; b++) {
        pool_span(b, p->sw, p->left, p->kw, p->iw, &j0, &j1, &x);
        const real *from = p->x + ((n * p->ih + y) * p->iw + x) * p->c;
        const real *last = from + ((i1 - i0 - 1) * p->iw + j1 - j0 - 1) * p->c;
        const int64_t at = ((n * p->oh + a) * p->ow + b) * p->c;
        if (p->c < VL && (at + VL > p->y_end || p->x_end - last < VL)) {
            pool_pixel(p, kind, at, from, i0, i1, j0, j1, p->kw, p->c, 0);
            continue;
        }
        const int whole = i1 - i0 == p->kh && j1 - j0 == p->kw;
        for (int64_t c = 0; c < p->c; c += VL) {
            const int64_t s = p->c < VL || c + VL <= p->c ? c : p->c - VL;
            if (whole && p->kh == 3 && p->kw == 3)
                pool_pixel(p, kind, at + s, from + s, 0, 3, 0, 3, 3, VL, 1);
            else if (whole)
                pool_pixel(p, kind, at + s, from + s, 0, p->kh, 0, p->kw, p->kw, VL, 1);
            else
                pool_pixel(p, kind, at + s, from + s, i0, i1, j0, j1, p->kw, VL, 0);
        }
    }
}

/* ---- forward, windows of 2x2 ---- */

FN_INLINE void pool_two(const pool *p, int kind, int index, int64_t at, vec a, vec b, vec c, vec d, int64_t n)
{
    if (kind == POOL_AVERAGE) {
        const vec total = (a + c) + (b + d);
        pool_store(p->y + at, p->wide ? total : total * vset1((real)0.25), n);
        return;
    }
    const vec best = vmax_nan(vmax_nan(a, b), vmax_nan(c, d));
    pool_store(p->y + at, best, n);
    if (index) {
        const vflag later = vflag_differ(a, best), below = vflag_also_differ(later, b, best);
        const vcount where = vcount_add(vcount_add(vcount_add((vcount){}, later), below),
                                        vflag_also_differ(below, c, best));
        pool_store_bytes((uint8_t *)p->index + at, vcount_bytes(where), n);
    }
}

/* Lane l of a vector of y is channel l mod c of window l / c: where its left and right elements are in the two vectors
 * of a row of x. */
typedef struct {
    ivec left, right;
} pool_halves;

static pool_halves pool_halves_of(const pool *p)
{
    pool_halves h = {};
    for (int64_t l = 0; l < p->lanes; l++) {
        const int64_t left = l / p->c * 2 * p->c + l % p->c, right = left + p->c;
        h.left[l] = (ielem)(left < VL ? left : VL + left - p->second);
        h.right[l] = (ielem)(right < VL ? right : VL + right - p->second);
    }
    return h;
}

FN_INLINE void pool_two_row(const pool *p, const pool_halves *h, int kind, int index, int64_t at, const real *x,
                            int64_t n)
{
    const int64_t c = p->c, row = p->iw * c;
    if (p->group) {
        for (int64_t b = 0; b < p->twos; b += p->group) {
            const int64_t first = gemm_min(b, p->twos - p->group);
            const real *above = x + 2 * first * c, *below = above + row;
            vec a = vload(above), a2 = vload(above + p->second), z = vload(below), z2 = vload(below + p->second);
            if (kind == POOL_AVERAGE) {
                const vec s = a + z, s2 = a2 + z2, zero = {};
                pool_two(p, kind, index, at + first * c, __builtin_shuffle(s, s2, h->left),
                         __builtin_shuffle(s, s2, h->right), zero, zero, n);
            } else {
                pool_two(p, kind, index, at + first * c, __builtin_shuffle(a, a2, h->left),
                         __builtin_shuffle(a, a2, h->right), __builtin_shuffle(z, z2, h->left),
                         __builtin_shuffle(z, z2, h->right), n);
            }
        }
        return;
    }
    for (int64_t b = 0; b < p->twos; b++)
        for (int64_t j = 0; j < c; j += VL) {
            const int64_t s = gemm_min(j, c - VL);
            const real *from = x + 2 * b * c + s;
            pool_two(p, kind, index, at + b * c + s, vload(from), vload(from + c), vload(from + row),
                     vload(from + row + c), VL);
        }
}

FN_INLINE void pool_images(const pool *p, const pool_halves *h, int kind, int64_t n0, int64_t n1)
{
    for (int64_t n = n0; n < n1; n++)
        for (int64_t a = 0; a < p->oh; a++) {
            const int64_t twos = 2 * a + 1 < p->ih ? p->twos : 0, at = (n * p->oh + a) * p->ow * p->c;
            if (twos) {
                const real *x = p->x + (n * p->ih + 2 * a) * p->iw * p->c;
                if (p->group && at + (twos - p->group) * p->c + VL > p->y_end)
                    pool_two_row(p, h, kind, p->index != NULL, at, x, p->lanes);
                else if (p->index)
                    pool_two_row(p, h, kind, 1, at, x, VL);
                else
                    pool_two_row(p, h, kind, 0, at, x, VL);
            }
            pool_columns(p, kind, n, a, twos, p->ow);
        }
}

static void pool_largest(const pool *p, const pool_halves *h, int64_t n0, int64_t n1)
{
    pool_images(p, h, POOL_MAX, n0, n1);
}

FN_INLINE void pool_forward(const fn_op *op, int64_t lo, int64_t hi, int kind)
{
    pool p = pool_of(op);
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    p.y = op->p[0];
    p.x = op->p[1];
    p.index = kind == POOL_MAX ? op->p[2] : NULL;
    p.x_end = p.x + n1 * p.ih * p.iw * p.c;
    p.y_end = n1 * p.oh * p.ow * p.c;
    const pool_halves h = pool_halves_of(&p);
    if (kind == POOL_MAX)
        pool_largest(&p, &h, n0, n1);
    else
        pool_images(&p, &h, kind, n0, n1);
}

static void max_pool(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    pool_forward(op, lo, hi, POOL_MAX);
}

static void average_pool(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    pool_forward(op, lo, hi, POOL_AVERAGE);
}

/* ---- gradients, any window ---- */

/* dy, where S is not above 0 (`gated`) without the gradient. */
FN_INLINE vec pool_dy(const pool *p, int gated, int64_t at, int64_t n)
{
    const vec g = pool_load(p->dy + at, n);
    return gated ? vflag_keep(vflag_more(pool_load(p->s + at, n), (vec){}), g) : g;
}

/* A pixel of dx and the windows it is in. */
typedef struct {
    int64_t y, x, p0, p1, q0, q1;
} pool_place;

/* n channels of a pixel: the sum over its windows; `from`: their channel of the image's dy. */
FN_INLINE vec pool_gather(const pool *p, int kind, int gated, int64_t from, pool_place w, int64_t n)
{
    vec total = {}, part = vset1(p->wide ? 1 : (real)1 / (real)(p->kh * p->kw));
#pragma GCC unroll 2
    for (int64_t a = 0; a < w.p1 - w.p0; a++)
#pragma GCC unroll 2
        for (int64_t b = 0; b < w.q1 - w.q0; b++) {
            const int64_t i = w.p0 + a, j = w.q0 + b, at = from + (i * p->ow + j) * p->c;
            if (kind == POOL_MAX) {
                const int64_t tap = (w.y + p->top - i * p->sh) * p->kw + w.x + p->left - j * p->sw;
                total += vflag_keep(pool_is_tap(p, at, n, tap), pool_dy(p, gated, at, n));
            } else {
                if (p->partial && !p->wide) {
                    int64_t i0, i1, j0, j1, first;
                    pool_span(i, p->sh, p->top, p->kh, p->ih, &i0, &i1, &first);
                    pool_span(j, p->sw, p->left, p->kw, p->iw, &j0, &j1, &first);
                    part = vset1((real)1 / (real)((i1 - i0) * (j1 - j0)));
                }
                total += pool_load(p->dy + at, n) * part;
            }
        }
    return total;
}

/* All channels of a pixel that is in rows x columns windows (constants to the compiler), none of them partial. */
FN_INLINE void pool_grad_pixel(const pool *p, int kind, int gated, real *to, int64_t from, pool_place w, int rows,
                               int columns)
{
    const vec part = vset1((real)1 / (real)(p->kh * p->kw));
    const uint8_t *index = p->index;
    const int64_t channels = p->c, first = from + (w.p0 * p->ow + w.q0) * p->c;
    const int64_t tap = (w.y + p->top - w.p0 * p->sh) * p->kw + w.x + p->left - w.q0 * p->sw;
    const int64_t down = p->sh * p->kw, below = p->ow * p->c;
    for (int64_t c = 0; c < channels; c += VL) {
        const int64_t s = channels < VL || c + VL <= channels ? c : channels - VL;
        vec total = {};
#pragma GCC unroll 2
        for (int a = 0; a < rows; a++)
#pragma GCC unroll 2
            for (int b = 0; b < columns; b++) {
                const int64_t at = first + a * below + b * channels + s;
                const vec g = pool_dy(p, gated, at, VL);
                if (kind == POOL_MAX) {
                    const vbytes where = pool_load_bytes(index + at, VL);
                    total += vflag_keep(vflag_byte(where, (int)(tap - a * down - b * p->sw)), g);
                } else {
                    total += g * part;
                }
            }
        vstore(to + s, total);
    }
}

/* Columns [x0, iw) of row y of image n. */
FN_INLINE void pool_grad_columns(const pool *p, int kind, int gated, int64_t n, int64_t y, int64_t x0)
{
    pool_place w = {.y = y, .p1 = gemm_min(p->oh, (y + p->top) / p->sh + 1)};
    if (y + p->top >= p->kh)
        w.p0 = (y + p->top - p->kh) / p->sh + 1;
    const int64_t from = n * p->oh * p->ow * p->c;
    for (w.x = x0; w.x < p->iw; w.x++) {
        while (w.q0 * p->sw + p->kw <= w.x + p->left)
            w.q0++;
        while (w.q1 < p->ow && w.q1 * p->sw <= w.x + p->left)
            w.q1++;
        real *to = p->dx + ((n * p->ih + y) * p->iw + w.x) * p->c;
        const int64_t rows = w.p1 - w.p0, columns = w.q1 - w.q0;
        const int usual = rows >= 1 && rows <= 2 && columns >= 1 && columns <= 2 && !p->wide;
        const int64_t last = from + ((w.p1 - 1) * p->ow + w.q1 - 1) * p->c;
        if (p->c < VL && (p->dx_end - to < VL || last + VL > p->y_end)) {
            pool_store(to, pool_gather(p, kind, gated, from, w, p->c), p->c);
        } else if (!usual || (p->partial && kind == POOL_AVERAGE)) {
            for (int64_t c = 0; c < p->c; c += VL) {
                const int64_t s = p->c < VL || c + VL <= p->c ? c : p->c - VL;
                vstore(to + s, pool_gather(p, kind, gated, from + s, w, VL));
            }
        } else if (rows == 1) {
            if (columns == 1)
                pool_grad_pixel(p, kind, gated, to, from, w, 1, 1);
            else
                pool_grad_pixel(p, kind, gated, to, from, w, 1, 2);
        } else {
            if (columns == 1)
                pool_grad_pixel(p, kind, gated, to, from, w, 2, 1);
            else
                pool_grad_pixel(p, kind, gated, to, from, w, 2, 2);
        }
    }
}

/* ---- gradients, windows of 2x2 ---- */

/* Lane l of the two vectors of a row of x: the lane of y that it comes from, and its tap in the window's row. */
typedef struct {
    ivec lane[2], tap[2];
} pool_spread;

static pool_spread pool_spread_of(const pool *p)
{
    pool_spread k = {};
    for (int half = 0; half < 2 && p->group && p->twos; half++)
        for (int64_t l = 0; l < VL; l++) {
            const int64_t at = (half ? p->second : 0) + l;
            k.lane[half][l] = (ielem)(at / (2 * p->c) * p->c + at % p->c);
            k.tap[half][l] = (ielem)(at / p->c % 2);
        }
    return k;
}

/* The two rows of x at `to` that belong to the row of y at `at`; n: the lanes of y that a group may read. */
FN_INLINE void pool_grad_two_row(const pool *p, const pool_spread *k, int kind, int gated, real *to, int64_t at,
                                 int64_t n)
{
    const int64_t c = p->c, row = p->iw * c;
    const vec part = vset1(p->wide ? 1 : (real)0.25);
    if (p->group) {
        for (int64_t b = 0; b < p->twos; b += p->group) {
            const int64_t first = gemm_min(b, p->twos - p->group);
            real *above = to + 2 * first * c;
            vec g = pool_dy(p, gated, at + first * c, n);
            ivec where = {};
            if (kind == POOL_MAX)
                where = vbytes_int(pool_load_bytes((const uint8_t *)p->index + at + first * c, n));
            else
                g *= part;
            for (int half = 0; half < 2; half++, above += p->second) {
                const vec z = __builtin_shuffle(g, k->lane[half]);
                if (kind == POOL_MAX) {
                    const ivec tap = __builtin_shuffle(where, k->lane[half]);
                    vstore(above, vflag_keep(vflag_equal(tap, k->tap[half]), z));
                    vstore(above + row, vflag_keep(vflag_equal(tap, k->tap[half] + 2), z));
                } else {
                    vstore(above, z);
                    vstore(above + row, z);
                }
            }
        }
        return;
    }
    for (int64_t b = 0; b < p->twos; b++)
        for (int64_t j = 0; j < c; j += VL) {
            const int64_t s = gemm_min(j, c - VL);
            real *z = to + 2 * b * c + s;
            const vec g = pool_dy(p, gated, at + b * c + s, VL);
            if (kind == POOL_MAX) {
                const vbytes where = pool_load_bytes((const uint8_t *)p->index + at + b * c + s, VL);
                vstore(z, vflag_keep(vflag_byte(where, 0), g));
                vstore(z + c, vflag_keep(vflag_byte(where, 1), g));
                vstore(z + row, vflag_keep(vflag_byte(where, 2), g));
                vstore(z + row + c, vflag_keep(vflag_byte(where, 3), g));
            } else {
                vstore(z, g * part);
                vstore(z + c, g * part);
                vstore(z + row, g * part);
                vstore(z + row + c, g * part);
            }
        }
}

/* ---- the largest's gradient, windows that overlap, few channels ---- */

/* Element by element, added where the index says: up to half a vector of channels this is less work than asking each
 * pixel for all its windows. The terms of an element come in the same order. */
static void pool_scatter(const pool *p, int64_t n0, int64_t n1)
{
    int64_t offset[256];
    for (int64_t t = 0; t < p->kh * p->kw; t++)
        offset[t] = (t / p->kw * p->iw + t % p->kw) * p->c;
    const uint8_t *index = p->index;
    memset(p->dx + n0 * p->ih * p->iw * p->c, 0, (size_t)((n1 - n0) * p->ih * p->iw * p->c) * sizeof(real));
    int64_t at = n0 * p->oh * p->ow * p->c;
    for (int64_t n = n0; n < n1; n++)
        for (int64_t a = 0; a < p->oh; a++)
            for (int64_t b = 0; b < p->ow; b++) {
                real *to = p->dx + ((n * p->ih + a * p->sh - p->top) * p->iw + b * p->sw - p->left) * p->c;
                for (int64_t c = 0; c < p->c; c++, at++)
                    to[offset[index[at]] + c] += p->s && !(p->s[at] > 0) ? 0 : p->dy[at];
            }
}

FN_INLINE void pool_backward_images(const pool *p, int kind, int gated, int64_t n0, int64_t n1)
{
    const pool_spread k = pool_spread_of(p);
    for (int64_t n = n0; n < n1; n++)
        for (int64_t y = 0; y < p->ih; y++) {
            if (p->twos == 0 || y + 1 == p->ih || y / 2 >= p->oh) {
                pool_grad_columns(p, kind, gated, n, y, 0);
                continue;
            }
            const int64_t at = (n * p->oh + y / 2) * p->ow * p->c;
            real *to = p->dx + (n * p->ih + y) * p->iw * p->c;
            /* the columns behind first: what is written beyond them is written again */
            for (int row = 0; row < 2; row++)
                pool_grad_columns(p, kind, gated, n, y + row, 2 * p->twos);
            y++;
            if (p->group && at + (p->twos - p->group) * p->c + VL > p->y_end)
                pool_grad_two_row(p, &k, kind, gated, to, at, p->lanes);
            else
                pool_grad_two_row(p, &k, kind, gated, to, at, VL);
        }
}

FN_INLINE void pool_backward(const fn_op *op, int64_t lo, int64_t hi, int kind)
{
    pool p = pool_of(op);
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    p.dx = op->p[0];
    p.dy = op->p[1];
    p.index = kind == POOL_MAX ? op->p[2] : NULL;
    p.s = kind == POOL_MAX ? op->p[3] : NULL;
    p.dx_end = p.dx + n1 * p.ih * p.iw * p.c;
    p.y_end = n1 * p.oh * p.ow * p.c;
    if (kind == POOL_MAX && p.twos == 0 && !p.wide && 2 * p.c <= VL)
        pool_scatter(&p, n0, n1);
    else if (!p.s)
        pool_backward_images(&p, kind, 0, n0, n1);
    else
        pool_backward_images(&p, kind, 1, n0, n1);
}

static void max_pool_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    pool_backward(op, lo, hi, POOL_MAX);
}

static void average_pool_grad(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    pool_backward(op, lo, hi, POOL_AVERAGE);
}

#include "conv_max_pool.inc.c"

#define FN_POOLING_KERNELS(X)                                                  \
    X(max_pool, FN_SPLIT_ROWS, fn_row_tasks, NULL, max_pool)                   \
    X(max_pool_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, max_pool_grad)         \
    X(average_pool, FN_SPLIT_ROWS, fn_row_tasks, NULL, average_pool)           \
    X(average_pool_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, average_pool_grad) \
    X(conv2d_max_pool, FN_SPLIT_ROWS, fn_row_tasks, conv2d_max_pool_scratch, conv2d_max_pool)
