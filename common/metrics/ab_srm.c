/* ab_srm.c - see ab_srm.h. What a period adds to the two log likelihoods telescopes, and both share the
 * multinomial coefficient; so the Bayes factor is a function of the totals alone, and no rounding adds up over
 * a million looks. lgamma of 1e12 is 3e13, hence long double.
 */
#include "common/metrics/ab_srm.h"

#include <math.h>

#include "common/metrics/special.h"

static bool weights_sum(const double *weights, size_t k, double *out)
{
    double sum = 0;
    if (k < 2 || k > AB_VARIANTS_MAX)
        return false;
    for (size_t i = 0; i < k; i++) {
        if (!(weights[i] > 0) || !isfinite(weights[i]))
            return false;
        sum += weights[i];
    }
    *out = sum;
    return isfinite(sum);
}

bool ab_srm_chi_square(const double *counts, const double *weights, size_t k,
                       struct ab_srm_result *out)
{
    double sum, n = 0, x = 0;
    if (!weights_sum(weights, k, &sum))
        return false;
    for (size_t i = 0; i < k; i++)
        n += counts[i];
    if (!(n > 0) || !isfinite(n))
        return false;
    for (size_t i = 0; i < k; i++) {
        const double expected = n * weights[i] / sum;
        x += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    *out = (struct ab_srm_result){x, special_chi_square_tail(x, (double)k - 1)};
    return true;
}

bool ab_srm_init(struct ab_srm *s, const double *weights, size_t k)
{
    double sum;
    if (!weights_sum(weights, k, &sum))
        return false;
    *s = (struct ab_srm){.k = k, .p = 1};
    for (size_t i = 0; i < k; i++)
        s->weight[i] = weights[i] / sum;
    return true;
}

static long double log_gamma(long double x)
{
    int sign;
    return lgammal_r(x, &sign);
}

double ab_srm_look(struct ab_srm *s, const double *counts)
{
    long double n = 0, log_odds = 0; /* of "another split" against "this split" */
    for (size_t i = 0; i < s->k; i++) {
        s->count[i] += counts[i];
        const long double a = AB_SRM_PRIOR * s->weight[i], x = s->count[i];
        n += x;
        log_odds += log_gamma(a + x) - log_gamma(a) - x * logl(s->weight[i]);
    }
    log_odds += log_gamma(AB_SRM_PRIOR) - log_gamma(AB_SRM_PRIOR + n);
    s->p = fmin(s->p, (double)expl(-log_odds));
    return s->p;
}
