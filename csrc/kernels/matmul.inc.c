/* matmul.inc.c - to be written. */
#define FN_MATMUL_KERNELS(X)
