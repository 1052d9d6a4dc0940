/* words.inc.c - word vectors: skip-gram and CBOW with negative sampling or hierarchical softmax (Mikolov et al.,
 * "Efficient estimation of word representations in vector space" and "Distributed representations of words and
 * phrases and their compositionality", 2013).
 *
 * A block is a run of tokens (words below the minimum count and those that subsampling drops are gone). Every token
 * is a centre once: a window of 1 .. `window` words to either side, drawn uniformly, within its sentence. Skip-gram
 * makes a prediction from each word of the window, CBOW one from their mean (or sum); with h the vector that predicts,
 *     x_k = h . out_k,   loss = -sum_k log sigmoid(x_k if label_k else -x_k),   g_k = alpha (label_k - sigmoid(x_k))
 *     out_k += g_k h,    in += sum_k g_k out_k
 * where the outputs k are the centre (label 1) and `negative` words drawn from the noise distribution (label 0; a draw
 * of the centre itself is passed over), or the inner nodes on the centre's path through the Huffman tree.
 *
 * Draws are a function of seed, stream, block and place of the centre in the block alone: one 64-bit lane of
 * Philox4x32-7 each, lane 0 for the window, lane 1 + prediction * negative + k for the noise.
 *
 * Two ways to train on a block:
 *   deterministic   in batches of centres: all products of a batch are taken before the first of its updates is
 *                   made, and the updates are made in the order of the text. The products and updates are split
 *                   among threads by columns (`parts`, a function of the vectors' size alone), so a cache line of a
 *                   vector is one thread's for the whole block; losses and draws by centres. Same bits for any number of
 *                   threads.
 *   lock-free       threads take runs of centres and update the shared vectors as they go ("Hogwild", Niu et al.
 *                   2011): races are part of the method. With one thread: the deterministic way with batches of 1.
 *
 * Operands of all kernels, p: 0 in (vocabulary, stride), 1 out (words or inner nodes, stride), 2 tokens int32,
 * 3 sentence of each token int32 (ascending), 4 noise (vocabulary, 2) uint32: threshold and alias, or NULL,
 * 5 start of each word's path int32 (vocabulary + 1), 6 nodes of all paths int32, 7 their labels uint8,
 * 8 loss double (tokens), 9 predictions int32 (tokens): how many each centre made; for the deterministic kernels
 * 10 contexts int32 (2, batch, 2): words in the window and outputs of a prediction, 11 inputs int32 (2, batch, 2 window),
 * 12 outputs int32 (2, batch, entries), 13 labels real (2, batch, entries), 14 products real (parts, batch, entries),
 * 15 h real (batch, stride), for CBOW. The two halves of 10 .. 13 serve batches in turn.
 * i: 1, tokens, stride, vocabulary, window, negative (0: hierarchical softmax), mode, most outputs of a prediction,
 * batch, parts, block, stream.   f: alpha at the first centre, its change from centre to centre.
 * Vectors are padded with zeros to whole cache lines. step->first, step->rows: the centres of this step.
 */

enum { WORDS_MAX_OUTPUTS = 256 };
/* mode */
enum { WORDS_CBOW = 1, WORDS_MEAN = 2, WORDS_EXACT = 4, WORDS_FULL_WINDOW = 8 };

typedef struct {
    real *in, *out;
    const int32_t *token, *sentence, *path, *node;
    const uint32_t *noise;
    const uint8_t *code;
    double *loss;
    int32_t *predictions;
    int64_t tokens, stride, vocabulary, window, negative, batch, parts, entries;
    uint64_t seed, block, stream, groups;
    int mode;
    double alpha, slope;
} words_block;

/* What a centre was dealt: m words of the window, n outputs for each prediction. */
typedef struct {
    int32_t *shape, *input, *output; /* shape: m, n */
    real *label, *dot, *h;           /* dot: products of part 0, later g */
} words_slot;

FN_INLINE int64_t words_entries(const fn_op *op)
{
    return (op->i[6] & WORDS_CBOW ? 1 : 2 * op->i[4]) * op->i[7];
}

FN_INLINE words_block words_open(const fn_op *op, const fn_step *step)
{
    words_block w = {
        .in = op->p[0], .out = op->p[1], .token = op->p[2], .sentence = op->p[3], .noise = op->p[4],
        .path = op->p[5], .node = op->p[6], .code = op->p[7], .loss = op->p[8], .predictions = op->p[9],
        .tokens = op->i[1], .stride = op->i[2], .vocabulary = op->i[3], .window = op->i[4],
        .negative = op->i[5], .mode = (int)op->i[6], .batch = op->i[8], .parts = op->i[9],
        .block = (uint64_t)op->i[10], .stream = (uint64_t)op->i[11], .seed = step->seed,
        .alpha = op->f[0], .slope = op->f[1], .entries = words_entries(op),
    };
    /* groups of 16 lanes that a centre may need */
    w.groups = (uint64_t)(1 + w.negative * (w.mode & WORDS_CBOW ? 1 : 2 * w.window) + 15) / 16;
    return w;
}

FN_INLINE words_slot words_slot_at(const fn_op *op, const words_block *w, int half, int64_t k)
{
    const int64_t at = half * w->batch + k;
    return (words_slot){
        .shape = (int32_t *)op->p[10] + 2 * at, .input = (int32_t *)op->p[11] + 2 * w->window * at,
        .output = (int32_t *)op->p[12] + w->entries * at, .label = (real *)op->p[13] + w->entries * at,
        .dot = (real *)op->p[14] + w->entries * k,
        .h = w->mode & WORDS_CBOW ? (real *)op->p[15] + w->stride * k : NULL,
    };
}

/* ---- draws ---- */

typedef struct {
    uint64_t lane[16];
    uint64_t group, next;
} words_dice;

FN_INLINE uint64_t words_throw(words_dice *d, const words_block *w)
{
    if (d->next % 16 == 0) {
        const fn_random_group g = fn_philox(w->seed, w->block, w->stream, d->group + d->next / 16, 7);
        memcpy(d->lane, &g, sizeof d->lane);
    }
    return d->lane[d->next++ % 16];
}

/* Fills slot s for the centre at `at`. */
FN_INLINE void words_draw(const words_block *w, const words_slot *s, int64_t at)
{
    words_dice dice = {.group = (uint64_t)at * w->groups, .next = 0};
    const int32_t centre = w->token[at], sentence = w->sentence[at];
    const int64_t drawn = 1 + (int64_t)((words_throw(&dice, w) >> 32) * (uint64_t)w->window >> 32);
    const int64_t reach = w->mode & WORDS_FULL_WINDOW ? w->window : drawn;
    int32_t m = 0;
    for (int64_t j = at > reach ? at - reach : 0; j <= at + reach && j < w->tokens; j++) {
        s->input[m] = w->token[j];
        m += j != at && w->sentence[j] == sentence;
    }
    const int predictions = w->mode & WORDS_CBOW ? m > 0 : m;
    int32_t *output = s->output;
    real *label = s->label;
    s->shape[0] = m;
    if (w->negative > 0) {
        for (int j = 0; j < predictions; j++) {
            *output++ = centre;
            *label++ = 1;
            for (int64_t k = 0; k < w->negative; k++) {
                const uint64_t lane = words_throw(&dice, w);
                const uint32_t word = (uint32_t)((lane >> 32) * (uint64_t)w->vocabulary >> 32);
                const uint32_t *noise = w->noise + 2 * (int64_t)word;
                const uint32_t alias = -(uint32_t)((uint32_t)lane >= noise[0]); /* a branch would be a coin toss */
                const int32_t found = (int32_t)((word & ~alias) | (noise[1] & alias));
                *output++ = found;
                *label++ = found == centre ? -1 : 0;
            }
        }
        s->shape[1] = (int32_t)w->negative + 1;
    } else {
        const int32_t first = w->path[centre], n = w->path[centre + 1] - first;
        for (int j = 0; j < predictions; j++)
            for (int32_t k = 0; k < n; k++) {
                *output++ = w->node[first + k];
                *label++ = w->code[first + k];
            }
        s->shape[1] = n;
    }
    w->predictions[at] = predictions;
}

FN_INLINE int words_predictions(const words_block *w, const words_slot *s)
{
    return w->mode & WORDS_CBOW ? s->shape[0] > 0 : s->shape[0];
}

/* Asks for cache lines of columns [c0, c1) of the next centre's vectors: of share `part` among `parts` of them. Spread
 * over the work on this centre, for a core has room for but a few dozen lines on their way. */
FN_INLINE void words_prefetch(const words_block *w, const words_slot *next, int64_t part, int64_t parts, int64_t c0,
                              int64_t c1)
{
    if (next == NULL)
        return;
    const int64_t line = 64 / (int64_t)sizeof(real), m = next->shape[0];
    const int64_t n = m + (int64_t)words_predictions(w, next) * next->shape[1];
    for (int64_t k = n * part / parts; k < n * (part + 1) / parts; k++) {
        const real *row = k < m ? w->in + next->input[k] * w->stride : w->out + next->output[k - m] * w->stride;
        for (int64_t c = c0; c < c1; c += line)
            __builtin_prefetch(row + c, 1);
    }
}

/* ---- products ---- */

/* dot[k] = h . row k over columns [c0, c1), n <= 8 rows. */
FN_INLINE void words_dot_rows(const int n, real *dot, const real *h, const real *rows, const int32_t *id,
                              int64_t stride, int64_t c0, int64_t c1)
{
    enum { GROUP = VL < 8 ? VL : 8 };
    const real *row[8];
    vec a[8] = {};
    for (int k = 0; k < n; k++)
        row[k] = rows + id[k] * stride;
    for (int64_t c = c0; c < c1; c += VL) {
        const vec x = vload(h + c);
#pragma GCC unroll 8
        for (int k = 0; k < n; k++)
            a[k] += x * vload(row[k] + c);
    }
    if (VL > 8)
#pragma GCC unroll 8
        for (int k = 0; k < n; k++)
            a[k] = fold_half(a[k], fold_add, 8);
#pragma GCC unroll 4
    for (int k = 0; k < n; k += GROUP) {
        if (GROUP > 4)
            fold_pairs(a + k, fold_add, 4);
        if (GROUP > 2)
            fold_pairs(a + k, fold_add, 2);
        fold_pairs(a + k, fold_add, 1);
        vstore_n(dot + k, a[k], n - k < GROUP ? n - k : GROUP);
    }
}

FN_INLINE void words_dots(const words_block *w, const words_slot *s, real *dot, int64_t c0, int64_t c1,
                          const words_slot *next, int64_t shares)
{
    const int m = s->shape[0], n = s->shape[1], predictions = words_predictions(w, s);
    const int64_t stride = w->stride;
    if (w->mode & WORDS_CBOW && m > 0) {
        const vec scale = vset1(w->mode & WORDS_MEAN ? (real)1 / (real)m : 1);
        for (int64_t c = c0; c < c1; c += VL) {
            vec sum = {};
            for (int j = 0; j < m; j++)
                sum += vload(w->in + s->input[j] * stride + c);
            vstore(s->h + c, sum * scale);
        }
    }
    for (int j = 0; j < predictions; j++) {
        const real *h = w->mode & WORDS_CBOW ? s->h : w->in + s->input[j] * stride;
        const int32_t *id = s->output + j * n;
        int k = 0;
        words_prefetch(w, next, j, shares, c0, c1);
        if (n == 6) { /* the centre and 5 negatives */
            words_dot_rows(6, dot + j * 6, h, w->out, id, stride, c0, c1);
            continue;
        }
        for (; k + 4 <= n; k += 4)
            words_dot_rows(4, dot + j * n + k, h, w->out, id + k, stride, c0, c1);
        for (; k < n; k++)
            words_dot_rows(1, dot + j * n + k, h, w->out, id + k, stride, c0, c1);
    }
}

/* ---- loss, and the products' gradient ---- */

/* dot = g, from the sum of the products of all parts, which lie `apart` from each other. */
FN_INLINE void words_gradient(const words_block *w, const words_slot *s, int64_t apart, int64_t at)
{
    const int64_t n = (int64_t)words_predictions(w, s) * s->shape[1];
    const vec alpha = vset1((real)(w->alpha + w->slope * (double)at)), one = vset1(1), zero = {};
    vec loss = {};
    for (int64_t k = 0; k < n; k += VL) {
        const int64_t count = n - k < VL ? n - k : VL;
        vec x = vload_n(s->dot + k, count);
        for (int64_t part = 1; part < w->parts; part++)
            x += vload_n(s->dot + part * apart + k, count);
        const vec label = vload_n(s->label + k, count);
        const ivec counts = (label >= zero) & vlanes(count), positive = label > zero;
        /* e = exp(-|x|) serves both: sigmoid(|x|) = 1 / (1 + e), and the loss is log(1 + e), plus |x| where the
         * sign is the wrong one */
        const vec size = vabs(x), e = vexp(-size), d = one + e;
        const vec up = one / d, sigmoid = vselect(x >= zero, up, e * up);
        const ivec wrong = positive ^ (x >= zero);
        loss += vmask(counts, vlog1p(e) + vmask(wrong, size));
        vstore_n(s->dot + k, vmask(counts, alpha * (label - sigmoid)), count);
    }
    w->loss[at] = (double)vsum(loss);
}

/* ---- updates ---- */

/* e = sum_k g_k row_k, row_k += g_k h; then h += e, or h = e with `keep`. */
FN_INLINE void words_update_rows(const int n, const int keep, real *h, real *const *row, const real *g,
                                 int64_t c0, int64_t c1)
{
    for (int64_t c = c0; c < c1; c += VL) {
        const vec x = vload(h + c);
        vec e = {};
#pragma GCC unroll 8
        for (int k = 0; k < n; k++) {
            const vec y = vload(row[k] + c), f = vset1(g[k]);
            e += f * y;
            vstore(row[k] + c, f * x + y);
        }
        vstore(h + c, keep ? e : x + e);
    }
}

FN_INLINE void words_update(const words_block *w, const words_slot *s, int64_t c0, int64_t c1, const words_slot *next,
                            int64_t shares)
{
    const int m = s->shape[0], n = s->shape[1], predictions = words_predictions(w, s);
    real *row[WORDS_MAX_OUTPUTS];
    for (int j = 0; j < predictions; j++) {
        real *h = w->mode & WORDS_CBOW ? s->h : w->in + s->input[j] * w->stride;
        const real *g = s->dot + j * n;
        words_prefetch(w, next, predictions + j, shares, c0, c1);
        for (int k = 0; k < n; k++)
            row[k] = w->out + s->output[j * n + k] * w->stride;
        if (w->mode & WORDS_CBOW && n == 6)
            words_update_rows(6, 1, h, row, g, c0, c1);
        else if (w->mode & WORDS_CBOW)
            words_update_rows(n, 1, h, row, g, c0, c1);
        else if (n == 6)
            words_update_rows(6, 0, h, row, g, c0, c1);
        else
            words_update_rows(n, 0, h, row, g, c0, c1);
    }
    if (!(w->mode & WORDS_CBOW) || m == 0)
        return;
    /* word2vec adds all of e to each of the m words of a mean, which is m times the gradient, and 1 / m of it to
     * those of a sum; with WORDS_EXACT the gradient itself */
    const int share = !(w->mode & WORDS_MEAN) != !(w->mode & WORDS_EXACT);
    const vec scale = vset1(share ? 1 : (real)1 / (real)m);
    for (int j = 0; j < m; j++) {
        real *x = w->in + s->input[j] * w->stride;
        for (int64_t c = c0; c < c1; c += VL)
            vstore(x + c, vload(x + c) + scale * vload(s->h + c));
    }
}

/* ---- deterministic ---- */

static int64_t words_slots(const fn_op *op, const fn_step *step)
{
    (void)step;
    return op->i[8];
}

static int64_t words_parts(const fn_op *op, const fn_step *step)
{
    (void)step;
    return op->i[9];
}

/* The columns of part q: whole cache lines. */
FN_INLINE int64_t words_column(const words_block *w, int64_t q)
{
    const int64_t line = 64 / (int64_t)sizeof(real);
    return w->stride / line * q / w->parts * line;
}

FN_INLINE int words_half(const words_block *w, const fn_step *step) { return (int)(step->first / w->batch & 1); }

/* words_draw: draws of the batch at step->first. FN_SPLIT_BLOCKS: a slot a task. */
static void words_draw_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const words_block w = words_open(op, step);
    for (int64_t k = lo; k < hi && k < step->rows; k++) {
        const words_slot s = words_slot_at(op, &w, words_half(&w, step), k);
        words_draw(&w, &s, step->first + k);
    }
}

/* words_dot: products of the batch. FN_SPLIT_BLOCKS: a part of the columns a task. */
static void words_dot_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const words_block w = words_open(op, step);
    const int half = words_half(&w, step);
    for (int64_t q = lo; q < hi; q++) {
        const int64_t c0 = words_column(&w, q), c1 = words_column(&w, q + 1);
        words_slot next = words_slot_at(op, &w, half, 0);
        for (int64_t k = 0; k < step->rows; k++) {
            const words_slot s = next;
            const int more = k + 1 < step->rows;
            if (more)
                next = words_slot_at(op, &w, half, k + 1);
            words_dots(&w, &s, s.dot + q * w.batch * w.entries, c0, c1, more ? &next : NULL,
                       words_predictions(&w, &s));
        }
    }
}

/* words_gradient: losses and g of the batch, and the draws of the next one. FN_SPLIT_BLOCKS: a slot a task. */
static void words_gradient_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const words_block w = words_open(op, step);
    const int half = words_half(&w, step);
    const int64_t next = step->first + step->rows;
    for (int64_t k = lo; k < hi; k++) {
        if (k < step->rows) {
            const words_slot s = words_slot_at(op, &w, half, k);
            words_gradient(&w, &s, w.batch * w.entries, step->first + k);
        }
        if (next + k < w.tokens) {
            const words_slot s = words_slot_at(op, &w, !half, k);
            words_draw(&w, &s, next + k);
        }
    }
}

/* words_update: the batch's updates, in the order of the text. FN_SPLIT_BLOCKS: a part of the columns a task. */
static void words_update_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)scratch;
    const words_block w = words_open(op, step);
    const int half = words_half(&w, step);
    for (int64_t q = lo; q < hi; q++) {
        const int64_t c0 = words_column(&w, q), c1 = words_column(&w, q + 1);
        for (int64_t k = 0; k < step->rows; k++) {
            const words_slot s = words_slot_at(op, &w, half, k);
            words_update(&w, &s, c0, c1, NULL, 1);
        }
    }
}

/* ---- lock-free ---- */

FN_INLINE size_t words_round(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Lays a slot out in memory at `at` (which may be NULL); returns where it ends. */
FN_INLINE char *words_place(const fn_op *op, words_slot *s, char *at)
{
    const size_t entries = (size_t)words_entries(op);
    s->shape = (int32_t *)at;
    s->input = (int32_t *)(at += 64);
    s->output = (int32_t *)(at += words_round((size_t)op->i[4] * 2 * sizeof(int32_t)));
    s->label = (real *)(at += words_round(entries * sizeof(int32_t)));
    s->dot = (real *)(at += words_round(entries * sizeof(real)));
    s->h = (real *)(at += words_round(entries * sizeof(real)));
    return at + words_round((size_t)op->i[2] * sizeof(real));
}

static size_t words_lockfree_scratch(const fn_op *op, const fn_step *step)
{
    (void)step;
    const size_t entries = (size_t)words_entries(op);
    return 2 * (64 + words_round((size_t)op->i[4] * 2 * sizeof(int32_t)) + words_round(entries * sizeof(int32_t)) +
                2 * words_round(entries * sizeof(real)) + words_round((size_t)op->i[2] * sizeof(real)));
}

/* words_lockfree: all that is to be done for each centre. FN_SPLIT_ROWS; operands 10 .. 15 and batch are not used,
 * parts is 1. Draws run one centre ahead, so that its vectors are on their way into the cache. */
static void words_lockfree_run(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    const words_block w = words_open(op, step);
    words_slot slot[2];
    words_place(op, &slot[1], words_place(op, &slot[0], scratch));
    words_draw(&w, &slot[0], step->first + lo);
    for (int64_t k = lo; k < hi; k++) {
        const words_slot *s = &slot[(k - lo) & 1], *next = k + 1 < hi ? &slot[(k - lo + 1) & 1] : NULL;
        const int64_t at = step->first + k, shares = 2 * words_predictions(&w, s);
        if (next != NULL)
            words_draw(&w, next, at + 1);
        words_dots(&w, s, s->dot, 0, w.stride, next, shares);
        words_gradient(&w, s, 0, at);
        words_update(&w, s, 0, w.stride, next, shares);
    }
}

#define FN_WORDS_KERNELS(X)                                                         \
    X(words_draw, FN_SPLIT_BLOCKS, words_slots, NULL, words_draw_run)               \
    X(words_dot, FN_SPLIT_BLOCKS, words_parts, NULL, words_dot_run)                 \
    X(words_gradient, FN_SPLIT_BLOCKS, words_slots, NULL, words_gradient_run)       \
    X(words_update, FN_SPLIT_BLOCKS, words_parts, NULL, words_update_run)           \
    X(words_lockfree, FN_SPLIT_ROWS, fn_row_tasks, words_lockfree_scratch, words_lockfree_run)
