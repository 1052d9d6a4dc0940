/* conv_bfloat16.inc.c - convolutions as products of parts of bfloat16 (matmul_bfloat16.inc.c): A is the patches, copied
 * and rounded a few rows at a time where the product wants them, so that any geometry will do. */
#ifdef FN_PAIRS

/* Patches are the lines: those of the pixels of y, image after image. p->a is the first element of the group. */
static void conv_fetch(const gemm *p, real *to, int64_t ld, int64_t line, int64_t lines, int64_t at, int64_t n)
{
    const conv *c = p->from;
    while (lines > 0) {
        const int64_t image = line / (c->oh * c->ow), y = line / c->ow % c->oh, x = line % c->ow;
        const int64_t some = gemm_min(lines, c->ow - x); /* of one row of the image */
        for (int64_t e = 0; e < n;) {
            const int64_t tap = (at + e) / c->cig, l = (at + e) % c->cig, count = gemm_min(c->cig - l, n - e);
            const int64_t row = y * c->sh + tap / c->kw * c->dh - c->top;
            int64_t column = x * c->sw + tap % c->kw * c->dw - c->left;
            const real *from = p->a + ((image * c->ih + row) * c->iw + column) * c->ci + l;
            real *into = to + e;
            for (int64_t j = 0; j < some; j++, into += ld, column += c->sw, from += c->sw * c->ci) {
                const int inside = row >= 0 && row < c->ih && column >= 0 && column < c->iw;
                for (int64_t v = 0; v < count; v += VL) {
                    const int64_t lanes = gemm_min(VL, count - v);
                    vstore_n(into + v, inside ? vload_n(from + v, lanes) : (vec){}, lanes);
                }
            }
            e += count;
        }
        to += some * ld;
        line += some;
        lines -= some;
    }
}

/* What the products of group g have in common. */
static gemm conv_product(const conv *c, int64_t g)
{
    gemm p = conv_epilogue(c);
    p.parts = c->parts;
    p.tiled = c->tiled;
    p.a = c->x + g * c->cig;
    p.lda = c->ci;
    p.from = c;
    if (c->kh * c->kw * c->sh * c->sw != 1 || c->top != 0 || c->left != 0 || c->oh != c->ih || c->ow != c->iw)
        p.fetch = conv_fetch;
    return p;
}

/* All rows [r0, r1) of C, a block of columns at a time. */
static void conv_product_run(const gemm *p, int64_t r0, int64_t r1, real *scratch)
{
    for (int64_t c0 = 0; c0 < p->n; c0 += GEMM_COLUMNS * VL) {
        const int64_t c1 = gemm_min(p->n, c0 + GEMM_COLUMNS * VL);
        (p->tiled ? gemm_tiled_block : gemm_rounded_block)(p, r0, r1, c0, c1, scratch);
    }
}

static void conv_rounded(const conv *c, int64_t n0, int64_t n1, real *scratch)
{
    const int64_t pixels = c->oh * c->ow;
    for (int64_t g = 0; g < c->groups; g++) {
        gemm p = conv_product(c, g);
        p.m = n1 * pixels;
        p.n = c->cog;
        p.k = c->kh * c->kw * c->cig;
        p.b = c->w + g * c->cog;
        p.ldb = c->co;
        p.bias = c->bias ? c->bias + g * c->cog : NULL;
        p.c = c->y + c->y_first + g * c->cog;
        p.s = c->s ? c->s + c->y_first + g * c->cog : NULL;
        if (c->y_row != c->ow * c->y_pixel || c->y_image != c->oh * c->y_row) {
            p.across = c->ow;
            p.down = c->oh;
            p.c_row = c->y_row;
            p.c_image = c->y_image;
        }
        conv_product_run(&p, n0 * pixels, n1 * pixels, scratch);
    }
}

/* dw and db of the images [n0, n1): patches transposed times dy. */
static void conv_rounded_sum(const conv *c, const real *dy, int64_t n0, int64_t n1, real *dw, real *db, real *scratch)
{
    const int64_t pixels = c->oh * c->ow;
    for (int64_t g = 0; g < c->groups; g++) {
        gemm p = conv_product(c, g);
        p.k_major = 1;
        p.m = c->kh * c->kw * c->cig;
        p.n = c->cog;
        p.k = (n1 - n0) * pixels;
        p.a += n0 * c->ih * c->iw * c->ci;
        p.b = dy + n0 * pixels * c->co + g * c->cog;
        p.ldb = p.ldc = c->co;
        p.c = dw + g * c->cog;
        p.sums = db + g * c->cog;
        conv_product_run(&p, 0, p.m, scratch);
    }
}
#endif
