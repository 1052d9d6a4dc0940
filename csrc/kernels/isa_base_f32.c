#define FN_ISA   "base"
#define FN_TABLE fn_table_base_f32
typedef float real;
#define FN_REAL_32
#include "table.inc.c"
