/* evaluate.h - one evaluation over the workers: each scores its share, rank 0 has the sums.
 *
 * Used by training (rows pulled from the shards) and by --eval (rows of a snapshot). AUC by histogram of
 * logits, so that adding over ranks is exact; logloss and accuracy are sums.
 */
#ifndef PENSTOCK_WORKER_EVALUATE_H
#define PENSTOCK_WORKER_EVALUATE_H

#include <stdatomic.h>

#include "common/base/errbuf.h"
#include "common/metrics/auc.h"
#include "common/metrics/logloss.h"

struct evaluate {
    struct auc auc;
    struct logloss logloss;
};

struct evaluate_result { /* of all ranks together */
    double auc, auc_bound, logloss, accuracy, calibration;
    uint64_t count, positives;
};

void evaluate_init(struct evaluate *e);
void evaluate_release(struct evaluate *e);
void evaluate_reset(struct evaluate *e);
void evaluate_add(struct evaluate *e, const float *logits, const float *labels, size_t n);
/* Every rank calls it once, with an empty share too. *out is filled on rank 0, zero elsewhere; the
 * accumulators are void afterwards. stop: as in comm.h. */
MUST_CHECK enum status evaluate_finish(struct evaluate *e, const atomic_bool *stop,
                                       struct evaluate_result *out, struct errbuf *err);

#endif
