/* head_epoch.c - the end of an epoch: quiet, evaluated, decided, cut.
 *
 *   stage      goes on when                                                       to
 *   TRAIN      all records pushed, all workers idle, all shards applied them      EVALUATE (valid part) or DECIDED
 *   EVALUATE   rank 0's STATE brings the result of this evaluation's number       DECIDED
 *   DECIDED    the deciding cut is taken (head_cut.c calls head_epoch_next)       COMMIT, log at the next epoch
 *   COMMIT     that cut is complete (head_epoch_committed)                        TRAIN or FINISHED
 *
 * The decision is in the manifest of the cut that holds the judged parameters; no record of the next epoch
 * is leased before that cut is complete. The shards learn of the next epoch's log from the TAKE order, which
 * every shard obeys before any worker may push again.
 *
 * By window (train.window) an epoch is a window, and EVALUATE is of the next one: each is judged by parameters that have
 * seen all before it and nothing of it. So history[i] of the recipe has how window i was trained and how window i + 1
 * was judged. The recipe decides nothing then: there is no second look at a window that a better rate could help.
 */
#include <math.h>
#include <string.h>

#include "ps/train/head.h"

static bool workers_idle(const struct head *h)
{
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        const struct head_worker *k = &h->worker[w];
        if (k->state.leased != k->granted || !k->state.idle)
            return false;
    }
    return true;
}

static bool shards_applied(struct head *h)
{
    uint64_t want = head_log_applied(&h->log);
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        const struct msg_shard_state *t = &h->shard[s].state;
        if (t->applied > want && !SIM_BLIND) {
            head_end(h, 1, "fault: shard %u applied %llu records, the log has %llu so far", s,
                     (unsigned long long)t->applied, (unsigned long long)want);
            return false;
        }
        if (t->applied < want)
            return false;
    }
    return true;
}

static void train_result(const struct head *h, struct recipe_epoch *r)
{
    double loss = 0, auc = 0, accuracy = 0;
    uint64_t n = 0;
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        const struct msg_worker_state *s = &h->worker[w].state;
        if (s->totals_epoch != h->log.epoch || s->loss_count == 0)
            continue;
        loss += s->loss_sum;
        auc += s->train_auc * (double)s->loss_count;
        accuracy += s->train_accuracy * (double)s->loss_count;
        n += s->loss_count;
    }
    r->train_loss = n == 0 ? NAN : loss / (double)n;
    r->train_auc = n == 0 ? NAN : auc / (double)n;
    r->train_accuracy = n == 0 ? NAN : accuracy / (double)n;
}

/* By window the parameters are judged on the window that comes next, before they see it; the first is judged by nobody. */
static bool judges(const struct head *h)
{
    return h->conf.windows != NULL ? h->log.epoch + 1 < h->conf.windows->used : h->conf.has_valid;
}

static void decide(struct head *h)
{
    struct recipe_epoch result = {.auc = NAN,
                                  .logloss = NAN,
                                  .accuracy = NAN,
                                  .hr10 = NAN,
                                  .ndcg10 = NAN,
                                  .mrr = NAN,
                                  .gauc = NAN};
    uint64_t step = h->shard[0].state.pushes;
    for (uint32_t s = 1; s < h->conf.shards; s++) {
        if (h->shard[s].state.pushes != step && !SIM_BLIND) {
            head_end(h, 1, "fault: shard %u applied %llu pushes, shard 0 applied %llu", s,
                     (unsigned long long)h->shard[s].state.pushes, (unsigned long long)step);
            return;
        }
    }
    train_result(h, &result);
    result.rate = h->conf.windows != NULL ? h->rate : NAN;
    if (judges(h)) {
        const struct msg_worker_state *w = &h->worker[0].state;
        result.auc = w->auc;
        result.logloss = w->logloss;
        result.accuracy = w->accuracy;
        result.hr10 = w->hr10;
        result.ndcg10 = w->ndcg10;
        result.mrr = w->mrr;
        result.gauc = job_metric(h->conf.conf) == JOB_METRIC_GAUC ? w->gauc : NAN;
        result.tasks = w->tasks;
        memcpy(result.task, w->task, sizeof result.task);
    }
    recipe_epoch_done(&h->recipe, h->conf.conf, h->log.epoch + 1, step, h->open, &result,
                      h->conf.has_valid && h->conf.windows == NULL);
    h->evaluate = 0;
    h->stage = STAGE_DECIDED;
}

void head_epoch_begins(struct head *h)
{
    h->train_us = h->now_us;
    h->train_from = h->log.done_records;
}

void head_epoch_check(struct head *h)
{
    if (h->phase != HEAD_RUN || h->stop_wanted)
        return;
    if (h->stage == STAGE_TRAIN && head_log_done(&h->log) && workers_idle(h) && shards_applied(h)) {
        const uint64_t us = h->now_us - h->train_us;
        h->rate = us == 0 ? 0 : (double)(h->log.records - h->train_from) * 1e6 / (double)us;
        if (!judges(h)) {
            decide(h);
            return;
        }
        h->evaluate = ++h->evaluations;
        h->stage = STAGE_EVALUATE;
        head_order_new(h, MODE_RUN);
    } else if (h->stage == STAGE_EVALUATE && h->evaluate != 0 &&
               h->worker[0].state.evaluated == h->evaluate) {
        decide(h);
    }
}

void head_epoch_next(struct head *h)
{
    uint64_t before = h->log.before + h->log.records;
    head_log_begin(h, h->log.epoch + 1, 0, before);
    h->stage = STAGE_COMMIT;
}

void head_epoch_committed(struct head *h)
{
    if (h->recipe.stopped || h->log.epoch >= head_epochs(h)) {
        h->stage = STAGE_FINISHED;
        head_end(h, 0, h->recipe.stopped ? "done: stopped early by the recipe" : "done");
        return;
    }
    h->stage = STAGE_TRAIN;
    head_epoch_begins(h);
    for (uint32_t w = 0; w < h->conf.workers; w++)
        head_lease_give(h, w);
}
