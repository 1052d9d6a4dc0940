/* recurrent_products.inc.c - the products within a recurrence: rows of a state, a few at a time and in every step, times
 * the recurrent weights, which are copied in the order of their use once for a whole sequence.
 *
 * They are of float32, of pairs of bfloat16 on vectors (p->parts is 1), or of one to three parts on tiles (p->tiled): see
 * matmul_bfloat16.inc.c. Rows are rounded in every step, which is little beside the products. */

enum {
    RNN_ROWS = 96, /* a multiple of the rows of tiles */
    RNN_PANEL = 2  /* vectors across a tile: few, since U comes from the second-level cache and h from the first */
};

/* U[units, gates units], or the transposed of some of its gates. The columns go by groups of a few vectors: `beside`
 * gates' vectors of the same units (of one gate: a panel of neighbouring vectors). */
typedef struct {
    const real *u;
    int64_t units, ldu, k;      /* k: terms of a product */
    int gate, beside, transposed;
    real *packed;
} rnn_factor;

/* The gates [gate, gate + gates) of U. */
static rnn_factor rnn_forward_factor(const real *u, int64_t units, int64_t ldu, int gate, int gates, real *packed)
{
    return (rnn_factor){.u = u, .units = units, .ldu = ldu, .k = units, .gate = gate, .beside = gates, .packed = packed};
}

/* The same transposed: its terms are the gates' units. */
static rnn_factor rnn_backward_factor(const real *u, int64_t units, int64_t ldu, int gate, int gates, real *packed)
{
    return (rnn_factor){.u = u, .units = units, .ldu = ldu, .k = gates * units, .gate = gate, .beside = 1,
                        .transposed = 1, .packed = packed};
}

/* Rows of the left operand, as they are multiplied: `next` from part to part. */
typedef struct {
    const real *raw, *a;
    int64_t ld_raw, lda, next;
} rnn_left;

/* Vectors of units in the group that begins at vector v of `vectors`. */
static inline int rnn_panel(int64_t vectors, int64_t at) { return (int)gemm_min(RNN_PANEL, vectors - at); }
static inline int rnn_group(const rnn_factor *f, int64_t v)
{
    return f->beside > 1 ? 1 : rnn_panel(gemm_up(f->units, VL), v);
}

/* Elements from row to row of rounded rows: not all rows on one set of the cache, and whole for tiles. */
static inline int64_t rnn_ld_pairs(int64_t k) { return (gemm_up(k, 2 * VL) + 1) * VL; }
static inline size_t rnn_left_elements(int parts, int64_t k)
{
    return (size_t)(parts * RNN_ROWS * rnn_ld_pairs(k));
}

/* Elements of a packed group of `wide` vectors, and of a whole factor. */
static inline int64_t rnn_group_elements(int parts, int tiled, int64_t k, int wide)
{
    if (tiled)
        return gemm_up(wide, RNN_PANEL) * RNN_PANEL * VL * parts * gemm_up(k, 2 * VL) * VL;
    return (parts ? gemm_up(k, 2) : k) * wide * VL;
}
static inline size_t rnn_factor_elements(int parts, int tiled, int64_t units, int64_t k, int beside)
{
    const int64_t vectors = gemm_up(units, VL), groups = beside > 1 ? vectors : gemm_up(vectors, RNN_PANEL);
    return (size_t)(groups * rnn_group_elements(parts, tiled, k, beside > 1 ? beside : RNN_PANEL));
}

/* Rows that are multiplied at a time, of `left` that are to come. */
static inline int64_t rnn_rows_at_once(const rnn *p, int wide, int64_t left)
{
    const int64_t most = p->tiled ? 2 * VL : gemm_tile_rows[wide < RNN_PANEL ? wide : RNN_PANEL];
    return left <= most ? left : p->tiled ? most : gemm_up(left, gemm_up(left, most));
}

/* ---- copies ---- */

/* Where vector w of the group at v begins in U, and how many of its columns exist. */
static inline int64_t rnn_column(const rnn_factor *f, int64_t v, int width, int w, int64_t *columns)
{
    const int64_t unit = (v + w % width) * VL;
    *columns = gemm_min(VL, f->units - unit);
    return f->transposed ? unit * f->ldu + f->gate * f->units : (f->gate + w / width) * f->units + unit;
}

#ifdef FN_PAIRS
/* Rows 2 l and 2 l + 1 of a group's vector w as pairs of a part. */
FN_INLINE vec rnn_load_pairs(const rnn_factor *f, int64_t at, int64_t columns, int64_t l, int part)
{
    const real *u = f->u + at + 2 * l * f->ldu;
    return vpairs_join(gemm_part(vload_n(u, columns), part),
                       2 * l + 1 < f->k ? gemm_part(vload_n(u + f->ldu, columns), part) : (vec){});
}

/* Two vectors of columns from w on, for tiles: [part][pairs][2 vectors], zeros where nothing is. */
static void rnn_pack_tiled(const rnn *p, const rnn_factor *f, real *to, int64_t v, int width, int w, int wide)
{
    const int64_t pairs = gemm_up(f->k, 2 * VL) * VL, ld = RNN_PANEL * VL;
    memset(to, 0, (size_t)(p->parts * pairs * ld) * sizeof(real));
    for (int part = 0; part < p->parts; part++, to += pairs * ld)
        for (int e = 0; e < RNN_PANEL && w + e < wide; e++) {
            int64_t columns;
            const int64_t at = rnn_column(f, v, width, w + e, &columns);
            for (int64_t l = 0; 2 * l < f->k; l++)
                if (f->transposed)
                    gemm_pack_pairs_transposed(to + l * ld + e * VL, ld, f->u, at + 2 * l, f->ldu,
                                               gemm_min(2, f->k - 2 * l), columns, part);
                else
                    vstore(to + l * ld + e * VL, rnn_load_pairs(f, at, columns, l, part));
        }
}
#endif

/* Group after group, in each one row of k after the other. */
static void rnn_pack(const rnn *p, const rnn_factor *f)
{
    const int64_t vectors = gemm_up(f->units, VL);
    real *to = f->packed;
    for (int64_t v = 0; v < vectors;) {
        const int width = rnn_group(f, v), wide = f->beside * width;
        int64_t at, columns;
#ifdef FN_PAIRS
        if (p->tiled) {
            for (int w = 0; w < wide; w += RNN_PANEL)
                rnn_pack_tiled(p, f, to + w * VL * p->parts * gemm_up(f->k, 2 * VL) * VL, v, width, w, wide);
        } else if (p->parts && f->transposed) {
            at = rnn_column(f, v, width, 0, &columns);
            gemm_pack_pairs_transposed(to, width * VL, f->u, at, f->ldu, f->k,
                                       gemm_min(width * VL, f->units - v * VL), 0);
        } else if (p->parts) {
            for (int64_t l = 0; 2 * l < f->k; l++)
                for (int w = 0; w < wide; w++) {
                    at = rnn_column(f, v, width, w, &columns);
                    vstore(to + (l * wide + w) * VL, rnn_load_pairs(f, at, columns, l, 0));
                }
        } else
#endif
        if (f->transposed) {
            at = rnn_column(f, v, width, 0, &columns);
            gemm_pack_transposed(to, f->u + at, f->ldu, f->k, gemm_min(width * VL, f->units - v * VL));
        } else {
            for (int64_t l = 0; l < f->k; l++)
                for (int w = 0; w < wide; w++) {
                    at = rnn_column(f, v, width, w, &columns);
                    vstore(to + (l * wide + w) * VL, vload_n(f->u + at + l * f->ldu, columns));
                }
        }
        to += rnn_group_elements(p->parts, p->tiled, f->k, wide);
        v += width;
    }
}

/* `rows` rows of k elements, ld apart; `to` has rnn_left_elements. */
static rnn_left rnn_round(const rnn *p, real *to, const real *raw, int64_t ld, int64_t k, int64_t rows)
{
#ifdef FN_PAIRS
    if (p->parts) {
        const rnn_left left = {.raw = raw, .a = to, .ld_raw = ld, .lda = rnn_ld_pairs(k),
                               .next = RNN_ROWS * rnn_ld_pairs(k)};
        for (int part = 0; part < p->parts; part++)
            for (int64_t r = 0; r < rows; r++)
                for (int64_t l = 0; l < k; l += 2 * VL)
                    vstore(to + part * left.next + r * left.lda + l / 2,
                           gemm_load_pairs(raw, r * ld + l, k - l, part, 0));
        return left;
    }
#endif
    (void)p, (void)to, (void)k, (void)rows;
    return (rnn_left){.raw = raw, .a = raw, .ld_raw = ld, .lda = ld};
}

/* ---- products ---- */

#ifdef FN_PAIRS
/* A square's elements that are not finite, once more in float32: two vectors from w on. */
static void rnn_redo(const rnn_factor *f, const rnn_left *a, int64_t r, int64_t n, int64_t v, int width, int w, int wide,
                     real *product)
{
    for (int e = 0; e < RNN_PANEL && w + e < wide; e++) {
        int64_t columns;
        const int64_t at = rnn_column(f, v, width, w + e, &columns);
        const int64_t across = f->transposed ? f->ldu : 1, down = f->transposed ? 1 : f->ldu;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < columns; j++) {
                real sum = 0;
                if (gemm_is_finite(product[i * GEMM_TILED + e * VL + j]))
                    continue;
                for (int64_t l = 0; l < f->k; l++)
                    sum += a->raw[(r + i) * a->ld_raw + l] * f->u[at + j * across + l * down];
                product[i * GEMM_TILED + e * VL + j] = sum;
            }
    }
}

static void rnn_multiply_tiled(const rnn *p, const rnn_factor *f, const rnn_left *a, int64_t r, int64_t n, int64_t v,
                               int width, const real *packed, const real *start, real *c, int64_t ldc, int add)
{
    const int wide = f->beside * width;
    const int64_t pairs = gemm_up(f->k, 2 * VL) * VL, next = pairs * RNN_PANEL * VL;
    const int64_t chain = p->parts == 3 ? GEMM_PAIRS_K_3 / 2 : pairs;
    real product[GEMM_TILED * GEMM_TILED] __attribute__((aligned(64)));
    real more[GEMM_TILED * GEMM_TILED] __attribute__((aligned(64)));
    tiles_begin();
    for (int w = 0; w < wide; w += RNN_PANEL, packed += p->parts * next) {
        for (int64_t l = 0; l < pairs; l += chain) {
            gemm_tiled_square(l ? more : product, a->a + r * a->lda + l, a->lda, a->next, packed + l * RNN_PANEL * VL, next,
                              gemm_min(chain, pairs - l), p->parts, n > TILE_ROWS);
            for (int64_t j = 0; l && j < n * GEMM_TILED; j += VL)
                vstore(product + j, vload(product + j) + vload(more + j));
        }
        if (p->parts > 1 && !gemm_all_finite(product, n, gemm_min(RNN_PANEL, wide - w) * VL))
            rnn_redo(f, a, r, n, v, width, w, wide, product);
        for (int64_t i = 0; i < n; i++)
            for (int e = 0; e < RNN_PANEL && w + e < wide; e++) {
                real *to = c + i * ldc + (w + e) * VL;
                vec x = vload(product + i * GEMM_TILED + e * VL);
                if (start)
                    x += vload(start + (w + e) * VL);
                vstore(to, add ? vload(to) + x : x);
            }
    }
    tiles_end();
}
#endif

/* c[n rows, the group's vectors] = (c +) start + rows [r, r + n) of A times the group at v; `packed` is the group's, start
 * NULL for zeros. n is what rnn_rows_at_once gave. */
static void rnn_multiply(const rnn *p, const rnn_factor *f, const rnn_left *a, int64_t r, int64_t n, int64_t v, int width,
                         const real *packed, const real *start, real *c, int64_t ldc, int add)
{
#ifdef FN_PAIRS
    if (p->tiled) {
        rnn_multiply_tiled(p, f, a, r, n, v, width, packed, start, c, ldc, add);
        return;
    }
#endif
    (void)v;
    const int wide = f->beside * width;
    const int64_t terms = p->parts ? gemm_up(f->k, 2) : f->k;
    for (int w = 0; w < wide; w += RNN_PANEL) {
        const int some = (int)gemm_min(RNN_PANEL, wide - w);
        const gemm_tile t = {
            .a = a->a + r * a->lda, .b = packed + w * VL, .start = start ? start + w * VL : NULL, .c = c + w * VL,
            .k = terms, .lda = a->lda, .ldb = wide * VL, .ldc = ldc, .tail = VL, .whole = terms, .add = add,
            .floor = -(real)FN_INFINITY,
        };
#ifdef FN_PAIRS
        if (p->parts)
            gemm_pair_tiles[some][n](&t);
        else
#endif
            gemm_tiles[0][some][n](&t);
    }
}
