/* ab_effect.h - the difference between two arms, and the test at a horizon fixed in advance.
 *
 * absolute: d = mB - mA,        SE^2 = vA / nA + vB / nB
 * relative: d = (mB - mA) / mA, SE^2 = (vB / nB) / mA^2 + (vA / nA) mB^2 / mA^4   (delta method)
 * With adjusted arms (CUPED) d has the adjusted means above and the plain mean of A below, and the SE plain
 * means and adjusted variances. Degrees of freedom are Welch's.
 *
 * The test here is right once, at the end; who looks earlier wants ab_sequence.h.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_EFFECT_H
#define PENSTOCK_COMMON_METRICS_AB_EFFECT_H

#include <stdbool.h>

#include "common/metrics/ab_sums.h"

enum ab_lift { AB_RELATIVE, AB_ABSOLUTE };
enum ab_side { AB_TWO_SIDED, AB_GREATER /* is B better? */, AB_LESS /* is B worse? */ };

struct ab_effect {
    double lift;
    double se;      /* > 0, finite */
    double n;       /* units of both arms */
    double degrees; /* Welch */
};

struct ab_interval {
    double from, to; /* one-sided: the other end is infinite */
    double half;     /* distance of a finite end from the lift */
    double p;
};

/* false: not enough data (relative: also a mean of A of 0). */
bool ab_effect_between(const struct ab_arm *a, const struct ab_arm *b, enum ab_lift kind,
                       struct ab_effect *out);
/* Ends of the interval that is `half` wide on each side that counts. */
struct ab_interval ab_effect_interval(const struct ab_effect *e, enum ab_side side, double half,
                                      double p);
/* The relative lift without the delta method (Fieller 1954): all lifts r for which mB - (1 + r) mA lies within `width`
 * standard errors of 0, that error being of this very difference. So it leaves out 0 exactly when the absolute
 * interval of the same width does, whatever few users or orders there are. p: of that absolute test. false: not
 * enough data, mA itself is not `width` errors above 0 and any lift is possible. */
bool ab_effect_fieller(const struct ab_arm *a, const struct ab_arm *b, enum ab_side side,
                       double width, double p, struct ab_interval *out);
/* Welch's t-test with confidence 1 - alpha; 0 < alpha < 1. */
struct ab_interval ab_effect_fixed(const struct ab_effect *e, enum ab_side side, double alpha);

#endif
