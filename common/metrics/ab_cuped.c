/* ab_cuped.c - see ab_cuped.h. The base of an arm stays the plain mean: a relative lift is relative to it. */
#include "common/metrics/ab_cuped.h"

#include <math.h>

#define ROUNDING 1e-12

static bool adjust(const struct ab_sums *s, double theta, struct ab_arm *arm)
{
    const double var_x = ab_sums_cov(s->n, s->x_sum, s->x_sum, s->x_square_sum);
    const double cov = ab_sums_cov(s->n, s->sum, s->x_sum, s->xy_sum);
    const double var = arm->var + theta * theta * var_x - 2 * theta * cov;
    if (!isfinite(var) || !(var > ROUNDING * arm->var))
        return false;
    arm->mean -= theta * s->x_sum / s->n;
    arm->var = var;
    return isfinite(arm->mean);
}

bool ab_cuped_adjust(const struct ab_sums *a, const struct ab_sums *b, struct ab_arm *arm_a,
                     struct ab_arm *arm_b, struct ab_cuped *out)
{
    struct ab_sums both = *a;
    ab_sums_add(&both, b);
    const double var_x = ab_sums_cov(both.n, both.x_sum, both.x_sum, both.x_square_sum);
    const double cov = ab_sums_cov(both.n, both.sum, both.x_sum, both.xy_sum);
    if (!isfinite(var_x) || !(var_x > ROUNDING * both.x_square_sum / both.n))
        return false;
    struct ab_arm to_a = *arm_a, to_b = *arm_b;
    const double theta = cov / var_x;
    if (!isfinite(theta) || !adjust(a, theta, &to_a) || !adjust(b, theta, &to_b))
        return false;
    const double before = arm_a->var / a->n + arm_b->var / b->n;
    out->theta = theta;
    out->reduction = 1 - (to_a.var / a->n + to_b.var / b->n) / before;
    *arm_a = to_a;
    *arm_b = to_b;
    return true;
}
