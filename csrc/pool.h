/* pool.h - a team of threads that run one function side by side, and meet at barriers. */
#ifndef FN_POOL_H
#define FN_POOL_H

#include "fastnn.h"

typedef struct fn_team fn_team;

typedef void fn_member(void *context, fn_team *team, int thread, int threads);

/* Runs member(context, team, t, n) for t = 0 .. n-1 and returns when all have. The caller is thread 0 and
 * n is `threads`, or 1 when the pool is at work for another thread of the process or no thread can be made.
 * Subnormal numbers count as zero inside; the caller's floating-point state is put back. */
void fn_team_run(fn_member *member, void *context, int threads);

/* Every member waits until all have come. */
void fn_team_barrier(fn_team *team);

/* This thread's scratch block of at least `bytes`, kept until the thread ends; NULL: out of memory. */
void *fn_scratch(size_t bytes);

#endif
