/* evaluate.h - one evaluation over the workers: each scores its share, rank 0 has the sums.
 *
 * Used by training (rows pulled from the shards) and by --eval (rows of a snapshot). AUC by histogram of
 * logits, so that adding over ranks is exact; logloss and accuracy are sums. A next-item model has the place of each
 * record's target instead of an AUC; its logloss and accuracy are of the target among all items.
 */
#ifndef PENSTOCK_WORKER_EVALUATE_H
#define PENSTOCK_WORKER_EVALUATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/base/errbuf.h"
#include "common/metrics/auc.h"
#include "common/metrics/logloss.h"
#include "common/metrics/ranking.h"
#include "common/nn/model.h"

struct evaluate {
    bool ranks;     /* ranking instead of auc; set by evaluate_init */
    struct auc auc; /* no memory if ranks */
    struct ranking ranking;
    struct logloss logloss;
};

struct evaluate_result { /* of all ranks together */
    double auc, auc_bound, logloss, accuracy, calibration;
    struct ranking
        ranking; /* means; count 0 unless the model ranks, and then there is no AUC: NaN */
    uint64_t count, positives;
};

void evaluate_init(struct evaluate *e, bool ranks);
void evaluate_release(struct evaluate *e);
void evaluate_reset(struct evaluate *e);
/* One batch by the model; in->labels are those of the records. scores: (n) for the logits, or the ranks. */
void evaluate_batch(struct evaluate *e, struct model *m, const struct model_input *in,
                    const struct model_params *p, float *scores);
uint64_t evaluate_count(const struct evaluate *e); /* records of this rank so far */
/* Of this rank alone. */
struct evaluate_result evaluate_value(const struct evaluate *e);
/* Every rank calls it once, with an empty share too. *out is filled on rank 0, zero elsewhere; the
 * accumulators are void afterwards. stop: as in comm.h. */
MUST_CHECK enum status evaluate_finish(struct evaluate *e, const atomic_bool *stop,
                                       struct evaluate_result *out, struct errbuf *err);

#endif
