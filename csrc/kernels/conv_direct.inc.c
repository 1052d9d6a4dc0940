/* conv_direct.inc.c - convolution as a product whose left matrix is the image itself: CONV_DIRECT and CONV_SMALL.
 *
 * A pixel's patch is kh runs of kw ci contiguous elements (kh kw runs of ci / groups with groups or dilation), and the
 * next pixel's begins sw ci elements on, so a tile of pixels x filters walks along the image row by row.
 *
 * With few filters (CONV_SMALL) the vectors would be mostly empty. Then `spread` neighbouring pixels make up one row of
 * the product: the patch grows to kw + (spread - 1) sw taps, and the kernel is repeated `spread` times, shifted:
 *     spread kernel[i][j + m sw][c][m co + o] = w[i][j][c][o], 0 elsewhere.
 * For 6 filters of 5x5 and vectors of 16, two pixels take 6 taps x 12 of 16 lanes: 62 % of the multiplications count,
 * against 37 % one by one.
 */

/* The kernel in whole vectors, spread: [group][k][vectors]; or NULL where it can be read as it is. */
static const real *conv_pack_kernel(const conv *c, real *to)
{
    if (c->spread == 1 && c->cog % VL == 0)
        return NULL;
    const int64_t ld = c->vectors * VL;
    memset(to, 0, (size_t)(c->groups * c->k * ld) * sizeof(real));
    const int64_t taps = c->kw + (c->spread - 1) * c->sw;
    for (int64_t g = 0; g < c->groups; g++)
        for (int64_t i = 0; i < c->kh; i++)
            for (int64_t m = 0; m < c->spread; m++)
                for (int64_t j = 0; j < c->kw; j++) {
                    const real *from = c->w + (i * c->kw + j) * c->cig * c->co + g * c->cog;
                    real *row = to + (g * c->k + (i * taps + j + m * c->sw) * c->cig) * ld + m * c->co;
                    for (int64_t a = 0; a < c->cig; a++)
                        memcpy(row + a * ld, from + a * c->co, (size_t)c->cog * sizeof(real));
                }
    return to;
}

/* Elements of scratch. */
static size_t conv_direct_elements(const conv *c)
{
    return conv_padded_elements(c) + (size_t)(c->groups * c->k * c->vectors * VL);
}

/* What holds for all images: the kernel as conv_pack_kernel gives it, and what lies around images in *padded. */
static const real *conv_direct_prepare(const conv *c, real *scratch, real **padded)
{
    const real *packed = conv_pack_kernel(c, scratch);
    *padded = scratch + (packed ? c->groups * c->k * c->vectors * VL : 0);
    if (c->pad)
        conv_pad_clear(c, *padded);
    return packed;
}

static void conv_direct(const conv *c, int64_t n0, int64_t n1, const real *packed, real *padded)
{
    real bias[CONV_SPREAD]; /* repeated for each pixel of a row */
    gemm e = conv_epilogue(c);
    const real *start = c->s ? NULL : c->bias;
    const int plain = gemm_plain(&e) && c->s == NULL;
    if (c->spread > 1) {
        for (int64_t m = 0; m < c->spread && c->bias; m++)
            memcpy(bias + m * c->co, c->bias, (size_t)c->co * sizeof(real));
        if (c->bias)
            e.bias = bias;
        if (start)
            start = bias;
    }
    real product[(VL < 8 ? 8 : VL) * GEMM_TILE_VECS];
    const int64_t pitch = conv_pitch(c), rows = gemm_up(c->ow, c->spread), whole = c->ow / c->spread;
    conv_tile t = {.a_half = c->sh * pitch, .k = c->run, .inner = c->inner, .inner_step = c->inner_step,
                   .outer_step = c->dh * pitch, .lda = c->spread * c->sw * c->ci,
                   .ldb = packed ? c->vectors * VL : c->co,
                   .floor = plain && c->activation == FN_ACT_RELU ? 0 : -(real)FN_INFINITY};

    for (int64_t n = n0; n < n1; n++) {
        const real *x = conv_image(c, n, padded);
        const int64_t image = n * c->y_image + c->y_first;
        for (int64_t g = 0; g < c->groups; g++) {
            const real *b = packed ? packed + g * c->k * t.ldb : c->w + g * c->cog;
            for (int64_t v = 0; v < c->vectors;) {
                const int nv = gemm_panel(c->vectors, v, 0), most = gemm_tile_rows[nv];
                const int64_t column = v * VL;
                const int two = nv == 1 && rows <= CONV_HALF;
                for (int64_t y = 0; y < c->oh;) {
                    const int64_t at = image + y * c->y_row + g * c->cog, halves = two && y + 1 < c->oh ? 2 : 1;
                    int64_t i0, i1; /* the taps' rows that are not all zeros */
                    conv_rows(c, y, y + halves, &i0, &i1);
                    const real *row = x + (y * c->sh + i0 * c->dh) * pitch + g * c->cig;
                    t.b = b + column + i0 * c->inner * c->run * t.ldb;
                    t.outer = i1 - i0;
                    e.c = c->y + at;
                    e.s = c->s ? c->s + at : NULL;
                    e.bias = c->bias ? (c->spread > 1 ? bias : c->bias + g * c->cog) : NULL;
                    for (int64_t r = 0; r < rows;) {
                        /* the pixels that are left over when `spread` does not divide the row go alone */
                        const int64_t left = r < whole ? whole - r : 1;
                        const int64_t m = left <= most ? left : gemm_up(left, gemm_up(left, most));
                        const int64_t last = r < whole ? c->columns : (c->ow - whole * c->spread) * c->co;
                        const int64_t columns = gemm_min(nv * VL, last - column);
                        if (columns <= 0)
                            break;
                        const int n_vectors = (int)gemm_up(columns, VL);
                        t.a = row + r * t.lda;
                        t.start = start ? start + (c->spread > 1 ? 0 : g * c->cog) + column : NULL;
                        t.tail = columns - (n_vectors - 1) * VL;
                        t.c = c->s ? product : e.c + r * e.ldc + column;
                        t.ldc = c->s ? n_vectors * VL : e.ldc;
                        t.c_half = c->s ? m * t.ldc : c->y_row;
                        (halves == 2 ? conv_tiles_two[m] : conv_tiles[n_vectors][m])(&t);
                        for (int64_t h = 0; !plain && h < halves; h++) {
                            gemm f = e;
                            f.c += h * c->y_row;
                            f.s += c->s ? h * c->y_row : 0;
                            gemm_finish(&f, r, m, column, columns, c->s ? product + h * t.c_half : NULL, t.ldc, 1, 1);
                        }
                        r += m;
                    }
                    y += halves;
                }
                v += nv;
            }
        }
    }
}
