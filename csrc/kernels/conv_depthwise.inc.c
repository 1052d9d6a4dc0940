/* conv_depthwise.inc.c - convolution of each channel with filters of its own: CONV_DEPTHWISE, and its kernel gradient.
 *
 * Vectors run along the channels (each repeated for its filters in the padded image), so nothing is broadcast and each
 * element is loaded once a tap. w is [kh][kw][co].
 */

FN_INLINE void conv_depthwise_pixels(const int R, const conv *c, const real *x, int64_t pitch, const real *w, vec start,
                                     int64_t n, vec *out)
{
    const int64_t step = c->sw * c->co;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        out[r] = start;
    for (int64_t i = 0; i < c->kh; i++, x += c->dh * pitch) {
        const real *a = x;
        for (int64_t j = 0; j < c->kw; j++, a += c->dw * c->co, w += c->co) {
            if (n == VL) {
                const vec b = vload(w);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++)
                    out[r] += vload(a + r * step) * b;
            } else {
                const vec b = vload_n(w, n);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++)
                    out[r] += vload_n(a + r * step, n) * b;
            }
        }
    }
}

static void conv_depthwise(const conv *c, int64_t n0, int64_t n1, real *scratch)
{
    if (c->pad)
        conv_pad_clear(c, scratch);
    const int64_t pitch = conv_pitch(c);
    for (int64_t n = n0; n < n1; n++) {
        const real *x = conv_image(c, n, scratch);
        for (int64_t p = 0; p < c->oh; p++)
            for (int64_t o = 0; o < c->co; o += VL) {
                const int64_t lanes = gemm_min(VL, c->co - o);
                const vec bias = c->bias ? vload_n(c->bias + o, lanes) : (vec){};
                for (int64_t q = 0; q < c->ow;) {
                    const real *a = x + p * c->sh * pitch + q * c->sw * c->co + o;
                    const int64_t at = n * c->y_image + c->y_first + p * c->y_row + q * c->y_pixel + o;
                    const int64_t count = c->ow - q < 8 ? 1 : 8;
                    vec z[8];
                    if (count == 8)
                        conv_depthwise_pixels(8, c, a, pitch, c->w + o, c->s ? (vec){} : bias, lanes, z);
                    else
                        conv_depthwise_pixels(1, c, a, pitch, c->w + o, c->s ? (vec){} : bias, lanes, z);
                    for (int64_t r = 0; r < count; r++) {
                        const int64_t to = at + r * c->y_pixel;
                        if (c->s)
                            z[r] = z[r] * gemm_derivative(c->gradient, vload_n(c->s + to, lanes), c->alpha) + bias;
                        vstore_n(c->y + to, gemm_activate(c->activation, z[r], c->alpha), lanes);
                    }
                    q += count;
                }
            }
    }
}

/* dw[kh][kw][co] += sum over pixels of x dy, for one image; x as conv_image gives it. */
static void conv_depthwise_sum(const conv *c, real *dw, const real *x, const real *dy)
{
    const int64_t pitch = conv_pitch(c);
    for (int64_t i = 0; i < c->kh; i++)
        for (int64_t j = 0; j < c->kw; j++)
            for (int64_t o = 0; o < c->co; o += VL) {
                const int64_t lanes = gemm_min(VL, c->co - o);
                real *to = dw + (i * c->kw + j) * c->co + o;
                vec total = vload_n(to, lanes);
                for (int64_t p = 0; p < c->oh; p++) {
                    const real *a = x + (p * c->sh + i * c->dh) * pitch + j * c->dw * c->co + o;
                    const real *b = dy + p * c->ow * c->co + o;
                    vec even = {}, odd = {};
                    int64_t q = 0;
                    for (; q + 2 <= c->ow; q += 2) {
                        even += vload_n(a + q * c->sw * c->co, lanes) * vload_n(b + q * c->co, lanes);
                        odd += vload_n(a + (q + 1) * c->sw * c->co, lanes) * vload_n(b + (q + 1) * c->co, lanes);
                    }
                    if (q < c->ow)
                        even += vload_n(a + q * c->sw * c->co, lanes) * vload_n(b + q * c->co, lanes);
                    total += even + odd;
                }
                vstore_n(to, total, lanes);
            }
}
