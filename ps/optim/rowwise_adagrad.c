/* rowwise_adagrad.c - n += mean(g^2) over the row; w -= rate / (sqrt(n) + eps) * g. FBGEMM's form.
 *
 * State: one float a row. With L2 g' = g + l2 * w enters n (ps/optim/README.md, "Formulas").
 *
 * The mean is a sum of many floats, whose order shows in its last bit. So the order is part of the contract:
 * sixteen partial sums, element j in sum j mod 16, folded in halves (8, 4, 2, 1). That is what a vector of
 * sixteen floats does, and two vectors of eight.
 */
#include <math.h>

#include "ps/optim/kernels.h"

#define LANES 16u

static float fold(const float *part)
{
    float sum[LANES];
    for (uint32_t i = 0; i < LANES; i++)
        sum[i] = part[i];
    for (uint32_t half = LANES / 2; half > 0; half /= 2)
        for (uint32_t i = 0; i < half; i++)
            sum[i] += sum[i + half];
    return sum[0];
}

float optim_row_grad(const struct optim *o, const float *w, const float *g, uint32_t j)
{
    const float x = g != NULL ? g[j] : 0;
    return o->l2 != 0 ? x + o->l2 * w[j] : x;
}

float optim_row_mean2(const struct optim *o, const float *w, const float *g)
{
    float part[LANES] = {0};
    for (uint32_t j = 0; j < o->dim; j++) {
        const float x = optim_row_grad(o, w, g, j);
        part[j % LANES] += x * x;
    }
    return fold(part) / (float)o->dim;
}

static void rowwise_step(const struct optim *o, float *w, float *n, const float *g,
                         struct scalars s)
{
    *n += optim_row_mean2(o, w, g);
    const float scale = s.a / (sqrtf(*n) + o->eps);
    for (uint32_t j = 0; j < o->dim; j++)
        w[j] -= scale * optim_row_grad(o, w, g, j);
}

void optim_rowwise_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                         uint64_t step)
{
    const uint64_t missed = g != NULL ? step - 1 : step;
    for (uint64_t s = last + 1; o->replays && s <= missed; s++)
        rowwise_step(o, w, state, NULL, steps_scalars(&o->steps, s));
    if (g != NULL)
        rowwise_step(o, w, state, g, optim_damped(o, steps_scalars(&o->steps, step)));
}
