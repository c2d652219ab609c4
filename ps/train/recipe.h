/* recipe.h - the training recipe: what happens to the rate after each epoch, and when to stop. Pure.
 *
 * Epochs are judged by train.metric: AUC, GAUC or NDCG@10, where more is better, or logloss, where less is.
 * BARS form (ps/train/README.md, "The recipe"): an improvement below delta is a stall: the rate is multiplied by factor
 * (floor rate_min) and the stall counter grows; an improvement resets it and makes this cut `best`.
 * patience stalls in a row stop. Stalls before epoch `first` are not counted and do not lower the rate.
 * Without a valid part, and by window, there is nothing to decide by: every epoch's cut is best, and what is passed in
 * as its result is kept as history.
 */
#ifndef PENSTOCK_PS_TRAIN_RECIPE_H
#define PENSTOCK_PS_TRAIN_RECIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/wire/msg.h"
#include "common/wire/schedule.h"
#include "ps/train/live.h"

struct recipe_epoch { /* one line of history */
    double auc, logloss, accuracy, factor;
    double hr10, ndcg10, mrr; /* of next-item models; else NaN */
    double gauc;              /* NaN unless train.metric is gauc */
    uint32_t tasks;           /* of several tasks, each; the above is then train.task's */
    struct msg_task task[JOB_TASKS_MAX];
    double train_loss, train_auc, train_accuracy;
    double rate; /* by window: records trained on a second, since the last start; else NaN */
};

struct recipe {
    double best_value;   /* of train.metric */
    uint64_t best_epoch; /* from 1; 0 = none */
    uint64_t best_cut;
    uint32_t stalls; /* in a row */
    bool stopped;    /* early stop decided */
    struct schedule schedule;
    struct recipe_epoch *epoch; /* history, owned */
    size_t epochs;
    struct live live; /* data.follow: segments are no epochs of the history */
};

void recipe_init(struct recipe *r, const struct job *job);
void recipe_release(struct recipe *r);
/* After epoch (from 1) ended at `step` with this result; cut: the number this epoch's cut will have. */
void recipe_epoch_done(struct recipe *r, const struct job *job, uint64_t epoch, uint64_t step,
                       uint64_t cut, const struct recipe_epoch *result, bool judged);
char *recipe_text(const struct recipe *r); /* JSON, owned by the caller */
MUST_CHECK enum status recipe_parse(const char *text, struct recipe *out, struct errbuf *err);

#endif
