/* conv_pooled.inc.c - gradients of a convolution of which a max-pool kept some elements, and nobody read the others.
 *
 * Of a window's elements of dy all but one are zero, so dy is never written down: an element of the pooled dy belongs
 * to the pixel that the pool's index names, and adds g = dy act'(s) times a patch of x to the kernel's gradient, or g
 * times a filter to a patch of the image's. With windows of 2x2 that is a quarter of the multiplications, and none
 * for elements that ReLU holds at zero.
 *
 *   conv2d_pooled_parts   what conv2d_parts gives
 *   conv2d_pooled_input   what conv2d_scatter gives
 *
 *   i  the geometry of the convolution (convolution.inc.c), without dilation and groups; [17] activation whose gradient
 *      is taken, of S; [23] the most parts; the pool's geometry: [24] rows [25] columns of its result [26] rows
 *      [27] columns of a window [28] [29] strides [30] top [31] left; [32] activation whose gradient is taken, of Z
 *   f  [0] alpha of S's activation [1] of Z's
 *
 * Vectors run along a patch's rows: kw ci contiguous elements, a `line`. Lines begin on whole vectors.
 */
enum {
    POOLED_ELEMENTS = 24576 / sizeof(real), /* lines of x in the first-level cache */
#if defined(__AVX512F__) || defined(__ARM_NEON)
    POOLED_VECTORS = 12
#else
    POOLED_VECTORS = 6
#endif
};

typedef struct {
    int64_t oh, ow, kh, kw, sh, sw, top, left;
    int64_t taps, windows; /* of an image */
    int64_t run, vectors, ld; /* elements of a line; in whole vectors */
} pooled;

static pooled pooled_of(const fn_op *op, const conv *c)
{
    const int64_t *i = op->i;
    pooled p = {.oh = i[24], .ow = i[25], .kh = i[26], .kw = i[27], .sh = i[28], .sw = i[29], .top = i[30],
                .left = i[31], .taps = i[26] * i[27], .windows = i[24] * i[25], .run = c->kw * c->ci};
    p.vectors = gemm_up(p.run, VL);
    p.ld = p.vectors * VL;
    return p;
}

/* g[n] = dy act'(s). */
static void pooled_gradient(const conv *c, real *g, const real *dy, const real *s, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        const int64_t lanes = gemm_min(VL, n - j);
        vec x = vload_n(dy + j, lanes);
        if (s)
            x *= gemm_derivative(c->gradient, vload_n(s + j, lanes), c->alpha);
        vstore(g + j, x);
    }
}

/* ---- conv2d_pooled_parts ----
 *
 *   p  parts[n][kh kw ci + co], X, dY, index (bytes), S or NULL; dY, index and S are the pool's
 *   split  FN_SPLIT_BLOCKS: parts
 *
 * The lines of some columns of x are copied to [column][row][line], so that a patch is kh lines that follow each other;
 * where pixels are whole vectors they stay where they are. The elements of dy in these columns are listed filter by
 * filter, and each list is one chain of additions.
 */
typedef struct {
    int64_t columns;               /* of windows, done together */
    int64_t column, row, line;     /* elements from a pixel to its neighbours, and between the lines of a patch */
    int64_t size;                  /* elements that are copied */
} pooled_strip;

static inline int pooled_copies(const conv *c) { return c->ci % VL != 0; }

static pooled_strip pooled_strip_of(const conv *c, const pooled *p)
{
    const int64_t pitch = conv_pitch(c);
    pooled_strip t = {.columns = p->ow, .column = c->sw * c->ci, .row = c->sh * pitch, .line = pitch};
    if (pooled_copies(c))
        t = (pooled_strip){.columns = p->ow, .column = c->height * p->ld, .row = c->sh * p->ld, .line = p->ld};
    while (t.columns > 1 && ((t.columns - 1) * p->sw + p->kw) * c->height * p->ld > POOLED_ELEMENTS)
        t.columns--;
    t.columns = gemm_up(p->ow, gemm_up(p->ow, t.columns));
    if (pooled_copies(c))
        t.size = ((t.columns - 1) * p->sw + p->kw) * t.column;
    return t;
}

static size_t conv2d_pooled_parts_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    const conv c = conv_of(op);
    const pooled p = pooled_of(op, &c);
    const pooled_strip t = pooled_strip_of(&c, &p);
    const int64_t listed = t.columns * p.oh * c.co;
    return (conv_padded_elements(&c) + (size_t)(t.size + c.co * c.kh * p.ld + p.windows * c.co + listed + 4 * VL))
               * sizeof(real)
           + (size_t)(listed + c.co) * sizeof(int32_t);
}

/* sums[NV vectors] += the sum over n elements g of g times the NV vectors at `at` of lines. */
typedef void pooled_sum_fn(real *sums, const real *lines, const int32_t *at, const real *g, int64_t n);

FN_INLINE void pooled_sum_body(const int NV, real *sums, const real *lines, const int32_t *at, const real *g, int64_t n)
{
    vec acc[2][POOLED_VECTORS];
#pragma GCC unroll 12
    for (int v = 0; v < NV; v++)
        acc[0][v] = acc[1][v] = (vec){};
    int64_t e = 0;
    for (; e + 2 <= n; e += 2)
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            const real *a = lines + at[e + k];
            const vec s = vset1(g[e + k]);
#pragma GCC unroll 12
            for (int v = 0; v < NV; v++)
                acc[k][v] += s * vload(a + v * VL);
        }
    if (e < n) {
        const real *a = lines + at[e];
        const vec s = vset1(g[e]);
#pragma GCC unroll 12
        for (int v = 0; v < NV; v++)
            acc[0][v] += s * vload(a + v * VL);
    }
#pragma GCC unroll 12
    for (int v = 0; v < NV; v++)
        vstore(sums + v * VL, vload(sums + v * VL) + (acc[0][v] + acc[1][v]));
}

#if defined(__AVX512F__) || defined(__ARM_NEON)
#define POOLED_SUMS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#else
#define POOLED_SUMS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
#define POOLED_DEFINE(NV)                                                                                          \
    static void pooled_sum_##NV(real *sums, const real *lines, const int32_t *at, const real *g, int64_t n)        \
    {                                                                                                              \
        pooled_sum_body(NV, sums, lines, at, g, n);                                                                \
    }
#define POOLED_ENTRY(NV) [NV] = pooled_sum_##NV,
POOLED_SUMS(POOLED_DEFINE)
static pooled_sum_fn *const pooled_sums[POOLED_VECTORS + 1] = {POOLED_SUMS(POOLED_ENTRY)};
#undef POOLED_DEFINE
#undef POOLED_ENTRY

/* Lines of columns [q0, q1) of pixels of x, which is as conv_image gives it. */
static void pooled_lines(const conv *c, const pooled *p, real *lines, const real *x, int64_t q0, int64_t q1)
{
    const int64_t pitch = conv_pitch(c), last = (p->vectors - 1) * VL, tail = p->run - last;
    const int64_t step = c->height * p->ld, end = gemm_min(q1, c->ow), start = q0 < 0 ? 0 : q0;
    for (int64_t y = 0; y < c->height; y++) {
        const real *from = x + y * pitch + start * c->sw * c->ci;
        real *to = lines + y * p->ld + (start - q0) * step;
        for (int64_t q = start; q < end; q++, from += c->sw * c->ci, to += step) {
            for (int64_t v = 0; v < last; v += VL)
                vstore(to + v, vload(from + v));
            vstore(to + last, vload_n(from + last, tail));
        }
    }
}

/* Lists the elements of dy in columns [b0, b1) of windows that are not 0: their values, and where their patches are
 * from a window's first pixel's in column b0 on. `most` places for each filter. */
static void pooled_list(const conv *c, const pooled *p, const pooled_strip *t, const real *g, const uint8_t *index,
                        int64_t b0, int64_t b1, int64_t most, int32_t *count, int32_t *at, real *listed)
{
    int32_t offset[256];
    for (int64_t k = 0; k < p->taps; k++)
        offset[k] = (int32_t)(k % p->kw * t->column + k / p->kw * t->row);
    memset(count, 0, (size_t)c->co * sizeof(int32_t));
    for (int64_t a = 0; a < p->oh; a++)
        for (int64_t b = b0; b < b1; b++) {
            const int64_t from = (a * p->ow + b) * c->co;
            const int32_t here = (int32_t)((b - b0) * p->sw * t->column + (a * p->sh - p->top) * t->row);
            for (int64_t o = 0; o < c->co; o++) {
                const int64_t k = o * most + count[o];
                at[k] = here + offset[index[from + o]];
                listed[k] = g[from + o];
                count[o] += g[from + o] != 0;
            }
        }
}

static void conv2d_pooled_parts(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    conv c = conv_of(op);
    c.x = op->p[1];
    const pooled p = pooled_of(op, &c);
    const pooled_strip t = pooled_strip_of(&c, &p);
    const int64_t parts = conv_parts(op, step), images = fn_rows(op, step), kernel = c.kh * p.run * c.co;
    const int64_t most = t.columns * p.oh, patch = c.kh * p.ld, copies = pooled_copies(&c);
    const int64_t groups = copies ? 1 : c.kh, vectors = copies ? c.kh * p.vectors : p.vectors;
    real *padded = scratch, *lines = padded + gemm_up((int64_t)conv_padded_elements(&c), VL) * VL;
    real *sums = lines + t.size, *g = sums + c.co * patch, *listed = g + gemm_up(p.windows * c.co, VL) * VL;
    int32_t *at = (int32_t *)(listed + most * c.co), *count = at + most * c.co;
    if (c.pad)
        conv_pad_clear(&c, padded);

    for (int64_t j = lo; j < hi; j++) {
        const int64_t n0 = images * j / parts, n1 = images * (j + 1) / parts;
        real *dw = (real *)op->p[0] + j * (kernel + c.co), *db = dw + kernel;
        memset(sums, 0, (size_t)(c.co * patch) * sizeof(real));
        for (int64_t n = n0; n < n1; n++) {
            const real *x = conv_image(&c, n, padded);
            const int64_t first = n * p.windows * c.co;
            pooled_gradient(&c, g, (const real *)op->p[2] + first, c.gradient ? (const real *)op->p[4] + first : NULL,
                            p.windows * c.co);
            gemm_column_sums(db, g, c.co, p.windows, c.co, n > n0);
            for (int64_t b0 = 0; b0 < p.ow; b0 += t.columns) {
                const int64_t b1 = gemm_min(p.ow, b0 + t.columns), q0 = b0 * p.sw - p.left;
                pooled_list(&c, &p, &t, g, (const uint8_t *)op->p[3] + first, b0, b1, most, count, at, listed);
                if (copies)
                    pooled_lines(&c, &p, lines, x, q0, (b1 - 1) * p.sw - p.left + p.kw);
                const real *from = copies ? lines : x + q0 * t.column;
                for (int64_t o = 0; o < c.co; o++)
                    for (int64_t i = 0; i < groups; i++)
                        for (int64_t v = 0; v < vectors;) {
                            const int64_t left = vectors - v, nv = gemm_up(left, gemm_up(left, POOLED_VECTORS));
                            pooled_sums[nv](sums + o * patch + i * p.ld + v * VL, from + i * t.line + v * VL,
                                            at + o * most, listed + o * most, count[o]);
                            v += nv;
                        }
            }
        }
        for (int64_t i = 0; i < c.kh; i++)
            for (int64_t l = 0; l < p.run; l++)
                for (int64_t o = 0; o < c.co; o++)
                    dw[(i * p.run + l) * c.co + o] = sums[o * patch + i * p.ld + l];
    }
}

/* ---- conv2d_pooled_input ----
 *
 *   p  dX, dY, index (bytes), W[kh][kw][ci][co], S or NULL, Z or NULL (of dX's layout): dX is multiplied by act'(Z)
 *      dY, index and S are the pool's: windows of 2x2, two apart, none padded. The convolution's strides are 1.
 *   split  FN_SPLIT_ROWS: images
 *
 * The elements of a window are listed by their place in it. Going down a column of pixels, the kh + 1 rows of dx that
 * a window reaches grow in registers; of these two are done when the next window is reached.
 */
enum { POOLED_PLACES = 4, POOLED_BOUNDS = POOLED_PLACES + 1 };

static size_t conv2d_pooled_input_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    const conv c = conv_of(op);
    const pooled p = pooled_of(op, &c);
    const int64_t listed = p.windows * c.co;
    return (size_t)(c.co * c.kh * p.ld + c.height * c.width * c.ci + p.ld + 2 * listed + 4 * VL) * sizeof(real)
           + (size_t)(listed + p.windows * POOLED_BOUNDS) * sizeof(int32_t);
}

/* A column of dx, NV vectors of its lines: `rows` windows, `step` windows apart. Of a window's `listed` elements those
 * of the column's upper pixel are from bounds[0] to bounds[1], those of the lower from bounds[2] to bounds[3]. */
typedef struct {
    const real *w, *g;
    const int32_t *at, *bounds;
    real *to;
    int64_t rows, step, ld, listed, pitch;
} pooled_column;

typedef void pooled_column_fn(const pooled_column *t);

FN_INLINE void pooled_column_body(const int KH, const int NV, const pooled_column *t)
{
    const int64_t ld = t->ld, pitch = t->pitch;
    const int32_t *at = t->at, *bounds = t->bounds;
    const real *g = t->g;
    real *to = t->to;
    vec acc[18];
#pragma GCC unroll 18
    for (int j = 0; j < (KH + 1) * NV; j++)
        acc[j] = (vec){};
    for (int64_t r = 0; r < t->rows; r++) {
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const int64_t end = bounds[2 * i + 1];
            for (int64_t e = bounds[2 * i]; e < end; e++) {
                const real *w = t->w + at[e];
                const vec s = vset1(g[e]);
#pragma GCC unroll 5
                for (int k = 0; k < KH; k++)
#pragma GCC unroll 3
                    for (int v = 0; v < NV; v++)
                        acc[(i + k) * NV + v] += s * vload(w + k * ld + v * VL);
            }
        }
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++, to += pitch)
#pragma GCC unroll 3
            for (int v = 0; v < NV; v++)
                vstore(to + v * VL, vload(to + v * VL) + acc[i * NV + v]);
#pragma GCC unroll 18
        for (int j = 0; j < (KH + 1) * NV; j++)
            acc[j] = j < (KH - 1) * NV ? acc[j + 2 * NV] : (vec){};
        at += t->step * t->listed;
        g += t->step * t->listed;
        bounds += t->step * POOLED_BOUNDS;
    }
#pragma GCC unroll 4
    for (int i = 0; i < KH - 1; i++, to += pitch)
#pragma GCC unroll 3
        for (int v = 0; v < NV; v++)
            vstore(to + v * VL, vload(to + v * VL) + acc[i * NV + v]);
}

#define POOLED_COLUMNS(X) X(3, 1) X(3, 2) X(3, 3) X(5, 1) X(5, 2)
#define POOLED_DEFINE(KH, NV) \
    static void pooled_column_##KH##x##NV(const pooled_column *t) { pooled_column_body(KH, NV, t); }
#define POOLED_ENTRY(KH, NV) [KH][NV] = pooled_column_##KH##x##NV,
POOLED_COLUMNS(POOLED_DEFINE)
static pooled_column_fn *const pooled_columns[6][4] = {POOLED_COLUMNS(POOLED_ENTRY)};
#undef POOLED_DEFINE
#undef POOLED_ENTRY

/* The n elements g of a window sorted by place, those that are 0 behind the others: filters' offsets, values, and the
 * places' bounds. */
static void pooled_sort(int32_t *bounds, int32_t *at, real *values, const uint8_t *index, const real *g, int64_t n,
                        int64_t filter)
{
    int32_t next[2 * POOLED_PLACES + 1] = {}; /* no branches: zeros come at random */
    for (int64_t o = 0; o < n; o++)
        next[1 + index[o] + POOLED_PLACES * (g[o] == 0)]++;
    for (int k = 1; k < 2 * POOLED_PLACES; k++)
        next[k] += next[k - 1];
    memcpy(bounds, next, POOLED_BOUNDS * sizeof *next);
    for (int64_t o = 0; o < n; o++) {
        const int32_t to = next[index[o] + POOLED_PLACES * (g[o] == 0)]++;
        at[to] = (int32_t)(o * filter);
        values[to] = g[o];
    }
}

/* W as [filter][row][line]. */
static void pooled_filters(const conv *c, const pooled *p, real *to, const real *w)
{
    memset(to, 0, (size_t)(c->co * c->kh * p->ld) * sizeof(real));
    for (int64_t i = 0; i < c->kh; i++)
        for (int64_t l = 0; l < p->run; l++)
            for (int64_t o = 0; o < c->co; o++)
                to[(o * c->kh + i) * p->ld + l] = *w++;
}

/* One image's dx from `canvas`, which holds its surroundings too. */
static void pooled_image(const conv *c, real *dx, const real *canvas, const real *z, int code, real alpha)
{
    const int64_t row = c->iw * c->ci, pitch = c->width * c->ci, x0 = c->left > 0 ? 0 : -c->left;
    const int64_t from = x0 * c->ci, to = gemm_min(row, (c->width - c->left) * c->ci);
    memset(dx, 0, (size_t)(c->ih * row) * sizeof(real));
    for (int64_t y = c->top > 0 ? 0 : -c->top; y < gemm_min(c->ih, c->height - c->top); y++) {
        const real *line = canvas + (y + c->top) * pitch + c->left * c->ci;
        for (int64_t j = from; j < to; j += VL) {
            const int64_t lanes = gemm_min(VL, to - j);
            vec x = vload_n(line + j, lanes);
            if (z)
                x *= gemm_derivative(code, vload_n(z + y * row + j, lanes), alpha);
            vstore_n(dx + y * row + j, x, lanes);
        }
    }
}

static void conv2d_pooled_input(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    const conv c = conv_of(op);
    const pooled p = pooled_of(op, &c);
    const int64_t canvas_size = c.height * c.width * c.ci + p.ld, image = c.ih * c.iw * c.ci;
    const int64_t listed = p.windows * c.co, most = c.kh == 3 ? 3 : 2;
    real *w = scratch, *canvas = w + c.co * c.kh * p.ld, *g = canvas + gemm_up(canvas_size, VL) * VL;
    real *values = g + gemm_up(listed, VL) * VL;
    int32_t *at = (int32_t *)(values + listed), *bounds = at + listed;
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    pooled_filters(&c, &p, w, op->p[3]);
    for (int64_t n = n0; n < n1; n++) {
        const int64_t first = n * p.windows * c.co;
        const uint8_t *index = (const uint8_t *)op->p[2] + first;
        pooled_gradient(&c, g, (const real *)op->p[1] + first, c.gradient ? (const real *)op->p[4] + first : NULL,
                        p.windows * c.co);
        for (int64_t a = 0; a < p.windows; a++)
            pooled_sort(bounds + a * POOLED_BOUNDS, at + a * c.co, values + a * c.co, index + a * c.co, g + a * c.co, c.co,
                        c.kh * p.ld);
        memset(canvas, 0, (size_t)canvas_size * sizeof(real));
        pooled_column t = {.rows = p.oh, .step = p.ow, .ld = p.ld, .listed = c.co, .pitch = c.width * c.ci};
        for (int64_t v = 0; v < p.vectors;) { /* these vectors of all filters stay in the first-level cache */
            const int64_t left = p.vectors - v, nv = gemm_up(left, gemm_up(left, most));
            t.w = w + v * VL;
            for (int64_t x = 0; x < 2 * p.ow; x++) {
                t.at = at + x / 2 * c.co;
                t.g = values + x / 2 * c.co;
                t.bounds = bounds + x / 2 * POOLED_BOUNDS + x % 2;
                t.to = canvas + x * c.ci + v * VL;
                pooled_columns[c.kh][nv](&t);
            }
            v += nv;
        }
        pooled_image(&c, (real *)op->p[0] + n * image, canvas, op->i[32] ? (const real *)op->p[5] + n * image : NULL,
                     (int)op->i[32], (real)op->f[1]);
    }
}
