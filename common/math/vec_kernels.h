/* vec_kernels.h - one path of vec.h as a table of functions. Private to common/math. */
#ifndef PENSTOCK_COMMON_MATH_VEC_KERNELS_H
#define PENSTOCK_COMMON_MATH_VEC_KERNELS_H

#include "common/math/vec.h"

struct vec_kernels {
    real (*dot)(const real *a, const real *b, size_t n);
    real (*sum)(const real *a, size_t n);
    void (*put)(real *y, const real *x, size_t n, bool add);
    void (*scaled)(real *y, real s, const real *x, size_t n, bool add);
    void (*sum_to)(real *y, const real *a, const real *b, size_t n);
    void (*mul)(real *y, const real *a, const real *b, size_t n, bool add);
    void (*mul_add)(real *y, const real *a, const real *b, const real *c, size_t n);
    void (*exp)(real *y, const real *x, size_t n);
    void (*sigmoid)(real *y, const real *x, size_t n);
    void (*softplus)(real *y, const real *x, size_t n);
    void (*tanh)(real *y, const real *x, size_t n);
    real (*max)(const real *x, size_t n);
    real (*exp_sum)(real *y, const real *x, real scale, real shift, size_t n);
    void (*softmax_back)(real *y, const real *p, const real *dp, real mean, real scale, size_t n);
    void (*rank)(const real *x, size_t n, real limit, size_t *out_above, size_t *out_same);
    double (*bce)(real *dz, const real *z, const real *labels, size_t n, real scale);
    void (*finish)(real *y, const real *x, const real *scale, const real *shift, size_t n,
                   const struct vec_finish *f, uint64_t key);
    void (*finish_back)(real *dx, const real *dy, const real *y, size_t n,
                        const struct vec_finish *f, uint64_t key);
    void (*dice)(real *y, real *p, const real *x, const struct vec_gates *d, size_t n);
    void (*dice_back)(real *dy, real *p, real *dalpha, const real *x, const struct vec_gates *d,
                      size_t n);
    void (*column_sums)(real *sums, const struct vec_matrix *m, bool add);
    void (*column_moments)(real *mean, real *m2, const struct vec_matrix *m, size_t from);
    void (*norm_sums)(real *sum_dy, real *sum_dy_xhat, const struct vec_matrix *m,
                      const struct vec_norm_back *b, bool add);
    void (*norm_apply)(real *dx, size_t dx_ld, const real *sum_dy, const real *sum_dy_xhat,
                       const struct vec_matrix *m, const struct vec_norm_back *b);
    void (*layer_norm)(real *y, const real *x, const real *gamma, const real *beta, size_t n,
                       real eps, real out_stat[2]);
    void (*layer_norm_back)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                            const real *gamma, size_t n, const real stat[2]);
    void (*bags_sum)(real *y, const real *rows, const struct vec_bags *b);
    void (*bags_scatter)(real *rows, const real *dy, const struct vec_bags *b);
    real (*bags_squares)(real *sums, const real *rows, const struct vec_bags *b, bool add);
    void (*bags_fm_back)(real *d_rows, const real *rows, real delta, const real *sums,
                         const struct vec_bags *b);
    void (*pairs)(real *y, const real *x, size_t vectors, size_t d);
    void (*mix)(real *y, const real *x, const struct vec_mixing *m, bool add);
    void (*mix_weights)(real *dw, const struct vec_matrix *dy, const struct vec_matrix *x,
                        size_t vectors, bool add);
};

extern const struct vec_kernels vec_plain;
#ifndef PENSTOCK_REAL_DOUBLE
extern const struct vec_kernels vec_avx2;   /* call only where the CPU has AVX2 and FMA */
extern const struct vec_kernels vec_avx512; /* AVX-512 F, BW, DQ, VL */
#endif

#endif
