/* special.c - see special.h. Regularised incomplete gamma and beta functions, each as a continued fraction
 * where that converges, as a series or by symmetry elsewhere.
 *
 * Beyond DEGREES_MAX Student's t is the normal: they differ by less than t^4 / (4 degrees), and the fraction
 * would take thousands of terms to say so. Quantiles come by bisection on the tail, which is monotone; nobody
 * asks for them often enough for more.
 */
#include "common/metrics/special.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#define DEGREES_MAX 1e7
#define TERMS_MAX   100000
#define TINY        1e-300 /* stands for a zero in a fraction */
#define CLOSE       1e-15

static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

/* Lentz: f = 1/(b0 + a1/(b1 + a2/(b2 + ...))); c and d are the running ratios of numerators and denominators. */
struct fraction {
    double f, c, d;
};

static bool fraction_step(struct fraction *x, double a, double b)
{
    x->d = b + a * x->d;
    x->c = b + a / x->c;
    x->d = 1 / (fabs(x->d) < TINY ? TINY : x->d);
    x->c = fabs(x->c) < TINY ? TINY : x->c;
    x->f *= x->c * x->d;
    return fabs(x->c * x->d - 1) < CLOSE;
}

/* Q(a, x) = Gamma(a, x) / Gamma(a). */
static double gamma_upper(double a, double x)
{
    if (x <= 0)
        return 1;
    const double front = exp(a * log(x) - x - log_gamma(a));
    if (x < a + 1) {
        double term = 1 / a, sum = term;
        for (int n = 1; n < TERMS_MAX && term > sum * CLOSE; n++) {
            term *= x / (a + n);
            sum += term;
        }
        return 1 - front * sum;
    }
    struct fraction v = {1 / (x + 1 - a), 1 / TINY, 1 / (x + 1 - a)};
    for (int n = 1; n < TERMS_MAX; n++)
        if (fraction_step(&v, -n * (n - a), x + 1 - a + 2 * n))
            break;
    return front * v.f;
}

/* The fraction of I_x(a, b), A&S 26.5.8; converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    const double first = 1 / (1 - (a + b) * x / (a + 1)); /* > 0 there */
    struct fraction v = {first, 1, first};
    for (int n = 1; n < TERMS_MAX; n++) {
        const double m = n, am = a + 2 * m;
        (void)fraction_step(&v, m * (b - m) * x / ((am - 1) * am), 1);
        if (fraction_step(&v, -(a + m) * (a + b + m) * x / (am * (am + 1)), 1))
            break;
    }
    return v.f;
}

/* I_x(a, b), with y = 1 - x given, so that neither end loses digits. */
static double beta_lower(double a, double b, double x, double y)
{
    if (x <= 0 || y <= 0)
        return x <= 0 ? 0 : 1;
    const double front =
        exp(a * log(x) + b * log(y) + log_gamma(a + b) - log_gamma(a) - log_gamma(b));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, y) / b;
}

double special_chi_square_tail(double x, double degrees)
{
    assert(degrees > 0 && x >= 0);
    return isinf(x) ? 0 : gamma_upper(degrees / 2, x / 2);
}

double special_normal_tail(double z)
{
    return erfc(z / sqrt(2)) / 2;
}

double special_t_tail(double t, double degrees)
{
    assert(degrees > 0 && !isnan(t));
    if (isinf(t))
        return t > 0 ? 0 : 1;
    if (degrees > DEGREES_MAX)
        return special_normal_tail(t);
    const double all = degrees + t * t;
    const double half = beta_lower(degrees / 2, 0.5, degrees / all, t * t / all) / 2;
    return t >= 0 ? half : 1 - half;
}

double special_t_quantile(double tail, double degrees)
{
    assert(tail > 0 && tail < 1);
    if (tail > 0.5)
        return -special_t_quantile(1 - tail, degrees);
    double low = 0, high = 1;
    while (special_t_tail(high, degrees) > tail && high < 1e300)
        high *= 2;
    for (int i = 0; i < 200 && high - low > CLOSE * high; i++) {
        const double middle = low + (high - low) / 2;
        if (special_t_tail(middle, degrees) > tail)
            low = middle;
        else
            high = middle;
    }
    return low + (high - low) / 2;
}
