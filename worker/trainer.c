/* trainer.c - compute what is ready: a training step, a score, the end of an evaluation (trainer.h).
 *
 * The only thread that touches the model and MPI. First in, first out, so pushes start in log order.
 *
 * An evaluation: the token of it comes before its batches; when this rank's share is scored (at once, if it
 * is empty) the ranks add up, which is a collective: no rank may leave it out. If a reset voids the
 * evaluation before this rank's share is done, this rank does not join; in this release a reset ends the
 * run, so no other rank waits in vain for longer than that.
 *
 * A loss that is no number is said with the record it came from, and pushed all the same: the shards refuse
 * the rows, count them and say so to the head.
 */
#include "worker/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/comm.h"
#include "worker/evaluate.h"

enum {
    WAIT_US = 100000,
    WAIT_STALE_US = 2000, /* nothing to do for so long: time for the AUC so far */
    AUC_PART = 20,        /* at most one part in so many of the time goes into it */
    BAD_LINES_MAX = 10
};

struct trainer {
    struct pipeline *p; /* borrowed, as the next two */
    struct model *model;
    const struct feeder *feeder;
    float *logits; /* (T, batch); of an evaluation that ranks, the ranks */
    size_t task;   /* the one that is judged */
    bool ranks;    /* the model does: no logits in training, and no AUC */
    struct slice_sum slices;
    float *dense; /* allreduce: gradients of dense and stat, one behind the other; owned */
    size_t dense_n, stat_n;
    /* the epoch so far */
    struct client_epoch totals;
    uint64_t judged, correct; /* as in struct model_loss */
    struct auc auc;
    uint64_t auc_us, auc_cost_us; /* when it was last worked out, and how long that took */
    bool auc_stale;
    unsigned bad_lines;
    /* the evaluation under way */
    struct work *token; /* owned; NULL: none */
    struct evaluate evaluate;
};

static void set_input(const struct batch *b, uint64_t epoch, struct model_input *in)
{
    *in = (struct model_input){.n = b->n,
                               .unique = b->unique,
                               .offsets = b->offsets,
                               .index = b->index,
                               .weight = b->weight,
                               .floats = b->floats_used > 0 ? b->floats : NULL,
                               .labels = b->labels,
                               .record = b->record,
                               .epoch = epoch,
                               .candidate = b->candidate,
                               .candidates = b->candidates};
}

static void set_params(const struct flight *f, struct model_params *p)
{
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++)
        p->rows[t] = f->rows[t];
    p->dense = f->dense;
    p->stat = f->stat;
}

/* -- gradients -- */

static double square_sum(const float *g, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)g[i] * (double)g[i];
    return sum;
}

static void scale(float *g, size_t n, float by)
{
    for (size_t i = 0; i < n; i++)
        g[i] *= by;
}

/* Gradients of plan table t, of a batch with so many unique keys; NULL for the stat table, which has none. */
static float *gradient(const struct model_grads *g, size_t unique, const struct plan_table *t,
                       size_t i, size_t *out_n)
{
    switch (t->kind) {
    case PLAN_SPARSE: *out_n = unique * t->dim; return g->rows[i];
    case PLAN_DENSE: *out_n = (size_t)t->blocks * DENSE_BLOCK; return g->dense;
    case PLAN_STAT: break;
    }
    return NULL;
}

/* Global norm of a batch's gradient at most train.clip. A norm that is no number clips nothing. */
static void clip(const struct plan *plan, const struct model_grads *grads, size_t unique,
                 double most)
{
    double sum = 0;
    size_t n = 0;
    for (size_t t = 0; t < plan->tables_used; t++) {
        const float *g = gradient(grads, unique, &plan->tables[t], t, &n);
        if (g != NULL)
            sum += square_sum(g, n);
    }
    double norm = sqrt(sum);
    if (!(norm > most))
        return;
    for (size_t t = 0; t < plan->tables_used; t++) {
        float *g = gradient(grads, unique, &plan->tables[t], t, &n);
        if (g != NULL)
            scale(g, n, (float)(most / norm));
    }
}

/* -- training -- */

static void say_bad_loss(struct trainer *r, const struct work *w, const struct batch *b,
                         double loss)
{
    const char *path = "?";
    uint64_t offset = 0, record = b->record[0];
    if (++r->bad_lines > BAD_LINES_MAX)
        return;
    for (size_t i = 0; !r->ranks && i < b->n * b->labels_used; i++) {
        if (!isfinite(r->logits[i])) {
            record = b->record[i % b->n];
            break;
        }
    }
    if (w->segment > 0) { /* its file is the feeder's alone */
        log_warn("loss %g in records [%" PRIu64 ", %" PRIu64 ") of segment %" PRIu64
                 " of the growing log, first at its record %" PRIu64 "%s",
                 loss, w->flight.begin, w->flight.end, w->segment, record,
                 r->bad_lines == BAD_LINES_MAX ? "; no more of these are said" : "");
        return;
    }
    feeder_source(r->feeder, record, &path, &offset);
    log_warn("loss %g in records [%" PRIu64 ", %" PRIu64 ") of epoch %" PRIu64
             ", first at %s byte %" PRIu64 " (record %" PRIu64 ")%s",
             loss, w->flight.begin, w->flight.end, w->flight.epoch, path, offset, record,
             r->bad_lines == BAD_LINES_MAX ? "; no more of these are said" : "");
}

static void tell_totals(struct trainer *r, bool with_auc)
{
    if (with_auc && r->auc_stale) {
        uint64_t begin_us = clock_now_us();
        r->totals.auc = auc_value(&r->auc).auc;
        r->auc_stale = false;
        r->auc_us = clock_now_us();
        r->auc_cost_us = r->auc_us - begin_us;
    }
    pipeline_tell_totals(r->p, &r->totals);
}

static void count(struct trainer *r, const struct work *w, const struct batch *b,
                  const struct model_loss *loss)
{
    if (w->flight.epoch != r->totals.epoch) {
        r->totals = (struct client_epoch){.epoch = w->flight.epoch, .auc = r->ranks ? NAN : 0};
        r->judged = r->correct = 0;
        if (!r->ranks)
            auc_reset(&r->auc);
    }
    r->judged += loss->judged;
    r->correct += loss->correct;
    r->totals.count += loss->count;
    r->totals.loss_sum += loss->sum;
    if (r->judged > 0) /* a batch of sequences may predict nothing */
        r->totals.accuracy = (double)r->correct / (double)r->judged;
    if (r->ranks) {
        tell_totals(r, false);
        return;
    }
    auc_add(&r->auc, r->logits + r->task * b->n, b->labels + r->task * b->n, b->n);
    r->auc_stale = true;
    /* The value walks two million bins: now and then, at the log's end, and when there is nothing to do. */
    tell_totals(r, w->log_end || clock_now_us() >= r->auc_us + AUC_PART * r->auc_cost_us);
}

/* One batch, or one slice of bsp, forward and back. */
static void step(struct trainer *r, const struct work *w, const struct batch *b,
                 const struct model_params *params, struct model_grads *grads)
{
    const struct run_dir *run = r->p->run;
    struct model_input in;
    struct model_loss loss;
    set_input(b, w->flight.epoch, &in);
    model_step(r->model, &in, params, grads, r->logits, &loss);
    if (run->job.train.clip > 0)
        clip(&run->plan, grads, b->unique, run->job.train.clip);
    if (!isfinite(loss.sum))
        say_bad_loss(r, w, b, loss.sum);
    count(r, w, b, &loss);
}

/* n 0: from or to may be NULL, a model without such a table. */
static void copy(float *to, const float *from, size_t n)
{
    if (n > 0)
        memcpy(to, from, n * sizeof *to);
}

/* allreduce. Gradients of the dense part become those of the whole step, of all ranks: each is a mean over its own
 * part, and counts by its share (slices are scaled already). A rank without records has none. */
static enum status sum_dense(struct trainer *r, struct work *w, struct errbuf *err)
{
    struct flight *f = &w->flight;
    const uint64_t part = f->part_end - f->part_begin;
    const float share = r->p->slices > 0 ? 1 : (float)((double)part / (double)(f->end - f->begin));
    if (part > 0) {
        copy(r->dense, f->grad_dense, r->dense_n);
        copy(r->dense + r->dense_n, f->grad_stat, r->stat_n);
        if (share < 1)
            scale(r->dense, r->dense_n + r->stat_n, share);
    }
    enum status st = comm_tree_f32(r->dense, r->dense_n + r->stat_n, part > 0, &r->p->ended,
                                   &r->p->generation, err);
    if (st != ST_OK)
        return st;
    copy(f->grad_dense, r->dense, r->dense_n);
    copy(f->grad_stat, r->dense + r->dense_n, r->stat_n);
    return ST_OK;
}

/* false: the sum was given up, which ends the run unless it is about to end anyway. A work that a reset has made
 * void goes home; MPI is out of step with the other ranks then, too. */
static bool summed(struct trainer *r, struct work *w)
{
    struct errbuf err = ERRBUF_INIT;
    struct pipeline *p = r->p;
    if (r->dense == NULL)
        return true;
    enum status st = sum_dense(r, w, &err);
    if (st == ST_OK)
        return true;
    if (!atomic_load(&p->ended))
        pipeline_fault(p, st, "%s", err.text);
    w->computed = false;
    return !pipeline_valid(p, w->generation);
}

static void train(struct trainer *r, struct work *w)
{
    struct flight *f = &w->flight;
    struct model_params params;
    struct model_grads grads;
    set_params(f, &params);
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++)
        grads.rows[t] = f->grad_rows[t];
    grads.dense = f->grad_dense;
    grads.stat = f->grad_stat;
    if (w->batch.n > 0) /* ssp: of a short step this rank may have none */
        step(r, w, &w->batch, &params, &grads);
    w->computed = true;
}

/* bsp: slice after slice, and their sum. */
static void train_slices(struct trainer *r, struct work *w)
{
    const struct plan *plan = &r->p->run->plan;
    struct flight *f = &w->flight;
    const double whole = (double)(f->end - f->begin);
    for (size_t i = 0; i < w->slices.count; i++) {
        const struct batch *b = &w->slices.batch[i];
        struct model_params params;
        struct model_grads grads;
        if (b->n == 0)
            continue;
        slice_sum_begin(&r->slices, plan, &w->slices, f, i, &params, &grads);
        step(r, w, b, &params, &grads);
        slice_sum_scale(&r->slices, plan, &w->slices, i, (float)((double)b->n / whole));
    }
    slice_sum_finish(&r->slices, plan, &w->slices, f);
    w->computed = true;
}

/* -- evaluation -- */

static void drop_token(struct trainer *r)
{
    free(r->token);
    r->token = NULL;
}

static double ranked(const struct evaluate_result *r, double value)
{
    return r->ranking.count > 0 ? value : NAN;
}

/* One task is told as it always was. */
static void put_tasks(const struct evaluate_result *from, struct client_result *out)
{
    out->tasks = from->tasks > 1 ? (uint32_t)from->tasks : 0;
    for (uint32_t t = 0; t < out->tasks; t++)
        out->task[t] =
            (struct msg_task){from->task[t].auc, from->task[t].logloss, from->task[t].rate};
}

/* If this rank's share is done: add up, and give the token back with the result. */
static void finish_evaluation(struct trainer *r)
{
    struct errbuf err = ERRBUF_INIT;
    struct evaluate_result sum;
    struct pipeline *p = r->p;
    if (r->token == NULL || evaluate_count(&r->evaluate) < r->token->share)
        return;
    enum status st = evaluate_finish(&r->evaluate, &p->ended, &sum, &err);
    if (st != ST_OK) {
        if (!atomic_load(&p->ended))
            pipeline_fault(p, st, "evaluation: %s", err.text);
        drop_token(r);
        return;
    }
    r->token->result = (struct client_result){.auc = sum.judged.auc,
                                              .auc_bound = sum.judged.auc_bound,
                                              .logloss = sum.judged.logloss,
                                              .accuracy = sum.judged.accuracy,
                                              .gauc = sum.judged.gauc,
                                              .hr10 = ranked(&sum, sum.ranking.hr[RANKING_10]),
                                              .ndcg10 = ranked(&sum, sum.ranking.ndcg[RANKING_10]),
                                              .mrr = ranked(&sum, sum.ranking.mrr),
                                              .count = sum.count};
    put_tasks(&sum, &r->token->result);
    pipeline_pass(p, p->computed, r->token);
    r->token = NULL;
    wake_signal(&p->io_wake);
}

static void begin_evaluation(struct trainer *r, struct work *token)
{
    drop_token(r);
    r->token = token;
    evaluate_reset(&r->evaluate);
    tell_totals(r, true); /* the epoch is over: its AUC is final */
    finish_evaluation(r);
}

static void score(struct trainer *r, struct work *w)
{
    struct model_input in;
    struct model_params params;
    if (r->token == NULL || w->generation != r->token->generation)
        return;
    set_input(&w->batch, w->flight.epoch, &in);
    set_params(&w->flight, &params);
    evaluate_batch(&r->evaluate, r->model, &in, &params, w->batch.users, r->logits);
}

/* -- the loop -- */

static void handle(struct trainer *r, struct work *w)
{
    struct pipeline *p = r->p;
    bool valid = pipeline_valid(p, w->generation);
    if (w->kind == WORK_EVALUATE) {
        if (valid)
            begin_evaluation(r, w);
        else
            free(w);
    } else {
        bool eval = w->kind == WORK_EVAL;
        if (valid && eval)
            score(r, w);
        else if (valid && p->slices > 0)
            train_slices(r, w);
        else if (valid)
            train(r, w);
        if (valid && !eval && !summed(r, w))
            return; /* there is nothing to push, and it may not be skipped: it stays here */
        pipeline_pass(p, p->computed, w); /* w is the io thread's now */
        wake_signal(&p->io_wake);
        if (eval)
            finish_evaluation(r);
    }
}

static void init_dense(struct trainer *r)
{
    if (!job_allreduces(&r->p->run->job))
        return;
    r->dense_n = plan_floats(&r->p->run->plan, PLAN_DENSE);
    r->stat_n = plan_floats(&r->p->run->plan, PLAN_STAT);
    r->dense = mem_array(r->dense_n + r->stat_n + 1, sizeof *r->dense);
}

void trainer_run(struct pipeline *p, struct model *model, const struct feeder *feeder)
{
    struct trainer r = {.p = p, .model = model, .feeder = feeder};
    const struct job *job = &p->run->job;
    r.logits = mem_array((size_t)job->train.batch * model_tasks(model), sizeof(*r.logits));
    r.task = job_task(job);
    slice_sum_init(&r.slices, &p->run->plan, p->slices);
    init_dense(&r);
    r.ranks = model_ranks(model);
    if (!r.ranks)
        auc_init(&r.auc);
    evaluate_init(&r.evaluate, job, job_metric(job) == JOB_METRIC_GAUC);
    while (!atomic_load(&p->ended)) {
        void *w = NULL;
        enum status st = queue_pop(p->ready, &w, r.auc_stale ? WAIT_STALE_US : WAIT_US);
        if (st == ST_OK)
            handle(&r, w);
        else if (st == ST_TIMEOUT && r.auc_stale)
            tell_totals(&r, true);
    }
    drop_token(&r);
    evaluate_release(&r.evaluate);
    if (!r.ranks)
        auc_release(&r.auc);
    slice_sum_release(&r.slices);
    free(r.dense);
    free(r.logits);
}
