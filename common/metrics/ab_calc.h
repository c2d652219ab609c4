/* ab_calc.h - every statistic of an A/B test from given sums, JSON in, JSON out.
 *
 * So that anyone can hold our numbers against another implementation's: no users, no files, no state. In
 * (what has a default may be left out; keys that are unknown or mean nothing here are refused):
 *
 *   kind    "mean" (default), "proportion" or "ratio"
 *   test    "both" (default), "sequential" or "fixed"
 *   side    "two-sided" (default), "greater" or "less"
 *   alpha   .05    n_star  5000
 *   arms    2 to 16, the first the control: {name, n, sum, sum_squares, weight,
 *             covariate_sum, covariate_sum_squares, cross_sum,            CUPED, in all arms or none
 *             denominator_sum, denominator_sum_squares, denominator_cross_sum}      kind ratio
 *   periods [[users of each arm], ...]: the looks of the sequential SRM; default: one, n of the arms
 *
 * Out: arms (mean, sd of one unit, se), srm (chi_square, p, sequential_p), comparisons of each arm with the control
 * (cuped, absolute, relative by the delta method; each with lift, se, fixed, sequential; fieller: the sequential
 * interval of the lift that agrees with the absolute one). null: not enough data; of an interval's end: a one-sided
 * test has none there.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_CALC_H
#define PENSTOCK_COMMON_METRICS_AB_CALC_H

#include "common/base/errbuf.h"
#include "common/base/json.h"

/* name: how `in` is called in errors. ST_USAGE: "name: arms[1].sum is not a number". */
MUST_CHECK enum status ab_calc(const struct json *in, const char *name, struct json **out,
                               struct errbuf *err);

#endif
