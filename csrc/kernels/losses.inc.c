/* losses.inc.c - to be written. */
#define FN_LOSSES_KERNELS(X)
