/* recurrent.inc.c - recurrent layers over whole sequences, one kernel each way.
 *
 * Of a batch of sequences (batch, time, features) the products with the input weights are made outside, for all steps
 * at once: x (batch, time, gates units), biases added. What is left is the recurrence. A task is a sample and runs all
 * its steps, so threads never wait for each other; a thread takes its samples in blocks of up to RNN_ROWS, whose state
 * stays in the cache beside the recurrent weights U, copied once per call in the order of their use.
 *
 *     simple_rnn   h' = f(x + h U)
 *     lstm         i, f, g, o = s(x_i + h U_i), s(x_f + h U_f), a(x_g + h U_g), s(x_o + h U_o)
 *                  c' = f c + i g,  h' = o a(c')                          (Hochreiter and Schmidhuber 1997, Gers 2000)
 *     gru          z, r = s(x_z + h U_z + b_z), s(x_r + h U_r + b_r)      (Cho et al. 2014)
 *                  g = a(x_g + r (h U_g + b_g)), or with reset before: a(x_g + (r h) U_g)
 *                  h' = z h + (1 - z) g
 *
 *   p  [0] y[batch, time, units]: h' of each step, or NULL   [1] last h[batch, units] or NULL   [2] last c or NULL
 *      kept for the gradient, each NULL when not: [3] h before each step  [4] lstm, gru: the gates, after their
 *      activations; may be x  [5] lstm: c before each step; gru: h U_g + b_g, or with reset before r h
 *      [6] x  [7] U[units, gates units]  [8] gru: b[gates units] or NULL  [9] first h[batch, units] or NULL: zeros
 *      [10] first c or NULL  [11] mask[batch, time] or NULL: where 0 the state stays, and the output repeats the one
 *      before (zeros at first)  [12] factors[batch, units] of h in all products, or NULL
 *      Each result has its place in the order of x but y, which is in the order of the steps unless i[6].
 *   i  [0] rows (samples; 1 when batched)  [1] time  [2] units  [3] activation  [4] recurrent activation
 *      [5] from the last step to the first  [6] y in the order of x  [7] output zeros where masked
 *      [8] write the last state over the first, p[9] and p[10]  [9] gru: reset after the product
 *      [10], [11] as [18], [19] of a matrix product: parts of bfloat16
 *   f  [0], [1] alpha of the activations
 *   split  FN_SPLIT_ROWS
 *
 * The gradients, from the last step back:
 *
 *     simple_rnn_grad, lstm_grad, gru_grad
 *   p  [0] dx; may be p[9]  [1] gru, reset after: gradient by h U_g + b_g; may be p[10]  [2] by the first h or NULL
 *      [3] by the first c or NULL   [4] dy or NULL  [5] by the last h or NULL  [6] by the last c or NULL
 *      [7] U  [8] h before each step  [9] gates; simple_rnn: last h  [10] what [5] above is  [11] mask  [12] factors
 *   i, f, split  as above
 *
 * And the gradients by the weights, of U and of those of the inputs alike, sums over all samples and steps:
 *
 *     sequence_weight_grad   dW = [A^T B, C^T D], sums = [sum of B, sum of D] over the rows
 *   p  dW[m, n + o], sums[n + o] or NULL, A[rows, m], B[rows, ldb] of which n columns, C[rows, m], D[rows, ldd]
 *   i  [0] rows (of a sample when batched)  [1] m  [2] n  [3] ldb  [4] o, or 0: no C and D  [5] ldd  [6] first column
 *      of D   [7], [8] as [18], [19] of a matrix product: parts of bfloat16
 *   split  FN_SPLIT_BLOCKS: panels of columns
 */

enum { RNN_SIMPLE, RNN_LSTM, RNN_GRU };
/* Elements from row to row of a thread's own state: whole vectors, and one more so that the rows of a tile do not
 * all fall on one set of the cache. */
static inline int64_t rnn_ld(int64_t units) { return (gemm_up(units, VL) + 1) * VL; }
static inline int rnn_gates(int kind) { return kind == RNN_LSTM ? 4 : kind == RNN_GRU ? 3 : 1; }
static inline int64_t rnn_padded(int64_t units) { return gemm_up(units, VL) * VL; }

typedef struct {
    const fn_op *op;
    int64_t time, units, ld;
    int activation, squash; /* codes */
    real alpha, squash_alpha;
    int reverse, aligned, zeros, after;
    int parts, tiled;       /* of bfloat16 in products, 0: none; on tiles */
    int64_t sample;         /* of row 0 */
    const real *mask, *drop;
    int64_t *start;         /* first step of each row that is not masked */
} rnn;

static inline rnn rnn_of(const fn_op *op, int mask, int drop)
{
    return (rnn){
        .op = op, .time = op->i[1], .units = op->i[2], .ld = rnn_ld(op->i[2]), .activation = (int)op->i[3],
        .squash = (int)op->i[4], .reverse = op->i[5] != 0, .aligned = op->i[6] != 0, .zeros = op->i[7] != 0,
        .after = op->i[9] != 0, .parts = (int)op->i[10], .tiled = op->i[11] != 0, .alpha = (real)op->f[0],
        .squash_alpha = (real)op->f[1], .mask = op->p[mask], .drop = op->p[drop],
    };
}

#include "recurrent_products.inc.c"

/* Where step number s of a sequence lies among the inputs, and its output. */
static inline int64_t rnn_place(const rnn *p, int64_t s) { return p->reverse ? p->time - 1 - s : s; }
static inline int64_t rnn_output(const rnn *p, int64_t s) { return p->aligned ? rnn_place(p, s) : s; }

static inline int rnn_masked(const rnn *p, int64_t row, int64_t s)
{
    return p->mask && p->mask[(p->sample + row) * p->time + rnn_place(p, s)] == 0;
}
/* Whether the output of a masked step is zero. */
static inline int rnn_silent(const rnn *p, int64_t row, int64_t s) { return p->zeros || s < p->start[row]; }

static void rnn_find_starts(const rnn *p, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t s = 0;
        while (s < p->time && rnn_masked(p, r, s))
            s++;
        p->start[r] = s;
    }
}

/* The activations; `usual` is a constant: tanh and the logistic function. */
FN_INLINE vec rnn_act(const int usual, const rnn *p, vec x)
{
    return usual ? vtanh(x) : gemm_activate(p->activation, x, p->alpha);
}
FN_INLINE vec rnn_squash(const int usual, const rnn *p, vec x)
{
    return usual ? vsigmoid(x) : gemm_activate(p->squash, x, p->squash_alpha);
}
FN_INLINE vec rnn_act_grad(const int usual, const rnn *p, vec y)
{
    return gemm_derivative(usual ? FN_ACT_TANH : p->activation, y, p->alpha);
}
FN_INLINE vec rnn_squash_grad(const int usual, const rnn *p, vec y)
{
    return gemm_derivative(usual ? FN_ACT_SIGMOID : p->squash, y, p->squash_alpha);
}
static inline int rnn_usual(const rnn *p, int kind)
{
    return p->activation == FN_ACT_TANH && (kind == RNN_SIMPLE || p->squash == FN_ACT_SIGMOID);
}

/* to[row ld + 0 .. units) from from[(sample + row) units], or zeros; padding is zero. */
static void rnn_load_state(const rnn *p, real *to, const real *from, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < p->units; j += VL)
            vstore(to + r * p->ld + j, from ? vload_n(from + (p->sample + r) * p->units + j,
                                                      gemm_min(VL, p->units - j)) : (vec){});
}
static void rnn_store_state(const rnn *p, real *to, const real *from, int64_t rows)
{
    if (to)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < p->units; j += VL)
                vstore_n(to + (p->sample + r) * p->units + j, vload(from + r * p->ld + j),
                         gemm_min(VL, p->units - j));
}

/* The state of a block of rows while its steps run. */
typedef struct {
    real *h, *h_next; /* exchanged after each step */
    real *in;         /* h times the factors: what is multiplied with U; h itself without factors */
    real *c;
    real *z, *rh;     /* gru with reset before: update gate and r h */
    real *rounded;    /* for rnn_round */
    int64_t s;        /* number of the step */
} rnn_state;

/* ---- forward ---- */

/* The step's results of rows [row, row + rows) and `vectors` vectors of units from `unit` on; `product` holds the
 * products with U, `parts` of them side by side for each vector of units (vectors of the simple cell side by side).
 * For gru with reset before, stage 0 makes the two gates and stage 1 the rest. */
FN_INLINE void rnn_finish(const int kind, const int usual, const int stage, const rnn *p, const rnn_state *q,
                          int64_t row, int64_t rows, int64_t unit, int64_t vectors, const real *product, int64_t ldp)
{
    const int64_t units = p->units, gates = rnn_gates(kind);
    const int last = q->s + 1 == p->time;
    const int64_t place = rnn_place(p, q->s), next = last ? 0 : rnn_place(p, q->s + 1), out = rnn_output(p, q->s);
    real *const y0 = p->op->p[0], *const before0 = last ? NULL : p->op->p[3], *const gates0 = p->op->p[4];
    real *const extra0 = p->op->p[5];
    const real *const x0 = p->op->p[6];
    const int64_t ahead = last ? 0 : (next - place) * gates * units; /* from x of this step to x of the next */
    const vec one = vset1(1);
    for (int64_t r = row; r < row + rows; r++, product += ldp) {
        const int64_t first = (p->sample + r) * p->time, cell = first + place;
        const int masked = rnn_masked(p, r, q->s);
        for (int64_t v = 0; v < vectors; v++) {
            const int64_t j = unit + v * VL, n = gemm_min(VL, units - j), at = r * p->ld + j;
            const real *x = x0 + cell * gates * units + j, *a = product + v * VL;
            real *kept = gates0 ? gates0 + cell * gates * units + j : NULL;
            const vec old = vload(q->h + at);
            if (stage != 1) /* the rows of a step lie too far apart for the processor to see what comes next */
                for (int g = 0; g < gates; g++)
                    __builtin_prefetch(x + ahead + g * units, 1, 2);
            vec h, c = {};
            if (kind == RNN_SIMPLE) {
                h = rnn_act(usual, p, vload_n(x, n) + vload(a));
            } else if (kind == RNN_LSTM) {
                const vec i = rnn_squash(usual, p, vload_n(x, n) + vload(a));
                const vec f = rnn_squash(usual, p, vload_n(x + units, n) + vload(a + VL));
                const vec g = rnn_act(usual, p, vload_n(x + 2 * units, n) + vload(a + 2 * VL));
                const vec o = rnn_squash(usual, p, vload_n(x + 3 * units, n) + vload(a + 3 * VL));
                const vec before = vload(q->c + at);
                c = f * before + i * g;
                h = o * rnn_act(usual, p, c);
                if (masked)
                    c = before;
                vstore(q->c + at, c);
                if (kept) {
                    vstore_n(kept, i, n);
                    vstore_n(kept + units, f, n);
                    vstore_n(kept + 2 * units, g, n);
                    vstore_n(kept + 3 * units, o, n);
                }
                if (extra0 && !last)
                    vstore_n(extra0 + (first + next) * units + j, c, n);
            } else if (stage == 0) {
                const vec z = rnn_squash(usual, p, vload_n(x, n) + vload(a));
                const vec reset = rnn_squash(usual, p, vload_n(x + units, n) + vload(a + VL));
                const vec rh = reset * vload(q->in + at);
                vstore(q->z + at, z);
                vstore(q->rh + at, rh);
                if (kept) {
                    vstore_n(kept, z, n);
                    vstore_n(kept + units, reset, n);
                }
                if (extra0)
                    vstore_n(extra0 + cell * units + j, rh, n);
                continue;
            } else {
                vec z, inner;
                if (stage == 1) {
                    z = vload(q->z + at);
                    inner = vload(a);
                } else {
                    z = rnn_squash(usual, p, vload_n(x, n) + vload(a));
                    const vec reset = rnn_squash(usual, p, vload_n(x + units, n) + vload(a + VL));
                    const vec bare = vload(a + 2 * VL);
                    inner = reset * bare;
                    if (kept) {
                        vstore_n(kept, z, n);
                        vstore_n(kept + units, reset, n);
                    }
                    if (extra0)
                        vstore_n(extra0 + cell * units + j, bare, n);
                }
                const vec g = rnn_act(usual, p, vload_n(x + 2 * units, n) + inner);
                if (kept)
                    vstore_n(kept + 2 * units, g, n);
                h = z * old + (one - z) * g;
            }
            if (masked)
                h = old;
            vstore(q->h_next + at, h);
            if (before0)
                vstore_n(before0 + (first + next) * units + j, h, n);
            if (y0)
                vstore_n(y0 + (first + out) * units + j, masked && rnn_silent(p, r, q->s) ? (vec){} : h, n);
        }
    }
}

/* One pass over all units: products of the rows of `h` with f, and what follows from them. bias: in the order of f's
 * groups, or NULL. */
FN_INLINE void rnn_pass(const int kind, const int usual, const int stage, const int beside, const rnn *p,
                        const rnn_state *q, const real *h, const rnn_factor *f, const real *bias, int64_t rows)
{
    const int64_t vectors = gemm_up(p->units, VL);
    const rnn_left a = rnn_round(p, q->rounded, h, p->ld, p->units, rows);
    const real *packed = f->packed;
    real product[128 * VL]; /* rows that are multiplied at once, of four vectors */
    for (int64_t v = 0; v < vectors;) {
        const int width = beside == 1 ? rnn_panel(vectors, v) : 1, wide = beside * width;
        for (int64_t r = 0; r < rows;) {
            const int64_t n = rnn_rows_at_once(p, wide, rows - r);
            rnn_multiply(p, f, &a, r, n, v, width, packed, bias ? bias + v * beside * VL : NULL, product, wide * VL, 0);
            rnn_finish(kind, usual, stage, p, q, r, n, v * VL, width, product, wide * VL);
            r += n;
        }
        packed += rnn_group_elements(p->parts, p->tiled, p->units, wide);
        v += width;
    }
}

/* Elements of scratch, besides p->start. */
static size_t rnn_forward_elements(int64_t units, int gates, int parts, int tiled)
{
    return RNN_ROWS * 6 * (size_t)rnn_ld(units) + rnn_left_elements(parts, units) +
           (size_t)(gates * rnn_padded(units)) + rnn_factor_elements(parts, tiled, units, units, gates) +
           (gates == 3 ? rnn_factor_elements(parts, tiled, units, units, 1) : 0);
}

FN_INLINE void rnn_forward(const int kind, const int usual, const fn_op *op, int64_t r0, int64_t r1, real *scratch)
{
    const int gates = rnn_gates(kind);
    rnn p = rnn_of(op, 11, 12);
    const real *u = op->p[7], *b = op->p[8];
    const int64_t units = p.units, block = RNN_ROWS * p.ld, ldu = gates * units;
    const int two_passes = kind == RNN_GRU && !p.after;

    p.start = (int64_t *)scratch;
    real *at = (real *)(p.start + RNN_ROWS);
    rnn_state q = {.h = at, .h_next = at + block, .in = at + 2 * block, .c = at + 3 * block, .z = at + 4 * block,
                   .rh = at + 5 * block, .rounded = at + 6 * block};
    real *bias = q.rounded + rnn_left_elements(p.parts, units), *packed = bias + gates * rnn_padded(units);
    const int first_gates = two_passes ? 2 : gates;
    const rnn_factor f = rnn_forward_factor(u, units, ldu, 0, first_gates, packed);
    const rnn_factor candidate =
        rnn_forward_factor(u, units, ldu, 2, 1, packed + rnn_factor_elements(p.parts, p.tiled, units, units, first_gates));
    rnn_pack(&p, &f);
    if (two_passes)
        rnn_pack(&p, &candidate);
    if (kind == RNN_GRU && b)
        for (int64_t j = 0; j < units; j += VL)
            for (int g = 0; g < 3; g++)
                vstore(bias + (j * 3) + g * VL, vload_n(b + g * units + j, gemm_min(VL, units - j)));

    const int64_t blocks = gemm_up(r1 - r0, RNN_ROWS);
    for (int64_t k = 0; k < blocks; k++) {
        const int64_t first = r0 + (r1 - r0) * k / blocks, rows = r0 + (r1 - r0) * (k + 1) / blocks - first;
        p.sample = first;
        rnn_load_state(&p, q.h, op->p[9], rows);
        if (kind == RNN_LSTM)
            rnn_load_state(&p, q.c, op->p[10], rows);
        if (p.mask)
            rnn_find_starts(&p, rows);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < units; j += VL) {
                const int64_t cell = ((first + r) * p.time + rnn_place(&p, 0)) * units + j, n = gemm_min(VL, units - j);
                if (op->p[3])
                    vstore_n((real *)op->p[3] + cell, vload(q.h + r * p.ld + j), n);
                if (kind == RNN_LSTM && op->p[5])
                    vstore_n((real *)op->p[5] + cell, vload(q.c + r * p.ld + j), n);
            }
        real *own = q.in;
        for (q.s = 0; q.s < p.time; q.s++) {
            if (p.drop)
                for (int64_t r = 0; r < rows; r++)
                    for (int64_t j = 0; j < units; j += VL)
                        vstore(own + r * p.ld + j, vload(q.h + r * p.ld + j) *
                               vload_n(p.drop + (first + r) * units + j, gemm_min(VL, units - j)));
            q.in = p.drop ? own : q.h;
            if (kind == RNN_SIMPLE) {
                rnn_pass(kind, usual, 2, 1, &p, &q, q.in, &f, NULL, rows);
            } else if (kind == RNN_LSTM) {
                rnn_pass(kind, usual, 2, 4, &p, &q, q.in, &f, NULL, rows);
            } else if (p.after) {
                rnn_pass(kind, usual, 2, 3, &p, &q, q.in, &f, b ? bias : NULL, rows);
            } else {
                rnn_pass(kind, usual, 0, 2, &p, &q, q.in, &f, NULL, rows);
                rnn_pass(kind, usual, 1, 1, &p, &q, q.rh, &candidate, NULL, rows);
            }
            real *h = q.h;
            q.h = q.h_next;
            q.h_next = h;
        }
        q.in = own;
        rnn_store_state(&p, op->p[1], q.h, rows);
        if (kind == RNN_LSTM)
            rnn_store_state(&p, op->p[2], q.c, rows);
        if (op->i[8]) {
            rnn_store_state(&p, op->p[9], q.h, rows);
            if (kind == RNN_LSTM)
                rnn_store_state(&p, op->p[10], q.c, rows);
        }
    }
}

/* ---- backward ---- */

typedef struct {
    real *dh, *dc;   /* by the state after the step; then by the one before */
    real *a;         /* by the products with U: gates side by side */
    real *carry;     /* with factors: what reaches the state before without a product */
    real *dg, *dr;   /* gru with reset before: by its third product, and what comes back through it */
    real *rounded;   /* for rnn_round */
    int64_t lda, s;
} rnn_back;

/* From the gradients by h' (and c') those by the gates; stage as in rnn_finish, with 0 and 1 in this order. Leaves in
 * q->dh (q->carry with factors) what reaches h past the products. */
FN_INLINE void rnn_back_cells(const int kind, const int usual, const int stage, const rnn *p, const rnn_back *q,
                              int64_t rows)
{
    const int64_t units = p->units, gates = rnn_gates(kind);
    const int64_t place = rnn_place(p, q->s), out = rnn_output(p, q->s);
    const int last = q->s + 1 == p->time;
    const int64_t next = last ? 0 : rnn_place(p, q->s + 1), ahead = q->s > 0 ? rnn_place(p, q->s - 1) - place : 0;
    real *const dx0 = p->op->p[0], *const inner0 = p->op->p[1];
    const real *const dy0 = p->op->p[4], *const before0 = p->op->p[8], *const gates0 = p->op->p[9];
    const real *const extra0 = p->op->p[10];
    const vec zero = {}, one = vset1(1);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t first = (p->sample + r) * p->time, cell = first + place;
        const int masked = rnn_masked(p, r, q->s), silent = masked && rnn_silent(p, r, q->s);
        const real *g0 = gates0 + cell * gates * units;
        real *dx = dx0 + cell * gates * units, *a = q->a + r * q->lda;
        real *past = (p->drop ? q->carry : q->dh) + r * p->ld;
        for (int64_t j = 0; j < units; j += VL) {
            const int64_t n = gemm_min(VL, units - j), at = r * p->ld + j;
            if (stage == 1) { /* gru, reset before: dr is known now */
                const vec reset = vload_n(g0 + units + j, n), back = masked ? zero : vload(q->dr + at);
                const vec m = p->drop ? vload_n(p->drop + (p->sample + r) * units + j, n) : one;
                const vec in = vload_n(before0 + cell * units + j, n) * m;
                const vec da = back * in * rnn_squash_grad(usual, p, reset);
                vstore_n(a + units + j, da, n);
                vstore_n(dx + units + j, da, n);
                vstore(past + j, vload(past + j) + back * reset * m);
                continue;
            }
            if (kind != RNN_SIMPLE) {
                for (int g = 0; g < gates; g++)
                    __builtin_prefetch(g0 + (ahead * gates + g) * units + j, 1, 2);
                __builtin_prefetch(extra0 + (cell + ahead) * units + j, 1, 2);
            }
            if (kind != RNN_LSTM)
                __builtin_prefetch(before0 + (cell + ahead) * units + j, 0, 2);
            vec dh = vload(q->dh + at);
            if (dy0 && !silent)
                dh += vload_n(dy0 + (first + out) * units + j, n);
            if (masked) {
                for (int g = 0; g < gates; g++) {
                    vstore_n(a + g * units + j, zero, n);
                    vstore_n(dx + g * units + j, zero, n);
                }
                if (kind == RNN_GRU && p->after)
                    vstore_n(inner0 + cell * units + j, zero, n);
                if (kind == RNN_GRU && !p->after)
                    vstore(q->dg + at, zero);
                vstore(past + j, dh);
                continue;
            }
            if (kind == RNN_SIMPLE) {
                const real *h = last ? gates0 + (p->sample + r) * units : before0 + (first + next) * units;
                const vec da = dh * rnn_act_grad(usual, p, vload_n(h + j, n));
                vstore_n(a + j, da, n);
                vstore_n(dx + j, da, n);
                vstore(past + j, zero);
            } else if (kind == RNN_LSTM) {
                const vec i = vload_n(g0 + j, n), f = vload_n(g0 + units + j, n), g = vload_n(g0 + 2 * units + j, n);
                const vec o = vload_n(g0 + 3 * units + j, n), before = vload_n(extra0 + cell * units + j, n);
                const vec y = rnn_act(usual, p, f * before + i * g);
                const vec dc = vload(q->dc + at) + dh * o * rnn_act_grad(usual, p, y);
                const vec di = dc * g * rnn_squash_grad(usual, p, i), df = dc * before * rnn_squash_grad(usual, p, f);
                const vec dg = dc * i * rnn_act_grad(usual, p, g), do_ = dh * y * rnn_squash_grad(usual, p, o);
                vstore(q->dc + at, dc * f);
                vstore_n(a + j, di, n);
                vstore_n(a + units + j, df, n);
                vstore_n(a + 2 * units + j, dg, n);
                vstore_n(a + 3 * units + j, do_, n);
                vstore_n(dx + j, di, n);
                vstore_n(dx + units + j, df, n);
                vstore_n(dx + 2 * units + j, dg, n);
                vstore_n(dx + 3 * units + j, do_, n);
                vstore(past + j, zero);
            } else {
                const vec z = vload_n(g0 + j, n), reset = vload_n(g0 + units + j, n);
                const vec g = vload_n(g0 + 2 * units + j, n), before = vload_n(before0 + cell * units + j, n);
                const vec dz = dh * (before - g) * rnn_squash_grad(usual, p, z);
                const vec dg = dh * (one - z) * rnn_act_grad(usual, p, g);
                vstore_n(a + j, dz, n);
                if (p->after) {
                    const vec dr = dg * vload_n(extra0 + cell * units + j, n) * rnn_squash_grad(usual, p, reset);
                    vstore_n(a + units + j, dr, n);
                    vstore_n(a + 2 * units + j, dg * reset, n);
                    vstore_n(inner0 + cell * units + j, dg * reset, n);
                    vstore_n(dx + units + j, dr, n);
                } else {
                    vstore(q->dg + at, dg);
                }
                vstore_n(dx + j, dz, n);
                vstore_n(dx + 2 * units + j, dg, n);
                vstore(past + j, dh * z);
            }
        }
    }
}

/* c[rows, units] = (c +) rows of f->k elements, ld apart, times f. */
static void rnn_product(const rnn *p, const rnn_factor *f, real *c, const real *raw, int64_t ld, int64_t rows, int add,
                        real *rounded)
{
    const int64_t vectors = gemm_up(p->units, VL);
    const rnn_left a = rnn_round(p, rounded, raw, ld, f->k, rows);
    const real *packed = f->packed;
    for (int64_t v = 0; v < vectors;) {
        const int width = rnn_group(f, v);
        for (int64_t r = 0; r < rows;) {
            const int64_t n = rnn_rows_at_once(p, width, rows - r);
            rnn_multiply(p, f, &a, r, n, v, width, packed, NULL, c + r * p->ld + v * VL, p->ld, add);
            r += n;
        }
        packed += rnn_group_elements(p->parts, p->tiled, f->k, width);
        v += width;
    }
}

static size_t rnn_backward_elements(int64_t units, int gates, int parts, int tiled)
{
    return (size_t)(RNN_ROWS * (5 * rnn_ld(units) + rnn_ld(gates * units))) + rnn_left_elements(parts, gates * units) +
           rnn_factor_elements(parts, tiled, units, gates * units, 1) +
           (gates == 3 ? rnn_factor_elements(parts, tiled, units, units, 1) : 0);
}

FN_INLINE void rnn_backward(const int kind, const int usual, const fn_op *op, int64_t r0, int64_t r1, real *scratch)
{
    const int gates = rnn_gates(kind);
    rnn p = rnn_of(op, 11, 12);
    const int64_t units = p.units, block = RNN_ROWS * p.ld, ldu = gates * units;
    const int two_passes = kind == RNN_GRU && !p.after, parts = two_passes ? 2 : gates;

    p.start = (int64_t *)scratch;
    real *at = (real *)(p.start + RNN_ROWS);
    rnn_back q = {.dh = at, .dc = at + block, .carry = at + 2 * block, .dg = at + 3 * block, .dr = at + 4 * block,
                  .a = at + 5 * block, .lda = rnn_ld(gates * units)};
    q.rounded = q.a + RNN_ROWS * q.lda;
    real *packed = q.rounded + rnn_left_elements(p.parts, gates * units);
    const rnn_factor f = rnn_backward_factor(op->p[7], units, ldu, 0, parts, packed);
    const rnn_factor candidate = rnn_backward_factor(
        op->p[7], units, ldu, 2, 1, packed + rnn_factor_elements(p.parts, p.tiled, units, parts * units, 1));
    rnn_pack(&p, &f);
    if (two_passes)
        rnn_pack(&p, &candidate);
    /* what goes past the products is nothing in most cells: then the product is stored, not added */
    const int add = !p.drop && (kind == RNN_GRU || p.mask);

    const int64_t blocks = gemm_up(r1 - r0, RNN_ROWS);
    for (int64_t k = 0; k < blocks; k++) {
        const int64_t first = r0 + (r1 - r0) * k / blocks, rows = r0 + (r1 - r0) * (k + 1) / blocks - first;
        p.sample = first;
        rnn_load_state(&p, q.dh, op->p[5], rows);
        rnn_load_state(&p, q.dc, op->p[6], rows);
        if (p.mask)
            rnn_find_starts(&p, rows);
        for (q.s = p.time - 1; q.s >= 0; q.s--) {
            rnn_back_cells(kind, usual, two_passes ? 0 : 2, &p, &q, rows);
            if (two_passes) {
                rnn_product(&p, &candidate, q.dr, q.dg, p.ld, rows, 0, q.rounded);
                rnn_back_cells(kind, usual, 1, &p, &q, rows);
            }
            if (q.s > 0 || op->p[2])
                rnn_product(&p, &f, q.dh, q.a, q.lda, rows, add, q.rounded);
            if (p.drop)
                for (int64_t r = 0; r < rows; r++)
                    for (int64_t j = 0; j < units; j += VL) {
                        const vec m = vload_n(p.drop + (first + r) * units + j, gemm_min(VL, units - j));
                        real *dh = q.dh + r * p.ld + j;
                        vstore(dh, vload(dh) * m + vload(q.carry + r * p.ld + j));
                    }
        }
        rnn_store_state(&p, op->p[2], q.dh, rows);
        rnn_store_state(&p, op->p[3], q.dc, rows);
    }
}

/* ---- kernels ---- */

#define RNN_KERNEL(name, kind, direction, elements)                                                               \
    static size_t name##_scratch(const fn_op *op, const fn_step *step)                                            \
    {                                                                                                             \
        (void)step;                                                                                               \
        return elements(op->i[2], rnn_gates(kind), (int)op->i[10], op->i[11] != 0) * sizeof(real) +               \
               RNN_ROWS * sizeof(int64_t);                                                                        \
    }                                                                                                             \
    static void name##_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)           \
    {                                                                                                             \
        (void)step;                                                                                               \
        const rnn p = rnn_of(op, 11, 12);                                                                         \
        int64_t r0, r1;                                                                                           \
        fn_row_range(op, lo, hi, &r0, &r1);                                                                       \
        if (p.time < 1 || p.units < 1)                                                                            \
            return;                                                                                               \
        if (rnn_usual(&p, kind))                                                                                  \
            direction(kind, 1, op, r0, r1, scratch);                                                              \
        else                                                                                                      \
            direction(kind, 0, op, r0, r1, scratch);                                                              \
    }
RNN_KERNEL(simple_rnn, RNN_SIMPLE, rnn_forward, rnn_forward_elements)
RNN_KERNEL(lstm, RNN_LSTM, rnn_forward, rnn_forward_elements)
RNN_KERNEL(gru, RNN_GRU, rnn_forward, rnn_forward_elements)
RNN_KERNEL(simple_rnn_grad, RNN_SIMPLE, rnn_backward, rnn_backward_elements)
RNN_KERNEL(lstm_grad, RNN_LSTM, rnn_backward, rnn_backward_elements)
RNN_KERNEL(gru_grad, RNN_GRU, rnn_backward, rnn_backward_elements)
#undef RNN_KERNEL

/* ---- weights ---- */

/* Rows, many more than A has columns, go by in blocks so short that a panel of B stays in the first-level cache while
 * all of A passes, and dW in the second-level one. */
enum { RNN_DEPTH = 128 };

/* A^T B and C^T D. */
static void rnn_weight_products(const fn_op *op, const fn_step *step, gemm *two)
{
    const int64_t rows = fn_rows(op, step), m = op->i[1], n = op->i[2], ldc = n + op->i[4];
    real *dw = op->p[0], *sums = op->p[1];
    two[0] = (gemm){.c = dw, .a = op->p[2], .b = op->p[3], .sums = sums, .m = m, .n = n, .k = rows, .lda = m,
                    .ldb = op->i[3], .ldc = ldc, .k_major = 1, .parts = (int)op->i[7], .tiled = op->i[8] != 0};
    two[1] = two[0];
    two[1].c += n;
    two[1].a = op->p[4];
    two[1].sums = sums ? sums + n : NULL;
    two[1].n = op->i[4];
    two[1].ldb = op->i[5];
    if (two[1].n > 0)
        two[1].b = (const real *)op->p[5] + op->i[6];
}

static int64_t rnn_panels(const gemm *p) { return gemm_up(gemm_up(p->n, VL), RNN_PANEL); }

static int64_t sequence_weight_grad_tasks(const fn_op *op, const fn_step *step)
{
    gemm two[2];
    rnn_weight_products(op, step, two);
    return rnn_panels(&two[0]) + rnn_panels(&two[1]);
}

static size_t sequence_weight_grad_scratch(const fn_op *op, const fn_step *step)
{
    if (op->i[7])
        return gemm_scratch(op, step);
    return (size_t)RNN_DEPTH * (size_t)(op->i[1] + VL + RNN_PANEL * VL) * sizeof(real);
}

/* Rows of dW in the tile that begins at `row`. */
static inline int64_t rnn_strip(const gemm *p, int64_t row, int most)
{
    const int64_t left = p->m - row;
    return left <= most ? left : gemm_up(left, gemm_up(left, most));
}

/* `depth` rows of A from row k0 on, in strips as the tiles take them. */
static void rnn_pack_strips(const gemm *p, real *to, int64_t k0, int64_t depth, int most)
{
    for (int64_t row = 0; row < p->m;) {
        const int64_t n = rnn_strip(p, row, most);
        const real *a = p->a + k0 * p->lda + row;
        for (int64_t l = 0; l < depth; l++, a += p->lda, to += n)
            for (int64_t j = 0; j < n; j += VL)
                vstore_n(to + j, vload_n(a + j, gemm_min(VL, n - j)), gemm_min(VL, n - j));
        row += n;
    }
}

/* Panels [v0, v1) of C = A^T B and of the sums. */
static void rnn_weight_panels(const gemm *p, int64_t v0, int64_t v1, real *scratch)
{
#ifdef FN_PAIRS
    if (p->parts) {
        const int64_t vectors = gemm_up(p->n, VL);
        for (v0 *= RNN_PANEL, v1 = gemm_min(v1 * RNN_PANEL, vectors); v0 < v1; v0 += GEMM_COLUMNS)
            gemm_block(p, 0, p->m, v0, gemm_min(v1, v0 + GEMM_COLUMNS), scratch);
        return;
    }
#endif
    real *const strips = scratch, *const panel = scratch + RNN_DEPTH * (p->m + VL);
    const int most = gemm_tile_rows[RNN_PANEL];
    const int64_t vectors = gemm_up(p->n, VL);
    int64_t k0 = 0;
    do {
        const int64_t depth = gemm_min(RNN_DEPTH, p->k - k0);
        rnn_pack_strips(p, strips, k0, depth, most);
        for (int64_t v = v0; v < v1; v++) {
            const int width = rnn_panel(vectors, v * RNN_PANEL);
            const int64_t column = v * RNN_PANEL * VL, columns = gemm_min(width * VL, p->n - column);
            gemm_pack(panel, p->b + k0 * p->ldb + column, p->ldb, depth, columns);
            if (p->sums)
                gemm_column_sums(p->sums + column, panel, width * VL, depth, columns, k0 > 0);
            /* meanwhile the next panel, whose rows lie too far apart for the processor to see, is on its way */
            const int more = v + 1 < v1;
            const int64_t next = more ? k0 : k0 + depth, rows = gemm_min(RNN_DEPTH, p->k - next);
            const real *ahead = p->b + next * p->ldb + (more ? v + 1 : v0) * RNN_PANEL * VL;
            int64_t asked = 0;
            const real *a = strips;
            for (int64_t row = 0; row < p->m;) {
                const int64_t n = rnn_strip(p, row, most);
                for (const int64_t end = rows * (row + n) / p->m; asked < end; asked++)
                    for (int64_t j = 0; j < RNN_PANEL; j++)
                        __builtin_prefetch(ahead + asked * p->ldb + j * VL, 0, 2);
                const gemm_tile t = {
                    .a = a, .b = panel, .c = p->c + row * p->ldc + column, .k = depth, .lda = n, .ldb = width * VL,
                    .ldc = p->ldc, .tail = columns - (width - 1) * VL, .whole = depth, .add = k0 > 0,
                    .floor = -FN_INFINITY,
                };
                gemm_tiles[1][width][n](&t);
                a += depth * n;
                row += n;
            }
        }
        k0 += depth;
    } while (k0 < p->k);
}

static void sequence_weight_grad_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    gemm two[2];
    rnn_weight_products(op, step, two);
    for (int j = 0; j < 2; j++) {
        const int64_t panels = rnn_panels(&two[j]), from = lo < 0 ? 0 : lo, to = gemm_min(hi, panels);
        if (from < to && two[j].m > 0)
            rnn_weight_panels(&two[j], from, to, scratch);
        lo -= panels;
        hi -= panels;
    }
}

#define FN_RECURRENT_KERNELS(X)                                                                          \
    X(simple_rnn, FN_SPLIT_ROWS, fn_row_tasks, simple_rnn_scratch, simple_rnn_run)                       \
    X(lstm, FN_SPLIT_ROWS, fn_row_tasks, lstm_scratch, lstm_run)                                         \
    X(gru, FN_SPLIT_ROWS, fn_row_tasks, gru_scratch, gru_run)                                            \
    X(simple_rnn_grad, FN_SPLIT_ROWS, fn_row_tasks, simple_rnn_grad_scratch, simple_rnn_grad_run)        \
    X(lstm_grad, FN_SPLIT_ROWS, fn_row_tasks, lstm_grad_scratch, lstm_grad_run)                          \
    X(gru_grad, FN_SPLIT_ROWS, fn_row_tasks, gru_grad_scratch, gru_grad_run)                             \
    X(sequence_weight_grad, FN_SPLIT_BLOCKS, sequence_weight_grad_tasks, sequence_weight_grad_scratch,   \
      sequence_weight_grad_run)
