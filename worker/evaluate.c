/* evaluate.c - sums over a share, then over the ranks (evaluate.h). */
#include "worker/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "worker/comm.h"

void evaluate_init(struct evaluate *e, const struct job *job, bool by_user)
{
    memset(e, 0, sizeof(*e));
    e->ranks = job_ranks(job);
    e->by_user = by_user;
    e->tasks = job_tasks(job);
    e->judged = job_task(job);
    for (size_t t = 0; t < e->tasks && !e->ranks; t++)
        auc_init(&e->task[t].auc);
}

void evaluate_release(struct evaluate *e)
{
    for (size_t t = 0; t < e->tasks; t++) {
        if (!e->ranks)
            auc_release(&e->task[t].auc);
        gauc_release(&e->task[t].gauc);
    }
}

void evaluate_reset(struct evaluate *e)
{
    for (size_t t = 0; t < e->tasks; t++) {
        if (!e->ranks)
            auc_reset(&e->task[t].auc);
        gauc_reset(&e->task[t].gauc);
        memset(&e->task[t].logloss, 0, sizeof(e->task[t].logloss));
    }
    memset(&e->ranking, 0, sizeof(e->ranking));
    e->records = 0;
}

void evaluate_batch(struct evaluate *e, struct model *m, const struct model_input *in,
                    const struct model_params *p, const uint64_t *users, float *scores)
{
    struct model_loss loss;
    struct logloss *ranked = &e->task[0].logloss;
    e->records += in->n;
    if (!e->ranks) {
        model_score(m, in, p, scores);
        for (size_t t = 0; t < e->tasks; t++) {
            const float *z = scores + t * in->n, *labels = in->labels + t * in->n;
            auc_add(&e->task[t].auc, z, labels, in->n);
            logloss_add(&e->task[t].logloss, z, labels, in->n);
            if (e->by_user)
                gauc_add(&e->task[t].gauc, users, z, labels, in->n);
        }
        return;
    }
    model_rank(m, in, p, scores, &loss);
    for (size_t i = 0; i < in->n; i++)
        ranking_add(&e->ranking, (double)scores[i]);
    ranked->loss += loss.sum;
    ranked->count += loss.count;
    ranked->correct += loss.correct;
}

uint64_t evaluate_count(const struct evaluate *e)
{
    return e->records;
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

static struct evaluate_score score_of(const struct evaluate *e, size_t task,
                                      const struct gauc_sum *users)
{
    const struct logloss *l = &e->task[task].logloss;
    const double count = (double)l->count, positives = (double)l->positives;
    struct evaluate_score out = {.auc = NAN, .auc_bound = NAN, .calibration = NAN, .rate = NAN};
    if (!e->ranks) {
        const struct auc_result auc = auc_value(&e->task[task].auc);
        out.auc = auc.auc;
        out.auc_bound = auc.bound;
        out.calibration = l->positives > 0 ? l->predicted / positives : NAN;
        out.rate = l->count > 0 ? positives / count : NAN;
    }
    out.gauc = gauc_value(users);
    out.users = *users;
    out.logloss = logloss_mean(l);
    out.accuracy = logloss_accuracy(l);
    out.count = l->count;
    out.positives = l->positives;
    return out;
}

static struct evaluate_result result_of(const struct evaluate *e, const struct gauc_sum *users)
{
    struct evaluate_result out = {.tasks = e->tasks, .count = e->records};
    if (e->ranks)
        out.ranking = ranking_value(&e->ranking);
    for (size_t t = 0; t < e->tasks; t++)
        out.task[t] = score_of(e, t, &users[t]);
    out.judged = out.task[e->judged];
    return out;
}

struct evaluate_result evaluate_value(struct evaluate *e)
{
    struct gauc_sum users[JOB_TASKS_MAX];
    for (size_t t = 0; t < e->tasks; t++)
        users[t] = gauc_sum(&e->task[t].gauc);
    return result_of(e, users);
}

/* Each user's records to the rank that judges the user. */
static enum status exchange_users(struct gauc *g, const atomic_bool *stop, struct errbuf *err)
{
    const uint32_t size = comm_size();
    void *items = NULL;
    size_t got = 0;
    if (size == 1)
        return ST_OK;
    uint64_t *counts = mem_zalloc((size + 1) * sizeof(*counts)), *next;
    for (size_t i = 0; i < g->used; i++)
        counts[gauc_owner(g->record[i].user, size)]++;
    next = mem_zalloc((size + 1) * sizeof(*next));
    for (uint32_t r = 0; r < size; r++)
        next[r + 1] = next[r] + counts[r];
    struct gauc_record *sorted = mem_array(g->used + 1, sizeof(*sorted));
    for (size_t i = 0; i < g->used; i++)
        sorted[next[gauc_owner(g->record[i].user, size)]++] = g->record[i];
    items = sorted;
    free(g->record); /* it is sorted now: not three times as much while as many come */
    g->record = NULL;
    g->used = g->cap = 0;
    const enum status st = comm_exchange(&items, counts, sizeof(*sorted), &got, stop, err);
    free(counts);
    free(next);
    if (st != ST_OK)
        return st;
    g->record = items;
    g->used = g->cap = got;
    return ST_OK;
}

static enum status sum_users(struct gauc *g, const atomic_bool *stop, struct gauc_sum *out,
                             struct errbuf *err)
{
    enum status st = exchange_users(g, stop, err);
    if (st != ST_OK)
        return st;
    const struct gauc_sum mine = gauc_sum(g);
    uint64_t counts[] = {mine.records, mine.users, mine.left_records, mine.left_users,
                         mine.unknown};
    *out = mine;
    st = comm_sum_f64(&out->weighted, 1, stop, err);
    if (st == ST_OK)
        st = comm_sum_u64(counts, 5, stop, err);
    out->records = counts[0];
    out->users = counts[1];
    out->left_records = counts[2];
    out->left_users = counts[3];
    out->unknown = counts[4];
    return st;
}

static enum status sum_task(struct evaluate *e, struct evaluate_task *t, const atomic_bool *stop,
                            struct gauc_sum *out_users, struct errbuf *err)
{
    struct logloss *l = &t->logloss;
    double sums[] = {l->loss, l->predicted};
    uint64_t counts[] = {l->count, l->correct, l->positives};
    enum status st = comm_sum_f64(sums, 2, stop, err);
    if (st == ST_OK)
        st = comm_sum_u64(counts, 3, stop, err);
    if (st == ST_OK && !e->ranks)
        st = comm_sum_u64(t->auc.bins, 2 * (size_t)AUC_BINS, stop, err);
    if (st == ST_OK && e->by_user)
        st = sum_users(&t->gauc, stop, out_users, err);
    *l = (struct logloss){.loss = sums[0],
                          .predicted = sums[1],
                          .count = counts[0],
                          .correct = counts[1],
                          .positives = counts[2]};
    return st;
}

enum status evaluate_finish(struct evaluate *e, const atomic_bool *stop,
                            struct evaluate_result *out, struct errbuf *err)
{
    struct gauc_sum users[JOB_TASKS_MAX];
    enum status st = comm_sum_u64(&e->records, 1, stop, err);
    memset(out, 0, sizeof(*out));
    memset(users, 0, sizeof(users));
    for (size_t t = 0; st == ST_OK && t < e->tasks; t++)
        st = sum_task(e, &e->task[t], stop, &users[t], err);
    if (st == ST_OK && e->ranks)
        st = sum_ranking(&e->ranking, stop, err);
    if (st == ST_OK && comm_rank() == 0)
        *out = result_of(e, users);
    return st;
}
