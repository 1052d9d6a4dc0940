/* activation_codes.h - numbers of the activations that ride in the epilogue of a product or convolution.
 *
 * alpha is the kernel's f[0]. The gradient of an activation is computed from its output y, or, where the last
 * column says so, from its input z; fastnn/kernels/matmul.py holds the same numbers for Python.
 */
#ifndef FN_ACTIVATION_CODES_H
#define FN_ACTIVATION_CODES_H

enum {
    FN_ACT_NONE,         /* y = z                                              y' = 1                       */
    FN_ACT_RELU,         /* max(z, 0)                                          y > 0                        */
    FN_ACT_LEAKY_RELU,   /* z > 0 ? z : alpha z      (alpha >= 0)              y > 0 ? 1 : alpha            */
    FN_ACT_SIGMOID,      /* 1 / (1 + exp(-z))                                  y (1 - y)                    */
    FN_ACT_TANH,         /* tanh(z)                                            1 - y^2                      */
    FN_ACT_ELU,          /* z > 0 ? z : alpha (exp(z) - 1)                     y > 0 ? 1 : y + alpha        */
    FN_ACT_SELU,         /* s elu(z, a), s = 1.0507.., a = 1.6732..            y > 0 ? s : y + s a          */
    FN_ACT_EXPONENTIAL,  /* exp(z)                                             y                            */
    FN_ACT_RELU6,        /* min(max(z, 0), 6)                                  0 < y < 6                    */
    FN_ACT_HARD_SIGMOID, /* min(max(z / 6 + 1/2, 0), 1)                        0 < y < 1 ? 1/6 : 0          */
    FN_ACT_SOFTSIGN,     /* z / (1 + |z|)                                      (1 - |y|)^2                  */
    FN_ACT_SILU,         /* z sigmoid(z)                                       s (1 + z (1 - s)), from z    */
    FN_ACT_COUNT
};

#endif
