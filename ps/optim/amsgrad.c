/* amsgrad.c - Adam whose denominator never falls: u = max(u, v), w -= a m / (sqrt(u) b + eps), a and b Adam's.
 * Reddi, Kale and Kumar 2018; PyTorch's form: the largest v, not the largest corrected one.
 *
 * State: m (dim), v (dim), u (dim). A missed step is the same with g = l2 * w, also when l2 is 0.
 */
#include <math.h>

#include "ps/optim/kernels.h"

struct element {
    float w, m, v, u;
};

static void amsgrad_step(const struct optim *o, struct element *x, float g, struct scalars s)
{
    if (o->l2 != 0)
        g += o->l2 * x->w;
    x->m = o->b1 * x->m + o->c1 * g;
    x->v = o->b2 * x->v + o->c2 * (g * g);
    x->u = x->v > x->u ? x->v : x->u;
    x->w -= s.a * x->m / (sqrtf(x->u) * s.b + o->eps);
}

void optim_amsgrad_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                         uint64_t step)
{
    const uint64_t missed = g != NULL ? step - 1 : step;
    float *m = state, *v = m + o->dim, *u = v + o->dim;
    for (uint32_t j = 0; j < o->dim; j++) {
        struct element x = {w[j], m[j], v[j], u[j]};
        for (uint64_t s = last + 1; o->replays && s <= missed; s++)
            amsgrad_step(o, &x, 0, steps_scalars(&o->steps, s));
        if (g != NULL)
            amsgrad_step(o, &x, g[j], optim_damped(o, steps_scalars(&o->steps, step)));
        w[j] = x.w;
        m[j] = x.m;
        v[j] = x.v;
        u[j] = x.u;
    }
}
