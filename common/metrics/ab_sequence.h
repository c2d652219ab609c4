/* ab_sequence.h - intervals that stay true however often one looks: the asymptotic confidence sequence.
 *
 * Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence sequences"
 * (arXiv 2103.06476v7): rho from eq. 161, half widths from eq. 9 and 134, p from eq. 155. N* is the number of
 * units of both arms at which a decision is expected: the sequence is narrowest about there, and it must be
 * fixed before the start. Robbins' normal mixture underneath is the mSPRT (Johari et al.) with
 * rho^2 = tau^2 / (SE^2 n), so ab_sequence_with serves that, too.
 *
 * Decide by the absolute effect and show the lift by ab_sequence_lift. The delta method's interval of a relative lift
 * (ab_sequence_at of AB_RELATIVE, as GrowthBook has it) is no such sequence while conversions are few: in A/A tests
 * of 2,000 users with a look after each it left 0 out in 17% where 2% buy, in 10% where 10% do. Absolute: 1 to 2%.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_SEQUENCE_H
#define PENSTOCK_COMMON_METRICS_AB_SEQUENCE_H

#include <stdbool.h>

#include "common/metrics/ab_effect.h"

#define AB_N_STAR 5000.0 /* where nobody says otherwise */

/* 0 < alpha < 1 (one-sided: < .5), n_star > 0. */
double ab_sequence_rho(double alpha, double n_star, enum ab_side side);
struct ab_interval ab_sequence_with(const struct ab_effect *e, enum ab_side side, double alpha,
                                    double rho);
/* The same with the rho of N*. A one-sided p is the alpha at which the bound touches 0, rho held, within
 * [1e-5, .4999]. */
struct ab_interval ab_sequence_at(const struct ab_effect *e, enum ab_side side, double alpha,
                                  double n_star);
/* The relative lift by Fieller's interval: leaves out 0 exactly when the absolute sequence does. false: not enough
 * data. */
bool ab_sequence_lift(const struct ab_arm *a, const struct ab_arm *b, enum ab_side side,
                      double alpha, double n_star, struct ab_interval *out);

/* What is reported: the intersection of all intervals so far and the least p. */
struct ab_sequence {
    double from, to, p;
    bool
        empty; /* the intervals no longer meet: the effect itself has changed (or the 1 in 1/alpha came) */
};

void ab_sequence_init(struct ab_sequence *s);
void ab_sequence_look(struct ab_sequence *s, const struct ab_interval *now);

#endif
