/* inverse.c - see inverse.h. LAPACK counts by columns: our upper triangle is its lower one. */
#include "common/math/inverse.h"

#include <assert.h>
#include <math.h>

#include "common/math/gemm.h"

/* Fortran's: all by reference, and the length of the text behind the rest. */
void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info,
             size_t uplo_bytes);
void spotri_(const char *uplo, const int *n, float *a, const int *lda, int *info,
             size_t uplo_bytes);

bool inverse_symmetric(float *a, size_t n)
{
    assert(n <= INVERSE_MAX);
    const int size = (int)n;
    int info = 0;
    if (n == 0)
        return true;
    gemm_init(); /* one thread */
    spotrf_("L", &size, a, &size, &info, 1);
    for (size_t i = 0; info == 0 && i < n; i++)
        info = !isfinite(a[i * n + i]); /* a NaN passes for positive, and its inverse for 0 */
    if (info == 0)
        spotri_("L", &size, a, &size, &info, 1);
    if (info != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            a[i * n + j] = a[j * n + i];
    }
    return true;
}
