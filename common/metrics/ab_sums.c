/* ab_sums.c - see ab_sums.h. The one subtraction that can cancel is done in long double. */
#include "common/metrics/ab_sums.h"

#include <math.h>

#define ROUNDING 1e-12 /* of a sum of squares, at most */

void ab_sums_add(struct ab_sums *into, const struct ab_sums *from)
{
    into->n += from->n;
    into->sum += from->sum;
    into->square_sum += from->square_sum;
    into->d_sum += from->d_sum;
    into->d_square_sum += from->d_square_sum;
    into->yd_sum += from->yd_sum;
    into->x_sum += from->x_sum;
    into->x_square_sum += from->x_square_sum;
    into->xy_sum += from->xy_sum;
}

double ab_sums_cov(double n, double x_sum, double y_sum, double xy_sum)
{
    const long double both = (long double)x_sum * (long double)y_sum / (long double)n;
    return (double)(((long double)xy_sum - both) / ((long double)n - 1));
}

/* The delta method for a quotient of two means of the same users. */
static bool ratio_arm(const struct ab_sums *s, struct ab_arm *out, double *out_scale)
{
    if (!(s->d_sum > 0))
        return false;
    const double mean_y = s->sum / s->n, mean_d = s->d_sum / s->n, r = mean_y / mean_d;
    const double var_y = ab_sums_cov(s->n, s->sum, s->sum, s->square_sum);
    const double var_d = ab_sums_cov(s->n, s->d_sum, s->d_sum, s->d_square_sum);
    const double cov = ab_sums_cov(s->n, s->sum, s->d_sum, s->yd_sum);
    const double per = mean_d * mean_d;
    *out = (struct ab_arm){s->n, r, (var_y + r * r * var_d - 2 * r * cov) / per, r};
    *out_scale = (var_y + r * r * var_d) / per;
    return true;
}

bool ab_arm_from(const struct ab_sums *s, enum ab_kind kind, struct ab_arm *out)
{
    struct ab_arm a = {s->n, 0, 0, 0};
    double scale = 0; /* what cancelled: a variance far below it is rounding */
    if (!(s->n >= 2))
        return false;
    if (kind == AB_RATIO) {
        if (!ratio_arm(s, &a, &scale))
            return false;
    } else {
        a.mean = a.base = s->sum / s->n;
        if (kind == AB_PROPORTION) {
            a.var = a.mean * (1 - a.mean);
        } else {
            a.var = ab_sums_cov(s->n, s->sum, s->sum, s->square_sum);
            scale = s->square_sum / s->n;
        }
    }
    if (!isfinite(a.mean) || !isfinite(a.var) || !(a.var > ROUNDING * scale))
        return false;
    *out = a;
    return true;
}
