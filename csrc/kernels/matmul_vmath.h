/* matmul_vmath.h - stands in for vmath.h, lane by lane. */
#ifndef FN_MATMUL_VMATH_H
#define FN_MATMUL_VMATH_H
#include <math.h>
#define FN_LANES(name, expression)               \
    static vec name(vec v)                       \
    {                                            \
        for (int j = 0; j < VL; j++) {           \
            const double x = (double)v[j];       \
            v[j] = (real)(expression);           \
        }                                        \
        return v;                                \
    }
FN_LANES(vexp, exp(x))
FN_LANES(vexpm1, expm1(x))
FN_LANES(vtanh, tanh(x))
FN_LANES(vsigmoid, 1 / (1 + exp(-x)))
#undef FN_LANES
#endif
