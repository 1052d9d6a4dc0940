#define FN_ISA   "avx512"
#define FN_TABLE fn_table_avx512_f64
typedef double real;
#define FN_REAL_64
#include "table.inc.c"
