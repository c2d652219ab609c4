/* vec.c - which path is used, and the functions of vec.h that go through it.
 *
 * The indirection is once a row or an array, never once an element. The choice is made once, by the
 * first vec_init; vec_force is for tests and benchmarks.
 */
#include "common/math/vec.h"

#include <pthread.h>

#include "common/math/vec_kernels.h"

static const struct vec_kernels *path = &vec_plain;

static enum vec_path best_path(void)
{
#if defined(__x86_64__) && !defined(PENSTOCK_REAL_DOUBLE)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return VEC_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return VEC_AVX2;
#endif
    return VEC_PLAIN;
}

enum vec_path vec_force(enum vec_path wanted)
{
    const enum vec_path best = best_path();
    const enum vec_path use = wanted < best ? wanted : best;
    path = &vec_plain;
#ifndef PENSTOCK_REAL_DOUBLE
    if (use == VEC_AVX2)
        path = &vec_avx2;
    if (use == VEC_AVX512)
        path = &vec_avx512;
#endif
    return use;
}

static void choose(void)
{
    (void)vec_force(VEC_AVX512);
}

void vec_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, choose);
}

real vec_dot(const real *a, const real *b, size_t n)
{
    return path->dot(a, b, n);
}

real vec_sum(const real *a, size_t n)
{
    return path->sum(a, n);
}

void vec_put(real *y, const real *x, size_t n, bool add)
{
    path->put(y, x, n, add);
}

void vec_scaled(real *y, real s, const real *x, size_t n, bool add)
{
    path->scaled(y, s, x, n, add);
}

void vec_sum_to(real *y, const real *a, const real *b, size_t n)
{
    path->sum_to(y, a, b, n);
}

void vec_mul(real *y, const real *a, const real *b, size_t n, bool add)
{
    path->mul(y, a, b, n, add);
}

void vec_mul_add(real *y, const real *a, const real *b, const real *c, size_t n)
{
    path->mul_add(y, a, b, c, n);
}

void vec_exp(real *y, const real *x, size_t n)
{
    path->exp(y, x, n);
}

void vec_sigmoid(real *y, const real *x, size_t n)
{
    path->sigmoid(y, x, n);
}

void vec_softplus(real *y, const real *x, size_t n)
{
    path->softplus(y, x, n);
}

void vec_tanh(real *y, const real *x, size_t n)
{
    path->tanh(y, x, n);
}

real vec_max(const real *x, size_t n)
{
    return path->max(x, n);
}

real vec_exp_sum(real *y, const real *x, real scale, real shift, size_t n)
{
    return path->exp_sum(y, x, scale, shift, n);
}

void vec_softmax_back(real *y, const real *p, const real *dp, real mean, real scale, size_t n)
{
    path->softmax_back(y, p, dp, mean, scale, n);
}

void vec_rank(const real *x, size_t n, real limit, size_t *out_above, size_t *out_same)
{
    path->rank(x, n, limit, out_above, out_same);
}

double vec_bce(real *dz, const real *z, const real *labels, size_t n, real scale)
{
    return path->bce(dz, z, labels, n, scale);
}

void vec_finish(real *y, const real *x, const real *scale, const real *shift, size_t n,
                const struct vec_finish *f, uint64_t key)
{
    path->finish(y, x, scale, shift, n, f, key);
}

void vec_finish_back(real *dx, const real *dy, const real *y, size_t n, const struct vec_finish *f,
                     uint64_t key)
{
    path->finish_back(dx, dy, y, n, f, key);
}

void vec_dice(real *y, real *p, const real *x, const struct vec_gates *d, size_t n)
{
    path->dice(y, p, x, d, n);
}

void vec_dice_back(real *dy, real *p, real *dalpha, const real *x, const struct vec_gates *d,
                   size_t n)
{
    path->dice_back(dy, p, dalpha, x, d, n);
}

void vec_column_sums(real *sums, const struct vec_matrix *m, bool add)
{
    path->column_sums(sums, m, add);
}

void vec_column_moments(real *mean, real *m2, const struct vec_matrix *m, size_t from)
{
    path->column_moments(mean, m2, m, from);
}

void vec_norm_sums(real *sum_dy, real *sum_dy_xhat, const struct vec_matrix *m,
                   const struct vec_norm_back *b, bool add)
{
    path->norm_sums(sum_dy, sum_dy_xhat, m, b, add);
}

void vec_norm_apply(real *dx, size_t dx_ld, const real *sum_dy, const real *sum_dy_xhat,
                    const struct vec_matrix *m, const struct vec_norm_back *b)
{
    path->norm_apply(dx, dx_ld, sum_dy, sum_dy_xhat, m, b);
}

void vec_layer_norm(real *y, const real *x, const real *gamma, const real *beta, size_t n, real eps,
                    real out_stat[2])
{
    path->layer_norm(y, x, gamma, beta, n, eps, out_stat);
}

void vec_layer_norm_back(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                         const real *gamma, size_t n, const real stat[2])
{
    path->layer_norm_back(dx, dgamma, dbeta, dy, x, gamma, n, stat);
}

void vec_bags_sum(real *y, const real *rows, const struct vec_bags *b)
{
    path->bags_sum(y, rows, b);
}

void vec_bags_scatter(real *rows, const real *dy, const struct vec_bags *b)
{
    path->bags_scatter(rows, dy, b);
}

real vec_bags_squares(real *sums, const real *rows, const struct vec_bags *b, bool add)
{
    return path->bags_squares(sums, rows, b, add);
}

void vec_bags_fm_back(real *d_rows, const real *rows, real delta, const real *sums,
                      const struct vec_bags *b)
{
    path->bags_fm_back(d_rows, rows, delta, sums, b);
}

void vec_pairs(real *y, const real *x, size_t vectors, size_t d)
{
    path->pairs(y, x, vectors, d);
}

void vec_mix(real *y, const real *x, const struct vec_mixing *m, bool add)
{
    path->mix(y, x, m, add);
}

void vec_mix_weights(real *dw, const struct vec_matrix *dy, const struct vec_matrix *x,
                     size_t vectors, bool add)
{
    path->mix_weights(dw, dy, x, vectors, add);
}
