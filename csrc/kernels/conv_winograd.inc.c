/* conv_winograd.inc.c - Winograd's F(2x2, 3x3): convolutions of 3x3 taps, stride 1, with 16 multiplications for each
 * 2x2 pixels of a channel and filter in place of 36.
 *
 *     Y = A^T [sum over channels of (G g G^T) * (B^T d B)] A        d: 4x4 pixels of x, g: 3x3 taps, Y: 2x2 of y
 *
 *     B^T = 1  0 -1  0     G =  1   0   0     A^T = 1  1  1  0
 *           0  1  1  0         1/2 1/2 1/2          0  1 -1 -1
 *           0 -1  1  0         1/2-1/2 1/2
 *           0  1  0 -1          0   0   1
 *
 * Each of the 16 places of a transformed tile is a matrix product: V[tiles, channels] U[channels, filters]. Tiles go
 * through in chunks whose V and products stay in the second-level cache. A chunk may hold tiles of several images; all
 * that is done to a tile depends on its own image alone.
 *
 * The gradient by the kernel is the transpose: sum over tiles of V^T (A dy A^T), then G^T . G.
 *
 * Accuracy: sums of neighbours are rounded before they are multiplied, but chains of additions are nine times shorter:
 * the error against the sum of |x| |w| of the pixels of the tile is that of CONV_DIRECT (1 to 4 epsilon at most, 0.1 to
 * 0.25 in the mean). It is an error of the tile, though: a pixel among far larger ones has theirs, and an infinity or NaN
 * reaches all four pixels of the tile.
 *
 * With c->parts the operands of the products, V and U, are rounded to bfloat16 and multiplied in pairs: the error is
 * 1.2 to 1.8 times, root mean square, that of rounding x and w.
 */

enum {
    WINOGRAD_PLACES = 16,
    WINOGRAD_TILES = 48,            /* tiles in a chunk: a multiple of the rows of most register tiles */
    WINOGRAD_ELEMENTS = 1 << 17     /* V and the products of a chunk: about as many elements as a cache holds */
};

/* Sizes of a chunk. Planes of the 16 places are an odd number of vectors apart: not all in one set of the first-level
 * cache. */
typedef struct {
    int64_t down, across;           /* tiles of an image */
    int64_t most;                   /* tiles in a chunk */
    int64_t ld_in, ld_out;          /* elements of a tile in a plane: whole vectors of channels, of filters */
    int64_t plane_in, plane_out;
} winograd;

/* All chunks pass over the kernel, or over its sums. Where those outgrow the cache a chunk must be worth the pass, more
 * so where it reads and writes: then it may have their size too, or a quarter. */
static winograd winograd_of(const conv *c, int sums)
{
    int64_t tiles = WINOGRAD_TILES, limit = WINOGRAD_PLACES * c->ci * c->co / (sums ? 1 : 4);
    if (limit < WINOGRAD_ELEMENTS)
        limit = WINOGRAD_ELEMENTS;
    winograd w = {.down = gemm_up(c->oh, 2), .across = gemm_up(c->ow, 2),
                  .ld_in = gemm_up(c->ci, VL) * VL, .ld_out = gemm_up(c->co, VL) * VL};
    while (tiles > 12 && tiles * (w.ld_in + w.ld_out) * WINOGRAD_PLACES > limit)
        tiles -= 12;
    w.most = tiles;
    w.plane_in = (tiles * w.ld_in / VL | 1) * VL;
    w.plane_out = (tiles * w.ld_out / VL | 1) * VL;
    return w;
}

static size_t winograd_elements(const conv *c, int sums)
{
    const winograd w = winograd_of(c, sums);
    const int64_t pairs = sums ? c->ci * gemm_up(w.most, 2 * VL) * VL + gemm_up(w.most, 2) * w.ld_out
                               : w.most * gemm_up(c->ci, 2 * VL) * VL;
    return (size_t)(WINOGRAD_PLACES * (w.plane_in + w.plane_out) + c->iw * c->ci + (c->parts ? pairs : 0));
}

/* Elements of U. */
static inline int64_t winograd_kernel_elements(const conv *c)
{
    return WINOGRAD_PLACES * (c->parts ? gemm_up(c->ci, 2) : c->ci) * gemm_up(c->co, VL) * VL;
}

/* ---- transforms: vectors run along channels ---- */

/* V of a tile whose first column of pixels is x, for the channels of a vector at rows[..]; pixels outside of the image
 * are 0. */
FN_INLINE void winograd_in_tile(const conv *c, int64_t plane, real *to, const real *const *rows, int64_t x,
                                const int inside, int64_t at, int64_t lanes)
{
    vec t[4][4]; /* B^T d, by column */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        vec d[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const real *from = rows[i] + (x + j) * c->ci + at;
            if (!inside && (x + j < 0 || x + j >= c->iw))
                d[i] = (vec){};
            else
                d[i] = lanes == VL ? vload(from) : vload_n(from, lanes);
        }
        t[j][0] = d[0] - d[2];
        t[j][1] = d[1] + d[2];
        t[j][2] = d[2] - d[1];
        t[j][3] = d[1] - d[3];
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++, to += 4 * plane) {
        vstore(to, t[0][i] - t[2][i]);
        vstore(to + plane, t[1][i] + t[2][i]);
        vstore(to + 2 * plane, t[2][i] - t[1][i]);
        vstore(to + 3 * plane, t[1][i] - t[3][i]);
    }
}

/* V of the tiles [first, first + tiles), counted from the first of image n0. `zeros` is a row of an image. */
static void winograd_in(const conv *c, const winograd *w, real *v, int64_t n0, int64_t first, int64_t tiles,
                        const real *zeros)
{
    const int64_t image = c->ih * c->iw * c->ci;
    for (int64_t t = 0; t < tiles;) {
        const int64_t row = (first + t) / w->across, from = (first + t) % w->across;
        const int64_t n = gemm_min(w->across - from, tiles - t);
        const real *x = c->x + (n0 + row / w->down) * image;
        const real *rows[4];
        for (int i = 0; i < 4; i++) {
            const int64_t y = row % w->down * 2 + i - c->top;
            rows[i] = y < 0 || y >= c->ih ? zeros : x + y * c->iw * c->ci;
        }
        const int64_t x0 = 2 * from - c->left;
        real *to = v + t * w->ld_in;
        const int64_t whole = c->ci / VL * VL;
        for (int64_t j = 0; j < n; j++, to += w->ld_in) {
            const int64_t column = x0 + 2 * j;
            if (column >= 0 && column + 4 <= c->iw)
                for (int64_t at = 0; at < whole; at += VL)
                    winograd_in_tile(c, w->plane_in, to + at, rows, column, 1, at, VL);
            else
                for (int64_t at = 0; at < whole; at += VL)
                    winograd_in_tile(c, w->plane_in, to + at, rows, column, 0, at, VL);
            if (whole < c->ci)
                winograd_in_tile(c, w->plane_in, to + whole, rows, column, 0, whole, c->ci - whole);
        }
        t += n;
    }
}

/* What stands behind the products: nothing but a bias and ReLU; nothing but the gradient of ReLU; anything. */
enum { WINOGRAD_PLAIN, WINOGRAD_GATE, WINOGRAD_ANY };

/* One pixel of y. */
FN_INLINE void winograd_put(const conv *c, const int kind, int64_t at, vec x, vec bias, vec floor, int64_t lanes)
{
    if (kind == WINOGRAD_PLAIN) {
        x = vmax(floor, x + bias); /* x when it is NaN */
    } else if (kind == WINOGRAD_GATE) {
        x *= gemm_derivative(FN_ACT_RELU, vload(c->s + at), 0);
    } else {
        if (c->s)
            x *= gemm_derivative(c->gradient, vload_n(c->s + at, lanes), c->alpha);
        x = gemm_activate(c->activation, x + bias, c->alpha);
    }
    if (kind == WINOGRAD_ANY)
        vstore_n(c->y + at, x, lanes);
    else
        vstore(c->y + at, x);
}

/* A^T M A of a tile, for a vector of filters; y's pixel (0, 0) is at `at`. */
FN_INLINE void winograd_out_tile(const conv *c, int64_t plane, const int kind, const real *m, int64_t at, int right,
                                 int below, vec bias, vec floor, int64_t lanes)
{
    vec s[4], t[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        const vec a = vload(m + k * plane), b = vload(m + (4 + k) * plane), d = vload(m + (8 + k) * plane);
        s[k] = a + b + d;
        t[k] = b - d - vload(m + (12 + k) * plane);
    }
    winograd_put(c, kind, at, s[0] + s[1] + s[2], bias, floor, lanes);
    if (right)
        winograd_put(c, kind, at + c->y_pixel, s[1] - s[2] - s[3], bias, floor, lanes);
    if (below) {
        winograd_put(c, kind, at + c->y_row, t[0] + t[1] + t[2], bias, floor, lanes);
        if (right)
            winograd_put(c, kind, at + c->y_row + c->y_pixel, t[1] - t[2] - t[3], bias, floor, lanes);
    }
}

static void winograd_out(const conv *c, const winograd *w, const real *m, int64_t n0, int64_t first, int64_t tiles)
{
    const int plain = c->s == NULL && c->activation <= FN_ACT_RELU;
    const int gate = c->s && c->gradient == FN_ACT_RELU && c->activation == FN_ACT_NONE && c->bias == NULL;
    const vec floor = vset1(c->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY);
    for (int64_t t = 0; t < tiles;) {
        const int64_t row = (first + t) / w->across, from = (first + t) % w->across;
        const int64_t n = gemm_min(w->across - from, tiles - t), y = row % w->down * 2;
        int64_t at = (n0 + row / w->down) * c->y_image + c->y_first + y * c->y_row + 2 * from * c->y_pixel;
        const int below = y + 1 < c->oh;
        const real *p = m + t * w->ld_out;
        for (int64_t j = from; j < from + n; j++, p += w->ld_out, at += 2 * c->y_pixel) {
            const int right = 2 * j + 1 < c->ow;
            int64_t o = 0;
            if (plain)
                for (; o + VL <= c->co; o += VL)
                    winograd_out_tile(c, w->plane_out, WINOGRAD_PLAIN, p + o, at + o, right, below,
                                      c->bias ? vload(c->bias + o) : (vec){}, floor, VL);
            else if (gate)
                for (; o + VL <= c->co; o += VL)
                    winograd_out_tile(c, w->plane_out, WINOGRAD_GATE, p + o, at + o, right, below, (vec){}, floor, VL);
            for (; o < c->co; o += VL) {
                const int64_t lanes = gemm_min(VL, c->co - o);
                winograd_out_tile(c, w->plane_out, WINOGRAD_ANY, p + o, at + o, right, below,
                                  c->bias ? vload_n(c->bias + o, lanes) : (vec){}, floor, lanes);
            }
        }
        t += n;
    }
}

/* ---- asking for memory ----
 *
 * The transforms wait for memory, the products for none: images of the next chunk are asked for while the products of
 * this one are made, a share at each place, and so is what this chunk will write. */

typedef struct {
    const real *at;
    int64_t count;
} winograd_span;

/* The rows that tiles [first, first + tiles) touch, of images of `height` rows of `row` elements, `image` apart: `span`
 * rows for a tile, `before` of them above its first pixel. */
static winograd_span winograd_rows(const winograd *w, int64_t first, int64_t tiles, const real *x, int64_t height,
                                   int64_t row, int64_t image, int64_t span, int64_t before)
{
    if (tiles < 1)
        return (winograd_span){x, 0};
    const int64_t a = first / w->across, b = (first + tiles - 1) / w->across;
    int64_t y0 = a % w->down * 2 - before, y1 = b % w->down * 2 - before + span;
    y0 = y0 < 0 ? 0 : gemm_min(y0, height);
    y1 = y1 < 0 ? 0 : gemm_min(y1, height);
    const int64_t from = a / w->down * image + y0 * row;
    return (winograd_span){x + from, b / w->down * image + y1 * row - from};
}

/* Share p of WINOGRAD_PLACES. */
FN_INLINE void winograd_ask(winograd_span s, int64_t p, const int write)
{
    const int64_t end = s.count * (p + 1) / WINOGRAD_PLACES;
    for (int64_t j = s.count * p / WINOGRAD_PLACES; j < end; j += 64 / (int64_t)sizeof(real))
        __builtin_prefetch(s.at + j, write, write ? 3 : 2);
}

/* ---- products of one place ---- */

#ifdef FN_PAIRS
/* C[m, whole vectors] (+)= A B of pairs: A has rows of lda, B one row of ldb for each of `pairs`. */
static void winograd_pairs(real *c, int64_t ldc, const real *a, int64_t lda, const real *b, int64_t ldb, int64_t m,
                           int64_t pairs, int add)
{
    const int64_t vectors = ldb / VL;
    gemm_tile t = {.k = pairs, .lda = lda, .ldb = ldb, .ldc = ldc, .tail = VL, .whole = pairs, .add = add,
                   .floor = -(real)FN_INFINITY};
    for (int64_t at = 0; at < vectors;) {
        const int nv = gemm_panel(vectors, at, 0), most = gemm_tile_rows[nv];
        t.b = b + at * VL;
        for (int64_t r = 0; r < m;) {
            const int64_t left = m - r, n = left <= most ? left : gemm_up(left, gemm_up(left, most));
            t.a = a + r * lda;
            t.c = c + r * ldc + at * VL;
            gemm_pair_tiles[nv][n](&t);
            r += n;
        }
        at += nv;
    }
}
#endif

/* M = V U; `pairs` takes V's rounded copy. */
static void winograd_product(const conv *c, const winograd *w, real *m, const real *v, const real *u, int64_t tiles,
                             real *pairs)
{
    const int64_t vectors = w->ld_out / VL;
#ifdef FN_PAIRS
    if (c->parts) {
        gemm_pack_rows(pairs, v, 0, w->ld_in, c->ci, tiles, 0, 0);
        winograd_pairs(m, w->ld_out, pairs, gemm_up(c->ci, 2 * VL) * VL, u, w->ld_out, tiles, gemm_up(c->ci, 2), 0);
        return;
    }
#endif
    (void)pairs;
    conv_tile t = {.k = c->ci, .inner = 1, .outer = 1, .lda = w->ld_in, .ldb = w->ld_out, .ldc = w->ld_out, .tail = VL,
                   .floor = -(real)FN_INFINITY};
    for (int64_t at = 0; at < vectors;) {
        const int nv = gemm_panel(vectors, at, 0), most = gemm_tile_rows[nv];
        t.b = u + at * VL;
        for (int64_t r = 0; r < tiles;) {
            const int64_t left = tiles - r, n = left <= most ? left : gemm_up(left, gemm_up(left, most));
            t.a = v + r * w->ld_in;
            t.c = m + r * w->ld_out + at * VL;
            conv_tiles[nv][n](&t);
            r += n;
        }
        at += nv;
    }
}

/* M (+)= V^T D; `pairs` takes the rounded copies of both. */
static void winograd_sum_product(const conv *c, const winograd *w, real *m, const real *v, const real *d, int64_t tiles,
                                 int add, real *pairs)
{
    const int64_t vectors = w->ld_out / VL;
#ifdef FN_PAIRS
    if (c->parts) {
        const int64_t lda = gemm_up(tiles, 2 * VL) * VL;
        real *b = pairs + c->ci * lda;
        gemm_pack_rows_transposed(pairs, lda, v, 0, w->ld_in, tiles, c->ci, 0, 0);
        gemm_pack_pairs(b, w->ld_out, d, 0, w->ld_out, tiles, w->ld_out, 0, 0);
        winograd_pairs(m, w->ld_out, pairs, lda, b, w->ld_out, c->ci, gemm_up(tiles, 2), add);
        return;
    }
#endif
    (void)pairs;
    conv_sum_tile t = {.pixels = tiles, .rows = 1, .lda = w->ld_in, .ldb = w->ld_out, .ldc = w->ld_out, .tail = VL,
                       .add = add};
    for (int64_t at = 0; at < vectors;) {
        const int nv = gemm_panel(vectors, at, 0), most = gemm_tile_rows[nv];
        t.b = d + at * VL;
        for (int64_t l = 0; l < c->ci;) {
            const int64_t left = c->ci - l, n = left <= most ? left : gemm_up(left, gemm_up(left, most));
            t.a = v + l;
            t.c = m + l * w->ld_out + at * VL;
            conv_sums[nv][n](&t);
            l += n;
        }
        at += nv;
    }
}

/* ---- forward ---- */

static void conv_winograd(const conv *c, int64_t n0, int64_t n1, real *scratch)
{
    const winograd w = winograd_of(c, 0);
    real *v = scratch, *m = v + WINOGRAD_PLACES * w.plane_in, *pairs = m + WINOGRAD_PLACES * w.plane_out;
    real *zeros = scratch + winograd_elements(c, 0) - c->iw * c->ci;
    memset(zeros, 0, (size_t)(c->iw * c->ci) * sizeof(real));
    const int64_t total = (n1 - n0) * w.down * w.across, image = c->ih * c->iw * c->ci;
    const int64_t plane = winograd_kernel_elements(c) / WINOGRAD_PLACES;
    for (int64_t first = 0; first < total; first += w.most) {
        const int64_t tiles = gemm_min(w.most, total - first);
        winograd_in(c, &w, v, n0, first, tiles, zeros);
        const winograd_span x = winograd_rows(&w, first + tiles, gemm_min(w.most, total - first - tiles),
                                              c->x + n0 * image, c->ih, c->iw * c->ci, image, 4, c->top);
        const winograd_span y = winograd_rows(&w, first, tiles, c->y + n0 * c->y_image + c->y_first, c->oh, c->y_row,
                                              c->y_image, 2, 0);
        for (int64_t p = 0; p < WINOGRAD_PLACES; p++) {
            winograd_ask(x, p, 0);
            winograd_ask(y, p, 1);
            if (c->s)
                winograd_ask((winograd_span){c->s + (y.at - c->y), y.count}, p, 0);
            winograd_product(c, &w, m + p * w.plane_out, v + p * w.plane_in, c->w + p * plane, tiles, pairs);
        }
        winograd_out(c, &w, m, n0, first, tiles);
    }
}

/* ---- the kernel's gradient ---- */

/* A dy A^T of n tiles of a row of tiles: as winograd_out_row, the other way. */
FN_INLINE void winograd_dy_row(const conv *c, const winograd *w, real *to, const real *dy, int64_t wide, int64_t high,
                               int64_t n, int64_t lanes)
{
    const int64_t plane = w->plane_out, row = c->ow * c->co;
    for (int64_t j = 0; j < n; j++, to += w->ld_out, dy += 2 * c->co) {
        const int right = 2 * j + 1 < wide, below = high > 1;
        const vec zero = {};
#define WINOGRAD_DY(at) (lanes == VL ? vload(dy + (at)) : vload_n(dy + (at), lanes))
        const vec a = WINOGRAD_DY(0), b = right ? WINOGRAD_DY(c->co) : zero;
        const vec d = below ? WINOGRAD_DY(row) : zero, e = right && below ? WINOGRAD_DY(row + c->co) : zero;
#undef WINOGRAD_DY
        const vec s[4] = {a, a + d, a - d, -d}, t[4] = {b, b + e, b - e, -e};
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            real *p = to + 4 * i * plane;
            vstore(p, s[i]);
            vstore(p + plane, s[i] + t[i]);
            vstore(p + 2 * plane, s[i] - t[i]);
            vstore(p + 3 * plane, -t[i]);
        }
    }
}

static void winograd_dy(const conv *c, const winograd *w, real *to, const real *dy, int64_t n0, int64_t first,
                        int64_t tiles)
{
    for (int64_t t = 0; t < tiles;) {
        const int64_t row = (first + t) / w->across, from = (first + t) % w->across;
        const int64_t n = gemm_min(w->across - from, tiles - t), y = row % w->down * 2;
        const real *image = dy + (n0 + row / w->down) * c->oh * c->ow * c->co + (y * c->ow + 2 * from) * c->co;
        int64_t at = 0;
        for (; at + VL <= c->co; at += VL)
            winograd_dy_row(c, w, to + t * w->ld_out + at, image + at, c->ow - 2 * from, c->oh - y, n, VL);
        if (at < c->co)
            winograd_dy_row(c, w, to + t * w->ld_out + at, image + at, c->ow - 2 * from, c->oh - y, n, c->co - at);
        t += n;
    }
}

/* g[0..2] = G^T times a row or column of four. */
FN_INLINE void winograd_taps(vec *g, vec a, vec b, vec d, vec e)
{
    const vec half = vset1((real)0.5), sum = half * (b + d);
    g[0] = a + sum;
    g[1] = half * (b - d);
    g[2] = sum + e;
}

static size_t winograd_sum_elements(const conv *c)
{
    return winograd_elements(c, 1) + (size_t)(WINOGRAD_PLACES * c->ci * gemm_up(c->co, VL) * VL);
}

/* dw and db of the images [n0, n1). */
static void winograd_sum(const conv *c, const real *dy, int64_t n0, int64_t n1, real *dw, real *db, real *scratch)
{
    const winograd w = winograd_of(c, 1);
    real *v = scratch, *d = v + WINOGRAD_PLACES * w.plane_in, *pairs = d + WINOGRAD_PLACES * w.plane_out;
    real *m = scratch + winograd_elements(c, 1), *zeros = m - c->iw * c->ci;
    memset(zeros, 0, (size_t)(c->iw * c->ci) * sizeof(real));
    const int64_t total = (n1 - n0) * w.down * w.across, plane = c->ci * w.ld_out;
    const int64_t image = c->ih * c->iw * c->ci, image_dy = c->oh * c->ow * c->co;
    for (int64_t first = 0; first < total; first += w.most) {
        const int64_t tiles = gemm_min(w.most, total - first);
        winograd_in(c, &w, v, n0, first, tiles, zeros);
        winograd_dy(c, &w, d, dy, n0, first, tiles);
        gemm_column_sums(db, d + 5 * w.plane_out, w.ld_out, tiles, c->co, first > 0); /* the tiles' sums */
        const int64_t from = first + tiles, next = gemm_min(w.most, total - from);
        const winograd_span x = winograd_rows(&w, from, next, c->x + n0 * image, c->ih, c->iw * c->ci, image, 4,
                                              c->top);
        const winograd_span y = winograd_rows(&w, from, next, dy + n0 * image_dy, c->oh, c->ow * c->co, image_dy, 2, 0);
        for (int64_t p = 0; p < WINOGRAD_PLACES; p++) {
            winograd_ask(x, p, 0);
            winograd_ask(y, p, 0);
            winograd_sum_product(c, &w, m + p * plane, v + p * w.plane_in, d + p * w.plane_out, tiles, first > 0,
                                 pairs);
        }
    }
    for (int64_t l = 0; l < c->ci; l++)
        for (int64_t at = 0; at < c->co; at += VL) {
            const real *from = m + l * w.ld_out + at;
            const int64_t lanes = gemm_min(VL, c->co - at);
            vec g[4][3];
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++, from += plane)
                winograd_taps(g[j], vload(from), vload(from + 4 * plane), vload(from + 8 * plane),
                              vload(from + 12 * plane));
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) {
                vec taps[3];
                winograd_taps(taps, g[0][i], g[1][i], g[2][i], g[3][i]);
                for (int j = 0; j < 3; j++)
                    vstore_n(dw + ((3 * i + j) * c->ci + l) * c->co + at, taps[j], lanes);
            }
        }
}

/* ---- conv2d_winograd_kernel ----
 *
 * U = G g G^T of every channel and filter, filters in whole vectors with zeros behind: what conv2d takes for W with
 * CONV_WINOGRAD.
 *
 *   p  U[4][4][ci][whole vectors of co], w[3][3][ci][co]
 *   i  [0] 1 [1] ci [2] co [3] rows of two channels are rounded and joined to pairs, the last with zeros if ci is odd
 *   split  FN_SPLIT_BLOCKS: channels, WINOGRAD_CHANNELS at a time
 */
enum { WINOGRAD_CHANNELS = 8 };

static int64_t conv2d_winograd_kernel_tasks(const fn_op *op, const fn_step *step)
{
    (void)step;
    return gemm_up(op->i[1], WINOGRAD_CHANNELS);
}

/* u[0..3] = G times a row or column of three. */
FN_INLINE void winograd_spread(vec *u, vec a, vec b, vec d)
{
    const vec half = vset1((real)0.5), sum = half * (a + d), middle = half * b;
    u[0] = a;
    u[1] = sum + middle;
    u[2] = sum - middle;
    u[3] = d;
}

/* G g G^T of a vector of filters; taps are `tap` elements apart. */
FN_INLINE void winograd_places(vec *places, const real *w, int64_t tap, int64_t lanes)
{
    vec g[3][4];
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++, w += tap)
        winograd_spread(g[j], vload_n(w, lanes), vload_n(w + 3 * tap, lanes), vload_n(w + 6 * tap, lanes));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        winograd_spread(places + 4 * i, g[0][i], g[1][i], g[2][i]);
}

static void conv2d_winograd_kernel(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const int64_t ci = op->i[1], co = op->i[2], ld = gemm_up(co, VL) * VL, together = op->i[3] ? 2 : 1;
    const int64_t plane = gemm_up(ci, together) * ld;
    for (int64_t l = lo * WINOGRAD_CHANNELS; l < gemm_min(hi * WINOGRAD_CHANNELS, ci); l += together)
        for (int64_t at = 0; at < co; at += VL) {
            const real *w = (const real *)op->p[1] + l * co + at;
            real *u = (real *)op->p[0] + l / together * ld + at;
            const int64_t lanes = gemm_min(VL, co - at);
            vec places[WINOGRAD_PLACES];
            winograd_places(places, w, ci * co, lanes);
#ifdef FN_PAIRS
            if (together == 2) {
                vec next[WINOGRAD_PLACES] = {};
                if (l + 1 < ci)
                    winograd_places(next, w + co, ci * co, lanes);
                for (int j = 0; j < WINOGRAD_PLACES; j++)
                    places[j] = vpairs_join(places[j], next[j]);
            }
#endif
            for (int j = 0; j < WINOGRAD_PLACES; j++, u += plane)
                vstore(u, places[j]);
        }
}
