/* conv_im2col.inc.c - convolution by matrix products: of copied patches (CONV_IM2COL), or of the images themselves
 * (CONV_POINTWISE). Patches are copied for CONV_PATCHES pixels at a time at most, never for a whole image. */

enum { CONV_PATCHES = GEMM_ROWS, CONV_PATCH_ELEMENTS = 1 << 16 };

/* Pixels whose patches are copied at a time. */
static inline int64_t conv_patches(const conv *c)
{
    const int64_t k = c->kh * c->kw * c->cig, n = k > 0 ? CONV_PATCH_ELEMENTS / k : CONV_PATCHES;
    return n < 12 ? 12 : n > CONV_PATCHES ? CONV_PATCHES : n;
}

static size_t conv_im2col_elements(const conv *c)
{
    const size_t products = GEMM_SCRATCH + (size_t)(c->co + c->kh * c->kw * c->ci + CONV_PATCHES);
    return products + (size_t)(conv_patches(c) * c->kh * c->kw * c->cig);
}

/* The patch of pixel (p, q) of one image's group: [kh][kw][cig]. */
static void conv_patch(const conv *c, real *restrict to, const real *restrict x, int64_t p, int64_t q)
{
    const int64_t x0 = q * c->sw - c->left;
    const size_t bytes = (size_t)c->cig * sizeof(real);
    for (int64_t i = 0; i < c->kh; i++) {
        const int64_t y = p * c->sh + i * c->dh - c->top;
        if (y < 0 || y >= c->ih) {
            memset(to, 0, (size_t)c->kw * bytes);
            to += c->kw * c->cig;
        } else if (c->dw == 1 && c->groups == 1 && x0 >= 0 && x0 + c->kw <= c->iw) {
            memcpy(to, x + (y * c->iw + x0) * c->ci, (size_t)c->kw * bytes);
            to += c->kw * c->cig;
        } else {
            for (int64_t j = 0; j < c->kw; j++, to += c->cig) {
                const int64_t at = x0 + j * c->dw;
                if (at < 0 || at >= c->iw)
                    memset(to, 0, bytes);
                else
                    memcpy(to, x + (y * c->iw + at) * c->ci, bytes);
            }
        }
    }
}

static void conv_im2col(const conv *c, int64_t n0, int64_t n1, real *scratch)
{
    const int64_t k = c->kh * c->kw * c->cig, most = conv_patches(c);
    real *patches = scratch, *products = scratch + most * k;
    gemm p = conv_epilogue(c);
    p.a = patches;
    p.k = p.lda = k;
    p.ldb = c->co;
    p.n = c->cog;
    p.m = GEMM_ROWS; /* one way to add for any number of rows, so that bits do not depend on who takes which */
    /* where y is dense its rows follow each other, and so do images: blocks of pixels need not end with them */
    const int rows_follow = c->y_row == c->ow * c->y_pixel;
    const int images_follow = rows_follow && c->y_image == c->oh * c->y_row;
    const int64_t row = rows_follow ? c->oh * c->ow : c->ow;
    const int64_t total = (n1 - n0) * c->oh * c->ow;
    for (int64_t at = 0; at < total;) {
        int64_t end = gemm_min(at + most, total);
        if (!images_follow)
            end = gemm_min(end, (at / row + 1) * row);
        const int64_t first_n = n0 + at / (c->oh * c->ow), pixel = at % (c->oh * c->ow);
        const int64_t y = first_n * c->y_image + c->y_first + pixel / c->ow * c->y_row + pixel % c->ow * c->y_pixel;
        for (int64_t g = 0; g < c->groups; g++) {
            for (int64_t j = at; j < end; j++) {
                const int64_t n = n0 + j / (c->oh * c->ow), q = j % (c->oh * c->ow);
                conv_patch(c, patches + (j - at) * k, c->x + n * c->ih * c->iw * c->ci + g * c->cig, q / c->ow,
                           q % c->ow);
            }
            p.b = c->w + g * c->cog;
            p.c = c->y + y + g * c->cog;
            p.s = c->s ? c->s + y + g * c->cog : NULL;
            p.bias = c->bias ? c->bias + g * c->cog : NULL;
            gemm_block(&p, 0, end - at, 0, gemm_vectors(&p), products);
        }
        at = end;
    }
}

static void conv_pointwise(const conv *c, int64_t n0, int64_t n1, real *scratch)
{
    const int64_t pixels = c->oh * c->ow;
    gemm p = conv_epilogue(c);
    p.a = c->x;
    p.b = c->w;
    p.c = c->y + c->y_first;
    p.s = c->s ? c->s + c->y_first : NULL;
    p.k = p.lda = c->ci;
    p.n = p.ldb = c->co;
    p.m = GEMM_ROWS;
    gemm_block(&p, n0 * pixels, n1 * pixels, 0, gemm_vectors(&p), scratch);
}
