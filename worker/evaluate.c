/* evaluate.c - sums over a share, then over the ranks (evaluate.h). */
#include "worker/evaluate.h"

#include <math.h>
#include <string.h>

#include "worker/comm.h"

void evaluate_init(struct evaluate *e, bool ranks)
{
    memset(e, 0, sizeof(*e));
    e->ranks = ranks;
    if (!ranks)
        auc_init(&e->auc);
}

void evaluate_release(struct evaluate *e)
{
    if (!e->ranks)
        auc_release(&e->auc);
}

void evaluate_reset(struct evaluate *e)
{
    if (!e->ranks)
        auc_reset(&e->auc);
    memset(&e->ranking, 0, sizeof(e->ranking));
    memset(&e->logloss, 0, sizeof(e->logloss));
}

void evaluate_batch(struct evaluate *e, struct model *m, const struct model_input *in,
                    const struct model_params *p, float *scores)
{
    struct model_loss loss;
    if (!e->ranks) {
        model_score(m, in, p, scores);
        auc_add(&e->auc, scores, in->labels, in->n);
        logloss_add(&e->logloss, scores, in->labels, in->n);
        return;
    }
    model_rank(m, in, p, scores, &loss);
    for (size_t i = 0; i < in->n; i++)
        ranking_add(&e->ranking, (double)scores[i]);
    e->logloss.loss += loss.sum;
    e->logloss.count += loss.count;
    e->logloss.correct += loss.correct;
}

uint64_t evaluate_count(const struct evaluate *e)
{
    return e->logloss.count;
}

static enum status sum_ranking(struct ranking *r, const atomic_bool *stop, struct errbuf *err)
{
    double sums[2 * RANKING_CUTS + 1];
    memcpy(sums, r->hr, sizeof(r->hr));
    memcpy(sums + RANKING_CUTS, r->ndcg, sizeof(r->ndcg));
    sums[2 * RANKING_CUTS] = r->mrr;
    enum status st = comm_sum_f64(sums, 2 * RANKING_CUTS + 1, stop, err);
    if (st == ST_OK)
        st = comm_sum_u64(&r->count, 1, stop, err);
    memcpy(r->hr, sums, sizeof(r->hr));
    memcpy(r->ndcg, sums + RANKING_CUTS, sizeof(r->ndcg));
    r->mrr = sums[2 * RANKING_CUTS];
    return st;
}

struct evaluate_result evaluate_value(const struct evaluate *e)
{
    const struct logloss *l = &e->logloss;
    struct evaluate_result out = {.auc = NAN, .auc_bound = NAN, .calibration = NAN};
    if (e->ranks) {
        out.ranking = ranking_value(&e->ranking);
    } else {
        const struct auc_result auc = auc_value(&e->auc);
        out.auc = auc.auc;
        out.auc_bound = auc.bound;
        out.calibration = l->positives > 0 ? l->predicted / (double)l->positives : NAN;
    }
    out.logloss = logloss_mean(l);
    out.accuracy = logloss_accuracy(l);
    out.count = l->count;
    out.positives = l->positives;
    return out;
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
        st = e->ranks ? sum_ranking(&e->ranking, stop, err)
                      : comm_sum_u64(e->auc.bins, 2 * (size_t)AUC_BINS, stop, err);
    if (st != ST_OK || comm_rank() != 0)
        return st;
    *l = (struct logloss){.loss = sums[0],
                          .predicted = sums[1],
                          .count = counts[0],
                          .correct = counts[1],
                          .positives = counts[2]};
    *out = evaluate_value(e);
    return ST_OK;
}
