/* ab_cuped.h - CUPED (Deng et al. 2013): what users did before the experiment, taken out of what they do in it.
 *
 * theta = cov(Y, X) / var(X) over both arms; Y' = mean Y - theta * mean X; v' = vY + theta^2 vX - 2 theta cov.
 * With correlation r between X and Y the variance that is left is 1 - r^2. X must not depend on the variant.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_CUPED_H
#define PENSTOCK_COMMON_METRICS_AB_CUPED_H

#include <stdbool.h>

#include "common/metrics/ab_sums.h"

struct ab_cuped {
    double theta;
    double reduction; /* share of the variance that is gone, over both arms */
};

/* Adjusts the arms that ab_arm_from made of the sums a and b (AB_MEAN or AB_PROPORTION). false: not enough
 * data (the covariate has no variance, or nothing is left of the metric's); the arms are then untouched. */
bool ab_cuped_adjust(const struct ab_sums *a, const struct ab_sums *b, struct ab_arm *arm_a,
                     struct ab_arm *arm_b, struct ab_cuped *out);

#endif
