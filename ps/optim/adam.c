/* adam.c - m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= a m / (sqrt(v) b + eps),
 * with a = rate / (1 - b1^t), b = 1 / sqrt(1 - b2^t), t the shard's step: dense Adam's t, not a row's own.
 *
 * State: m (dim), then v (dim). A missed step is the same with g = l2 * w, also when l2 is 0: momentum goes
 * on moving the row, as it does in dense Adam.
 *
 * This is the obvious path: every step, one after the other. The fast ones (lanes.inc) leave out work only
 * where they can show that no bit would change.
 */
#include <math.h>

#include "ps/optim/kernels.h"

struct element {
    float w, m, v;
};

static void adam_step(const struct optim *o, struct element *x, float g, struct scalars s)
{
    if (o->l2 != 0)
        g += o->l2 * x->w;
    x->m = o->b1 * x->m + o->c1 * g;
    x->v = o->b2 * x->v + o->c2 * (g * g);
    x->w -= s.a * x->m / (sqrtf(x->v) * s.b + o->eps);
}

void optim_adam_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                      uint64_t step)
{
    const uint64_t missed = g != NULL ? step - 1 : step;
    float *m = state, *v = state + o->dim;
    for (uint32_t j = 0; j < o->dim; j++) {
        struct element x = {w[j], m[j], v[j]};
        for (uint64_t s = last + 1; o->replays && s <= missed; s++)
            adam_step(o, &x, 0, steps_scalars(&o->steps, s));
        if (g != NULL)
            adam_step(o, &x, g[j], optim_damped(o, steps_scalars(&o->steps, step)));
        w[j] = x.w;
        m[j] = x.m;
        v[j] = x.v;
    }
}
