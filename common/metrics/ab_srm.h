/* ab_srm.h - is the split what it should be? Sample ratio mismatch, by chi-square and sequentially.
 *
 * A mismatch means that users were lost on the way, more in one arm than in the other, and then no figure of
 * the experiment can be believed. Alarms: chi-square, looked at once, p < .001; sequential p < alpha, however
 * often one looks. The sequential test is the Dirichlet-multinomial one of Lindon and Malek (2022) with a
 * prior of AB_SRM_PRIOR * weights, as GrowthBook's gbstats has it. It is far more conservative at small n: the
 * price of looking every second.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_SRM_H
#define PENSTOCK_COMMON_METRICS_AB_SRM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/metrics/ab_assign.h"

#define AB_SRM_PRIOR 10000.0
#define AB_SRM_ALARM 1e-3

struct ab_srm_result {
    double chi_square, p;
};

/* counts, weights: (k), weights > 0, any sum. false: not enough data (k < 2, nobody yet). */
bool ab_srm_chi_square(const double *counts, const double *weights, size_t k,
                       struct ab_srm_result *out);

struct ab_srm {
    size_t k;
    double weight[AB_VARIANTS_MAX]; /* sum to 1 */
    double count[AB_VARIANTS_MAX];  /* users so far */
    double p;                       /* the least so far */
};

/* false: not 2 to AB_VARIANTS_MAX weights, or one that is not > 0. */
bool ab_srm_init(struct ab_srm *s, const double *weights, size_t k);
/* Those who came since the last look: (k), >= 0. Returns the p so far. */
double ab_srm_look(struct ab_srm *s, const double *counts);

#endif
