/* gemm_avx512.h - our own product in AVX-512. Private to common/math; gemm.c decides when it is called. */
#ifndef PENSTOCK_COMMON_MATH_GEMM_AVX512_H
#define PENSTOCK_COMMON_MATH_GEMM_AVX512_H

#include "common/math/gemm.h"

#ifndef PENSTOCK_REAL_DOUBLE
/* Call only where the CPU has AVX-512 F, BW, DQ, VL. */
void gemm_avx512(const struct gemm *p, bool a_transposed, bool b_transposed);
#endif

#endif
