/* optimizers.inc.c - to be written. */
#define FN_OPTIMIZERS_KERNELS(X)
