/* recipe.c - plateau decay, best cut, early stop (ps/train/README.md, "The recipe"), and its text in the manifest.
 *
 * Everything that decides about later epochs is in struct recipe, and struct recipe is in the manifest of
 * the very cut that holds the parameters it judged: a resumed run goes on as if it had never stopped. The
 * doubles are written with 17 digits, so they come back bit for bit.
 */
#include "ps/train/recipe.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"

enum { EPOCHS_MAX = 1 << 20, TEXT_BYTES_MAX = 64 << 20 };

void recipe_init(struct recipe *r, const struct job *job)
{
    *r = (struct recipe){0};
    r->schedule.warmup = job->train.warmup;
    r->schedule.rate_min = job->train.plateau.rate_min;
}

void recipe_release(struct recipe *r)
{
    free(r->epoch);
    *r = (struct recipe){0};
}

static double factor_now(const struct recipe *r)
{
    uint32_t n = r->schedule.changes;
    return n == 0 ? 1.0 : r->schedule.change[n - 1].factor;
}

static void lower_rate(struct recipe *r, double factor, uint64_t step)
{
    struct schedule *s = &r->schedule;
    double now = factor_now(r) * factor;
    if (factor == 1.0)
        return;
    if (s->changes > 0 && s->change[s->changes - 1].from_step == step + 1)
        s->changes--; /* two decisions at one step: the later one counts */
    else if (s->changes == SCHEDULE_CHANGES_MAX)
        return; /* 64 drops: the floor was reached long ago */
    s->change[s->changes].from_step = step + 1;
    s->change[s->changes].factor = now;
    s->changes++;
}

/* What the epoch is judged by; the worst there is, if it is no number. */
static double value_of(const struct recipe_epoch *r, enum job_metric metric)
{
    switch (metric) {
    case JOB_METRIC_NDCG: return isfinite(r->ndcg10) ? r->ndcg10 : 0;
    case JOB_METRIC_LOGLOSS: return isfinite(r->logloss) ? r->logloss : DBL_MAX;
    case JOB_METRIC_GAUC: return isfinite(r->gauc) ? r->gauc : 0;
    case JOB_METRIC_AUC:
    case JOB_METRIC_AUTO: break;
    }
    return isfinite(r->auc) ? r->auc : 0;
}

void recipe_epoch_done(struct recipe *r, const struct job *job, uint64_t epoch, uint64_t step,
                       uint64_t cut, const struct recipe_epoch *result, bool judged)
{
    const enum job_metric metric = job_metric(job);
    const double value = value_of(result, metric);
    const double gain =
        metric == JOB_METRIC_LOGLOSS ? r->best_value - value : value - r->best_value;
    r->epoch = mem_realloc(r->epoch, (r->epochs + 1) * sizeof *r->epoch);
    r->epoch[r->epochs] = *result;
    r->epoch[r->epochs].factor = factor_now(r);
    r->epochs++;

    if (!judged || r->best_epoch == 0 || gain >= job->train.plateau.delta) {
        r->best_value = judged ? value : 0;
        r->best_epoch = epoch;
        r->best_cut = cut;
        r->stalls = 0;
        return;
    }
    if (epoch < job->train.plateau.first)
        return;
    r->stalls++;
    lower_rate(r, job->train.plateau.factor, step);
    if (job->train.plateau.patience > 0 && r->stalls >= job->train.plateau.patience)
        r->stopped = true;
}

/* Click models have none: left out, they are NaN again when parsed. */
static void put_ranks(struct json *e, const struct recipe_epoch *r)
{
    if (isnan(r->ndcg10))
        return;
    json_set_f64(e, "hr10", r->hr10);
    json_set_f64(e, "ndcg10", r->ndcg10);
    json_set_f64(e, "mrr", r->mrr);
}

static void put_tasks(struct json *e, const struct recipe_epoch *r)
{
    struct json *list = json_array();
    for (uint32_t t = 0; t < r->tasks; t++) {
        struct json *task = json_object();
        json_set_f64(task, "auc", r->task[t].auc);
        json_set_f64(task, "logloss", r->task[t].logloss);
        json_set_f64(task, "rate", r->task[t].rate);
        json_add(list, task);
    }
    if (r->tasks > 0)
        json_set(e, "tasks", list);
    else
        json_free(list);
}

char *recipe_text(const struct recipe *r)
{
    struct json *j = json_object(), *changes = json_array(), *history = json_array();
    json_set_f64(j, "best_value", r->best_value);
    json_set_u64(j, "best_epoch", r->best_epoch);
    json_set_u64(j, "best_cut", r->best_cut);
    json_set_u64(j, "stalls", r->stalls);
    json_set_bool(j, "stopped", r->stopped);
    json_set_u64(j, "warmup", r->schedule.warmup);
    json_set_f64(j, "rate_min", r->schedule.rate_min);
    for (uint32_t i = 0; i < r->schedule.changes; i++) {
        struct json *c = json_object();
        json_set_u64(c, "from_step", r->schedule.change[i].from_step);
        json_set_f64(c, "factor", r->schedule.change[i].factor);
        json_add(changes, c);
    }
    json_set(j, "changes", changes);
    for (size_t i = 0; i < r->epochs; i++) {
        struct json *e = json_object();
        json_set_f64(e, "auc", r->epoch[i].auc);
        json_set_f64(e, "logloss", r->epoch[i].logloss);
        json_set_f64(e, "accuracy", r->epoch[i].accuracy);
        put_ranks(e, &r->epoch[i]);
        if (!isnan(r->epoch[i].gauc))
            json_set_f64(e, "gauc", r->epoch[i].gauc);
        put_tasks(e, &r->epoch[i]);
        json_set_f64(e, "factor", r->epoch[i].factor);
        json_set_f64(e, "train_loss", r->epoch[i].train_loss);
        json_set_f64(e, "train_auc", r->epoch[i].train_auc);
        json_set_f64(e, "train_accuracy", r->epoch[i].train_accuracy);
        if (!isnan(r->epoch[i].rate))
            json_set_f64(e, "rate", r->epoch[i].rate);
        json_add(history, e);
    }
    json_set(j, "history", history);
    if (r->live.from != 0)
        json_set(j, "live", live_json(&r->live));
    char *text = json_text(j, 0);
    json_free(j);
    return text;
}

static enum status parse_changes(const struct json *j, struct schedule *s, struct errbuf *err)
{
    const struct json *list = json_get(j, "changes");
    enum status st = json_need_u64(j, "warmup", &s->warmup, err);
    if (st == ST_OK)
        st = json_need_f64(j, "rate_min", &s->rate_min, err);
    if (st != ST_OK)
        return st;
    if (json_len(list) > SCHEDULE_CHANGES_MAX || !(s->rate_min >= 0))
        return errbuf_set(err, ST_BAD_DATA, "recipe: the schedule is out of range");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *c = json_at(list, i);
        st = json_need_u64(c, "from_step", &s->change[i].from_step, err);
        if (st == ST_OK)
            st = json_need_f64(c, "factor", &s->change[i].factor, err);
        if (st != ST_OK)
            return st;
        if (!(s->change[i].factor >= 0) ||
            (i > 0 && s->change[i].from_step <= s->change[i - 1].from_step))
            return errbuf_set(err, ST_BAD_DATA,
                              "recipe: change %zu of the schedule is out of order", i);
    }
    s->changes = (uint32_t)json_len(list);
    return ST_OK;
}

static void parse_tasks(const struct json *e, struct recipe_epoch *out)
{
    const struct json *list = json_get(e, "tasks");
    const size_t n = json_len(list);
    out->tasks = (uint32_t)(n < JOB_TASKS_MAX ? n : JOB_TASKS_MAX);
    for (uint32_t t = 0; t < out->tasks; t++) {
        const struct json *task = json_at(list, t);
        out->task[t] = (struct msg_task){json_f64(task, "auc", NAN), json_f64(task, "logloss", NAN),
                                         json_f64(task, "rate", NAN)};
    }
}

/* Values that were not finite are null in the text. */
static void parse_history(const struct json *j, struct recipe *r)
{
    const struct json *list = json_get(j, "history");
    r->epochs = json_len(list);
    r->epoch = r->epochs > 0 ? mem_array(r->epochs, sizeof *r->epoch) : NULL;
    for (size_t i = 0; i < r->epochs; i++) {
        const struct json *e = json_at(list, i);
        r->epoch[i] = (struct recipe_epoch){.auc = json_f64(e, "auc", NAN),
                                            .logloss = json_f64(e, "logloss", NAN),
                                            .accuracy = json_f64(e, "accuracy", NAN),
                                            .hr10 = json_f64(e, "hr10", NAN),
                                            .ndcg10 = json_f64(e, "ndcg10", NAN),
                                            .mrr = json_f64(e, "mrr", NAN),
                                            .gauc = json_f64(e, "gauc", NAN),
                                            .factor = json_f64(e, "factor", 1),
                                            .train_loss = json_f64(e, "train_loss", NAN),
                                            .train_auc = json_f64(e, "train_auc", NAN),
                                            .train_accuracy = json_f64(e, "train_accuracy", NAN),
                                            .rate = json_f64(e, "rate", NAN)};
        parse_tasks(e, &r->epoch[i]);
    }
}

enum status recipe_parse(const char *text, struct recipe *out, struct errbuf *err)
{
    struct recipe r = {0};
    struct json *j;
    uint64_t stalls = 0;
    enum status st = ST_BAD_DATA;

    if (text == NULL || strlen(text) > TEXT_BYTES_MAX)
        return errbuf_set(err, ST_BAD_DATA, "recipe: no text, or too long a one");
    st = json_parse(text, strlen(text), "recipe", &j, err);
    if (st != ST_OK)
        return st;
    /* Cuts made before there was a choice call it best_auc. */
    const char *best = json_get(j, "best_value") == NULL ? "best_auc" : "best_value";
    st = json_need_f64(j, best, &r.best_value, err);
    if (st == ST_OK)
        st = json_need_u64(j, "best_epoch", &r.best_epoch, err);
    if (st == ST_OK)
        st = json_need_u64(j, "best_cut", &r.best_cut, err);
    if (st == ST_OK)
        st = json_need_u64(j, "stalls", &stalls, err);
    if (st == ST_OK)
        st = parse_changes(j, &r.schedule, err);
    if (st == ST_OK && (stalls > UINT32_MAX || json_len(json_get(j, "history")) > EPOCHS_MAX))
        st = errbuf_set(err, ST_BAD_DATA, "recipe: its counts are out of range");
    if (st == ST_OK && json_get(j, "live") != NULL)
        st = live_parse(json_get(j, "live"), &r.live, err);
    if (st != ST_OK)
        goto out_json;
    r.stalls = (uint32_t)stalls;
    r.stopped = json_bool(j, "stopped", false);
    parse_history(j, &r);
    *out = r;
out_json:
    json_free(j);
    return st;
}
