/* gemm.c - see gemm.h: which path a product takes, OpenBLAS's, and the slow product that proves both. */
#include "common/math/gemm.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <pthread.h>

#include "common/math/gemm_avx512.h"
#include "common/math/vec.h"

/* Below this our packing of B costs more than it saves. */
#define OWN_ROWS_MIN 8u
/* Rows of C between two calls of `done` on OpenBLAS's path: 256 rows of 400 floats fit the L2 cache. */
#define BLAS_BLOCK_ROWS 256u

static bool own_path;

bool gemm_force(bool own)
{
    own_path = false;
#if defined(__x86_64__) && !defined(PENSTOCK_REAL_DOUBLE)
    own_path = own && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    (void)own;
#endif
    return own_path;
}

static void gemm_choose(void)
{
    openblas_set_num_threads(1);
    (void)gemm_force(true);
}

void gemm_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, gemm_choose);
}

/* Rows [from, from + m) of C by OpenBLAS. */
static void blas_rows(const struct gemm *p, CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t from,
                      size_t m)
{
    assert(m <= INT_MAX && p->n <= INT_MAX && p->k <= INT_MAX);
    assert(p->lda <= INT_MAX && p->ldb <= INT_MAX && p->ldc <= INT_MAX);
    const real *a = p->a + (ta == CblasTrans ? from : from * p->lda);
    real *c = p->c + from * p->ldc;
    for (size_t r = 0; r < m && p->bias; r++)
        vec_put(c + r * p->ldc, p->bias, p->n, false);
    const real beta = p->add || p->bias ? 1 : 0;
#ifdef PENSTOCK_REAL_DOUBLE
    cblas_dgemm(CblasRowMajor, ta, tb, (int)m, (int)p->n, (int)p->k, 1, a, (int)p->lda, p->b,
                (int)p->ldb, beta, c, (int)p->ldc);
#else
    cblas_sgemm(CblasRowMajor, ta, tb, (int)m, (int)p->n, (int)p->k, 1, a, (int)p->lda, p->b,
                (int)p->ldb, beta, c, (int)p->ldc);
#endif
}

static void product(const struct gemm *p, bool a_transposed, bool b_transposed)
{
    assert(!(p->add && p->bias));
#ifndef PENSTOCK_REAL_DOUBLE
    if (own_path && p->m >= OWN_ROWS_MIN) {
        gemm_avx512(p, a_transposed, b_transposed);
        return;
    }
#endif
    const size_t block = p->done ? BLAS_BLOCK_ROWS : p->m;
    for (size_t from = 0; from < p->m; from += block) {
        const size_t m = p->m - from < block ? p->m - from : block;
        blas_rows(p, a_transposed ? CblasTrans : CblasNoTrans,
                  b_transposed ? CblasTrans : CblasNoTrans, from, m);
        if (p->done)
            p->done(p->ctx, from, from + m);
    }
}

void gemm_nn(const struct gemm *p)
{
    product(p, false, false);
}

void gemm_nt(const struct gemm *p)
{
    product(p, false, true);
}

void gemm_tn(const struct gemm *p)
{
    product(p, true, false);
}

void gemm_plain(const struct gemm *p, bool a_transposed, bool b_transposed)
{
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            double sum = p->bias ? (double)p->bias[j] : 0;
            for (size_t l = 0; l < p->k; l++) {
                const real a = a_transposed ? p->a[l * p->lda + i] : p->a[i * p->lda + l];
                const real b = b_transposed ? p->b[j * p->ldb + l] : p->b[l * p->ldb + j];
                sum += (double)a * (double)b;
            }
            real *c = &p->c[i * p->ldc + j];
            *c = p->add ? *c + (real)sum : (real)sum;
        }
    }
    if (p->done)
        p->done(p->ctx, 0, p->m);
}
