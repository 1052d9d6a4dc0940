/* weights.inc.c - copies of weights as the B of products of bfloat16, kept from step to step.
 *
 * A whole copy is made by pack_weights, before the first of several steps; after it the kernels that update weights
 * (optimizers.inc.c) copy the rows that they have just made. Where what goes: gemm_packed_at.
 */

enum { WEIGHTS_BLOCK = 4096 }; /* elements, about, that are written and then copied while they are near */

/* Rows of a matrix of `columns` columns in such a block: whole vectors of them, and pairs. */
static inline int64_t weights_rows_at_once(int64_t columns)
{
    return gemm_up(gemm_up(WEIGHTS_BLOCK, columns > 0 ? columns : 1), 16) * 16;
}

/* What is to be copied: the matrix w (rows x columns, float32, each row behind the one before) as the B of products. */
typedef struct {
    const real *w;
    int64_t rows, columns;
    int parts, tiled;
} weights;

/* Copies rows [r0, r1) of w to their places in `to`, for products NN, or NT where `transposed`. */
static void weights_pack(const weights *w, real *to, int transposed, int64_t r0, int64_t r1)
{
#ifdef FN_PAIRS
    const gemm p = {.b = w->w, .ldb = w->columns, .n = transposed ? w->rows : w->columns,
                    .k = transposed ? w->columns : w->rows, .b_transposed = transposed, .parts = w->parts,
                    .tiled = w->tiled};
    const gemm_grid g = gemm_make_grid(&p, 1);
    const int64_t column = transposed ? r0 : 0, columns = transposed ? r1 - r0 : p.n;
    for (int64_t j = 0; j < g.column_blocks; j++) {
        int64_t v0, v1;
        gemm_column_block(&p, &g, j, &v0, &v1);
        const int64_t c0 = v0 * VL, c1 = gemm_min(p.n, v1 * VL);
        for (int64_t k0 = 0, k; k0 < p.k; k0 += k) {
            k = gemm_chain(&p, p.k - k0);
            const int64_t term = transposed || r0 < k0 ? k0 : r0, end = transposed || r1 > k0 + k ? k0 + k : r1;
            if (term < end)
                gemm_pack_part_of_block(&p, to + gemm_packed_at(&p, c0, c1, k0), c0, c1, k0, k, column, columns, term,
                                        end - term);
        }
    }
#else
    (void)w, (void)to, (void)transposed, (void)r0, (void)r1;
#endif
}

/* pack_weights: the copy of weights that products take as their operand 7.
 * p: copy, w.   i: 0 rows, 1 columns of w, 2 transposed: for matmul_nt, 3 parts, 4 tiled, as of the product's.
 * split BLOCKS */
static int64_t pack_weights_tasks(const fn_op *op, const fn_step *step)
{
    (void)step;
    return gemm_up(op->i[0], weights_rows_at_once(op->i[1]));
}

static void pack_weights(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step, (void)scratch;
    const weights w = {op->p[1], op->i[0], op->i[1], (int)op->i[3], op->i[4] != 0};
    const int64_t rows = weights_rows_at_once(w.columns);
    weights_pack(&w, op->p[0], op->i[2] != 0, lo * rows, gemm_min(w.rows, hi * rows));
}

#define FN_WEIGHTS_KERNELS(X) \
    X(pack_weights, FN_SPLIT_BLOCKS, pack_weights_tasks, NULL, pack_weights)
