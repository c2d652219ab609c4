/* sgd.c - w -= rate * g.
 *
 * With exact L2 a missed step is w -= rate * (l2 * w), one after the other: (1 - rate * l2)^k would be one
 * multiplication, but replaying a..b and then b..c must give the bits of a..c.
 */
#include "ps/optim/kernels.h"

static float sgd_step(const struct optim *o, float w, float g, struct scalars s)
{
    if (o->l2 != 0)
        g += o->l2 * w;
    return w - s.a * g;
}

void optim_sgd_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                     uint64_t step)
{
    (void)state;
    const uint64_t missed = g != NULL ? step - 1 : step;
    for (uint32_t j = 0; j < o->dim; j++) {
        for (uint64_t s = last + 1; o->replays && s <= missed; s++)
            w[j] = sgd_step(o, w[j], 0, steps_scalars(&o->steps, s));
        if (g != NULL)
            w[j] = sgd_step(o, w[j], g[j], optim_damped(o, steps_scalars(&o->steps, step)));
    }
}
