/* logloss.c - see logloss.h. From the logit, so nothing is clipped; sums in double (a float stops counting
 * at 10 million records).
 */
#include "common/metrics/logloss.h"

#include <math.h>

void logloss_add(struct logloss *l, const float *logits, const float *labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (labels[i] < 0)
            continue;
        const double z = (double)logits[i], y = (double)labels[i];
        const double e = exp(-fabs(z));
        const bool positive = y > 0.5;
        l->loss += fmax(z, 0) - z * y + log1p(e);
        l->predicted += z >= 0 ? 1 / (1 + e) : e / (1 + e);
        l->correct += positive ? z > 0 : z <= 0; /* a NaN is never correct */
        l->positives += positive;
        l->count++;
    }
}

void logloss_correct(struct logloss *l, float logit)
{
    const double z = (double)logit;
    l->loss -= z; /* the label stands in the loss as - z y */
    l->positives++;
    if (z > 0)
        l->correct++;
    else
        l->correct--;
}

void logloss_merge(struct logloss *into, const struct logloss *from)
{
    into->loss += from->loss;
    into->predicted += from->predicted;
    into->count += from->count;
    into->correct += from->correct;
    into->positives += from->positives;
}

double logloss_mean(const struct logloss *l)
{
    return l->count ? l->loss / (double)l->count : 0;
}

double logloss_accuracy(const struct logloss *l)
{
    return l->count ? (double)l->correct / (double)l->count : 0;
}

bool logloss_entropy(const struct logloss *l, double *out)
{
    if (l->positives == 0 || l->positives >= l->count)
        return false;
    const double p = (double)l->positives / (double)l->count;
    *out = logloss_mean(l) / -(p * log(p) + (1 - p) * log1p(-p));
    return true;
}

bool logloss_calibration(const struct logloss *l, double *out)
{
    if (l->positives == 0)
        return false;
    *out = l->predicted / (double)l->positives;
    return true;
}
