/* batching.inc.c - to be written. */
#define FN_BATCHING_KERNELS(X)
