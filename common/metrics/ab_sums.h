/* ab_sums.h - what one arm's users add up to, and the mean and variance a test takes from it.
 *
 * The unit is the user: a user's events are summed first, then these sums run over users. They add (over
 * nodes, over periods), and a user whose value changes from a to b changes them by the difference. From raw
 * sums a variance loses log10(1 + mean^2 / variance) digits of the sums' 15 to 16; one that is less than 1e-12 of
 * the mean square is taken for none.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_SUMS_H
#define PENSTOCK_COMMON_METRICS_AB_SUMS_H

#include <stdbool.h>

enum ab_kind {
    AB_MEAN,       /* of y a user */
    AB_PROPORTION, /* of users with y = 1; y is 0 or 1, so square_sum == sum */
    AB_RATIO       /* sum of y over sum of d (clicks over impressions), the user still the unit */
};

struct ab_sums {
    double n;                           /* users */
    double sum, square_sum;             /* of y, y^2 */
    double d_sum, d_square_sum, yd_sum; /* AB_RATIO: of d, d^2, y d */
    double x_sum, x_square_sum, xy_sum; /* the covariate: the user's y before the experiment */
};

struct ab_arm {
    double n;    /* units */
    double mean; /* what is compared: adjusted, if a covariate was used */
    double var;  /* of one unit; of the mean it is var / n */
    double base; /* the mean before any adjustment: what a relative lift is relative to */
};

void ab_sums_add(struct ab_sums *into, const struct ab_sums *from);
/* false: not enough data (n < 2, no variance, no denominator); out is then untouched. */
bool ab_arm_from(const struct ab_sums *s, enum ab_kind kind, struct ab_arm *out);

/* Covariance of one unit from sums: (xy - x y / n) / (n - 1); n >= 2. */
double ab_sums_cov(double n, double x_sum, double y_sum, double xy_sum);

#endif
