/* ab_effect.c - see ab_effect.h. */
#include "common/metrics/ab_effect.h"

#include <math.h>

#include "common/metrics/special.h"

static double square(double x)
{
    return x * x;
}

bool ab_effect_between(const struct ab_arm *a, const struct ab_arm *b, enum ab_lift kind,
                       struct ab_effect *out)
{
    struct ab_effect e = {b->mean - a->mean, 0, a->n + b->n, 0};
    const double ua = a->var / a->n, ub = b->var / b->n;
    double se2 = ua + ub;
    if (kind == AB_RELATIVE) {
        if (a->base == 0)
            return false;
        e.lift /= a->base;
        se2 = ub / square(a->base) + ua * square(b->base / a->base) / square(a->base);
    }
    e.se = sqrt(se2);
    /* As shares of the sum, so that tiny variances do not underflow when squared. */
    const double wa = ua / (ua + ub), wb = ub / (ua + ub);
    e.degrees = 1 / (square(wa) / (a->n - 1) + square(wb) / (b->n - 1));
    if (!isfinite(e.lift) || !isfinite(e.se) || !(e.se > 0) || !(e.degrees > 0))
        return false;
    *out = e;
    return true;
}

struct ab_interval ab_effect_interval(const struct ab_effect *e, enum ab_side side, double half,
                                      double p)
{
    const double from = e->lift - half, to = e->lift + half;
    return (struct ab_interval){side == AB_LESS ? -INFINITY : from,
                                side == AB_GREATER ? INFINITY : to, half, p};
}

/* A quadratic in t = 1 + r: t^2 (mA^2 - w^2 uA) - 2 t mA mB + mB^2 - w^2 uB <= 0. */
bool ab_effect_fieller(const struct ab_arm *a, const struct ab_arm *b, enum ab_side side,
                       double width, double p, struct ab_interval *out)
{
    const double ma = a->base, mb = a->base + (b->mean - a->mean); /* adjusted arms: on A's scale */
    const double ua = a->var / a->n, ub = b->var / b->n, w2 = square(width);
    const double lead = square(ma) - w2 * ua;
    if (!(ma > 0) || !(lead > 0))
        return false;
    /* (mA mB)^2 - lead (mB^2 - w^2 uB), without subtracting what is nearly equal. */
    const double under = w2 * (ua * square(mb) + ub * lead);
    const double middle = ma * mb / lead, half = sqrt(under) / lead;
    if (!isfinite(middle) || !isfinite(half))
        return false;
    *out = (struct ab_interval){side == AB_LESS ? -INFINITY : middle - half - 1,
                                side == AB_GREATER ? INFINITY : middle + half - 1, half, p};
    return true;
}

struct ab_interval ab_effect_fixed(const struct ab_effect *e, enum ab_side side, double alpha)
{
    const double t = e->lift / e->se;
    const double tail = side == AB_TWO_SIDED ? alpha / 2 : alpha;
    const double half = special_t_quantile(tail, e->degrees) * e->se;
    double p;
    switch (side) {
    case AB_GREATER: p = special_t_tail(t, e->degrees); break;
    case AB_LESS: p = special_t_tail(-t, e->degrees); break;
    default: p = fmin(1, 2 * special_t_tail(fabs(t), e->degrees)); break;
    }
    return ab_effect_interval(e, side, half, p);
}
