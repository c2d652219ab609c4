/* ftrl.c - follow the regularized leader, proximal: McMahan and others 2013, algorithm 1, per coordinate.
 *
 *   h = (beta + sqrt(n)) / rate                   1 / the coordinate's own rate
 *   n += g^2;  z += g - (h of now - h of before) * w
 *   w = 0 where |z| <= l1, else (sign(z) l1 - z) / (h + l2)
 *
 * State: z (dim), then n (dim). w is kept as well, as any optimizer's: it is what this formula says after each
 * step, so whoever reads rows, pulls, cuts or serving, needs to know nothing of z and n.
 *
 * Three things that the textbook leaves open:
 *
 *   The rate changes (warm-up, plateau). h of before is taken with the rate of before, so that the sum of the
 *   differences stays h, and w moves by the gradient alone. With the rate of now, a drop to a tenth would
 *   shrink every weight to a tenth.
 *
 *   Rows that begin elsewhere than at 0. The first step's h of before is 0: the row is pulled towards where it
 *   began as if that were its first weight. From 0 this is the textbook's (z stays 0).
 *
 *   A step without a gradient. With the rate as it was it moves nothing: the difference of h is 0, and w is made
 *   of the same z and n. The first such step of a row that begins elsewhere applies l1 and l2 to it; a change of
 *   the rate moves z, not w. Both are replayed like any missed step (l2_mode exact); with touched the change is
 *   made up for at the touch, from the rate at the last one.
 */
#include <math.h>

#include "ps/optim/kernels.h"

struct element {
    float w, z, n;
};

static float within(float limit, float x)
{
    const float below = limit < x ? limit : x;
    return -limit > below ? -limit : below;
}

/* before, now: 1 / rate of the step that z and n are of (0: of none) and of this one. */
static void ftrl_step(const struct optim *o, struct element *x, float g, float before, float now)
{
    const float n = x->n + g * g;
    const float h = (o->beta + sqrtf(n)) * now;
    x->z += g - (h - (o->beta + sqrtf(x->n)) * before) * x->w;
    x->n = n;
    x->w = (within(o->l1, x->z) - x->z) / (h + o->l2);
}

void optim_ftrl_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                      uint64_t step)
{
    const uint64_t missed = g != NULL ? step - 1 : step;
    float *z = state, *n = state + o->dim;
    for (uint32_t j = 0; j < o->dim; j++) {
        struct element x = {w[j], z[j], n[j]};
        float before = last > 0 ? steps_scalars(&o->steps, last).a : 0;
        for (uint64_t s = last + 1; o->replays && s <= missed; s++) {
            const float now = steps_scalars(&o->steps, s).a;
            if (now != before)
                ftrl_step(o, &x, 0, before, now);
            before = now;
        }
        if (g != NULL)
            ftrl_step(o, &x, g[j], before, steps_scalars(&o->steps, step).a);
        w[j] = x.w;
        z[j] = x.z;
        n[j] = x.n;
    }
}
