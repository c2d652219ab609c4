/* auc.h - AUC by histogram of logits, mergeable over workers by adding, with its error bound.
 *
 * Bins are equal steps of the monotone u32 image of the float logit (2^20 bins), so resolution is relative
 * everywhere. Ties inside a bin count half: AUC = sum_b n_b (P_above + p_b / 2) / (P N); the true value
 * lies within bound = sum_b p_b n_b / (2 P N) of it, which is zero if no bin holds both classes.
 */
#ifndef PENSTOCK_COMMON_METRICS_AUC_H
#define PENSTOCK_COMMON_METRICS_AUC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUC_BINS (1u << 20)

struct auc {
    uint64_t *bins; /* (2, AUC_BINS): negatives, then positives; owned; flat, for a reduce */
};

struct auc_result {
    double auc;   /* .5 when a class is missing */
    double bound; /* |auc - exact| <= bound */
    uint64_t positives, negatives;
};

void auc_init(struct auc *a);
void auc_release(struct auc *a);
void auc_reset(struct auc *a);
/* labels: 0 or 1; below 0: no label, the record is left out. */
void auc_add(struct auc *a, const float *logits, const float *labels, size_t n);
/* One example that was added as a negative turns out a positive. false: no such negative is there. */
bool auc_correct(struct auc *a, float logit);
void auc_merge(struct auc *into, const struct auc *from);
struct auc_result auc_value(const struct auc *a);
/* Exact AUC, ties by half, by sorting: O(n log n). For tests and small sets. scratch-free: allocates. */
double auc_exact(const float *logits, const float *labels, size_t n);

#endif
