/* special.h - the distributions that libm lacks: tails of chi-square, normal and Student's t, and quantiles.
 *
 * Sources: Abramowitz and Stegun 6.5, 26.5, 26.7; the continued fractions are evaluated by Lentz's method
 * (1976). Relative error below 1e-10 wherever the value is above 1e-300; arguments outside the domain are
 * the caller's mistake and asserted.
 */
#ifndef PENSTOCK_COMMON_METRICS_SPECIAL_H
#define PENSTOCK_COMMON_METRICS_SPECIAL_H

/* P(X > x) of chi-square with `degrees` > 0; x >= 0. */
double special_chi_square_tail(double x, double degrees);
/* P(Z > z) of the standard normal. */
double special_normal_tail(double z);
/* P(T > t) of Student's t with `degrees` > 0. */
double special_t_tail(double t, double degrees);
/* The t with P(T > t) = tail; 0 < tail < 1. */
double special_t_quantile(double tail, double degrees);

#endif
