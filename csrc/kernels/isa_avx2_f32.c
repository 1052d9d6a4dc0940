#define FN_ISA   "avx2"
#define FN_TABLE fn_table_avx2_f32
typedef float real;
#define FN_REAL_32
#include "table.inc.c"
