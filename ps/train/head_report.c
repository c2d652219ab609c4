/* head_report.c - what people see of a run: one JSON object, made from what STATE last said.
 *
 * Only reads. The front draws the progress line from it, `penstock status` prints it, and the end of a run
 * writes report.json from the last one.
 */
#include <math.h>

#include "common/base/json.h"
#include "ps/train/head.h"

static const char *phase_text(const struct head *h)
{
    switch (h->phase) {
    case HEAD_FENCING: return "fence";
    case HEAD_GATHER: return "gather";
    case HEAD_RECOVER: return "recover";
    case HEAD_HOLD:
    case HEAD_TAKE: return "cut";
    case HEAD_STOPPING: return "stopping";
    case HEAD_ENDED: return "ended";
    case HEAD_RUN: break;
    }
    switch (h->stage) {
    case STAGE_EVALUATE: return "evaluate";
    case STAGE_DECIDED:
    case STAGE_COMMIT: return "cut";
    case STAGE_FINISHED: return "ended";
    case STAGE_WAIT: return "wait";
    case STAGE_JUDGE: return "evaluate";
    case STAGE_TRAIN: break;
    }
    return "train";
}

static struct json *tasks_of(const struct job *job, const struct recipe_epoch *r)
{
    struct json *list = json_array();
    for (uint32_t t = 0; t < r->tasks; t++) {
        struct json *task = json_object();
        json_set_str(task, "task", job_task_name(job, t));
        json_set_f64(task, "auc", r->task[t].auc);
        json_set_f64(task, "logloss", r->task[t].logloss);
        json_set_f64(task, "base_rate", r->task[t].rate);
        json_add(list, task);
    }
    return list;
}

/* A line an epoch; by window a line a window, and its judgement is the one before it was trained on. */
static struct json *epoch_line(const struct head *h, size_t i)
{
    static const struct recipe_epoch nobody = {.gauc = NAN,
                                               .auc = NAN,
                                               .logloss = NAN,
                                               .accuracy = NAN,
                                               .hr10 = NAN,
                                               .ndcg10 = NAN,
                                               .mrr = NAN};
    const struct windows *w = h->conf.windows;
    const struct recipe_epoch *r = &h->recipe.epoch[i];
    const struct recipe_epoch *judged = w == NULL ? r : i == 0 ? &nobody : r - 1;
    struct json *j = json_object();
    json_set_u64(j, w == NULL ? "epoch" : "window", i + 1);
    if (w != NULL) {
        char from[WINDOWS_DATE_MAX];
        windows_date(i < w->used ? w->from[i] : 0, from);
        json_set_str(j, "from", from);
        json_set_u64(j, "records", head_epoch_records(h, i));
        json_set_f64(j, "samples_per_second", r->rate);
    }
    json_set_f64(j, "auc", judged->auc);
    json_set_f64(j, "logloss", judged->logloss);
    json_set_f64(j, "accuracy", judged->accuracy);
    json_set_f64(j, "gauc", judged->gauc);
    if (judged->tasks > 0)
        json_set(j, "tasks", tasks_of(h->conf.conf, judged));
    json_set_f64(j, "hr10", judged->hr10);
    json_set_f64(j, "ndcg10", judged->ndcg10);
    json_set_f64(j, "mrr", judged->mrr);
    json_set_f64(j, "rate_factor", r->factor);
    json_set_f64(j, "train_loss", r->train_loss);
    json_set_f64(j, "train_auc", r->train_auc);
    json_set_f64(j, "train_accuracy", r->train_accuracy);
    return j;
}

static void add_recipe(const struct head *h, struct json *top)
{
    struct json *j = json_object(), *list = json_array();
    uint32_t n = h->recipe.schedule.changes;
    const enum job_metric metric = job_metric(h->conf.conf);
    json_set_str(j, "metric", job_metric_name(metric));
    if (job_tasks(h->conf.conf) > 1)
        json_set_str(j, "task", job_task_name(h->conf.conf, job_task(h->conf.conf)));
    json_set_f64(j, "best_value", h->recipe.best_value);
    json_set_f64(j, "best_auc", metric == JOB_METRIC_AUC ? h->recipe.best_value : NAN);
    json_set_u64(j, "best_epoch", h->recipe.best_epoch);
    json_set_u64(j, "best_cut", h->recipe.best_cut);
    json_set_u64(j, "stalls", h->recipe.stalls);
    json_set_f64(j, "rate_factor", n == 0 ? 1.0 : h->recipe.schedule.change[n - 1].factor);
    json_set_bool(j, "stopped", h->recipe.stopped);
    json_set(top, "recipe", j);
    for (size_t i = 0; i < h->recipe.epochs; i++)
        json_add(list, epoch_line(h, i));
    json_set(top, "history", list);
}

/* data.follow: what is done, and how well each segment was predicted before it was trained on. */
static void add_live(const struct head *h, struct json *top)
{
    const struct live *l = &h->recipe.live;
    double auc = NAN, logloss = NAN;
    if (l->from == 0)
        return;
    struct json *j = live_json(l);
    live_recent(l, &auc, &logloss);
    json_set_f64(j, "recent_auc", auc);
    json_set_f64(j, "recent_logloss", logloss);
    json_set_f64(j, "fresh_seconds", h->fresh_n == 0 ? NAN : h->fresh);
    json_set_f64(j, "fresh_seconds_mean", h->fresh_n == 0 ? NAN : h->fresh_mean);
    json_set_f64(j, "fresh_seconds_max", h->fresh_n == 0 ? NAN : h->fresh_max);
    /* In a complete cut: those before the segment that the log stands in. */
    const uint64_t in_log = head_segment(h) > 0 ? head_segment(h) - 1 : 0;
    const bool next = h->stage == STAGE_COMMIT && in_log > 0;
    json_set_u64(j, "committed", next ? in_log - 1 : in_log);
    json_set(top, "live", j);
}

static void add_cut(const struct head *h, struct json *top)
{
    struct json *j = json_object();
    uint64_t rows = 0, bytes = 0;
    for (uint32_t t = 0; t < h->last.tables; t++)
        rows += h->last.rows[t];
    for (size_t i = 0; i < h->last.files_used; i++)
        bytes += h->last.files[i].bytes;
    json_set_u64(j, "version", h->complete);
    json_set_u64(j, "e", h->complete_e);
    json_set_u64(j, "rows", rows);
    json_set_u64(j, "bytes", bytes);
    json_set_u64(j, "files", h->last.files_used);
    json_set_u64(j, "open", h->open);
    json_set_u64(j, "attempts", h->attempts);
    json_set_bool(j, "writing", h->cut.write != WRITE_NONE);
    json_set_f64(j, "last_write_seconds", (double)h->cut.last_write_us / 1e6);
    json_set(top, "cut", j);
}

/* Sums over shards; every shard sees every push, so records are those of the one furthest behind. */
static void add_shards(const struct head *h, struct json *top)
{
    struct json *counters = json_object(), *staleness = json_object(), *shards = json_object();
    uint64_t applied = UINT64_MAX, doubled = 0, skipped = 0, refused = 0, pushes = 0, p99 = 0,
             rss = 0;
    uint64_t rows = 0, bytes = 0, undo = 0, up = 0;
    double mean = 0;
    const char *where = "";
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        const struct msg_shard_state *t = &h->shard[s].state;
        applied = t->applied < applied ? t->applied : applied;
        doubled += t->doubled;
        skipped += t->skipped;
        refused += t->refused;
        pushes = t->pushes > pushes ? t->pushes : pushes;
        p99 = t->staleness_p99 > p99 ? t->staleness_p99 : p99;
        mean += t->staleness_mean / h->conf.shards;
        rss += t->rss_bytes;
        rows += t->rows_live;
        bytes += t->table_bytes;
        undo += t->undo_bytes;
        up += h->shard[s].peer.joined;
        if (t->refused_where[0] != '\0')
            where = t->refused_where;
    }
    json_set_u64(counters, "pushes", pushes);
    json_set_u64(counters, "applied", applied == UINT64_MAX ? 0 : applied);
    json_set_u64(counters, "doubled", doubled);
    json_set_u64(counters, "skipped", skipped);
    json_set_u64(counters, "refused", refused);
    json_set_str(counters, "refused_where", where);
    json_set(top, "counters", counters);
    json_set_f64(staleness, "mean", mean);
    json_set_u64(staleness, "p99", p99);
    json_set(top, "staleness", staleness);
    json_set_u64(shards, "up", up);
    json_set_u64(shards, "of", h->conf.shards);
    json_set_u64(shards, "rows", rows);
    json_set_u64(shards, "table_bytes", bytes);
    json_set_u64(shards, "undo_bytes", undo);
    json_set_u64(shards, "rss_bytes", rss);
    json_set(top, "shards", shards);
}

static void add_workers(const struct head *h, struct json *top)
{
    struct json *workers = json_object();
    uint64_t up = 0, rss = 0, stall = 0, n = 0, all = 0;
    double loss = 0, auc = 0, accuracy = 0;
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        const struct msg_worker_state *t = &h->worker[w].state;
        up += h->worker[w].peer.joined;
        rss += t->rss_bytes;
        stall = t->stall_us_max > stall ? t->stall_us_max : stall;
        all += t->loss_count;
        if (t->totals_epoch != h->log.epoch || t->loss_count == 0)
            continue;
        loss += t->loss_sum;
        auc += t->train_auc * (double)t->loss_count;
        accuracy += t->train_accuracy * (double)t->loss_count;
        n += t->loss_count;
    }
    json_set_u64(workers, "up", up);
    json_set_u64(workers, "of", h->conf.workers);
    json_set_u64(workers, "rss_bytes", rss);
    json_set(top, "workers", workers);
    json_set_f64(top, "loss", n == 0 ? NAN : loss / (double)n);
    json_set_f64(top, "train_auc", n == 0 ? NAN : auc / (double)n);
    json_set_f64(top, "train_accuracy", n == 0 ? NAN : accuracy / (double)n);
    json_set_bool(top, "ranks", job_ranks(h->conf.conf));
    json_set_u64(top, "computed", n == 0 ? all : n);
    json_set_u64(top, "stall_us_max", stall);
}

static void add_notices(const struct head *h, struct json *top)
{
    struct json *list = json_array();
    uint64_t first = h->notices > HEAD_NOTICES ? h->notices - HEAD_NOTICES : 0;
    for (uint64_t i = first; i < h->notices; i++)
        json_add_str(list, h->notice[i % HEAD_NOTICES]);
    json_set(top, "notices", list);
    json_set_u64(top, "notices_total", h->notices);
}

char *head_report(const struct head *h, uint64_t now_us)
{
    struct json *top = json_object(), *records = json_object();
    bool ended = h->phase == HEAD_STOPPING || h->phase == HEAD_ENDED;
    json_set_str(top, "phase", phase_text(h));
    json_set_u64(top, "e", h->e);
    json_set_u64(top, "epoch", h->log.epoch);
    json_set_u64(top, "epochs", head_epochs(h));
    json_set_bool(top, "windows", h->conf.windows != NULL);
    json_set_u64(records, "done", h->log.done_records);
    json_set_u64(records, "total", h->log.records);
    json_set_u64(records, "applied", head_log_applied(&h->log));
    json_set(top, "records", records);
    json_set_f64(top, "run_seconds", h->run_us == 0 ? 0 : (double)(now_us - h->run_us) / 1e6);
    add_workers(h, top);
    add_shards(h, top);
    add_cut(h, top);
    add_recipe(h, top);
    add_live(h, top);
    add_notices(h, top);
    json_set_u64(top, "complete", h->complete);
    json_set_bool(top, "finished", ended);
    json_set_bool(top, "stopped", ended && h->stopped_early);
    json_set_u64(top, "code", ended ? (uint64_t)h->stop_code : 0);
    json_set_str(top, "text", ended ? h->text : "");
    char *text = json_text(top, 0);
    json_free(top);
    return text;
}
