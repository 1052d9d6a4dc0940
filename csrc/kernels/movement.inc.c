/* movement.inc.c - elements from one place to another: transposes, slices, broadcasts, rows by index. */

/* ---- transposes ---- */

typedef real moved __attribute__((may_alias)); /* int32 arrays go through the float32 kernels, bit by bit */

/* VL x VL: y[a][b] = x[b][a]. log2(VL) rounds of interleaving the two halves of the rows. */
FN_INLINE void transpose_tile(moved *y, int64_t ldy, const moved *x, int64_t ldx)
{
    vec v[VL], t[VL];
    ivec low, high;
    for (int j = 0; j < VL; j++) {
        low[j] = j / 2 + (j % 2) * VL;
        high[j] = VL / 2 + j / 2 + (j % 2) * VL;
    }
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++)
        v[r] = vload((const real *)(x + r * ldx));
#pragma GCC unroll 4
    for (int round = 1; round < VL; round *= 2) {
#pragma GCC unroll 8
        for (int r = 0; r < VL / 2; r++) {
            t[2 * r] = __builtin_shuffle(v[r], v[r + VL / 2], low);
            t[2 * r + 1] = __builtin_shuffle(v[r], v[r + VL / 2], high);
        }
#pragma GCC unroll 16
        for (int r = 0; r < VL; r++)
            v[r] = t[r];
    }
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++)
        vstore((real *)(y + r * ldy), v[r]);
}

/* y[a * ldy + b] = x[b * ldx + a], a < rows, b < cols. */
static void transpose_real(moved *y, int64_t ldy, const moved *x, int64_t ldx, int64_t rows, int64_t cols)
{
    const int64_t a_whole = rows - rows % VL, b_whole = cols - cols % VL;
    for (int64_t a = 0; a < a_whole; a += VL)
        for (int64_t b = 0; b < b_whole; b += VL)
            transpose_tile(y + a * ldy + b, ldy, x + b * ldx + a, ldx);
    for (int64_t a = 0; a < rows; a++)
        for (int64_t b = a < a_whole ? b_whole : 0; b < cols; b++)
            y[a * ldy + b] = x[b * ldx + a];
}

#ifdef FN_REAL_32
static void transpose_int(int32_t *y, int64_t ldy, const int32_t *x, int64_t ldx, int64_t rows, int64_t cols)
{
    transpose_real((moved *)y, ldy, (const moved *)x, ldx, rows, cols);
}
#else
static void transpose_int(int32_t *y, int64_t ldy, const int32_t *x, int64_t ldx, int64_t rows, int64_t cols)
{
    for (int64_t a = 0; a < rows; a++)
        for (int64_t b = 0; b < cols; b++)
            y[a * ldy + b] = x[b * ldx + a];
}
#endif

/* ---- strided copies ---- */

enum { MOVE_DIMS = 7 }; /* leading dimension and six inner ones */

/* An array of up to seven dimensions: contiguous on one side, strided on the other. */
typedef struct {
    int dims;
    int64_t size[MOVE_DIMS];
    int64_t packed[MOVE_DIMS], stride[MOVE_DIMS]; /* steps of the contiguous and the other side */
    int64_t packed_at, stride_at;                 /* where leading row r0 begins */
    int64_t accumulate, count;
} movement;

/* Leading rows [r0, r1) of i: rows, ndim, sizes[ndim], leading stride, strides[ndim], offset, accumulate;
 * dimensions that lie behind each other in both arrays become one. */
static movement plan_movement(const fn_op *op, int64_t lo, int64_t hi)
{
    int64_t r0, r1;
    fn_row_range(op, lo, hi, &r0, &r1);
    const int64_t *i = op->i, ndim = i[1];
    movement m = {.dims = 1, .size = {r1 - r0}, .stride = {i[2 + ndim]}, .count = r1 - r0};
    for (int64_t d = 0; d < ndim; d++) {
        const int64_t size = i[2 + d], stride = i[3 + ndim + d];
        m.count *= size;
        if (size == 1)
            continue;
        if (m.size[m.dims - 1] == 1 || m.stride[m.dims - 1] == stride * size) {
            m.size[m.dims - 1] *= size;
            m.stride[m.dims - 1] = stride;
        } else {
            m.size[m.dims] = size;
            m.stride[m.dims++] = stride;
        }
    }
    int64_t row = 1;
    for (int d = m.dims - 1; d >= 0; row *= m.size[d--])
        m.packed[d] = row;
    m.packed_at = r1 > r0 ? r0 * (m.count / (r1 - r0)) : 0;
    m.stride_at = r0 * i[2 + ndim] + i[3 + 2 * ndim];
    m.accumulate = i[4 + 2 * ndim];
    return m;
}

/* One run of n elements. */
#define FN_MOVE_RUN(T, suffix)                                                                               \
    FN_INLINE void move_run##suffix(T *y, int64_t sy, const T *x, int64_t sx, int64_t n, int accumulate)     \
    {                                                                                                        \
        if (accumulate) {                                                                                    \
            if (sy == 1 && sx == 1)                                                                          \
                for (int64_t j = 0; j < n; j++)                                                              \
                    y[j] += x[j];                                                                            \
            else                                                                                             \
                for (int64_t j = 0; j < n; j++)                                                              \
                    y[j * sy] += x[j * sx];                                                                  \
        } else if (sy == 1 && sx == 1) {                                                                     \
            if (n >= 64)                                                                                     \
                memcpy(y, x, (size_t)n * sizeof(T));                                                         \
            else                                                                                             \
                for (int64_t j = 0; j < n; j++)                                                              \
                    y[j] = x[j];                                                                             \
        } else if (sy == 1 && sx == 0) {                                                                     \
            const T value = *x;                                                                              \
            for (int64_t j = 0; j < n; j++)                                                                  \
                y[j] = value;                                                                                \
        } else if (sy == 1 && sx == -1) {                                                                    \
            for (int64_t j = 0; j < n; j++)                                                                  \
                y[j] = x[-j];                                                                                \
        } else {                                                                                             \
            for (int64_t j = 0; j < n; j++)                                                                  \
                y[j * sy] = x[j * sx];                                                                       \
        }                                                                                                    \
    }                                                                                                        \
    /* All elements: scatter 0: contiguous y from strided x; 1: strided y from contiguous x. */              \
    FN_INLINE void move_all##suffix(T *y, const T *x, const movement *m, int scatter)                        \
    {                                                                                                        \
        if (m->count == 0)                                                                                   \
            return;                                                                                          \
        const int64_t *to = scatter ? m->stride : m->packed, *from = scatter ? m->packed : m->stride;        \
        y += scatter ? m->stride_at : m->packed_at;                                                          \
        x += scatter ? m->packed_at : m->stride_at;                                                          \
        const int last = m->dims - 1;                                                                        \
        int unit = -1; /* the dimension contiguous on the strided side: with the last one a transpose */     \
        for (int d = 0; d < last && !m->accumulate && m->stride[last] != 1; d++)                             \
            if (m->stride[d] == 1 && m->size[d] > 1)                                                         \
                unit = d;                                                                                    \
        int64_t at[MOVE_DIMS] = {0};                                                                         \
        for (;;) {                                                                                           \
            if (unit >= 0 && scatter)                                                                        \
                transpose##suffix(y, to[last], x, from[unit], m->size[last], m->size[unit]);                 \
            else if (unit >= 0)                                                                              \
                transpose##suffix(y, to[unit], x, from[last], m->size[unit], m->size[last]);                 \
            else                                                                                             \
                move_run##suffix(y, to[last], x, from[last], m->size[last], m->accumulate != 0);             \
            int d = last - 1;                                                                                \
            for (; d >= 0; d--) {                                                                            \
                if (d == unit)                                                                               \
                    continue;                                                                                \
                y += to[d];                                                                                  \
                x += from[d];                                                                                \
                if (++at[d] < m->size[d])                                                                    \
                    break;                                                                                   \
                y -= to[d] * m->size[d];                                                                     \
                x -= from[d] * m->size[d];                                                                   \
                at[d] = 0;                                                                                   \
            }                                                                                                \
            if (d < 0)                                                                                       \
                return;                                                                                      \
        }                                                                                                    \
    }

FN_MOVE_RUN(real, _real)
FN_MOVE_RUN(int32_t, _int)

/* strided_copy, strided_copy_int: contiguous y (+)= strided x: transposes, slices, flips, broadcasts.
 * p: y, x.  y and x must not overlap.  FN_SPLIT_ROWS.
 * i: rows (leading extent of y), ndim, sizes of the ndim <= 6 inner dimensions of y, source stride (elements)
 * of the leading dimension, source strides of the inner ones (0: broadcast, negative: flip), source offset,
 * accumulate. */
static void strided_copy_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const movement m = plan_movement(op, lo, hi);
    move_all_real(op->p[0], op->p[1], &m, 0);
}
static void strided_copy_int_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const movement m = plan_movement(op, lo, hi);
    move_all_int(op->p[0], op->p[1], &m, 0);
}

/* strided_scatter: strided y (+)= contiguous x, the inverse. Arguments as strided_copy, with the strides and
 * the offset those of y. No two elements of different leading rows may have one place in y. */
static void strided_scatter_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    const movement m = plan_movement(op, lo, hi);
    move_all_real(op->p[0], op->p[1], &m, 1);
}

/* copy_columns: y[r][at .. at + cols) (+)= x[r][0 .. cols): joins and splits along the last axis.
 * p: y, x.  i: rows, columns, leading dimension of y, of x, accumulate, at.  FN_SPLIT_ROWS. */
static void copy_columns_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    const int64_t cols = op->i[1];
    fn_row_range(op, lo, hi, &r0, &r1);
    for (int64_t r = r0; r < r1; r++)
        move_run_real((real *)op->p[0] + r * op->i[2] + op->i[5], 1, (const real *)op->p[1] + r * op->i[3], 1, cols,
                      op->i[4] != 0);
}

/* fill: y = f[0].  p: y.  i: rows, columns.  FN_SPLIT_ROWS. */
static void fill_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    const int64_t cols = op->i[1];
    fn_row_range(op, lo, hi, &r0, &r1);
    const real value = (real)op->f[0];
    move_run_real((real *)op->p[0] + r0 * cols, 1, &value, 0, (r1 - r0) * cols, 0);
}

/* gather_rows: y[r] = table[indices[r]]; NaN where the index is out of range.
 * p: y, table, indices int32.  i: rows, columns, rows of the table.  FN_SPLIT_ROWS. */
static void gather_rows_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    int64_t r0, r1;
    const int64_t cols = op->i[1];
    fn_row_range(op, lo, hi, &r0, &r1);
    const int32_t *indices = op->p[2];
    const real nan = (real)__builtin_nan("");
    for (int64_t r = r0; r < r1; r++) {
        const int known = indices[r] >= 0 && indices[r] < op->i[2];
        const real *x = known ? (const real *)op->p[1] + indices[r] * cols : &nan;
        move_run_real((real *)op->p[0] + r * cols, 1, x, known, cols, 0);
    }
}

enum { SCATTER_COLUMNS = 64 };

static int64_t scatter_tasks(const fn_op *op, const fn_step *step)
{
    (void)step;
    return (op->i[1] + SCATTER_COLUMNS - 1) / SCATTER_COLUMNS;
}

/* scatter_add_rows: table[indices[r]] += x[r], in the order of r; indices out of range are left out. `clear`: those
 * rows of the table are made 0 first.
 * p: table, x, indices int32.  i: rows, columns, rows of the table, clear.  A task is a block of columns. */
static void scatter_add_rows_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const int64_t rows = fn_rows(op, step), cols = op->i[1], from = lo * SCATTER_COLUMNS;
    const int64_t n = (hi * SCATTER_COLUMNS < cols ? hi * SCATTER_COLUMNS : cols) - from;
    const int32_t *indices = op->p[2];
    for (int64_t r = 0; r < rows && op->i[3]; r++)
        if (indices[r] >= 0 && indices[r] < op->i[2])
            memset((real *)op->p[0] + indices[r] * cols + from, 0, (size_t)n * sizeof(real));
    for (int64_t r = 0; r < rows; r++)
        if (indices[r] >= 0 && indices[r] < op->i[2])
            move_run_real((real *)op->p[0] + indices[r] * cols + from, 1,
                          (const real *)op->p[1] + r * cols + from, 1, n, 1);
}

#define FN_MOVEMENT_KERNELS(X)                                                      \
    X(strided_copy, FN_SPLIT_ROWS, fn_row_tasks, NULL, strided_copy_run)            \
    X(strided_copy_int, FN_SPLIT_ROWS, fn_row_tasks, NULL, strided_copy_int_run)    \
    X(strided_scatter, FN_SPLIT_ROWS, fn_row_tasks, NULL, strided_scatter_run)      \
    X(copy_columns, FN_SPLIT_ROWS, fn_row_tasks, NULL, copy_columns_run)            \
    X(fill, FN_SPLIT_ROWS, fn_row_tasks, NULL, fill_run)                            \
    X(gather_rows, FN_SPLIT_ROWS, fn_row_tasks, NULL, gather_rows_run)              \
    X(scatter_add_rows, FN_SPLIT_BLOCKS, scatter_tasks, NULL, scatter_add_rows_run)
