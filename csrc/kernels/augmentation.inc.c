/* augmentation.inc.c - random changes of images (samples, rows, columns, channels) and what they draw.
 *
 * A draw_* kernel fills a few numbers a sample, a function of (seed, step index, stream, position in the
 * batch); the kernel beside it applies them. So a transform can be checked against its parameters, and any
 * number of threads gives the same bits. Sample r takes the 32 words of group r of Philox4x32-10 in memory
 * order (random.h).
 */

enum { AUGMENT_WORDS = 32 };

/* The random words of sample r. */
FN_INLINE void sample_words(uint32_t *words, const fn_step *step, uint64_t stream, int64_t r)
{
    const fn_random_group g = fn_philox(step->seed, (uint64_t)step->index, stream, (uint64_t)r, 10);
    memcpy(words, &g, AUGMENT_WORDS * sizeof *words);
}

/* Uniform in (0, 1), from one word. */
FN_INLINE double unit(uint32_t word) { return ((double)word + 0.5) * 0x1p-32; }

FN_INLINE double between(uint32_t word, double lo, double hi) { return lo + (hi - lo) * unit(word); }

/* ---- affine ---- */

typedef enum { ROTATION, TRANSLATION, ZOOM } affine_kind;

/* Sine and cosine in double precision, |x| of some turns at most: quarter turns taken off, then Taylor's
 * series. */
static void sine_cosine(double x, double *sine, double *cosine)
{
    const double turns = x * 0.63661977236758134308, whole = __builtin_floor(turns + 0.5);
    const double r = (turns - whole) * 1.57079632679489661923, r2 = r * r;
    const double s = r * (1 + r2 * (-1. / 6 + r2 * (1. / 120 + r2 * (-1. / 5040 + r2 * (1. / 362880
                   + r2 * (-1. / 39916800 + r2 * (1. / 6227020800. - r2 / 1307674368000.)))))));
    const double c = 1 + r2 * (-1. / 2 + r2 * (1. / 24 + r2 * (-1. / 720 + r2 * (1. / 40320
                   + r2 * (-1. / 3628800 + r2 * (1. / 479001600. - r2 / 87178291200.))))));
    switch ((int64_t)whole & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s; break;
    }
}

/* draw_affine: a transform a sample: the pixel (x, y) of the result comes from
 * (a0 x + a1 y + a2, b0 x + b1 y + b2).
 *   kind 0, rotation by t in [f0, f1) radians around the middle;
 *   kind 1, translation by u h rows and v w columns, u in [f0, f1), v in [f2, f3);
 *   kind 2, zoom around the middle, 1 + u of the rows and 1 + v of the columns being seen; v = u with i[5].
 * p: m (rows, 8): a0 a1 a2 b0 b1 b2 0 0.  i: rows, kind, stream, height, width, same.  f: ranges.
 * FN_SPLIT_ROWS. */
static void draw_affine_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const double *f = op->f, h = (double)op->i[3], w = (double)op->i[4];
    for (int64_t r = r0; r < r1; r++) {
        uint32_t words[AUGMENT_WORDS];
        sample_words(words, step, (uint64_t)op->i[2], r);
        const double u = between(words[0], f[0], f[1]), v = op->i[5] ? u : between(words[1], f[2], f[3]);
        double a0 = 1, a1 = 0, a2 = 0, b0 = 0, b1 = 1, b2 = 0;
        switch ((affine_kind)op->i[1]) {
        case ROTATION:
            sine_cosine(u, &b0, &a0);
            a1 = -b0, b1 = a0;
            a2 = ((w - 1) * (1 - a0) - (h - 1) * a1) / 2;
            b2 = ((h - 1) * (1 - b1) - (w - 1) * b0) / 2;
            break;
        case TRANSLATION:
            a2 = -v * w, b2 = -u * h;
            break;
        case ZOOM:
            a0 = 1 + v, b1 = 1 + u;
            a2 = (w - 1) / 2 * (1 - a0), b2 = (h - 1) / 2 * (1 - b1);
            break;
        }
        const double m[8] = {a0, a1, a2, b0, b1, b2, 0, 0};
        for (int k = 0; k < 8; k++)
            ((real *)op->p[0])[r * 8 + k] = (real)m[k];
    }
}

typedef enum { FILL_CONSTANT, FILL_REFLECT, FILL_WRAP, FILL_NEAREST } fill_mode;

/* Whole numbers k as indices 0 .. n - 1 beyond the borders too; NaN becomes 0. */
FN_INLINE vec border_index(vec k, real n, fill_mode fill)
{
    if (fill == FILL_REFLECT) {
        const vec t = k - vset1(2 * n) * vfloor(k / vset1(2 * n));
        k = vmin(t, vset1(2 * n - 1) - t);
    } else if (fill == FILL_WRAP)
        k = k - vset1(n) * vfloor(k / vset1(n));
    return vmin(vmax(k, vset1(0)), vset1(n - 1));
}

/* VL source positions along one side: two neighbours and their weights; constant fill: weight 0 beyond the
 * border. */
typedef struct { vec index[2], weight[2]; } neighbours;

FN_INLINE neighbours find_neighbours(vec at, real n, fill_mode fill, int bilinear)
{
    neighbours s = {0};
    const vec below = bilinear ? vfloor(at) : vround(at);
    const vec part = bilinear ? at - below : vset1(0);
    s.weight[0] = vset1(1) - part;
    s.weight[1] = part;
    for (int k = 0; k < 1 + bilinear; k++) {
        const vec whole = below + vset1((real)k);
        s.index[k] = border_index(whole, n, fill);
        if (fill == FILL_CONSTANT)
            s.weight[k] = vmask((whole >= vset1(0)) & (whole <= vset1(n - 1)), s.weight[k]);
    }
    return s;
}

/* One image. The sources and weights of VL pixels of a row are found together, then used channel by
 * channel. */
FN_INLINE void affine_image_one(real *y, const real *x, const real *m, const int64_t *size, fill_mode fill,
                                int bilinear, real value, int channels_1)
{
    const int64_t h = size[0], w = size[1], channels = channels_1 ? 1 : size[2];
    vec lane;
    for (int j = 0; j < VL; j++)
        lane[j] = (real)j;
    const int sources = bilinear ? 4 : 1;
    for (int64_t row = 0; row < h; row++) {
        const real ax = m[1] * (real)row + m[2], by = m[4] * (real)row + m[5];
        for (int64_t at = 0; at < w; at += VL) {
            const vec column = lane + vset1((real)at);
            const neighbours cx = find_neighbours(vset1(m[0]) * column + vset1(ax), (real)w, fill, bilinear);
            const neighbours cy = find_neighbours(vset1(m[3]) * column + vset1(by), (real)h, fill, bilinear);
            ielem from[4][VL];
            real weight[4][VL], rest[VL];
            vec left = vset1(1);
            for (int k = 0; k < sources; k++) {
                const vec part = cy.weight[k / 2] * cx.weight[k % 2];
                const ivec source = (__builtin_convertvector(cy.index[k / 2], ivec) * (ielem)w
                                     + __builtin_convertvector(cx.index[k % 2], ivec)) * (ielem)channels;
                memcpy(from[k], &source, sizeof source);
                memcpy(weight[k], &part, sizeof part);
                left -= part;
            }
            left = fill == FILL_CONSTANT ? left * vset1(value) : vset1(0);
            memcpy(rest, &left, sizeof left);
            const int64_t count = w - at < VL ? w - at : VL;
            real *out = y + (row * w + at) * channels;
            for (int64_t j = 0; j < count; j++)
                for (int64_t c = 0; c < channels; c++) {
                    real sum = rest[j];
                    for (int k = 0; k < sources; k++)
                        sum += weight[k][j] * x[from[k][j] + c];
                    out[j * channels + c] = sum;
                }
        }
    }
}

/* affine_image: each pixel of y from where its sample's transform (draw_affine) says it comes from.
 * p: y, x (rows, h, w, channels), m (rows, 8).  i: rows, h, w, channels, fill mode, bilinear (0: the nearest
 * pixel).  f: the constant.  y must not be x.  FN_SPLIT_ROWS.
 * Fill modes: 0 constant, 1 reflect (d c b a | a b c d | d c b a), 2 wrap, 3 nearest. */
static void affine_image_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t *size = op->i + 1, n = size[0] * size[1] * size[2];
    for (int64_t r = r0; r < r1; r++) {
        real *y = (real *)op->p[0] + r * n;
        const real *x = (const real *)op->p[1] + r * n, *m = (const real *)op->p[2] + r * 8;
#define FN_AFFINE(fill, bilinear)                                                              \
    if (size[2] == 1)                                                                          \
        affine_image_one(y, x, m, size, fill, bilinear, (real)op->f[0], 1);                    \
    else                                                                                       \
        affine_image_one(y, x, m, size, fill, bilinear, (real)op->f[0], 0);                    \
    break
        switch (op->i[4] * 2 + op->i[5]) {
        case FILL_CONSTANT * 2 + 1: FN_AFFINE(FILL_CONSTANT, 1);
        case FILL_REFLECT * 2 + 1: FN_AFFINE(FILL_REFLECT, 1);
        case FILL_WRAP * 2 + 1: FN_AFFINE(FILL_WRAP, 1);
        case FILL_NEAREST * 2 + 1: FN_AFFINE(FILL_NEAREST, 1);
        default: FN_AFFINE((fill_mode)op->i[4], 0);
        }
#undef FN_AFFINE
    }
}

/* ---- flips and crops ---- */

/* draw_window: where a window begins, and whether it is mirrored.
 * p: m (rows, 4): top in i[2] .. i[2] + i[3] - 1, left in i[4] .. i[4] + i[5] - 1, columns mirrored, rows
 * mirrored (0 or 1).  i: rows, stream, first top, tops, first left, lefts, mirror (1: columns, 2: rows, 3:
 * both or neither).  FN_SPLIT_ROWS. */
static void draw_window_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t *i = op->i;
    for (int64_t r = r0; r < r1; r++) {
        uint32_t words[AUGMENT_WORDS];
        sample_words(words, step, (uint64_t)i[1], r);
        real *m = (real *)op->p[0] + r * 4;
        const int mirror = words[2] < 0x80000000u;
        m[0] = (real)(i[2] + (int64_t)(((uint64_t)words[0] * (uint64_t)i[3]) >> 32));
        m[1] = (real)(i[4] + (int64_t)(((uint64_t)words[1] * (uint64_t)i[5]) >> 32));
        m[2] = (real)(mirror && (i[6] & 1));
        m[3] = (real)(mirror && (i[6] & 2));
    }
}

/* y = the n pixels of x in reverse order. */
FN_INLINE void mirror_row(real *restrict y, const real *restrict x, int64_t n, int64_t channels)
{
    int64_t j = 0;
    if (channels == 1) {
        ivec back;
        for (int k = 0; k < VL; k++)
            back[k] = VL - 1 - k;
        for (; j + VL <= n; j += VL)
            vstore(y + j, __builtin_shuffle(vload(x + n - j - VL), back));
    }
    if (channels == 3)
        for (; j < n; j++)
            for (int64_t c = 0; c < 3; c++)
                y[j * 3 + c] = x[(n - 1 - j) * 3 + c];
    for (; j < n; j++)
        for (int64_t c = 0; c < channels; c++)
            y[j * channels + c] = x[(n - 1 - j) * channels + c];
}

/* window_image: y = the window of x that begins at (top, left), mirrored as m says; f[0] outside x.
 * p: y (rows, oh, ow, channels), x (rows, h, w, channels), m (rows, 4).  i: rows, h, w, channels, oh, ow.
 * y must not be x.  FN_SPLIT_ROWS. */
static void window_image_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t h = op->i[1], w = op->i[2], channels = op->i[3], oh = op->i[4], ow = op->i[5];
    const real value = (real)op->f[0];
    for (int64_t r = r0; r < r1; r++) {
        const real *x = (const real *)op->p[1] + r * h * w * channels, *m = (const real *)op->p[2] + r * 4;
        real *y = (real *)op->p[0] + r * oh * ow * channels;
        const int64_t top = (int64_t)m[0], left = (int64_t)m[1];
        /* columns [from, to) of the window lie within the image */
        const int64_t from = left < 0 ? (-left < ow ? -left : ow) : 0;
        const int64_t room = w - left < ow ? w - left : ow, to = room > from ? room : from;
        for (int64_t k = 0; k < oh; k++) {
            const int64_t row = top + (m[3] != 0 ? oh - 1 - k : k);
            real *out = y + k * ow * channels;
            if (row < 0 || row >= h) {
                for (int64_t j = 0; j < ow * channels; j++)
                    out[j] = value;
                continue;
            }
            /* mirrored, the part within the image stands as far from the other end */
            const int64_t begin = m[2] != 0 ? ow - to : from, end = begin + to - from;
            const real *in = x + (row * w + left + from) * channels;
            for (int64_t j = 0; j < begin * channels; j++)
                out[j] = value;
            if (m[2] != 0)
                mirror_row(out + begin * channels, in, to - from, channels);
            else
                memcpy(out + begin * channels, in, (size_t)((to - from) * channels) * sizeof(real));
            for (int64_t j = end * channels; j < ow * channels; j++)
                out[j] = value;
        }
    }
}

/* ---- resizing ---- */

static size_t resize_image_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    return (size_t)(op->i[2] * op->i[3]) * sizeof(real);
}

/* resize_image: y[k][l][c] = sum over s, t of v[k][s] u[l][t] x[top[k] + s][left[l] + t][c]: first the rows
 * that make up a row of y, then its columns.
 * p: y (rows, oh, ow, channels), x (rows, h, w, channels), top (oh) int32, v (oh, i[6]), left (ow) int32,
 * u (ow, i[7]).  i: rows, h, w, channels, oh, ow, weights of a row, weights of a column.  y must not be x.
 * FN_SPLIT_ROWS. */
static void resize_image_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t h = op->i[1], channels = op->i[3], n = op->i[2] * channels, oh = op->i[4], ow = op->i[5];
    const int64_t rows = op->i[6], columns = op->i[7];
    const int32_t *top = op->p[2], *left = op->p[4];
    const real *v = op->p[3], *u = op->p[5];
    real *restrict line = scratch;
    for (int64_t r = r0; r < r1; r++)
        for (int64_t k = 0; k < oh; k++) {
            const real *x = (const real *)op->p[1] + (r * h + top[k]) * n;
            real *restrict y = (real *)op->p[0] + (r * oh + k) * ow * channels;
            for (int64_t j = 0; j < n; j += VL) {
                const int64_t some = n - j < VL ? n - j : VL;
                vec sum = vset1(0);
                for (int64_t s = 0; s < rows; s++)
                    sum += vset1(v[k * rows + s]) * vload_n(x + s * n + j, some);
                vstore_n(line + j, sum, some);
            }
            for (int64_t l = 0; l < ow; l++)
                for (int64_t c = 0; c < channels; c++) {
                    real sum = 0;
                    for (int64_t t = 0; t < columns; t++)
                        sum += u[l * columns + t] * line[(left[l] + t) * channels + c];
                    y[l * channels + c] = sum;
                }
        }
}

/* ---- contrast and brightness ---- */

enum { PATTERN_CHANNELS = 16 }; /* up to here the shifts of VL pixels are laid out behind each other */

static size_t adjust_image_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    const int64_t channels = op->i[2];
    return (size_t)(channels <= PATTERN_CHANNELS ? channels * VL : channels) * sizeof(real);
}

/* Sums of each of `period` places of x, which has n elements: place j has those at j, j + period, ... */
static void sum_places(real *restrict sum, const real *restrict x, int64_t n, int64_t period)
{
    for (int64_t j = 0; j < period; j++)
        sum[j] = 0;
    int64_t at = 0;
    for (; at + period <= n; at += period)
        for (int64_t j = 0; j < period; j++)
            sum[j] += x[at + j];
    for (int64_t j = 0; at + j < n; j++)
        sum[j] += x[at + j];
}

/* adjust_image: y = clip((x - mean) a + mean + b), mean that of the channel over the image; a = 1 and b = 0
 * where NULL.
 * p: y, x (rows, pixels, channels), a (rows), b (rows).  i: rows, pixels, channels.  f: least, most.  y may
 * be x.  FN_SPLIT_ROWS. */
static void adjust_image_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t pixels = op->i[1], channels = op->i[2], n = pixels * channels;
    const int64_t period = channels <= PATTERN_CHANNELS ? channels * VL : channels; /* of the shifts */
    real *shift = scratch;
    const vec least = vset1((real)op->f[0]), most = vset1((real)op->f[1]);
    for (int64_t r = r0; r < r1; r++) {
        real *y = (real *)op->p[0] + r * n;
        const real *x = (const real *)op->p[1] + r * n;
        const real a = op->p[2] ? ((const real *)op->p[2])[r] : 1;
        const real b = op->p[3] ? ((const real *)op->p[3])[r] : 0;
        if (op->p[2])
            sum_places(shift, x, n, period);
        for (int64_t c = 0; c < channels; c++) {
            real mean = 0;
            for (int64_t j = c; op->p[2] && j < period; j += channels)
                mean += shift[j];
            mean = mean / (real)pixels * (1 - a) + b;
            for (int64_t j = c; j < period; j += channels)
                shift[j] = mean;
        }
        for (int64_t at = 0; at < n; at += period) {
            const int64_t some = n - at < period ? n - at : period;
            for (int64_t j = 0; j < some; j += VL) {
                const int64_t rest = some - j < VL ? some - j : VL;
                const vec t = vload_n(x + at + j, rest) * vset1(a) + vload_n(shift + j, rest);
                vstore_n(y + at + j, vmin(vmax(t, least), most), rest);
            }
        }
    }
}

/* ---- erased boxes ---- */

/* draw_box: the box of a sample that is erased, rows [y0, y1) and columns [x0, x1), all 0 where none is.
 * Each side is sqrt(s) of the image's, s in [f2, f3); erased with a probability that lies in [f0, f1).
 * p: m (rows, 4): y0 y1 x0 x1.  i: rows, stream, height, width.  FN_SPLIT_ROWS. */
static void draw_box_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const double *f = op->f;
    for (int64_t r = r0; r < r1; r++) {
        uint32_t words[AUGMENT_WORDS];
        sample_words(words, step, (uint64_t)op->i[1], r);
        real *m = (real *)op->p[0] + r * 4;
        const int erased = unit(words[4]) < between(words[5], f[0], f[1]);
        for (int k = 0; k < 2; k++) {
            const double n = (double)op->i[2 + k], side = n * __builtin_sqrt(between(words[k], f[2], f[3]));
            const double start = unit(words[2 + k]) * (n - side);
            m[2 * k] = erased ? (real)start : 0;
            m[2 * k + 1] = erased ? (real)(start + side) : 0;
        }
    }
}

/* The first whole number from t on, within 0 .. n. */
FN_INLINE int64_t first_within(real t, int64_t n)
{
    const int64_t k = t > 0 ? (t < (real)n ? (int64_t)t : n) : 0;
    return k < n && (real)k < t ? k + 1 : k;
}

/* erase_image: x with the pixels of the box replaced by the fill value of their channel, or where p[3] is
 * NULL by normal noise f[0] z, cut off at f[1] and f[2].
 * p: y, x (rows, h, w, channels), m (rows, 4), fill (channels) or NULL.  i: rows, h, w, channels, stream.
 * f: deviation of the noise, least, most.  y may be x.  FN_SPLIT_ROWS. */
static void erase_image_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t h = op->i[1], w = op->i[2], channels = op->i[3], n = h * w * channels;
    const real *fill = op->p[3];
    const vec deviation = vset1((real)op->f[0]), least = vset1((real)op->f[1]), most = vset1((real)op->f[2]);
    if (op->p[0] != op->p[1])
        memcpy((real *)op->p[0] + r0 * n, (const real *)op->p[1] + r0 * n,
               (size_t)((r1 - r0) * n) * sizeof(real));
    for (int64_t r = r0; r < r1; r++) {
        const real *m = (const real *)op->p[2] + r * 4;
        const int64_t x0 = first_within(m[2], w), x1 = first_within(m[3], w), y1 = first_within(m[1], h);
        for (int64_t row = first_within(m[0], h); row < y1; row++) {
            const int64_t position = r * n + (row * w + x0) * channels, count = (x1 - x0) * channels;
            real *y = (real *)op->p[0] + position;
            if (fill) {
                for (int64_t j = 0; j < count; j += channels)
                    for (int64_t c = 0; c < channels; c++)
                        y[j + c] = fill[c];
                continue;
            }
            for (int64_t j = 0; j < count;) { /* by the element's position, as gaussian_noise draws it */
                const int64_t at = position + j, skip = at % FILL_GROUP, left = FILL_GROUP - skip;
                vec drawn[FILL_VECTORS];
                real part[FILL_GROUP];
                random_vectors(drawn, step, (uint64_t)op->i[4], (uint64_t)(at / FILL_GROUP), NORMAL);
                for (int v = 0; v < FILL_VECTORS; v++)
                    vstore(part + v * VL, vmin(vmax(drawn[v] * deviation, least), most));
                const int64_t some = left < count - j ? left : count - j;
                memcpy(y + j, part + skip, (size_t)some * sizeof(real));
                j += some;
            }
        }
    }
}

/* ---- mixtures ---- */

/* Numbers from one counter, a word at a time, from group `group` of the stream on. */
typedef struct {
    const fn_step *step;
    uint64_t stream, group;
    int used;
    uint32_t words[AUGMENT_WORDS];
} word_source;

FN_INLINE double next_unit(word_source *s)
{
    if (s->used == AUGMENT_WORDS) {
        sample_words(s->words, s->step, s->stream, (int64_t)s->group++);
        s->used = 0;
    }
    return unit(s->words[s->used++]);
}

/* The logarithm, in double precision: x = 2^e (1 + t), and 2 atanh(t / (2 + t)) as a series. */
static double log_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t e = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    memcpy(&x, &bits, sizeof x);
    if (x > 1.41421356237309504880)
        x /= 2, e++;
    const double z = (x - 1) / (x + 1), z2 = z * z;
    double sum = 0;
    for (int k = 21; k > 0; k -= 2)
        sum = sum * z2 + 1. / k;
    return 2 * z * sum + (double)e * 0.69314718055994530942;
}

/* e^x, x <= 0: 2^n e^r, |r| <= log(2) / 2. */
static double exp_double(double x)
{
    if (!(x > -700))
        return 0;
    const double n = __builtin_floor(x * 1.44269504088896340736 + 0.5), r = x - n * 0.69314718055994530942;
    double sum = 1;
    for (int k = 14; k > 0; k--)
        sum = 1 + sum * r / k;
    const uint64_t bits = (uint64_t)((int64_t)n + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

/* The logarithm of a number of the gamma distribution of shape a (Marsaglia and Tsang 2000; below shape 1
 * that of a + 1 times u^(1/a)). */
static double log_gamma_draw(word_source *s, double a)
{
    double log_boost = 0;
    if (a < 1) {
        log_boost = log_double(next_unit(s)) / a;
        a += 1;
    }
    const double d = a - 1. / 3, c = 1 / __builtin_sqrt(9 * d);
    for (int again = 0; again < 1000; again++) {
        double sine, cosine;
        const double radius = __builtin_sqrt(-2 * log_double(next_unit(s)));
        sine_cosine(6.28318530717958647692 * next_unit(s), &sine, &cosine);
        const double x = radius * cosine, v = (1 + c * x) * (1 + c * x) * (1 + c * x);
        if (v > 0 && log_double(next_unit(s)) < 0.5 * x * x + d - d * v + d * log_double(v))
            return log_boost + log_double(d * v);
    }
    return log_boost + log_double(d);
}

/* draw_mixture: a partner for each sample, by a random order of the batch, and the share that the sample
 * itself keeps, of the beta distribution with both shapes f[0]: g / (g + g'), g and g' of the gamma
 * distribution.
 * p: weight (rows), partner (rows) int32.  i: 1, stream.  FN_SPLIT_SERIAL. */
static void draw_mixture_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch; (void)hi;
    if (lo > 0)
        return;
    const int64_t rows = fn_rows(op, step);
    real *weight = op->p[0];
    int32_t *partner = op->p[1];
    for (int64_t r = 0; r < rows; r++) {
        word_source s = {.step = step, .stream = (uint64_t)op->i[1], .group = (uint64_t)r << 24};
        s.used = AUGMENT_WORDS;
        const double g = log_gamma_draw(&s, op->f[0]), other = log_gamma_draw(&s, op->f[0]);
        const double ratio = exp_double(g < other ? g - other : other - g); /* of the smaller to the larger */
        weight[r] = (real)(g < other ? ratio / (1 + ratio) : 1 / (1 + ratio));
        const int64_t j = (int64_t)(next_unit(&s) * (double)(r + 1)); /* Fisher and Yates, inside out */
        if (j < r)
            partner[r] = partner[j];
        partner[j] = (int32_t)r;
    }
}

static int64_t sample_tasks(const fn_op *op, const fn_step *step) { return fn_rows(op, step); }

/* mix_samples: y[r] = weight[r] x[r] + (1 - weight[r]) x[partner[r]].
 * p: y, x, weight, partner.  i: rows, columns.  y must not be x.  FN_SPLIT_BLOCKS, tasks are samples. */
static void mix_samples_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const int64_t cols = op->i[1];
    for (int64_t r = lo; r < hi; r++) {
        const real *x = (const real *)op->p[1] + r * cols;
        const real *other = (const real *)op->p[1] + ((const int32_t *)op->p[3])[r] * cols;
        const real a = ((const real *)op->p[2])[r], b = 1 - a;
        real *restrict y = (real *)op->p[0] + r * cols;
        for (int64_t j = 0; j < cols; j++)
            y[j] = a * x[j] + b * other[j];
    }
}

/* take_samples: y[r] = x[partner[r]].
 * p: y, x, partner.  i: rows, bytes of a sample.  y must not be x.  FN_SPLIT_BLOCKS, tasks are samples. */
static void take_samples_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const int64_t bytes = op->i[1];
    for (int64_t r = lo; r < hi; r++)
        memcpy((char *)op->p[0] + r * bytes, (const char *)op->p[1] + ((const int32_t *)op->p[2])[r] * bytes,
               (size_t)bytes);
}

#define FN_AUGMENTATION_KERNELS(X)                                                           \
    X(draw_affine, FN_SPLIT_ROWS, fn_row_tasks, NULL, draw_affine_run)                       \
    X(affine_image, FN_SPLIT_ROWS, fn_row_tasks, NULL, affine_image_run)                     \
    X(draw_window, FN_SPLIT_ROWS, fn_row_tasks, NULL, draw_window_run)                       \
    X(window_image, FN_SPLIT_ROWS, fn_row_tasks, NULL, window_image_run)                     \
    X(resize_image, FN_SPLIT_ROWS, fn_row_tasks, resize_image_scratch, resize_image_run)     \
    X(adjust_image, FN_SPLIT_ROWS, fn_row_tasks, adjust_image_scratch, adjust_image_run)     \
    X(draw_box, FN_SPLIT_ROWS, fn_row_tasks, NULL, draw_box_run)                             \
    X(erase_image, FN_SPLIT_ROWS, fn_row_tasks, NULL, erase_image_run)                       \
    X(draw_mixture, FN_SPLIT_SERIAL, fn_one_task, NULL, draw_mixture_run)                    \
    X(mix_samples, FN_SPLIT_BLOCKS, sample_tasks, NULL, mix_samples_run)                     \
    X(take_samples, FN_SPLIT_BLOCKS, sample_tasks, NULL, take_samples_run)
