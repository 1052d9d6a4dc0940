/* convolution.inc.c - two-dimensional convolutions of NHWC images with HWIO kernels, and their gradients.
 *
 *     conv2d        y[n, p, q, o] = act(bias[o] + sum over i, j, c of x[n, p sh + i dh - top, q sw + j dw - left, c]
 *                                                                  w[i, j, c, o] * act'(s[n, p, q, o]))
 *                   (cross-correlation, as everywhere in this field; outside of the image x is 0). With `groups`,
 *                   filters of group g see the channels of group g only: w has ci / groups channels.
 *     conv2d_flip   the kernel whose convolution with dy is the gradient by x; see there
 *     conv2d_scatter the same gradient as a sum of patches, for few channels
 *     conv2d_parts, conv2d_sum   the gradient by w and bias: sums over parts of the images, and their sum
 *     conv2d_pooled_parts, conv2d_pooled_input   both gradients from that of the max-pool behind a convolution
 *
 * A one-dimensional convolution is one of height 1. Geometry is the same ints everywhere:
 *
 *   i  [0] images (in a sample when batched)   [1] ih [2] iw [3] ci   [4] oh [5] ow [6] co   [7] kh [8] kw
 *      [9] sh [10] sw   [11] top [12] left (zeros before the first row and column; negative: rows and columns left out)
 *      [13] dh [14] dw   [15] groups   [16] activation of y   [17] activation whose gradient is taken, of s
 *      [18] algorithm   [19] first element of y written in an image   [20] elements from a pixel of y to the next,
 *      [21] from a row to the next, [22] from an image to the next
 *      [33] of conv2d and conv2d_parts: 1, 2, 3: by products of so many parts of bfloat16, with CONV_WINOGRAD of one
 *      part on vectors, else CONV_IM2COL   [34] on tiles: as [18] and [19] of a matrix product
 *      [36] of conv2d: elements of an image of Y that are set to zero before any is written; then Y is not S
 *   f  [0] alpha of either activation
 *
 * Algorithms, in a file each:
 *   CONV_IM2COL     any geometry: the patches of some pixels are copied out and multiplied as matrices
 *   CONV_POINTWISE  1x1, stride 1, nothing padded: the matrix product alone
 *   CONV_DIRECT     patches are read where they are, in images copied once with their zeros around (if there are any)
 *   CONV_SMALL      the same for few filters: a row of the product is several neighbouring pixels, so that vectors fill
 *   CONV_DEPTHWISE  one channel a group: vectors run along the channels
 *   CONV_WINOGRAD   3x3, stride 1, one group: 16 multiplications for 36. conv2d takes W from conv2d_winograd_kernel
 */
#include "conv_tile.inc.c"

enum {
    CONV_SPREAD = 3 * VL,   /* most columns of a spread row */
    CONV_CLEARED = 1 << 16  /* elements of images that are cleared before they are written */
};
enum { CONV_IM2COL = 1, CONV_POINTWISE, CONV_DIRECT, CONV_SMALL, CONV_DEPTHWISE, CONV_WINOGRAD };

typedef struct {
    const real *x, *w, *bias, *s;
    real *y;
    int64_t ih, iw, ci, oh, ow, co, kh, kw, sh, sw, top, left, dh, dw, groups;
    int64_t y_first, y_pixel, y_row, y_image;
    int activation, gradient, algorithm;
    int parts, tiled;
    real alpha;
    /* derived */
    int64_t cig, cog;              /* channels and filters of a group */
    int64_t spread;                /* neighbouring pixels in a row of the product */
    int64_t columns, vectors;      /* of a row of the product of one group */
    int64_t k;                     /* rows of a group's kernel, spread */
    int64_t run, inner, inner_step; /* a patch's row: `inner` runs of `run` contiguous elements */
    int64_t height, width;         /* of the part of an image that is read, its zeros included */
    int64_t repeat;                /* copies of each channel in a padded image */
    int pad;                       /* images are copied */
} conv;

/* Pixels that share a row of the product: where that leaves the fewest multiplications for each useful one. */
static int64_t conv_spread(int64_t co, int64_t kw, int64_t sw, int64_t ow)
{
    int64_t best = 1;
    double least = 0;
    for (int64_t m = 1; m <= ow && (m == 1 || co * m <= CONV_SPREAD); m++) {
        const double work = (double)(gemm_up(co * m, VL) * VL * (kw + (m - 1) * sw)) / (double)m;
        if (m == 1 || work < 0.95 * least) {
            least = work;
            best = m;
        }
    }
    return best;
}

static conv conv_of(const fn_op *op)
{
    const int64_t *i = op->i;
    conv c = {
        .ih = i[1], .iw = i[2], .ci = i[3], .oh = i[4], .ow = i[5], .co = i[6], .kh = i[7], .kw = i[8], .sh = i[9],
        .sw = i[10], .top = i[11], .left = i[12], .dh = i[13], .dw = i[14], .groups = i[15],
        .activation = (int)i[16], .gradient = (int)i[17], .algorithm = (int)i[18], .y_first = i[19], .y_pixel = i[20],
        .y_row = i[21], .y_image = i[22], .parts = (int)i[33], .tiled = i[34] != 0,
        .alpha = (real)op->f[0], .spread = 1, .repeat = 1,
    };
    c.cig = c.ci / c.groups;
    c.cog = c.co / c.groups;
    const int joined = c.dw == 1 && c.groups == 1;
    if (c.algorithm == CONV_SMALL && joined)
        c.spread = conv_spread(c.co, c.kw, c.sw, c.ow);
    const int64_t taps = c.kw + (c.spread - 1) * c.sw;
    c.columns = c.cog * c.spread;
    c.vectors = gemm_up(c.columns, VL);
    c.run = joined ? taps * c.ci : c.cig;
    c.inner = joined ? 1 : c.kw;
    c.inner_step = c.dw * c.ci;
    c.k = c.kh * c.inner * c.run;
    if (c.algorithm == CONV_DEPTHWISE)
        c.repeat = c.cog;
    c.height = (c.oh - 1) * c.sh + (c.kh - 1) * c.dh + 1;
    c.width = (gemm_up(c.ow, c.spread) * c.spread - 1) * c.sw + (c.kw - 1) * c.dw + 1;
    c.pad = c.top != 0 || c.left != 0 || c.height > c.ih || c.width > c.iw || c.repeat > 1;
    return c;
}

/* ---- images with their zeros around ---- */

static inline size_t conv_padded_elements(const conv *c)
{
    return c->pad ? (size_t)(c->height * c->width * c->ci * c->repeat) : 0;
}

/* Clears what conv_pad_image does not write: once for all images. */
static void conv_pad_clear(const conv *c, real *to)
{
    memset(to, 0, conv_padded_elements(c) * sizeof(real));
}

static void conv_pad_image(const conv *c, real *restrict to, const real *restrict x)
{
    const int64_t y0 = c->top < 0 ? -c->top : 0, x0 = c->left < 0 ? -c->left : 0;
    const int64_t y1 = gemm_min(c->ih, c->height - c->top), x1 = gemm_min(c->iw, c->width - c->left);
    if (x1 <= x0)
        return;
    for (int64_t y = y0; y < y1; y++) {
        const real *from = x + (y * c->iw + x0) * c->ci;
        real *row = to + ((y + c->top) * c->width + x0 + c->left) * c->ci * c->repeat;
        const int64_t n = (x1 - x0) * c->ci;
        if (c->repeat == 1) {
            memcpy(row, from, (size_t)n * sizeof(real));
        } else {
            for (int64_t j = 0; j < n; j++)
                for (int64_t r = 0; r < c->repeat; r++)
                    *row++ = from[j];
        }
    }
}

/* Rows [*i0, *i1) of the kernel that meet the image in some of the output's rows [p0, p1). */
static inline void conv_rows(const conv *c, int64_t p0, int64_t p1, int64_t *i0, int64_t *i1)
{
    const int64_t before = c->top - (p1 - 1) * c->sh, after = c->ih + c->top - p0 * c->sh;
    *i0 = before > 0 ? gemm_min(gemm_up(before, c->dh), c->kh) : 0;
    *i1 = after > 0 ? gemm_min(gemm_up(after, c->dh), c->kh) : 0;
    if (*i1 < *i0)
        *i1 = *i0;
}

/* Elements from one row of what is read to the next. */
static inline int64_t conv_pitch(const conv *c)
{
    return (c->pad ? c->width : c->iw) * c->ci * c->repeat;
}

/* Image n as it is read. */
static inline const real *conv_image(const conv *c, int64_t n, real *padded)
{
    const real *x = c->x + n * c->ih * c->iw * c->ci;
    if (!c->pad)
        return x;
    conv_pad_image(c, padded, x);
    return padded;
}

/* ---- the epilogue ---- */

/* A gemm that gemm_finish can work on: C is the row of pixels of y that begins at `y`. */
static gemm conv_epilogue(const conv *c)
{
    return (gemm){.bias = c->bias, .ldc = c->y_pixel * c->spread, .activation = c->activation,
                  .gradient = c->gradient, .alpha = c->alpha};
}

#include "conv_bfloat16.inc.c"
#include "conv_direct.inc.c"
#include "conv_im2col.inc.c"
#include "conv_depthwise.inc.c"
#include "conv_winograd.inc.c"
#include "conv_gradient.inc.c"
#include "conv_pooled.inc.c"

/* ---- conv2d ----
 *
 *   p  Y, X, W, bias[co] or NULL, S or NULL (of Y's layout); Y overlaps none but S, which it may be
 *   split  FN_SPLIT_ROWS: images
 */
static size_t conv2d_scratch(const fn_op *op, const fn_step *step)
{
    const conv c = conv_of(op);
    size_t n;
    (void)step;
    switch (c.algorithm) {
    case CONV_DIRECT:
    case CONV_SMALL: n = conv_direct_elements(&c); break;
    case CONV_DEPTHWISE: n = conv_padded_elements(&c); break;
    case CONV_WINOGRAD: n = winograd_elements(&c, 0); break;
    default: n = conv_im2col_elements(&c);
    }
    return (n + 4 * VL) * sizeof(real);
}

static void conv2d_images(const conv *c, int64_t n0, int64_t n1, real *scratch)
{
    if (c->oh < 1 || c->ow < 1 || c->co < 1)
        return;
#ifdef FN_PAIRS
    if (c->parts && c->algorithm != CONV_WINOGRAD) {
        conv_rounded(c, n0, n1, scratch);
        return;
    }
#endif
    switch (c->algorithm) {
    case CONV_POINTWISE: conv_pointwise(c, n0, n1, scratch); break;
    case CONV_DIRECT:
    case CONV_SMALL: {
        real *padded;
        const real *packed = conv_direct_prepare(c, scratch, &padded);
        conv_direct(c, n0, n1, packed, padded);
        break;
    }
    case CONV_DEPTHWISE: conv_depthwise(c, n0, n1, scratch); break;
    case CONV_WINOGRAD: conv_winograd(c, n0, n1, scratch); break;
    default: conv_im2col(c, n0, n1, scratch);
    }
}

static void conv2d(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step;
    conv c = conv_of(op);
    c.y = op->p[0];
    c.x = op->p[1];
    c.w = op->p[2];
    c.bias = op->p[3];
    c.s = c.gradient ? op->p[4] : NULL;
    int64_t n0, n1;
    fn_row_range(op, lo, hi, &n0, &n1);
    /* some images at a time are cleared, and written while they are in a cache */
    const int64_t clear = op->i[36], some = clear ? 1 + CONV_CLEARED / clear : n1 - n0;
    for (int64_t n = n0; n < n1; n += some) {
        const int64_t end = gemm_min(n + some, n1);
        for (int64_t j = n; j < end && clear; j++)
            memset(c.y + j * c.y_image, 0, (size_t)clear * sizeof(real));
        conv2d_images(&c, n, end, scratch);
    }
}

#define FN_CONVOLUTION_KERNELS(X)                                                       \
    X(conv2d, FN_SPLIT_ROWS, fn_row_tasks, conv2d_scratch, conv2d)                      \
    X(conv2d_winograd_kernel, FN_SPLIT_BLOCKS, conv2d_winograd_kernel_tasks, NULL, conv2d_winograd_kernel) \
    X(conv2d_flip, FN_SPLIT_BLOCKS, conv2d_flip_tasks, NULL, conv2d_flip)               \
    X(conv2d_scatter, FN_SPLIT_ROWS, fn_row_tasks, conv2d_scatter_scratch, conv2d_scatter)   \
    X(conv2d_parts, FN_SPLIT_BLOCKS, conv2d_parts_tasks, conv2d_parts_scratch, conv2d_parts) \
    X(conv2d_sum, FN_SPLIT_BLOCKS, conv2d_sum_tasks, NULL, conv2d_sum)                       \
    X(conv2d_pooled_parts, FN_SPLIT_BLOCKS, conv2d_parts_tasks, conv2d_pooled_parts_scratch, conv2d_pooled_parts) \
    X(conv2d_pooled_input, FN_SPLIT_ROWS, fn_row_tasks, conv2d_pooled_input_scratch, conv2d_pooled_input)
