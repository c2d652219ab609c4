/* vec_plain.c - vec.h in plain C: the definition of every function, and the path of CPUs without AVX2
 * and of double builds. Obvious loops; the vector paths are tested against these.
 */
#include "common/math/vec_kernels.h"

#include <math.h>
#include <string.h>

#ifdef PENSTOCK_REAL_DOUBLE
#define REAL_EXP   exp
#define REAL_LOG1P log1p
#define REAL_SQRT  sqrt
#define REAL_TANH  tanh
#define REAL_ABS   fabs
#else
#define REAL_EXP   expf
#define REAL_LOG1P log1pf
#define REAL_SQRT  sqrtf
#define REAL_TANH  tanhf
#define REAL_ABS   fabsf
#endif

static real plain_dot(const real *a, const real *b, size_t n)
{
    real s = 0;
    for (size_t i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

static real plain_sum(const real *a, size_t n)
{
    real s = 0;
    for (size_t i = 0; i < n; i++)
        s += a[i];
    return s;
}

static void plain_put(real *y, const real *x, size_t n, bool add)
{
    for (size_t i = 0; i < n; i++)
        y[i] = add ? y[i] + x[i] : x[i];
}

static void plain_scaled(real *y, real s, const real *x, size_t n, bool add)
{
    for (size_t i = 0; i < n; i++)
        y[i] = add ? y[i] + s * x[i] : s * x[i];
}

static void plain_sum_to(real *y, const real *a, const real *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void plain_mul(real *y, const real *a, const real *b, size_t n, bool add)
{
    for (size_t i = 0; i < n; i++)
        y[i] = add ? y[i] + a[i] * b[i] : a[i] * b[i];
}

static void plain_mul_add(real *y, const real *a, const real *b, const real *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] * b[i] + c[i];
}

static void plain_exp(real *y, const real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = REAL_EXP(x[i]);
}

static real sigmoid(real x)
{
    const real e = REAL_EXP(-REAL_ABS(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static void plain_sigmoid(real *y, const real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = sigmoid(x[i]);
}

static void plain_softplus(real *y, const real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] > 0 ? x[i] : 0) + REAL_LOG1P(REAL_EXP(-REAL_ABS(x[i])));
}

static void plain_tanh(real *y, const real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = REAL_TANH(x[i]);
}

static real plain_max(const real *x, size_t n)
{
    real most = -(real)INFINITY;
    for (size_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

static real plain_exp_sum(real *y, const real *x, real scale, real shift, size_t n)
{
    real sum = 0;
    for (size_t i = 0; i < n; i++) {
        y[i] = REAL_EXP(scale * x[i] - shift);
        sum += y[i];
    }
    return sum;
}

static void plain_softmax_back(real *y, const real *p, const real *dp, real mean, real scale,
                               size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = p[i] * (dp[i] - mean) * scale;
}

static void plain_rank(const real *x, size_t n, real limit, size_t *out_above, size_t *out_same)
{
    size_t above = 0, below = 0;
    for (size_t i = 0; i < n; i++) {
        above += x[i] > limit;
        below += x[i] < limit;
    }
    *out_above = above;
    *out_same = n - above - below;
}

static double plain_bce(real *dz, const real *z, const real *labels, size_t n, real scale)
{
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        const real e = REAL_EXP(-REAL_ABS(z[i]));
        loss += (double)((z[i] > 0 ? z[i] : 0) - z[i] * labels[i] + REAL_LOG1P(e));
        dz[i] = (sigmoid(z[i]) - labels[i]) * scale;
    }
    return loss;
}

uint32_t vec_drop_hash(uint64_t key, uint32_t column)
{
    uint32_t x = (uint32_t)key + column * UINT32_C(0x9E3779B9);
    x ^= x >> 16;
    x *= UINT32_C(0x7FEB352D);
    x ^= (x >> 15) ^ (uint32_t)(key >> 32);
    x *= UINT32_C(0x846CA68B);
    return x ^ (x >> 16);
}

static void plain_finish(real *y, const real *x, const real *scale, const real *shift, size_t n,
                         const struct vec_finish *f, uint64_t key)
{
    for (size_t i = 0; i < n; i++) {
        real v = scale ? x[i] * scale[i] : x[i];
        v = shift ? v + shift[i] : v;
        if (f->relu && v < 0)
            v = 0;
        if (f->drop_below)
            v = vec_drop_hash(key, (uint32_t)i) < f->drop_below ? 0 : v * f->keep_scale;
        y[i] = v;
    }
}

static void plain_finish_back(real *dx, const real *dy, const real *y, size_t n,
                              const struct vec_finish *f, uint64_t key)
{
    for (size_t i = 0; i < n; i++) {
        bool keep = true;
        if (f->relu)
            keep = y[i] > 0;
        else if (f->drop_below)
            keep = vec_drop_hash(key, (uint32_t)i) >= f->drop_below;
        dx[i] = keep ? dy[i] * f->keep_scale : 0;
    }
}

static void plain_dice(real *y, real *p, const real *x, const struct vec_gates *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = sigmoid(x[i] * d->scale[i] + d->shift[i]);
        y[i] = x[i] * (d->alpha[i] + (1 - d->alpha[i]) * p[i]);
    }
}

static void plain_dice_back(real *dy, real *p, real *dalpha, const real *x,
                            const struct vec_gates *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const real rest = 1 - d->alpha[i], off = 1 - p[i], q = dy[i] * x[i];
        dalpha[i] += q * off;
        dy[i] *= d->alpha[i] + rest * p[i];
        p[i] *= q * rest * off;
    }
}

static void plain_column_sums(real *sums, const struct vec_matrix *m, bool add)
{
    if (!add)
        memset(sums, 0, m->cols * sizeof(*sums));
    for (size_t r = 0; r < m->rows; r++)
        for (size_t c = 0; c < m->cols; c++)
            sums[c] += m->x[r * m->ld + c];
}

/* Welford's, a row at a time. */
static void plain_column_moments(real *mean, real *m2, const struct vec_matrix *m, size_t from)
{
    for (size_t r = from; r < m->rows; r++) {
        for (size_t c = 0; c < m->cols; c++) {
            const real x = m->x[r * m->ld + c] - m->x[c];
            const real step = r > 0 ? x - mean[c] : 0;
            mean[c] = r > 0 ? mean[c] + step / (real)(r + 1) : x;
            m2[c] = r > 0 ? m2[c] + step * (x - mean[c]) : 0;
        }
    }
}

static void plain_norm_sums(real *sum_dy, real *sum_dy_xhat, const struct vec_matrix *m,
                            const struct vec_norm_back *b, bool add)
{
    if (!add) {
        memset(sum_dy, 0, m->cols * sizeof(*sum_dy));
        memset(sum_dy_xhat, 0, m->cols * sizeof(*sum_dy_xhat));
    }
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->cols; c++) {
            const real dy = b->dy[r * b->dy_ld + c];
            sum_dy[c] += dy;
            sum_dy_xhat[c] += dy * (m->x[r * m->ld + c] - b->mean[c]) * b->rstd[c];
        }
    }
}

static void plain_norm_apply(real *dx, size_t dx_ld, const real *sum_dy, const real *sum_dy_xhat,
                             const struct vec_matrix *m, const struct vec_norm_back *b)
{
    const real n = (real)b->n;
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->cols; c++) {
            const real xhat = (m->x[r * m->ld + c] - b->mean[c]) * b->rstd[c];
            const real dy = b->dy[r * b->dy_ld + c];
            dx[r * dx_ld + c] =
                b->gamma[c] * b->rstd[c] * (dy - sum_dy[c] / n - xhat * sum_dy_xhat[c] / n);
        }
    }
}

static void plain_layer_norm(real *y, const real *x, const real *gamma, const real *beta, size_t n,
                             real eps, real out_stat[2])
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const real rstd = 1 / REAL_SQRT((real)(squares / (double)n) + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = gamma[i] * ((x[i] - (real)mean) * rstd) + beta[i];
    out_stat[0] = (real)mean;
    out_stat[1] = rstd;
}

static void plain_layer_norm_back(real *dx, real *dgamma, real *dbeta, const real *dy,
                                  const real *x, const real *gamma, size_t n, const real stat[2])
{
    double sum = 0, sum_xhat = 0;
    for (size_t i = 0; i < n; i++) {
        const real xhat = (x[i] - stat[0]) * stat[1];
        sum += (double)(dy[i] * gamma[i]);
        sum_xhat += (double)(dy[i] * gamma[i] * xhat);
    }
    const real a = (real)(sum / (double)n), b = (real)(sum_xhat / (double)n);
    for (size_t i = 0; i < n; i++) {
        const real xhat = (x[i] - stat[0]) * stat[1];
        if (dgamma) {
            dgamma[i] += dy[i] * xhat;
            dbeta[i] += dy[i];
        }
        dx[i] = stat[1] * (dy[i] * gamma[i] - a - xhat * b);
    }
}

static void plain_bags_sum(real *y, const real *rows, const struct vec_bags *b)
{
    for (size_t i = 0; i < b->bags; i++) {
        for (size_t k = 0; k < b->d; k++)
            y[i * b->d + k] = 0;
        for (size_t o = b->offsets[i]; o < b->offsets[i + 1]; o++) {
            const real *row = rows + (size_t)b->index[o] * b->d;
            const real w = b->weight ? b->weight[o] : 1;
            for (size_t k = 0; k < b->d; k++)
                y[i * b->d + k] += w * row[k];
        }
    }
}

static void plain_bags_scatter(real *rows, const real *dy, const struct vec_bags *b)
{
    for (size_t i = 0; i < b->bags; i++) {
        for (size_t o = b->offsets[i]; o < b->offsets[i + 1]; o++) {
            real *row = rows + (size_t)b->index[o] * b->d;
            const real w = b->weight ? b->weight[o] : 1;
            for (size_t k = 0; k < b->d; k++)
                row[k] += w * dy[i * b->d + k];
        }
    }
}

static size_t row_of(const struct vec_bags *b, size_t o)
{
    return b->index ? b->index[o] : o;
}

static real plain_bags_squares(real *sums, const real *rows, const struct vec_bags *b, bool add)
{
    real squares = 0;
    for (size_t k = 0; k < b->d; k++) {
        real s = add ? sums[k] : 0;
        for (size_t o = b->offsets[0]; o < b->offsets[b->bags]; o++) {
            const real w = b->weight ? b->weight[o] : 1;
            const real v = w * rows[row_of(b, o) * b->d + k];
            s += v;
            squares += v * v;
        }
        sums[k] = s;
    }
    return squares;
}

static void plain_bags_fm_back(real *d_rows, const real *rows, real delta, const real *sums,
                               const struct vec_bags *b)
{
    for (size_t o = b->offsets[0]; o < b->offsets[b->bags]; o++) {
        const size_t at = row_of(b, o) * b->d;
        const real w = b->weight ? b->weight[o] : 1;
        for (size_t k = 0; k < b->d; k++)
            d_rows[at + k] += delta * w * (sums[k] - w * rows[at + k]);
    }
}

static void plain_pairs(real *y, const real *x, size_t vectors, size_t d)
{
    for (size_t i = 1; i < vectors; i++)
        for (size_t j = 0; j < i; j++)
            *y++ = plain_dot(x + i * d, x + j * d, d);
}

static void plain_mix(real *y, const real *x, const struct vec_mixing *m, bool add)
{
    const size_t d = m->d;
    for (size_t i = 0; i < m->vectors; i++) {
        for (size_t k = 0; k < d; k++) {
            real s = m->bias ? m->bias[i] : 0;
            for (size_t j = 0; j < m->vectors; j++)
                s += m->w[m->transposed ? j * m->vectors + i : i * m->vectors + j] * x[j * d + k];
            y[i * d + k] = add ? y[i * d + k] + s : s;
        }
    }
}

static void plain_mix_weights(real *dw, const struct vec_matrix *dy, const struct vec_matrix *x,
                              size_t vectors, bool add)
{
    const size_t d = x->cols / vectors;
    for (size_t i = 0; i < vectors; i++) {
        for (size_t j = 0; j < vectors; j++) {
            real s = 0;
            for (size_t r = 0; r < x->rows; r++)
                s += plain_dot(dy->x + r * dy->ld + i * d, x->x + r * x->ld + j * d, d);
            dw[i * vectors + j] = add ? dw[i * vectors + j] + s : s;
        }
    }
}

const struct vec_kernels vec_plain = {
    .dot = plain_dot,
    .sum = plain_sum,
    .put = plain_put,
    .scaled = plain_scaled,
    .sum_to = plain_sum_to,
    .mul = plain_mul,
    .mul_add = plain_mul_add,
    .exp = plain_exp,
    .sigmoid = plain_sigmoid,
    .softplus = plain_softplus,
    .tanh = plain_tanh,
    .max = plain_max,
    .exp_sum = plain_exp_sum,
    .softmax_back = plain_softmax_back,
    .rank = plain_rank,
    .bce = plain_bce,
    .finish = plain_finish,
    .finish_back = plain_finish_back,
    .dice = plain_dice,
    .dice_back = plain_dice_back,
    .column_sums = plain_column_sums,
    .column_moments = plain_column_moments,
    .norm_sums = plain_norm_sums,
    .norm_apply = plain_norm_apply,
    .layer_norm = plain_layer_norm,
    .layer_norm_back = plain_layer_norm_back,
    .bags_sum = plain_bags_sum,
    .bags_scatter = plain_bags_scatter,
    .bags_squares = plain_bags_squares,
    .bags_fm_back = plain_bags_fm_back,
    .pairs = plain_pairs,
    .mix = plain_mix,
    .mix_weights = plain_mix_weights,
};
