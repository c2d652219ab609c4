/* inverse.h - the inverse of a symmetric positive definite matrix; the only door to LAPACK.
 *
 * LAPACK's two routines (Cholesky, then the inverse out of its factor) are part of the OpenBLAS library that gemm.h
 * links. No header of theirs is read: their two symbols are declared in inverse.c. Only penstock-worker links them.
 */
#ifndef PENSTOCK_COMMON_MATH_INVERSE_H
#define PENSTOCK_COMMON_MATH_INVERSE_H

#include <stdbool.h>
#include <stddef.h>

#define INVERSE_MAX ((size_t)46340) /* n * n fits LAPACK's int */

/* a: (n, n) row-major, symmetric; only a[i * n + j] with j >= i is read. In place, then whole and symmetric.
 * About n^3 multiply-adds on one thread. false, a undefined: not positive definite, or not finite. */
bool inverse_symmetric(float *a, size_t n);

#endif
