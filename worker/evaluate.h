/* evaluate.h - one evaluation over the workers: each scores its share, rank 0 has the sums.
 *
 * Used by training (rows pulled from the shards) and by --eval (rows of a snapshot). AUC by histogram of
 * logits, so that adding over ranks is exact; logloss and accuracy are sums. Each task has its own (job_task.h), over
 * the records that have its label. A next-item model has the place of each record's target instead of an AUC; its
 * logloss and accuracy are of the target among all items.
 *
 * GAUC, if asked for, keeps 16 bytes a record and task (common/metrics/gauc.h). A user's records may lie in several
 * ranks' shares, so they change hands at the end: each user is judged by one rank, whole.
 */
#ifndef PENSTOCK_WORKER_EVALUATE_H
#define PENSTOCK_WORKER_EVALUATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/base/errbuf.h"
#include "common/base/job_task.h"
#include "common/metrics/auc.h"
#include "common/metrics/gauc.h"
#include "common/metrics/logloss.h"
#include "common/metrics/ranking.h"
#include "common/nn/model.h"

struct evaluate_task {
    struct auc auc; /* no memory if ranks */
    struct gauc gauc;
    struct logloss logloss;
};

struct evaluate {
    bool ranks; /* ranking instead of auc; set by evaluate_init, as the next three */
    bool by_user;
    size_t tasks, judged; /* judged: the one of train.task */
    struct evaluate_task task[JOB_TASKS_MAX];
    struct ranking ranking;
    uint64_t records;
};

struct evaluate_score {                                          /* of one task */
    double auc, auc_bound, logloss, accuracy, calibration, rate; /* rate: of positives */
    double gauc;                                                 /* NaN unless asked for */
    struct gauc_sum users;
    uint64_t count, positives; /* records with a label */
};

struct evaluate_result { /* of all ranks together */
    size_t tasks;
    struct evaluate_score task[JOB_TASKS_MAX]; /* if the model ranks: loss and accuracy alone */
    struct evaluate_score judged;              /* one of them */
    struct ranking
        ranking;    /* means; count 0 unless the model ranks, and then there is no AUC: NaN */
    uint64_t count; /* records */
};

/* by_user: with GAUC. */
void evaluate_init(struct evaluate *e, const struct job *job, bool by_user);
void evaluate_release(struct evaluate *e);
void evaluate_reset(struct evaluate *e);
/* One batch by the model; in->labels are those of the records, users (n) whose they are, NULL without GAUC.
 * scores: (T, n) for the logits, (n) for the ranks. */
void evaluate_batch(struct evaluate *e, struct model *m, const struct model_input *in,
                    const struct model_params *p, const uint64_t *users, float *scores);
uint64_t evaluate_count(const struct evaluate *e); /* records of this rank so far */
/* Of this rank alone. */
struct evaluate_result evaluate_value(struct evaluate *e);
/* Every rank calls it once, with an empty share too. *out is filled on rank 0, zero elsewhere; the
 * accumulators are void afterwards. stop: as in comm.h. */
MUST_CHECK enum status evaluate_finish(struct evaluate *e, const atomic_bool *stop,
                                       struct evaluate_result *out, struct errbuf *err);

#endif
