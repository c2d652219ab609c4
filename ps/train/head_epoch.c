/* head_epoch.c - the end of an epoch: quiet, evaluated, decided, cut.
 *
 *   stage      goes on when                                                       to
 *   TRAIN      all records pushed, all workers idle, all shards applied them      EVALUATE (valid part) or DECIDED
 *   EVALUATE   rank 0's STATE brings the result of this evaluation's number       DECIDED
 *   DECIDED    the deciding cut is taken (head_cut.c calls head_epoch_next)       COMMIT, log at the next epoch
 *   COMMIT     that cut is complete (head_epoch_committed)                        TRAIN or FINISHED
 *
 * Live (data.follow) the stages of a segment are
 *
 *   WAIT       the shell brings the segment (HEAD_SEGMENT)                        JUDGE
 *   JUDGE      rank 0's result is there, and all shards know the segment's log    TRAIN
 *   TRAIN      as above                                                           DECIDED
 *
 * and COMMIT leads to WAIT. So a segment is judged by parameters that have seen all before it and nothing of it.
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

/* The segment is trained on. Nothing is decided: the rate stays, and the newest parameters are the ones to have. */
static void decide_live(struct head *h, const struct recipe_epoch *trained)
{
    struct recipe *r = &h->recipe;
    live_done(&r->live, trained->train_loss);
    r->best_epoch = h->log.epoch + 1;
    r->best_cut = h->open;
    h->done_us = h->seen_us;
    h->stage = STAGE_DECIDED;
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
    if (head_live(h, h->log.epoch)) {
        decide_live(h, &result);
        return;
    }
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

void head_epoch_go_live(struct head *h)
{
    h->recipe.live.from = h->log.epoch;
    h->stage = STAGE_WAIT;
}

/* Its log takes the place of the one that nobody works on, and it is judged. */
void head_epoch_segment(struct head *h, const struct head_event *ev)
{
    if (h->phase != HEAD_RUN || h->stage != STAGE_WAIT || h->stop_wanted ||
        ev->segment != head_segment(h) || ev->records == 0)
        return;
    h->recipe.live.now = (struct live_segment){
        .number = ev->segment, .records = ev->records, .auc = NAN, .logloss = NAN, .accuracy = NAN};
    h->seen_us = ev->seen_us;
    head_log_begin(h, h->log.epoch, 0, h->log.before);
    h->evaluate = ++h->evaluations;
    h->stage = STAGE_JUDGE;
    head_order_new(h, MODE_RUN);
    h->judge_n = h->n;
}

static void check_judged(struct head *h)
{
    const struct msg_worker_state *w = &h->worker[0].state;
    struct live_segment *s = &h->recipe.live.now;
    if (w->evaluated != h->evaluate)
        return;
    for (uint32_t i = 0; i < h->conf.shards; i++) {
        if (h->shard[i].state.n < h->judge_n)
            return;
    }
    s->auc = w->auc;
    s->logloss = w->logloss;
    s->accuracy = w->accuracy;
    h->evaluate = 0;
    h->stage = STAGE_TRAIN;
    head_epoch_begins(h);
    for (uint32_t i = 0; i < h->conf.workers; i++)
        head_lease_give(h, i);
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
    } else if (h->stage == STAGE_JUDGE) {
        check_judged(h);
    } else if (h->stage == STAGE_EVALUATE && h->evaluate != 0 &&
               h->worker[0].state.evaluated == h->evaluate) {
        decide(h);
    }
}

void head_epoch_next(struct head *h)
{
    uint64_t before = h->log.before + h->log.records;
    struct recipe *r = &h->recipe;
    if (job_follows(h->conf.conf) && r->live.from == 0 &&
        (r->stopped || h->log.epoch + 1 >= head_epochs(h)))
        r->live.from = h->log.epoch + 1;
    head_log_begin(h, h->log.epoch + 1, 0, before);
    h->stage = STAGE_COMMIT;
}

/* How old the oldest line of a segment is when its cut is complete. */
static void count_fresh(struct head *h)
{
    if (h->done_us == 0 || h->wall_us < h->done_us)
        return;
    h->fresh = (double)(h->wall_us - h->done_us) / 1e6;
    h->fresh_max = h->fresh > h->fresh_max ? h->fresh : h->fresh_max;
    h->fresh_n++;
    h->fresh_mean += (h->fresh - h->fresh_mean) / (double)h->fresh_n;
    h->done_us = 0;
}

void head_epoch_committed(struct head *h)
{
    if (head_live(h, h->log.epoch)) {
        count_fresh(h);
        h->stage = STAGE_WAIT;
        return;
    }
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
