/* table.inc.c - gathers every kernel family into the table of one instruction set and element type.
 *
 * Included by isa_*.c, which are compiled with the flags of their set. All that is here is static
 * but the table: no symbol of a faster set may be picked up by the linker for a slower one.
 * A new family is one include and one line of the list.
 */
#include "kernels.h"
#include "simd.h"
#include "vmath.h"

#include "elementwise.inc.c"
#include "reductions.inc.c"
#include "movement.inc.c"
#include "random.inc.c"
#include "augmentation.inc.c"
#include "batching.inc.c"
#include "matmul.inc.c"
#include "weights.inc.c"
#include "recurrent.inc.c"
#include "convolution.inc.c"
#include "pooling.inc.c"
#include "normalization.inc.c"
#include "ceiling.inc.c"
#include "softmax.inc.c"
#include "losses.inc.c"
#include "structured_losses.inc.c"
#include "optimizers.inc.c"
#include "training.inc.c"
#include "words.inc.c"
#include "sparse.inc.c"

#define FN_ALL_KERNELS(X)       \
    FN_ELEMENTWISE_KERNELS(X)   \
    FN_REDUCTIONS_KERNELS(X)    \
    FN_MOVEMENT_KERNELS(X)      \
    FN_RANDOM_KERNELS(X)        \
    FN_AUGMENTATION_KERNELS(X)  \
    FN_BATCHING_KERNELS(X)      \
    FN_MATMUL_KERNELS(X)        \
    FN_WEIGHTS_KERNELS(X)       \
    FN_RECURRENT_KERNELS(X)     \
    FN_CONVOLUTION_KERNELS(X)   \
    FN_POOLING_KERNELS(X)       \
    FN_NORMALIZATION_KERNELS(X) \
    FN_CEILING_KERNELS(X)       \
    FN_SOFTMAX_KERNELS(X)       \
    FN_LOSSES_KERNELS(X)        \
    FN_STRUCTURED_LOSSES_KERNELS(X) \
    FN_OPTIMIZERS_KERNELS(X)    \
    FN_TRAINING_KERNELS(X)      \
    FN_WORDS_KERNELS(X)         \
    FN_SPARSE_KERNELS(X)

#define FN_ENTRY(name_, split_, tasks_, scratch_, run_) \
    { .name = #name_, .split = split_, .tasks = tasks_, .scratch = scratch_, .run = run_ },

static const fn_kernel kernels[] = { FN_ALL_KERNELS(FN_ENTRY) };

const fn_table FN_TABLE = {
    .isa = FN_ISA, .dtype = sizeof(real) == 4 ? "float32" : "float64", .width = VL,
    .count = sizeof kernels / sizeof kernels[0], .kernels = kernels,
};
