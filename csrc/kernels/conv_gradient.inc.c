/* conv_gradient.inc.c - gradients of convolutions by the kernel and the bias, and what those by the image need. */

/* ---- conv2d_flip ----
 *
 *     out[a][b][o][g cig + c] = w[i0 + (ti - 1 - a) si][j0 + (tj - 1 - b) sj][c][g cog + o]
 *
 * With si = sj = 1 and all taps, the kernel whose convolution with dy gives dx. With strides, dx falls into si x sj
 * interleaved images, each the convolution of dy with the taps that meet it.
 *
 *   p  out[ti][tj][co / groups][ci], w[kh][kw][ci / groups][co]
 *   i  [0] 1 [1] kw [2] ci [3] co [4] groups [5] ti [6] tj [7] i0 [8] j0 [9] si [10] sj
 *   split  FN_SPLIT_BLOCKS: taps of out
 */
static int64_t conv2d_flip_tasks(const fn_op *op, const fn_step *step)
{
    (void)step;
    return op->i[5] * op->i[6];
}

static void conv2d_flip(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const int64_t kw = op->i[1], ci = op->i[2], co = op->i[3], groups = op->i[4], ti = op->i[5], tj = op->i[6];
    const int64_t cig = ci / groups, cog = co / groups;
    for (int64_t t = lo; t < hi; t++) {
        const int64_t i = op->i[7] + (ti - 1 - t / tj) * op->i[9], j = op->i[8] + (tj - 1 - t % tj) * op->i[10];
        for (int64_t g = 0; g < groups; g++)
            transpose_real((moved *)op->p[0] + t * cog * ci + g * cig, ci,
                           (const moved *)op->p[1] + (i * kw + j) * cig * co + g * cog, co, cog, cig);
    }
}

/* ---- conv2d_scatter ----
 *
 * dx where the channels are too few to fill vectors (see CONV_SMALL): the patches' gradients dy w^T, a product whose
 * rows are whole patches, added up where the patches lie. Multiplies neither zeros around dy nor empty lanes.
 *
 *   p  dX, dY, W^T[co][kh][kw][ci], S or NULL (of dX's layout): dX is multiplied by act'(S)
 *   i  the geometry of the convolution, [15] is 1; f as there   split  FN_SPLIT_ROWS: images
 */
static size_t conv2d_scatter_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    const conv c = conv_of(op);
    return conv_im2col_elements(&c) * sizeof(real) + (size_t)(GEMM_ROWS * c.kh * c.kw * c.ci) * sizeof(real);
}

static void conv_add_run(real *restrict to, const real *restrict from, int64_t n)
{
    int64_t j = 0;
    for (; j + VL <= n; j += VL)
        vstore(to + j, vload(to + j) + vload(from + j));
    if (j < n)
        vstore_n(to + j, vload_n(to + j, n - j) + vload_n(from + j, n - j), n - j);
}

static void conv2d_scatter(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    const conv c = conv_of(op);
    const int64_t k = c.kh * c.kw * c.ci, pixels = c.oh * c.ow, image = c.ih * c.iw * c.ci;
    real *patches = scratch, *products = patches + GEMM_ROWS * k;
    const real *s = c.gradient ? op->p[3] : NULL;
    gemm p = {.a = op->p[1], .b = op->p[2], .c = patches, .lda = c.co, .ldb = k, .ldc = k, .m = GEMM_ROWS, .n = k,
              .k = c.co};
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    for (int64_t n = n0; n < n1; n++) {
        real *dx = (real *)op->p[0] + n * image;
        memset(dx, 0, (size_t)image * sizeof(real));
        for (int64_t at = 0; at < pixels; at += GEMM_ROWS) {
            const int64_t rows = gemm_min(GEMM_ROWS, pixels - at);
            p.a = (const real *)op->p[1] + (n * pixels + at) * c.co;
            gemm_block(&p, 0, rows, 0, gemm_vectors(&p), products);
            for (int64_t r = 0; r < rows; r++) {
                const int64_t y0 = (at + r) / c.ow * c.sh - c.top, x0 = (at + r) % c.ow * c.sw - c.left;
                const real *from = patches + r * k;
                for (int64_t i = 0; i < c.kh; i++, from += c.kw * c.ci) {
                    const int64_t y = y0 + i * c.dh;
                    if (y < 0 || y >= c.ih)
                        continue;
                    real *row = dx + (y * c.iw + x0) * c.ci;
                    if (c.dw == 1) {
                        const int64_t j0 = x0 < 0 ? -x0 : 0, j1 = gemm_min(c.kw, c.iw - x0);
                        if (j0 < j1)
                            conv_add_run(row + j0 * c.ci, from + j0 * c.ci, (j1 - j0) * c.ci);
                    } else {
                        for (int64_t j = 0; j < c.kw; j++)
                            if (x0 + j * c.dw >= 0 && x0 + j * c.dw < c.iw)
                                conv_add_run(row + j * c.dw * c.ci, from + j * c.ci, c.ci);
                    }
                }
            }
        }
        if (s)
            for (int64_t j = 0; j < image; j += VL) {
                const int64_t lanes = gemm_min(VL, image - j);
                const vec d = gemm_derivative(c.gradient, vload_n(s + n * image + j, lanes), c.alpha);
                vstore_n(dx + j, vload_n(dx + j, lanes) * d, lanes);
            }
    }
}

/* ---- conv2d_parts ----
 *
 * Part j of the images: dw[j][kh][kw][ci / groups][co] = sum over its images and pixels of patch elements times dy, and
 * behind it db[j][co] = sum of dy. The images are cut into the same parts for any number of threads.
 *
 *   p  parts[n][kh kw ci/groups co + co], X, dY
 *   i  the geometry; [23] n, the most parts: there are as many as images if those are fewer
 *   split  FN_SPLIT_BLOCKS: parts
 *
 * dy is taken some CONV_SUM_PIXELS at a time, which stay in the first-level cache while all tiles of dw pass over them;
 * each such block is one chain of additions. CONV_SMALL spreads the pixels as the convolution does: the product of
 * patches and rows of `spread` pixels' dy holds every term of dw in one of `spread` places, which are added at the end.
 */
enum { CONV_SUM_PIXELS = 256 };

static inline int64_t conv_parts(const fn_op *op, const fn_step *step)
{
    return gemm_min(op->i[23], fn_rows(op, step));
}

static int64_t conv2d_parts_tasks(const fn_op *op, const fn_step *step) { return conv_parts(op, step); }

/* Rows of dy and rows of the product in each, of a block. */
typedef struct {
    int64_t rows, groups; /* groups of `spread` pixels */
} conv_sum_block;

static conv_sum_block conv_sum_blocks(const conv *c)
{
    const int64_t groups = gemm_up(c->ow, c->spread), most = CONV_SUM_PIXELS / c->spread;
    if (groups > most)
        return (conv_sum_block){1, most};
    return (conv_sum_block){gemm_min(c->oh, most / groups), groups};
}

static inline int conv_sum_copies(const conv *c) { return c->spread > 1 || c->cog % VL != 0; }

static size_t conv2d_parts_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    const conv c = conv_of(op);
    if (c.algorithm == CONV_WINOGRAD)
        return winograd_sum_elements(&c) * sizeof(real);
    if (c.parts)
        return GEMM_SCRATCH * sizeof(real);
    const conv_sum_block block = conv_sum_blocks(&c);
    const int64_t ld = c.vectors * VL;
    const int64_t rows = c.algorithm == CONV_POINTWISE ? CONV_SUM_PIXELS : block.rows * block.groups;
    return (conv_padded_elements(&c) + (size_t)((rows + 2) * ld)
            + (size_t)(c.spread > 1 ? c.k * ld : 0) + 4 * VL) * sizeof(real);
}

/* A group's dy of rows [p0, p1) and groups of pixels [q0, q1) in whole vectors. */
static void conv_sum_copy(const conv *c, real *restrict to, const real *restrict dy, int64_t p0, int64_t p1, int64_t q0,
                          int64_t q1)
{
    const int64_t ld = c->vectors * VL;
    for (int64_t p = p0; p < p1; p++)
        for (int64_t q = q0; q < q1; q++, to += ld) {
            const int64_t pixel = q * c->spread, left = gemm_min(c->spread, c->ow - pixel);
            const real *from = dy + (p * c->ow + pixel) * c->co;
            const int64_t n = c->groups > 1 ? c->cog : left * c->co;
            int64_t j = 0;
            for (; j + VL <= n; j += VL)
                vstore(to + j, vload(from + j));
            if (j < ld)
                vstore(to + j, vload_n(from + j, n - j));
            for (j += VL; j < ld; j += VL)
                vstore(to + j, (vec){});
        }
}

/* One block of an image, rows of dy from p on: all tiles of a group's dw. `dw` has rows of ldc elements, in the order
 * of the patch. */
static void conv_sum_tiles(const conv *c, const real *a, const real *b, int64_t ldb, int64_t p, int64_t rows,
                           int64_t groups, real *dw, int64_t ldc, int64_t columns, int add)
{
    const int64_t pitch = conv_pitch(c);
    conv_sum_tile t = {.pixels = groups, .lda = c->spread * c->sw * c->ci, .a_step = c->sh * pitch,
                       .ldb = ldb, .ldc = ldc, .half_step = c->dh * pitch,
                       .c_half = c->inner * c->run * ldc, .add = add};
    for (int64_t v = 0; v < c->vectors;) {
        const int nv = gemm_panel(c->vectors, v, 0), most = gemm_tile_rows[nv];
        t.tail = gemm_min(VL, columns - (v + nv - 1) * VL);
        for (int64_t i = 0; i < c->kh; i++) {
            const int two = nv == 1 && c->inner == 1 && c->run <= CONV_HALF && i + 1 < c->kh;
            /* rows of dy that meet the image in these rows of the kernel: the others would add zeros */
            const int64_t before = c->top - (i + two) * c->dh, after = c->ih + c->top - i * c->dh;
            int64_t r0 = before > 0 ? gemm_up(before, c->sh) - p : -p, r1 = after > 0 ? gemm_up(after, c->sh) - p : 0;
            r0 = r0 < 0 ? 0 : gemm_min(r0, rows);
            r1 = r1 < r0 ? r0 : gemm_min(r1, rows);
            t.b = b + v * VL + r0 * groups * ldb;
            t.rows = r1 - r0;
            for (int64_t j = 0; j < c->inner; j++)
                for (int64_t l = 0; l < c->run;) {
                    const int64_t left = c->run - l, n = left <= most ? left : gemm_up(left, gemm_up(left, most));
                    t.a = a + (i * c->dh + r0 * c->sh) * pitch + j * c->inner_step + l;
                    t.c = dw + ((i * c->inner + j) * c->run + l) * ldc + v * VL;
                    (two ? conv_sums_two[n] : conv_sums[nv][n])(&t);
                    l += n;
                }
            i += two;
        }
        v += nv;
    }
}

static void conv_sum_part(const conv *c, const real *dy, int64_t n0, int64_t n1, real *dw, real *db, real *scratch)
{
    const int64_t ld = c->vectors * VL, kernel = c->kh * c->kw * c->cig, image = c->oh * c->ow * c->co;
    const conv_sum_block block = conv_sum_blocks(c);
    const int copies = conv_sum_copies(c);
    real *rows = scratch, *sums = rows + block.rows * block.groups * ld, *spread = sums + ld;
    real *padded = spread + (c->spread > 1 ? c->k * ld : 0);
    if (c->pad)
        conv_pad_clear(c, padded);
    memset(db, 0, (size_t)c->co * sizeof(real));
    if (c->algorithm == CONV_DEPTHWISE)
        memset(dw, 0, (size_t)(kernel * c->co) * sizeof(real));
    if (c->spread > 1)
        memset(sums, 0, (size_t)ld * sizeof(real));
    const int64_t groups = gemm_up(c->ow, c->spread);
    for (int64_t n = n0; n < n1; n++) {
        const real *x = conv_image(c, n, padded);
        const real *g_dy = dy + n * image;
        if (c->algorithm == CONV_DEPTHWISE) {
            conv_depthwise_sum(c, dw, x, g_dy);
            gemm_column_sums(db, g_dy, c->co, c->oh * c->ow, c->co, 1);
            continue;
        }
        for (int64_t p = 0; p < c->oh; p += block.rows)
            for (int64_t q = 0; q < groups; q += block.groups) {
                const int64_t p1 = gemm_min(c->oh, p + block.rows), q1 = gemm_min(groups, q + block.groups);
                const int first = n == n0 && p == 0 && q == 0;
                const real *a = x + p * c->sh * conv_pitch(c) + q * c->spread * c->sw * c->ci;
                for (int64_t g = 0; g < c->groups; g++) {
                    const real *b = g_dy + (p * c->ow + q) * c->co + g * c->cog;
                    if (copies) {
                        conv_sum_copy(c, rows, g_dy + g * c->cog, p, p1, q, q1);
                        b = rows;
                    }
                    if (c->spread > 1) {
                        conv_sum_tiles(c, a, b, ld, p, p1 - p, q1 - q, spread, ld, ld, !first);
                        gemm_column_sums(sums, b, ld, (p1 - p) * (q1 - q), ld, 1);
                    } else {
                        conv_sum_tiles(c, a + g * c->cig, b, copies ? ld : c->co, p, p1 - p, q1 - q, dw + g * c->cog,
                                       c->co, c->cog, !first);
                        gemm_column_sums(db + g * c->cog, b, copies ? ld : c->co, (p1 - p) * (q1 - q), c->cog, 1);
                    }
                }
            }
    }
    if (c->spread == 1)
        return;
    const int64_t taps = c->kw + (c->spread - 1) * c->sw;
    for (int64_t i = 0; i < c->kh; i++)
        for (int64_t j = 0; j < c->kw; j++)
            for (int64_t a = 0; a < c->ci; a++)
                for (int64_t o = 0; o < c->co; o++) {
                    real total = 0;
                    for (int64_t m = 0; m < c->spread; m++)
                        total += spread[((i * taps + j + m * c->sw) * c->ci + a) * ld + m * c->co + o];
                    dw[((i * c->kw + j) * c->ci + a) * c->co + o] = total;
                }
    for (int64_t m = 0; m < c->spread; m++)
        for (int64_t o = 0; o < c->co; o++)
            db[o] += sums[m * c->co + o];
}

static void conv2d_parts(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    conv c = conv_of(op);
    const int64_t parts = conv_parts(op, step), images = fn_rows(op, step);
    const int64_t kernel = c.kh * c.kw * c.cig * c.co;
    c.x = op->p[1];
    for (int64_t j = lo; j < hi; j++) {
        const int64_t n0 = images * j / parts, n1 = images * (j + 1) / parts;
        real *dw = (real *)op->p[0] + j * (kernel + c.co);
#ifdef FN_PAIRS
        if (c.parts && c.algorithm != CONV_WINOGRAD) {
            conv_rounded_sum(&c, op->p[2], n0, n1, dw, dw + kernel, scratch);
            continue;
        }
#endif
        if (c.algorithm == CONV_WINOGRAD) {
            winograd_sum(&c, op->p[2], n0, n1, dw, dw + kernel, scratch);
        } else if (c.algorithm == CONV_POINTWISE) { /* the pixels of all images are one row */
            conv row = c;
            const int64_t pixels = c.oh * c.ow;
            row.x = c.x + n0 * pixels * c.ci;
            row.ih = row.oh = row.height = 1;
            row.iw = row.ow = row.width = (n1 - n0) * pixels;
            conv_sum_part(&row, (const real *)op->p[2] + n0 * pixels * c.co, 0, 1, dw, dw + kernel, scratch);
        } else {
            conv_sum_part(&c, op->p[2], n0, n1, dw, dw + kernel, scratch);
        }
    }
}

/* ---- conv2d_sum ----
 *
 * dw = sum over the parts of conv2d_parts, in order; db likewise.
 *
 *   p  dw[columns], db[co] or NULL, parts[n][columns + co]
 *   i  [0] images (in a sample when batched) [1] columns [2] co [3] the most parts
 *   split  FN_SPLIT_BLOCKS: blocks of columns
 */
enum { CONV_SUM_COLUMNS = 1024 };

static int64_t conv2d_sum_tasks(const fn_op *op, const fn_step *step)
{
    (void)step;
    return gemm_up(op->i[1] + op->i[2], CONV_SUM_COLUMNS);
}

static void conv_sum_range(real *to, const real *parts, int64_t ld, int64_t count, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        const int64_t lanes = gemm_min(VL, n - j);
        vec total = vload_n(parts + j, lanes);
        for (int64_t k = 1; k < count; k++)
            total += vload_n(parts + k * ld + j, lanes);
        vstore_n(to + j, total, lanes);
    }
}

static void conv2d_sum(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const int64_t columns = op->i[1], ld = columns + op->i[2], count = gemm_min(op->i[3], fn_rows(op, step));
    const real *parts = op->p[2];
    const int64_t c0 = lo * CONV_SUM_COLUMNS, c1 = gemm_min(hi * CONV_SUM_COLUMNS, ld);
    if (count < 1)
        return;
    if (c0 < columns)
        conv_sum_range((real *)op->p[0] + c0, parts + c0, ld, count, gemm_min(c1, columns) - c0);
    if (c1 > columns && op->p[1]) {
        const int64_t at = c0 > columns ? c0 : columns;
        conv_sum_range((real *)op->p[1] + at - columns, parts + at, ld, count, c1 - at);
    }
}
