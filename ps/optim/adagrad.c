/* adagrad.c - n += g^2; w -= rate * g / (sqrt(n) + eps). PyTorch's form: eps outside the root.
 *
 * State: n (dim). A missed step with L2 is the same with g = l2 * w; it enters n, as in dense training.
 */
#include <math.h>

#include "ps/optim/kernels.h"

static void adagrad_step(const struct optim *o, float *w, float *n, float g, struct scalars s)
{
    if (o->l2 != 0)
        g += o->l2 * *w;
    *n += g * g;
    *w -= s.a * g / (sqrtf(*n) + o->eps);
}

void optim_adagrad_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                         uint64_t step)
{
    const uint64_t missed = g != NULL ? step - 1 : step;
    for (uint32_t j = 0; j < o->dim; j++) {
        for (uint64_t s = last + 1; o->replays && s <= missed; s++)
            adagrad_step(o, &w[j], &state[j], 0, steps_scalars(&o->steps, s));
        if (g != NULL)
            adagrad_step(o, &w[j], &state[j], g[j],
                         optim_damped(o, steps_scalars(&o->steps, step)));
    }
}
