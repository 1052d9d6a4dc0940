/* conv_max_pool.inc.c - a convolution whose result is max-pooled, and needed for nothing else.
 *
 *     conv2d_max_pool   Y = max_pool(act(conv2d(X, W) + bias)), and where in its window each element was
 *
 * An image's convolution is pooled while it is in the cache, and never leaves it.
 *
 *   p  Y, X, W, bias[co] or NULL, index (bytes) or NULL
 *   i  the geometry of the convolution (convolution.inc.c), its algorithm CONV_DIRECT, CONV_SMALL or CONV_PLANAR; [19] to
 *      [22] are not used; the pool's as in conv_pooled.inc.c
 *   f  [0] alpha of the activation   split  FN_SPLIT_ROWS: images
 *
 * CONV_PLANAR is for images of one channel, few filters, windows of 2x2, two apart and all within what is pooled: vectors
 * run along the pixels of two rows, so that all of their lanes count, and the filters' elements are broadcast. What is
 * pooled has never been stored.
 */
enum {
    CONV_PLANAR = 7,
#if defined(__AVX512F__) || defined(__ARM_NEON)
    PLANAR_FILTERS = VL < 6 ? VL : 6
#else
    PLANAR_FILTERS = VL < 3 ? VL : 3
#endif
};

/* Two rows of 2 VL pixels from x on: `columns` of the pool's, and index or NULL, of F filters of co. */
typedef struct {
    const real *x, *w, *bias;
    real *y;
    uint8_t *index;
    int64_t pitch, kh, kw, co, columns;
    real floor;
} planar;

typedef void planar_fn(const planar *t);

/* Row i of x meets the taps' row i for the upper row of pixels, and row i - 1 for the lower. */
FN_INLINE void planar_row(const int F, const planar *t, int64_t i, const int upper, const int lower, vec (*a)[2],
                          vec (*b)[2])
{
    const real *x = t->x + i * t->pitch, *w = t->w + i * t->kw * t->co, *before = w - t->kw * t->co;
    for (int64_t j = 0; j < t->kw; j++, x++, w += t->co, before += t->co) {
        const vec left = vload(x), right = vload(x + VL);
#pragma GCC unroll 6
        for (int f = 0; f < F; f++) {
            if (upper) {
                const vec s = vset1(w[f]);
                a[f][0] += s * left;
                a[f][1] += s * right;
            }
            if (lower) {
                const vec s = vset1(before[f]);
                b[f][0] += s * left;
                b[f][1] += s * right;
            }
        }
    }
}

FN_INLINE void planar_body(const int F, const planar *t)
{
    vec a[PLANAR_FILTERS][2], b[PLANAR_FILTERS][2], best[VL];
#pragma GCC unroll 6
    for (int f = 0; f < F; f++)
        a[f][0] = a[f][1] = b[f][0] = b[f][1] = t->bias ? vset1(t->bias[f]) : (vec){};
    planar_row(F, t, 0, 1, 0, a, b);
    for (int64_t i = 1; i < t->kh; i++)
        planar_row(F, t, i, 1, 1, a, b);
    planar_row(F, t, t->kh, 0, 1, a, b);

    ivec even, odd;
    for (int l = 0; l < VL; l++) {
        even[l] = 2 * l;
        odd[l] = 2 * l + 1;
    }
    enum { BYTES = sizeof(real) };
    const vec floor = vset1(t->floor);
    uvec where[(PLANAR_FILTERS + BYTES - 1) / BYTES] = {};
#pragma GCC unroll 6
    for (int f = 0; f < F; f++) {
        vec z[4];
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) { /* x when it is NaN */
            const vec *row = k ? b[f] : a[f], left = vmax(floor, row[0]), right = vmax(floor, row[1]);
            z[2 * k] = __builtin_shuffle(left, right, even);
            z[2 * k + 1] = __builtin_shuffle(left, right, odd);
        }
        best[f] = vmax_nan(vmax_nan(z[0], z[1]), vmax_nan(z[2], z[3]));
        ivec place = (ivec){} + 3;
#pragma GCC unroll 3
        for (int k = 2; k >= 0; k--)
            place = vflag_pick_int(vflag_same(z[k], best[f]), (ivec){} + k, place);
        where[f / BYTES] |= (uvec)place << (8 * (f % BYTES));
    }
#pragma GCC unroll 16
    for (int f = F; f < VL; f++)
        best[f] = (vec){};
    gemm_transpose(best);
    for (int64_t q = 0; q < t->columns; q++)
        vstore_n(t->y + q * t->co, best[q], F);
    if (t->index)
        for (int64_t q = 0; q < t->columns; q++)
            for (int f = 0; f < F; f += BYTES) {
                const uelem four = where[f / BYTES][q];
                memcpy(t->index + q * t->co + f, &four, (size_t)(F - f < BYTES ? F - f : BYTES));
            }
}

static void planar_1(const planar *t) { planar_body(1, t); }
static void planar_2(const planar *t) { planar_body(2, t); }
#if defined(__AVX512F__) || defined(__ARM_NEON)
static void planar_3(const planar *t) { planar_body(PLANAR_FILTERS < 3 ? PLANAR_FILTERS : 3, t); }
static void planar_4(const planar *t) { planar_body(PLANAR_FILTERS < 4 ? PLANAR_FILTERS : 4, t); }
static void planar_5(const planar *t) { planar_body(PLANAR_FILTERS < 5 ? PLANAR_FILTERS : 5, t); }
static void planar_6(const planar *t) { planar_body(PLANAR_FILTERS, t); }
static planar_fn *const planars[] = {NULL, planar_1, planar_2, planar_3, planar_4, planar_5, planar_6};
#else
static void planar_3(const planar *t) { planar_body(PLANAR_FILTERS, t); }
static planar_fn *const planars[] = {NULL, planar_1, planar_2, planar_3};
#endif

static void conv_planar(const conv *c, const pool *p, int64_t n, real *padded)
{
    conv_pad_image(c, padded, c->x + n * c->ih * c->iw);
    planar t = {.pitch = c->width, .kh = c->kh, .kw = c->kw, .co = c->co,
                .floor = c->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY};
    for (int64_t a = 0; a < p->oh; a++)
        for (int64_t b = 0; b < p->ow; b += VL) {
            const int64_t at = (a * p->ow + b) * c->co;
            t.x = padded + 2 * a * c->width + 2 * b;
            t.columns = gemm_min(VL, p->ow - b);
            for (int64_t o = 0; o < c->co;) {
                const int64_t left = c->co - o, filters = gemm_up(left, gemm_up(left, PLANAR_FILTERS));
                t.w = c->w + o;
                t.bias = c->bias ? c->bias + o : NULL;
                t.y = p->y + at + o;
                t.index = p->index ? (uint8_t *)p->index + at + o : NULL;
                planars[filters](&t);
                o += filters;
            }
        }
}

static size_t conv2d_max_pool_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    conv c = conv_of(op);
    c.pad |= c.algorithm == CONV_PLANAR;
    const size_t image = c.algorithm == CONV_PLANAR ? (size_t)(3 * VL + c.kw) : (size_t)(c.oh * c.ow * c.co);
    return (image + conv_direct_elements(&c) + 4 * VL) * sizeof(real);
}

static void conv2d_max_pool(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    conv c = conv_of(op);
    pool p = pool_between(c.oh, c.ow, c.co, op->i + 24);
    const int64_t size = p.oh * p.ow * c.co, image = c.oh * c.ow * c.co;
    c.x = op->p[1];
    c.w = op->p[2];
    c.bias = op->p[3];
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    if (n1 <= n0 || size < 1)
        return;
    const int planar = c.algorithm == CONV_PLANAR;
    const pool_halves h = pool_halves_of(&p);
    const real *packed = NULL;
    real *padded = scratch;
    if (planar) { /* rows are read in whole vectors: the image is copied even where nothing is put around it */
        c.pad = 1;
        conv_pad_clear(&c, padded);
    } else {
        c.y = scratch;
        c.y_first = c.y_image = 0;
        c.y_pixel = c.co;
        c.y_row = c.ow * c.co;
        packed = conv_direct_prepare(&c, c.y + gemm_up(image, VL) * VL, &padded);
    }
    p.x = c.y;
    p.x_end = c.y + image;
    for (int64_t n = n0; n < n1; n++) {
        p.y = (real *)op->p[0] + n * size;
        p.y_end = (n1 - n) * size;
        p.index = op->p[4] ? (uint8_t *)op->p[4] + n * size : NULL;
        if (planar) {
            conv_planar(&c, &p, n, padded);
        } else {
            conv_direct(&c, n, n + 1, packed, padded);
            pool_largest(&p, &h, 0, 1);
        }
    }
}
