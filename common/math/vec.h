/* vec.h - the arithmetic of layers that is not a matrix product, over arrays and rows of matrices.
 *
 * Each function exists three times: plain C (vec_plain.c, the definition), and one text compiled for
 * AVX2+FMA and for AVX-512 (vec_simd.inc). vec_init picks by CPU; vec_force lets tests and benchmarks
 * pick. Paths agree up to rounding; dropout's masks agree bit for bit. Within a path everything is
 * deterministic: sums have one order, which depends on sizes and never on addresses.
 *
 * y is the output and stands first. Arrays need no alignment. Where y may be the same array as an input,
 * it says so ("in place"); partial overlap is never allowed. `add`: y += instead of y =.
 */
#ifndef PENSTOCK_COMMON_MATH_VEC_H
#define PENSTOCK_COMMON_MATH_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/math/real.h"

enum vec_path { VEC_PLAIN, VEC_AVX2, VEC_AVX512 };

/* Idempotent. Before it is called the plain path is used. */
void vec_init(void);
/* Use this path, or the best one below it that the CPU (and a double build) has; returns what it is. */
enum vec_path vec_force(enum vec_path path);

/* -- arrays of n -- */
real vec_dot(const real *a, const real *b, size_t n);
real vec_sum(const real *a, size_t n);
void vec_put(real *y, const real *x, size_t n, bool add);                /* y = x */
void vec_scaled(real *y, real s, const real *x, size_t n, bool add);     /* y = s x; in place */
void vec_sum_to(real *y, const real *a, const real *b, size_t n);        /* y = a + b; in place */
void vec_mul(real *y, const real *a, const real *b, size_t n, bool add); /* y = a b; in place */
void vec_mul_add(real *y, const real *a, const real *b, const real *c,
                 size_t n); /* a b + c; in place */
void vec_exp(real *y, const real *x,
             size_t n); /* in place; ~2 ulp; 0 below -87.3, inf above 88.7 */
void vec_sigmoid(real *y, const real *x, size_t n);  /* in place; finite for every x */
void vec_softplus(real *y, const real *x, size_t n); /* in place; log(1 + e^x), finite up to inf */
void vec_tanh(real *y, const real *x, size_t n);     /* in place; absolute error 1e-7 */
real vec_max(const real *x, size_t n);               /* -inf if n = 0 */
/* y = e^(scale x - shift); returns the sum of y. In place. What softmax is made of. */
real vec_exp_sum(real *y, const real *x, real scale, real shift, size_t n);
/* Softmax's gradient: y = p (dp - mean) scale, where mean is <p, dp>. In place over dp. */
void vec_softmax_back(real *y, const real *p, const real *dp, real mean, real scale, size_t n);
/* How many are above the limit, and how many equal to it. n < 2^24. */
void vec_rank(const real *x, size_t n, real limit, size_t *out_above, size_t *out_same);
/* Binary cross-entropy: returns the sum of max(z,0) - z l + log1p(e^-|z|), accumulated in double, and
 * writes dz = (sigmoid(z) - l) * scale. Finite for every finite z. */
double vec_bce(real *dz, const real *z, const real *labels, size_t n, real scale);

/* -- epilogue of a layer, over one row --
 * Element c of the row that `key` names is dropped iff vec_drop_hash(key, c) < drop_below; the others are
 * multiplied by keep_scale = 1 / (1 - p). drop_below = p 2^32; 0: no dropout, keep_scale must be 1. */
struct vec_finish {
    bool relu;
    uint32_t drop_below;
    real keep_scale;
};

/* 32 bits out of 64 of key and a column: two rounds of multiply and xor-shift (Wellons' lowbias32 with
 * the upper key in the middle). A function, not a state. */
uint32_t vec_drop_hash(uint64_t key, uint32_t column);
/* y = drop(act(x * scale + shift)); scale NULL: 1, shift NULL: 0. In place. A NaN stays one, so that a
 * broken run shows. */
void vec_finish(real *y, const real *x, const real *scale, const real *shift, size_t n,
                const struct vec_finish *f, uint64_t key);
/* Its gradient at x * scale + shift from dy and the *output* y: an element that is not above 0 behind a
 * relu was cut or dropped, so no mask is kept. In place over dy. */
void vec_finish_back(real *dx, const real *dy, const real *y, size_t n, const struct vec_finish *f,
                     uint64_t key);

/* -- Dice (DIN), over one row: y = p x + alpha (1 - p) x, p = sigmoid(scale x + shift) -- */
struct vec_gates {
    const real *scale, *shift, *alpha; /* (n) */
};
void vec_dice(real *y, real *p, const real *x, const struct vec_gates *d, size_t n); /* y not x */
/* In place: dy becomes the part of dx that does not go through p, p the gradient at scale x + shift, and
 * dalpha gets what is due added. */
void vec_dice_back(real *dy, real *p, real *dalpha, const real *x, const struct vec_gates *d,
                   size_t n);

/* -- columns of a matrix x (rows, cols) with stride ld -- */
struct vec_matrix {
    const real *x;
    size_t ld, rows, cols;
};

void vec_column_sums(real *sums, const struct vec_matrix *m, bool add); /* (cols) */
/* Mean and sum of squared deviations of each column, in one pass over memory: exact blocks, merged by
 * Chan's rule, all relative to the first row; no cancellation however far the mean is from 0. Rows below
 * `from` are in mean and m2 already, from an earlier call; rows > from. mean is that of x - first row:
 * after the last call the caller adds the first row. Blocks are of 16 rows: calls that end at multiples of
 * 16 give the bits of one call. */
void vec_column_moments(real *mean, real *m2, const struct vec_matrix *m, size_t from);

/* Batch norm's backward. xhat = (x - mean) * rstd. `dy` (as m: rows, cols; stride dy_ld) is the gradient at
 * gamma xhat + beta. */
struct vec_norm_back {
    size_t n; /* rows of the whole batch; the matrix may be a part of it */
    const real *dy;
    size_t dy_ld;
    const real *mean, *rstd; /* (cols) */
    const real *gamma;       /* (cols) */
};
/* sum_dy[c] = sum over rows of dy, sum_dy_xhat[c] = of dy xhat. */
void vec_norm_sums(real *sum_dy, real *sum_dy_xhat, const struct vec_matrix *m,
                   const struct vec_norm_back *b, bool add);
/* dx = gamma rstd (dy - sum_dy / n - xhat sum_dy_xhat / n), (rows, cols) with stride dx_ld. In place over dy. */
void vec_norm_apply(real *dx, size_t dx_ld, const real *sum_dy, const real *sum_dy_xhat,
                    const struct vec_matrix *m, const struct vec_norm_back *b);

/* -- layer norm, one row of n -- */
/* y = gamma (x - mean) / sqrt(var + eps) + beta; out_stat: mean, rstd. */
void vec_layer_norm(real *y, const real *x, const real *gamma, const real *beta, size_t n, real eps,
                    real out_stat[2]);
/* dx and, added to, dgamma and dbeta (either NULL: not wanted, both or none). */
void vec_layer_norm_back(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                         const real *gamma, size_t n, const real stat[2]);

/* -- bags: `bags` consecutive bags of occurrences over rows (U, d) --
 * Bag b holds occurrences [offsets[b], offsets[b + 1]); occurrence o is weight[o] (NULL: 1) times row
 * index[o]. */
struct vec_bags {
    const uint32_t *offsets; /* (bags + 1) */
    const uint32_t *index;
    const real *weight;
    size_t bags;
    size_t d;
};

/* y (bags, d): each bag's sum. */
void vec_bags_sum(real *y, const real *rows, const struct vec_bags *b);
/* rows[index] += weight * dy[bag], in the order of occurrences. dy (bags, d). */
void vec_bags_scatter(real *rows, const real *dy, const struct vec_bags *b);
/* For factorisation machines, over all occurrences of all bags: sums (d) = sum of w v; returns the sum of
 * w^2 v_k^2 over occurrences and k. Here index may be NULL: occurrence o is row o. */
real vec_bags_squares(real *sums, const real *rows, const struct vec_bags *b, bool add);
/* d_rows[index] += delta w (sums - w v): the gradient of 1/2 sum_k (sums_k^2 - sum of w^2 v_k^2). */
void vec_bags_fm_back(real *d_rows, const real *rows, real delta, const real *sums,
                      const struct vec_bags *b);

/* -- vectors: a row of V vectors of d reals, side by side -- */

/* y[i (i - 1) / 2 + j] = <x_i, x_j> for all j < i: V (V - 1) / 2 products. */
void vec_pairs(real *y, const real *x, size_t vectors, size_t d);
/* y_i = bias_i + sum_j w_ij x_j: the same mix of vectors in each of the d coordinates. */
struct vec_mixing {
    size_t vectors, d;
    const real *w;    /* (V, V) */
    const real *bias; /* (V) or NULL */
    bool transposed;  /* w_ji instead of w_ij */
};
void vec_mix(real *y, const real *x, const struct vec_mixing *m, bool add);
/* Its gradient over a batch: dw_ij = sum over rows of <dy_i, x_j>. dy and x have the same rows and cols. */
void vec_mix_weights(real *dw, const struct vec_matrix *dy, const struct vec_matrix *x,
                     size_t vectors, bool add);

#endif
