/* rowwise_adam.c - Adam with one second moment a row: v = b2 v + (1 - b2) mean(g^2), m as Adam's;
 * w -= a / (sqrt(v) b + eps) * m. FBGEMM's "partial row-wise" Adam, with L2 in the gradient.
 *
 * State: m (dim), then v (1). The order of the mean's sum is row-wise Adagrad's (rowwise_adagrad.c). A missed
 * step is the same with g = l2 * w, also when l2 is 0.
 */
#include <math.h>

#include "ps/optim/kernels.h"

static void rowwise_adam_step(const struct optim *o, float *w, float *state, const float *g,
                              struct scalars s)
{
    float *m = state, *v = state + o->dim;
    *v = o->b2 * *v + o->c2 * optim_row_mean2(o, w, g);
    const float scale = s.a / (sqrtf(*v) * s.b + o->eps);
    for (uint32_t j = 0; j < o->dim; j++) {
        m[j] = o->b1 * m[j] + o->c1 * optim_row_grad(o, w, g, j);
        w[j] -= scale * m[j];
    }
}

void optim_rowwise_adam_plain(struct optim *o, float *w, float *state, const float *g,
                              uint64_t last, uint64_t step)
{
    const uint64_t missed = g != NULL ? step - 1 : step;
    for (uint64_t s = last + 1; o->replays && s <= missed; s++)
        rowwise_adam_step(o, w, state, NULL, steps_scalars(&o->steps, s));
    if (g != NULL)
        rowwise_adam_step(o, w, state, g, optim_damped(o, steps_scalars(&o->steps, step)));
}
