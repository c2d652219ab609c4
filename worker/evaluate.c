/* evaluate.c - sums over a share, then over the ranks (evaluate.h). */
#include "worker/evaluate.h"

#include <string.h>

#include "worker/comm.h"

void evaluate_init(struct evaluate *e)
{
    auc_init(&e->auc);
    memset(&e->logloss, 0, sizeof(e->logloss));
}

void evaluate_release(struct evaluate *e)
{
    auc_release(&e->auc);
}

void evaluate_reset(struct evaluate *e)
{
    auc_reset(&e->auc);
    memset(&e->logloss, 0, sizeof(e->logloss));
}

void evaluate_add(struct evaluate *e, const float *logits, const float *labels, size_t n)
{
    auc_add(&e->auc, logits, labels, n);
    logloss_add(&e->logloss, logits, labels, n);
}

enum status evaluate_finish(struct evaluate *e, const atomic_bool *stop,
                            struct evaluate_result *out, struct errbuf *err)
{
    struct logloss *l = &e->logloss;
    double sums[] = {l->loss, l->predicted};
    uint64_t counts[] = {l->count, l->correct, l->positives};
    memset(out, 0, sizeof(*out));
    enum status st = comm_sum_f64(sums, 2, stop, err);
    if (st == ST_OK)
        st = comm_sum_u64(counts, 3, stop, err);
    if (st == ST_OK)
        st = comm_sum_u64(e->auc.bins, 2 * (size_t)AUC_BINS, stop, err);
    if (st != ST_OK || comm_rank() != 0)
        return st;
    *l = (struct logloss){.loss = sums[0],
                          .predicted = sums[1],
                          .count = counts[0],
                          .correct = counts[1],
                          .positives = counts[2]};
    struct auc_result auc = auc_value(&e->auc);
    out->auc = auc.auc;
    out->auc_bound = auc.bound;
    out->logloss = logloss_mean(l);
    out->accuracy = logloss_accuracy(l);
    out->calibration = l->positives > 0 ? l->predicted / (double)l->positives : 0;
    out->count = l->count;
    out->positives = l->positives;
    return ST_OK;
}
