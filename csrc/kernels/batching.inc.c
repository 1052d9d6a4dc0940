/* batching.inc.c - samples from the user's arrays into a batch, and results back. */

/* The source row of the batch's row r. */
FN_INLINE int64_t source_row(const fn_step *step, int64_t r)
{
    return step->order ? step->order[r] : step->first + r;
}

/* y[r][j] = x[source row of r][j] * scale + offset; the compiler vectorises the conversions. */
#define FN_LOAD_ROWS(y_type, x_type)                                                                        \
    for (int64_t r = lo; r < hi; r++) {                                                                     \
        const x_type *restrict x = (const x_type *)op->p[1] + source_row(step, r) * cols;                   \
        y_type *restrict y = (y_type *)op->p[0] + r * cols;                                                 \
        if (plain)                                                                                          \
            for (int64_t j = 0; j < cols; j++)                                                              \
                y[j] = (y_type)x[j];                                                                        \
        else                                                                                                \
            for (int64_t j = 0; j < cols; j++)                                                              \
                y[j] = (y_type)((real)x[j] * scale + offset);                                               \
    }                                                                                                       \
    break

/* Rows of the batch's own type as they are. Rows of a vector or two, as tables have, are most of a small step. */
static void load_rows(real *restrict y, const real *restrict x, const fn_step *step, int64_t lo, int64_t hi,
                      int64_t cols)
{
    if (cols == 1)
        for (int64_t r = lo; r < hi; r++)
            y[r] = x[source_row(step, r)];
    else if (cols <= VL)
        for (int64_t r = lo; r < hi; r++)
            vstore_n(y + r * cols, vload_n(x + source_row(step, r) * cols, cols), cols);
    else
        for (int64_t r = lo; r < hi; r++)
            memcpy(y + r * cols, x + source_row(step, r) * cols, (size_t)cols * sizeof(real));
}

/* load_batch: dst[r][j] = src[source row of r][j] * scale + offset.
 * p: dst real (kind 0) or int32 (kind 1), src.  f: scale, offset.
 * i: 1, columns, type of src, kind of dst. Types: 0 uint8, 1 int8, 2 int16, 3 int32, 4 int64, 5 float32, 6
 * float64, 7 bool, 8 uint16, 9 uint32.  FN_SPLIT_ROWS, batched. */
static void load_batch_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const int64_t cols = op->i[1], type = op->i[2];
    const real scale = (real)op->f[0], offset = (real)op->f[1];
    const int plain = op->f[0] == 1 && op->f[1] == 0;
    if (op->i[3] == 0 && plain && type == (sizeof(real) == 4 ? 5 : 6)) {
        load_rows(op->p[0], op->p[1], step, lo, hi, cols);
    } else if (op->i[3] == 0) {
        switch (type) {
        case 0: case 7: FN_LOAD_ROWS(real, uint8_t);
        case 1: FN_LOAD_ROWS(real, int8_t);
        case 2: FN_LOAD_ROWS(real, int16_t);
        case 3: FN_LOAD_ROWS(real, int32_t);
        case 4: FN_LOAD_ROWS(real, int64_t);
        case 5: FN_LOAD_ROWS(real, float);
        case 6: FN_LOAD_ROWS(real, double);
        case 8: FN_LOAD_ROWS(real, uint16_t);
        case 9: FN_LOAD_ROWS(real, uint32_t);
        }
    } else {
        switch (type) {
        case 0: case 7: FN_LOAD_ROWS(int32_t, uint8_t);
        case 1: FN_LOAD_ROWS(int32_t, int8_t);
        case 2: FN_LOAD_ROWS(int32_t, int16_t);
        case 3: FN_LOAD_ROWS(int32_t, int32_t);
        case 4: FN_LOAD_ROWS(int32_t, int64_t);
        case 5: FN_LOAD_ROWS(int32_t, float);
        case 6: FN_LOAD_ROWS(int32_t, double);
        case 8: FN_LOAD_ROWS(int32_t, uint16_t);
        case 9: FN_LOAD_ROWS(int32_t, uint32_t);
        }
    }
}

/* store_batch: dst[first + r][j] = src[r][j]: results of a run in the order of its batches.
 * p: dst, src.  i: 1, columns.  FN_SPLIT_ROWS, batched. */
static void store_batch_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const int64_t cols = op->i[1];
    memcpy((real *)op->p[0] + (step->first + lo) * cols, (const real *)op->p[1] + lo * cols,
           (size_t)((hi - lo) * cols) * sizeof(real));
}

#define FN_BATCHING_KERNELS(X)                                       \
    X(load_batch, FN_SPLIT_ROWS, fn_row_tasks, NULL, load_batch_run) \
    X(store_batch, FN_SPLIT_ROWS, fn_row_tasks, NULL, store_batch_run)
