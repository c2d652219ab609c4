/* logloss.h - sums of binary cross-entropy and accuracy from logits; add over workers, then divide. */
#ifndef PENSTOCK_COMMON_METRICS_LOGLOSS_H
#define PENSTOCK_COMMON_METRICS_LOGLOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct logloss {
    double loss;      /* sum of max(z,0) - z y + log1p(exp(-|z|)); NaN if a logit was */
    double predicted; /* sum of sigmoid(z): calibration = predicted / positives */
    uint64_t count, correct, positives;
};

/* labels: 0 or 1; below 0: no label, the record is left out. */
void logloss_add(struct logloss *l, const float *logits, const float *labels, size_t n);
/* One example that was added with label 0 turns out to have label 1. */
void logloss_correct(struct logloss *l, float logit);
void logloss_merge(struct logloss *into, const struct logloss *from);
double logloss_mean(const struct logloss *l); /* 0 if empty */
double logloss_accuracy(const struct logloss *l);
/* Normalized entropy (He et al. 2014): the mean loss over that of always saying the base rate; below 1 the model
 * knows more than that. false: not enough data, one class is missing. */
bool logloss_entropy(const struct logloss *l, double *out);
/* Sum of predictions over positives. false: no positive yet. */
bool logloss_calibration(const struct logloss *l, double *out);

#endif
