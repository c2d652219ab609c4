/* ab_sequence.c - see ab_sequence.h. All that grows with n is under a square root or a logarithm, and p is
 * made from its logarithm, so nothing overflows. Half widths contain ln(../alpha): alpha is what the caller
 * divides among several arms or metrics.
 */
#include "common/metrics/ab_sequence.h"

#include <assert.h>
#include <math.h>

#define P_LEAST   1e-5
#define P_MOST    .4999
#define BISECTION 100

double ab_sequence_rho(double alpha, double n_star, enum ab_side side)
{
    assert(alpha > 0 && alpha < 1 && n_star > 0);
    const double x = -2 * log(side == AB_TWO_SIDED ? alpha : 2 * alpha);
    assert(x > 0);
    return sqrt((x + log(x + 1)) / n_star);
}

/* In standard errors: sqrt(s2) = se sqrt(n). */
static double width_at(double n, bool one_sided, double alpha, double rho)
{
    const double r = n * rho * rho, root = sqrt(r + 1);
    const double log_part = one_sided ? log1p(root / (2 * alpha)) : log(root / alpha);
    return sqrt(2 * (r + 1) / r * log_part);
}

static double half_width(const struct ab_effect *e, bool one_sided, double alpha, double rho)
{
    return e->se * width_at(e->n, one_sided, alpha, rho);
}

static double p_two_sided(const struct ab_effect *e, double rho)
{
    const double r = e->n * rho * rho, z = e->lift / e->se;
    return exp(fmin(0, log1p(r) / 2 - r * z * z / (2 * (r + 1))));
}

/* The bound that counts, as a number that is > 0 when the test has found something. */
static double found_by(const struct ab_effect *e, enum ab_side side, double alpha, double rho)
{
    const double lift = side == AB_GREATER ? e->lift : -e->lift;
    return lift - half_width(e, true, alpha, rho);
}

static double p_one_sided(const struct ab_effect *e, enum ab_side side, double rho)
{
    double low = P_LEAST, high = P_MOST;
    if (found_by(e, side, low, rho) >= 0)
        return low;
    if (found_by(e, side, high, rho) <= 0)
        return high;
    for (int i = 0; i < BISECTION && high - low > 1e-15; i++) {
        const double middle = (low + high) / 2;
        if (found_by(e, side, middle, rho) > 0)
            high = middle;
        else
            low = middle;
    }
    return (low + high) / 2;
}

struct ab_interval ab_sequence_with(const struct ab_effect *e, enum ab_side side, double alpha,
                                    double rho)
{
    const bool one_sided = side != AB_TWO_SIDED;
    const double half = half_width(e, one_sided, alpha, rho);
    const double p = one_sided ? p_one_sided(e, side, rho) : p_two_sided(e, rho);
    return ab_effect_interval(e, side, half, p);
}

struct ab_interval ab_sequence_at(const struct ab_effect *e, enum ab_side side, double alpha,
                                  double n_star)
{
    return ab_sequence_with(e, side, alpha, ab_sequence_rho(alpha, n_star, side));
}

bool ab_sequence_lift(const struct ab_arm *a, const struct ab_arm *b, enum ab_side side,
                      double alpha, double n_star, struct ab_interval *out)
{
    struct ab_effect e;
    const double rho = ab_sequence_rho(alpha, n_star, side);
    if (!ab_effect_between(a, b, AB_ABSOLUTE, &e))
        return false;
    const double width = width_at(e.n, side != AB_TWO_SIDED, alpha, rho);
    return ab_effect_fieller(a, b, side, width, ab_sequence_with(&e, side, alpha, rho).p, out);
}

void ab_sequence_init(struct ab_sequence *s)
{
    *s = (struct ab_sequence){-INFINITY, INFINITY, 1, false};
}

void ab_sequence_look(struct ab_sequence *s, const struct ab_interval *now)
{
    const double from = fmax(s->from, now->from), to = fmin(s->to, now->to);
    s->p = fmin(s->p, now->p);
    if (from > to) { /* the last intersection stays, for people to read */
        s->empty = true;
        return;
    }
    s->from = from;
    s->to = to;
}
