/* ceiling.inc.c - what the machine can do at most: the scale on which kernels are measured.
 *
 * Tasks are independent and alike, so that threads can be measured too. Each leaves a vector in p[0], which keeps
 * the compiler from leaving the work out; the values mean nothing.
 */

#if defined(__AVX512F__) || defined(__ARM_NEON)
enum { CEILING_CHAINS = 24 };
#else
enum { CEILING_CHAINS = 12 };
#endif

/* Multiply-adds from registers: i[1] rounds of CEILING_CHAINS independent ones.
 * p: sink[tasks * VL].  i: tasks, rounds.  split: tasks. A task does 2 VL CEILING_CHAINS i[1] operations. */
static void measure_fma(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    real *sink = op->p[0];
    for (int64_t task = lo; task < hi; task++) {
        const vec x = vset1((real)(1 - 1e-3 * (double)(task + 1))), y = vset1((real)1e-3);
        vec acc[CEILING_CHAINS];
#pragma GCC unroll 24
        for (int j = 0; j < CEILING_CHAINS; j++)
            acc[j] = vset1((real)j);
        for (int64_t round = 0; round < op->i[1]; round++) {
#pragma GCC unroll 24
            for (int j = 0; j < CEILING_CHAINS; j++)
                acc[j] = acc[j] * x + y;
        }
#pragma GCC unroll 24
        for (int j = 1; j < CEILING_CHAINS; j++)
            acc[0] += acc[j];
        vstore(sink + task * VL, acc[0]);
    }
}

/* Reading memory in sequence: each task its own i[1] elements (a multiple of 8 VL), i[2] times.
 * p: sink[tasks * VL], source[tasks * i[1]].  i: tasks, elements, repeats.  split: tasks. */
static void measure_read(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    for (int64_t task = lo; task < hi; task++) {
        const real *source = (const real *)op->p[1] + task * op->i[1];
        vec acc[8] = {};
        for (int64_t repeat = 0; repeat < op->i[2]; repeat++)
            for (int64_t j = 0; j < op->i[1]; j += 8 * VL) {
#pragma GCC unroll 8
                for (int v = 0; v < 8; v++)
                    acc[v] += vload(source + j + v * VL);
            }
#pragma GCC unroll 8
        for (int v = 1; v < 8; v++)
            acc[0] += acc[v];
        vstore((real *)op->p[0] + task * VL, acc[0]);
    }
}

/* Copying memory in sequence.  p: target[tasks * i[1]], source[tasks * i[1]].  i and split as measure_read. */
static void measure_copy(const fn_op *op, const fn_step *step, int64_t lo, int64_t hi, void *scratch)
{
    (void)step; (void)scratch;
    for (int64_t task = lo; task < hi; task++) {
        const real *restrict source = (const real *)op->p[1] + task * op->i[1];
        real *restrict target = (real *)op->p[0] + task * op->i[1];
        for (int64_t repeat = 0; repeat < op->i[2]; repeat++) {
            for (int64_t j = 0; j < op->i[1]; j += 4 * VL) {
#pragma GCC unroll 4
                for (int v = 0; v < 4; v++)
                    vstore(target + j + v * VL, vload(source + j + v * VL));
            }
            __asm__ volatile("" ::: "memory"); /* each repeat is done anew */
        }
    }
}

#define FN_CEILING_KERNELS(X)                                          \
    X(measure_fma, FN_SPLIT_BLOCKS, fn_row_tasks, NULL, measure_fma)   \
    X(measure_read, FN_SPLIT_BLOCKS, fn_row_tasks, NULL, measure_read) \
    X(measure_copy, FN_SPLIT_BLOCKS, fn_row_tasks, NULL, measure_copy)
