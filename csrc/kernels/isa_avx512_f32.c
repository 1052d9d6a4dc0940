#define FN_ISA   "avx512"
#define FN_TABLE fn_table_avx512_f32
typedef float real;
#define FN_REAL_32
#include "table.inc.c"
