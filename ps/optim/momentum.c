/* momentum.c - v = mu v + g; w -= rate * v, and Nesterov's w -= rate * (g + mu v). PyTorch's forms, no dampening.
 *
 * State: v (dim). A missed step is the same with g = l2 * w, also when l2 is 0: the velocity goes on moving
 * the row, as it does in dense training. The sum of what is to come would be a geometric series, but its
 * bits would not be those of the steps.
 */
#include "ps/optim/kernels.h"

struct element {
    float w, v;
};

static void momentum_step(const struct optim *o, struct element *x, float g, struct scalars s)
{
    if (o->l2 != 0)
        g += o->l2 * x->w;
    x->v = o->b1 * x->v + g;
    x->w -= s.a * (o->kind == OPTIM_NESTEROV ? g + o->b1 * x->v : x->v);
}

void optim_momentum_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                          uint64_t step)
{
    const uint64_t missed = g != NULL ? step - 1 : step;
    for (uint32_t j = 0; j < o->dim; j++) {
        struct element x = {w[j], state[j]};
        for (uint64_t s = last + 1; o->replays && s <= missed; s++)
            momentum_step(o, &x, 0, steps_scalars(&o->steps, s));
        if (g != NULL)
            momentum_step(o, &x, g[j], optim_damped(o, steps_scalars(&o->steps, step)));
        w[j] = x.w;
        state[j] = x.v;
    }
}
