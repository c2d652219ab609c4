/* gemm.h - matrix products, row-major; the only door to cblas.h.
 *
 * One thread: workers are processes, and a second BLAS thread would fight them for the core (and change
 * the order of sums). Call gemm_init once before the first product; it is idempotent.
 *
 * A product is described by one struct, named at the call: gemm_nt(&(struct gemm){.m = n, ...}). The
 * letters say whether A and B stand transposed in memory:
 *
 *     nn: C (m, n) = A (m, k) B (k, n)        nt: C (m, n) = A (m, k) B (n, k)'
 *     tn: C (m, n) = A (k, m)' B (k, n)
 *
 * For a layer with weight W (out, in), rows as samples: forward is nt, the gradient of the input nn, the
 * gradient of the weight tn.
 *
 * Two paths: our own AVX-512 kernel (gemm_avx512.c) where the CPU has it, OpenBLAS elsewhere, for few rows
 * and in double. On our own path a row of C does not depend on how many other rows there are, bit for
 * bit; on OpenBLAS's it may, by rounding.
 */
#ifndef PENSTOCK_COMMON_MATH_GEMM_H
#define PENSTOCK_COMMON_MATH_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/math/real.h"

struct gemm { /* all borrowed for the call */
    size_t m, n, k;
    const real *a;
    size_t lda; /* reals from one row to the next, as it stands in memory */
    const real *b;
    size_t ldb;
    real *c;
    size_t ldc;
    bool add;         /* C += instead of C = (then C need not be initialised) */
    const real *bias; /* (n) added to every row, or NULL; not with add */
    /* Called, if not NULL, for rows [from, to) of C as they are finished, in order, each row once, while
     * they are in the cache: a layer's epilogue. It may read and write those rows. */
    void (*done)(void *ctx, size_t from, size_t to);
    void *ctx;
};

void gemm_init(void);
void gemm_nn(const struct gemm *p);
void gemm_nt(const struct gemm *p);
void gemm_tn(const struct gemm *p);

/* For tests and benchmarks: false = OpenBLAS only. Returns whether our own path is in use. */
bool gemm_force(bool own);
/* The obvious triple loops, sums in double: what the tests compare with. */
void gemm_plain(const struct gemm *p, bool a_transposed, bool b_transposed);

#endif
