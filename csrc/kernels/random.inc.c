/* random.inc.c - dropout, noise and random fills.
 *
 * Every number is a function of (seed, step index, stream, position), position being the element's index
 * within the batch: the same for any number of threads, any instruction set, and again in the backward pass,
 * which recomputes masks instead of keeping them. random.h says how numbers are made.
 */
#include "random.h"

/* ---- dropout ----
 *
 * A position takes 16 bits of a group of Philox4x32-7: group = position / 64, and within it
 * row = e / 32, half of the word = e / 16 % 2 (0: low), word of the row = e % 16 (in memory order), e =
 * position % 64. Dropped where the bits are below round(65536 rate): the rate is met to 1 / 131072.
 */
enum { MASK_GROUP = 64 };

/* Elements [0, 64) of a group from x to y: scale x, or 0. */
FN_INLINE void dropout_group(real *y, const real *x, const fn_random_group *g, uint32_t limit, real scale,
                             int accumulate)
{
#ifdef FN_REAL_32
    /* signed comparisons, which every instruction set has, of the bits moved to the top and the sign turned
     * */
    const ivec least = (ivec)((uvec){} + (limit ^ 0x80000000u));
    const uvec sign = (uvec){} + 0x80000000u;
#pragma GCC unroll 2
    for (int row = 0; row < 2; row++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
#pragma GCC unroll 4
            for (int v = 0; v < FN_GROUP_VECTORS; v++) {
                const uvec bits = half ? (uvec)g->row[row][v] : (uvec)g->row[row][v] << 16;
                const int at = row * 32 + half * 16 + v * VL;
                vec keep = vmask((ivec)(bits ^ sign) >= least, vload(x + at) * vset1(scale));
                if (accumulate)
                    keep += vload(y + at);
                vstore(y + at, keep);
            }
#else
    uint32_t words[2][16];
    memcpy(words, g, sizeof words);
    for (int e = 0; e < MASK_GROUP; e++) {
        const uint32_t word = words[e / 32][e % 16], bits = e / 16 % 2 ? word : word << 16;
        const real keep = bits >= limit ? x[e] * scale : 0;
        y[e] = accumulate ? y[e] + keep : keep;
    }
#endif
}

/* n elements from `position` on. */
FN_INLINE void dropout_range(real *y, const real *x, int64_t position, int64_t n, const fn_step *step,
                             uint64_t stream, double rate, int accumulate)
{
    const double cut = rate * 65536 + 0.5;
    const uint32_t limit = cut >= 65536 ? 0xffff0000u : (uint32_t)cut << 16;
    const real scale = rate < 1 ? (real)(1 / (1 - rate)) : 0;
    const uint64_t seed = step->seed, index = (uint64_t)step->index;
    for (int64_t j = 0; j < n;) {
        const int64_t at = position + j;
        const int64_t skip = at % MASK_GROUP, count = MASK_GROUP - skip < n - j ? MASK_GROUP - skip : n - j;
        const fn_random_group g = fn_philox(seed, index, stream, (uint64_t)(at / MASK_GROUP), 7);
        if (count == MASK_GROUP)
            dropout_group(y + j, x + j, &g, limit, scale, accumulate);
        else {
            real in[MASK_GROUP] = {0}, out[MASK_GROUP] = {0};
            memcpy(in + skip, x + j, (size_t)count * sizeof(real));
            if (accumulate)
                memcpy(out + skip, y + j, (size_t)count * sizeof(real));
            dropout_group(out, in, &g, limit, scale, accumulate);
            memcpy(y + j, out + skip, (size_t)count * sizeof(real));
        }
        j += count;
    }
}

/* dropout: y = x / (1 - rate) where kept, else 0.  dropout_grad: dx (+)= the same of dy.
 * p: y, x (dx, dy).  i: rows, columns, stream, accumulate (gradient).  f: rate.  y may be x.  FN_SPLIT_ROWS.
 * */
static void dropout_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t n;
    const int64_t at = flat_range(op, lo, hi, op->i[1], &n);
    real *y = (real *)op->p[0] + at;
    const real *x = (const real *)op->p[1] + at;
    if (op->i[3])
        dropout_range(y, x, at, n, step, (uint64_t)op->i[2], op->f[0], 1);
    else
        dropout_range(y, x, at, n, step, (uint64_t)op->i[2], op->f[0], 0);
}

/* dropout_rows: whole channels of a sample at once: x (groups, rows of a group, columns), one mask element
 * for a group and column; its position is group * columns + column.  dropout_rows_grad: dx (+)= the same of
 * dy. p: y, x (dx, dy).  i: rows, columns, stream, accumulate, rows of a group.  f: rate.  y may be x.
 * FN_SPLIT_ROWS. */
static void dropout_rows_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    int64_t r0, r1;
    const int64_t cols = op->i[1], size = op->i[4];
    fn_row_range(op, lo, hi, &r0, &r1);
    while (r0 < r1) {
        const int64_t group = r0 / size, end = (group + 1) * size < r1 ? (group + 1) * size : r1;
        for (int64_t j = 0; j < cols; j += MASK_GROUP) {
            const int64_t n = cols - j < MASK_GROUP ? cols - j : MASK_GROUP;
            real ones[MASK_GROUP], mask[MASK_GROUP];
            for (int k = 0; k < MASK_GROUP; k++)
                ones[k] = 1;
            dropout_range(mask, ones, group * cols + j, n, step, (uint64_t)op->i[2], op->f[0], 0);
            for (int64_t r = r0; r < end; r++) {
                real *y = (real *)op->p[0] + r * cols + j;
                const real *x = (const real *)op->p[1] + r * cols + j;
                for (int64_t k = 0; k < n; k++) {
                    const real kept = mask[k] != 0 ? x[k] * mask[k] : 0;
                    y[k] = op->i[3] ? y[k] + kept : kept;
                }
            }
        }
        r0 = end;
    }
}

/* ---- distributions ----
 *
 * From Philox4x32-10. float32 takes a word (32 bits) a position, group = position / 32; float64 a lane (two
 * words), group = position / 16; within the group in memory order: row 0, then row 1.
 */
enum { FILL_GROUP = 128 / (int)sizeof(real), FILL_VECTORS = FILL_GROUP / VL };

typedef enum { UNIFORM, NORMAL, TRUNCATED_NORMAL } distribution;

/* Uniform in [0, 1): 24 (53) bits. */
FN_INLINE vec vuniform(lanes bits)
{
#ifdef FN_REAL_32
    return __builtin_convertvector((ivec)((uvec)bits >> 8), vec) * vset1(0x1p-24f);
#else
    /* 52 bits as the fraction of a number in [1, 2), and the 53rd */
    const vec one = vset1(1);
    const vec y = (vec)((bits >> 12) | (lanes)one) - one;
    return y + (vec)((bits >> 11 & 1) * 0x3ca0000000000000u);
#endif
}

/* A group of numbers: uniform in [0, 1), or standard normal by Box and Muller's transform: row 0 gives the
 * radius sqrt(-2 log(u)), 0 < u <= 1, row 1 the angle; cosines stand where row 0 stood, sines where row 1
 * did. */
FN_INLINE void random_group(vec *out, const fn_step *step, uint64_t stream, uint64_t group, distribution kind)
{
    const fn_random_group g = fn_philox(step->seed, (uint64_t)step->index, stream, group, 10);
    for (int v = 0; v < FN_GROUP_VECTORS; v++) {
        const vec u = vuniform(g.row[0][v]), w = vuniform(g.row[1][v]);
        if (kind == UNIFORM) {
            out[v] = u;
            out[v + FN_GROUP_VECTORS] = w;
            continue;
        }
        ivec quadrant;
        const vec radius = vsqrt(vset1(-2) * vlog(vset1(1) - u));
        const vec r = vtrig_reduce(w * vset1((real)6.28318530717958647692), &quadrant);
        out[v] = radius * vtrig(r, quadrant + 1);
        out[v + FN_GROUP_VECTORS] = radius * vtrig(r, quadrant);
    }
}

/* The same, with normal numbers beyond 2 drawn again: the k-th time from draws 2^60 k later. */
FN_INLINE void random_vectors(vec *out, const fn_step *step, uint64_t stream, uint64_t group,
                              distribution kind)
{
    random_group(out, step, stream, group, kind);
    if (kind != TRUNCATED_NORMAL)
        return;
    for (uint64_t again = 1; again < 16; again++) {
        vec other[FILL_VECTORS];
        ielem any = 0;
        for (int v = 0; v < FILL_VECTORS; v++) {
            const ivec beyond = ~(vabs(out[v]) <= vset1(2));
            for (int j = 0; j < VL; j++)
                any |= beyond[j];
        }
        if (any == 0)
            return;
        random_group(other, step, stream, group + (again << 57), kind);
        for (int v = 0; v < FILL_VECTORS; v++)
            out[v] = vselect(vabs(out[v]) <= vset1(2), out[v], other[v]);
    }
    for (int v = 0; v < FILL_VECTORS; v++) /* 15 misses in a row: once in 10^20 */
        out[v] = vmax(vset1(-2), vmin(vset1(2), out[v]));
}

/* lo + (hi - lo) u, or lo where that was rounded to hi. */
FN_INLINE vec uniform_between(vec lo, vec hi, vec u)
{
    const vec y = lo + (hi - lo) * u;
    return vselect(((y < hi) & (lo < hi)) | ((y > hi) & (lo > hi)), y, lo);
}

/* y = value(z) for the numbers z at [position, position + n); `value` may use the x of `from`. */
#define FN_FILL_KERNEL(name, kind, x_operand, value)                                                         \
    static void name##_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)      \
    {                                                                                                        \
        (void)scratch;                                                                                       \
        int64_t n;                                                                                           \
        const int64_t at = flat_range(op, lo, hi, op->i[1], &n);                                             \
        real *y = (real *)op->p[0] + at;                                                                     \
        const real *from = (const real *)op->p[x_operand] + at;                                              \
        const vec a = vset1((real)op->f[0]), b = vset1((real)op->f[1]), one = vset1(1);                      \
        (void)a; (void)b; (void)one;                                                                         \
        const fn_step now = *step;                                                                           \
        const uint64_t stream = (uint64_t)op->i[2];                                                          \
        for (int64_t j = 0; j < n;) {                                                                        \
            const int64_t skip = (at + j) % FILL_GROUP;                                                      \
            const int64_t count = FILL_GROUP - skip < n - j ? FILL_GROUP - skip : n - j;                     \
            vec drawn[FILL_VECTORS];                                                                         \
            random_vectors(drawn, &now, stream, (uint64_t)((at + j) / FILL_GROUP), kind);                    \
            if (count == FILL_GROUP)                                                                         \
                for (int v = 0; v < FILL_VECTORS; v++) {                                                     \
                    const vec z = drawn[v], x = vload(from + j + v * VL);                                    \
                    (void)x;                                                                                 \
                    vstore(y + j + v * VL, (value));                                                         \
                }                                                                                            \
            else {                                                                                           \
                real part[FILL_GROUP] = {0};                                                                 \
                memcpy(part + skip, from + j, (size_t)count * sizeof(real));                                 \
                for (int v = 0; v < FILL_VECTORS; v++) {                                                     \
                    const vec z = drawn[v], x = vload(part + v * VL);                                        \
                    (void)x;                                                                                 \
                    vstore(part + v * VL, (value));                                                          \
                }                                                                                            \
                memcpy(y + j, part + skip, (size_t)count * sizeof(real));                                    \
            }                                                                                                \
            j += count;                                                                                      \
        }                                                                                                    \
    }

/* random_uniform: lo + (hi - lo) u, f: lo, hi.  random_normal, random_truncated_normal (cut off at two
 * standard deviations): f: mean, standard deviation.  random_bernoulli: 1 with probability f[0], else 0.
 * p: y.  i: rows, columns, stream.  FN_SPLIT_ROWS. */
FN_FILL_KERNEL(random_uniform, UNIFORM, 0, uniform_between(a, b, z))
FN_FILL_KERNEL(random_normal, NORMAL, 0, a + b * z)
FN_FILL_KERNEL(random_truncated_normal, TRUNCATED_NORMAL, 0, a + b * z)
FN_FILL_KERNEL(random_bernoulli, UNIFORM, 0, vmask(z < a, one))
/* gaussian_noise: y = x + f[0] z.  p: y, x.  i: rows, columns, stream.  y may be x.  FN_SPLIT_ROWS. */
FN_FILL_KERNEL(gaussian_noise, NORMAL, 1, x + a * z)

#define FN_RANDOM_KERNELS(X)                                                                      \
    X(dropout, FN_SPLIT_ROWS, fn_row_tasks, NULL, dropout_run)                                    \
    X(dropout_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, dropout_run)                               \
    X(dropout_rows, FN_SPLIT_ROWS, fn_row_tasks, NULL, dropout_rows_run)                          \
    X(dropout_rows_grad, FN_SPLIT_ROWS, fn_row_tasks, NULL, dropout_rows_run)                     \
    X(random_uniform, FN_SPLIT_ROWS, fn_row_tasks, NULL, random_uniform_run)                      \
    X(random_normal, FN_SPLIT_ROWS, fn_row_tasks, NULL, random_normal_run)                        \
    X(random_truncated_normal, FN_SPLIT_ROWS, fn_row_tasks, NULL, random_truncated_normal_run)    \
    X(random_bernoulli, FN_SPLIT_ROWS, fn_row_tasks, NULL, random_bernoulli_run)                  \
    X(gaussian_noise, FN_SPLIT_ROWS, fn_row_tasks, NULL, gaussian_noise_run)
