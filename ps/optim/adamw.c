/* adamw.c - Adam with its decay beside the gradient: w -= rate * l2 * w, then Adam's step without l2.
 * Loshchilov and Hutter 2019; PyTorch's order and scale.
 *
 * State: m (dim), then v (dim). A missed step is the decay and then what momentum is left: the decay alone
 * would be a power, but between two decays the row moves.
 */
#include <math.h>

#include "ps/optim/kernels.h"

struct element {
    float w, m, v;
};

static void adamw_step(const struct optim *o, struct element *x, float g, struct scalars s)
{
    if (o->l2 != 0)
        x->w -= s.d * x->w;
    x->m = o->b1 * x->m + o->c1 * g;
    x->v = o->b2 * x->v + o->c2 * (g * g);
    x->w -= s.a * x->m / (sqrtf(x->v) * s.b + o->eps);
}

void optim_adamw_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                       uint64_t step)
{
    const uint64_t missed = g != NULL ? step - 1 : step;
    float *m = state, *v = state + o->dim;
    for (uint32_t j = 0; j < o->dim; j++) {
        struct element x = {w[j], m[j], v[j]};
        for (uint64_t s = last + 1; o->replays && s <= missed; s++)
            adamw_step(o, &x, 0, steps_scalars(&o->steps, s));
        if (g != NULL)
            adamw_step(o, &x, g[j], optim_damped(o, steps_scalars(&o->steps, step)));
        w[j] = x.w;
        m[j] = x.m;
        v[j] = x.v;
    }
}
