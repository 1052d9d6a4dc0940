/* dispatch.c - the compiled tables of kernels, by instruction set and element type. */
#include "fastnn.h"

extern const fn_table fn_table_base_f32, fn_table_base_f64;
#ifdef FN_HAVE_AVX2
extern const fn_table fn_table_avx2_f32, fn_table_avx2_f64;
#endif
#ifdef FN_HAVE_AVX512
extern const fn_table fn_table_avx512_f32, fn_table_avx512_f64;
#endif

const fn_table *fn_find_table(int isa, int float64)
{
    switch (isa) {
    case FN_ISA_BASE: return float64 ? &fn_table_base_f64 : &fn_table_base_f32;
#ifdef FN_HAVE_AVX2
    case FN_ISA_AVX2: return float64 ? &fn_table_avx2_f64 : &fn_table_avx2_f32;
#endif
#ifdef FN_HAVE_AVX512
    case FN_ISA_AMX: /* the same kernels, which use tiles where they are told to */
    case FN_ISA_AVX512: return float64 ? &fn_table_avx512_f64 : &fn_table_avx512_f32;
#endif
    default: return NULL;
    }
}
