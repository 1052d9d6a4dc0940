#define FN_ISA   "base"
#define FN_TABLE fn_table_base_f64
typedef double real;
#define FN_REAL_64
#include "table.inc.c"
