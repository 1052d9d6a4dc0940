#define FN_ISA   "avx2"
#define FN_TABLE fn_table_avx2_f64
typedef double real;
#define FN_REAL_64
#include "table.inc.c"
