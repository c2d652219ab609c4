/* exporter.c - see exporter.h. */
#include "launch/exporter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/metrics/prometheus.h"
#include "common/net/http.h"

struct exporter {
    const struct job *job; /* borrowed */
    struct http_page *page;
    char *path; /* owned: DIR/metrics */
};

/* A number of the report under the name it has here. */
static const struct row {
    const char *name;
    enum prometheus_type type;
    const char *path, *help;
} rows[] = {
    {"penstock_pushes_total", PROMETHEUS_COUNTER, "counters.pushes",
     "Pushes applied: steps of training."},
    {"penstock_records_applied_total", PROMETHEUS_COUNTER, "counters.applied",
     "Records of the log whose gradient is applied on every shard."},
    {"penstock_records_doubled_total", PROMETHEUS_COUNTER, "counters.doubled",
     "Records applied more than once; 0 unless something is broken."},
    {"penstock_records_skipped_total", PROMETHEUS_COUNTER, "counters.skipped",
     "Records never applied; 0 unless something is broken."},
    {"penstock_gradient_rows_refused_total", PROMETHEUS_COUNTER, "counters.refused",
     "Gradient rows that were not finite or too large."},
    {"penstock_notices_total", PROMETHEUS_COUNTER, "notices_total",
     "Notices of the head: deaths, retried cuts and the like."},
    {"penstock_epochs", PROMETHEUS_GAUGE, "epochs", "Epochs that the job asks for."},
    {"penstock_epoch_records", PROMETHEUS_GAUGE, "records.total", "Records of one epoch."},
    {"penstock_epoch_records_done", PROMETHEUS_GAUGE, "records.done",
     "Records of this epoch that are done."},
    {"penstock_run_seconds", PROMETHEUS_GAUGE, "run_seconds", "Time since training began."},
    {"penstock_train_loss", PROMETHEUS_GAUGE, "loss", "Mean training loss of this epoch so far."},
    {"penstock_train_auc", PROMETHEUS_GAUGE, "train_auc", "Training AUC of this epoch so far."},
    {"penstock_best_valid_auc", PROMETHEUS_GAUGE, "recipe.best_auc",
     "Best AUC on the validation log so far."},
    {"penstock_rate_factor", PROMETHEUS_GAUGE, "recipe.rate_factor",
     "What plateau decay left of the learning rates."},
    {"penstock_staleness_mean", PROMETHEUS_GAUGE, "staleness.mean",
     "Pushes applied between a batch's pull and its push, mean."},
    {"penstock_staleness_p99", PROMETHEUS_GAUGE, "staleness.p99",
     "Pushes applied between a batch's pull and its push, 99th percentile."},
    {"penstock_cut_version", PROMETHEUS_GAUGE, "cut.version", "Last complete cut."},
    {"penstock_cut_rows", PROMETHEUS_GAUGE, "cut.rows", "Rows in the last complete cut."},
    {"penstock_cut_bytes", PROMETHEUS_GAUGE, "cut.bytes", "Bytes of its files."},
    {"penstock_cut_write_seconds", PROMETHEUS_GAUGE, "cut.last_write_seconds",
     "Time that writing it took."},
    {"penstock_shards_up", PROMETHEUS_GAUGE, "shards.up", "Shards that answer."},
    {"penstock_shards", PROMETHEUS_GAUGE, "shards.of", "Shards of the run."},
    {"penstock_workers_up", PROMETHEUS_GAUGE, "workers.up", "Workers that answer."},
    {"penstock_workers", PROMETHEUS_GAUGE, "workers.of", "Workers of the run."},
    {"penstock_table_rows", PROMETHEUS_GAUGE, "shards.rows", "Live rows on all shards."},
    {"penstock_table_bytes", PROMETHEUS_GAUGE, "shards.table_bytes",
     "Memory of the tables on all shards."},
    {"penstock_undo_bytes", PROMETHEUS_GAUGE, "shards.undo_bytes",
     "Memory of the undo logs on all shards."},
};

static const char *const phases[] = {"fence", "gather", "recover",  "cut",  "evaluate",
                                     "train", "wait",   "stopping", "ended"};

static void put_labelled(const struct job *job, const struct json *report, struct buffer *out)
{
    static const char *const roles[] = {"shards", "workers"};
    prometheus_metric(out, "penstock_job_info", PROMETHEUS_GAUGE, "Always 1; the job's name.");
    prometheus_sample(out, "penstock_job_info", "job", job->name, 1);
    prometheus_metric(out, "penstock_phase", PROMETHEUS_GAUGE, "1 for what the run does now.");
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        prometheus_sample(out, "penstock_phase", "phase", phases[i],
                          strcmp(json_str(report, "phase", ""), phases[i]) == 0);
    }
    prometheus_metric(out, "penstock_resident_memory_bytes", PROMETHEUS_GAUGE,
                      "Memory of all processes of a role.");
    for (size_t i = 0; i < 2; i++) {
        char path[32];
        snprintf(path, sizeof(path), "%s.rss_bytes", roles[i]);
        prometheus_sample(out, "penstock_resident_memory_bytes", "role", roles[i],
                          json_f64(report, path, 0));
    }
}

/* Of the last window that was judged and then trained on. */
static void put_window(const struct json *last, struct buffer *out)
{
    static const struct {
        const char *name, *key, *help;
    } of[] = {
        {"penstock_window", "window", "Number of the last window that is done, from 1."},
        {"penstock_window_records", "records", "Its records."},
        {"penstock_window_auc", "auc", "Its AUC before it was trained on."},
        {"penstock_window_logloss", "logloss", "Its logloss before it was trained on."},
        {"penstock_window_accuracy", "accuracy", "Its accuracy before it was trained on."},
        {"penstock_window_samples_per_second", "samples_per_second",
         "Its records trained on a second."},
    };
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        prometheus_one(out, of[i].name, PROMETHEUS_GAUGE, of[i].help,
                       last != NULL ? json_f64(last, of[i].key, NAN) : NAN);
    }
}

/* Of the last epoch that was judged. */
static void put_valid(const struct json *report, struct buffer *out)
{
    const struct json *history = json_get(report, "history");
    const struct json *last =
        json_len(history) > 0 ? json_at(history, json_len(history) - 1) : NULL;
    if (json_bool(report, "windows", false)) {
        put_window(last, out);
        return;
    }
    prometheus_one(out, "penstock_valid_auc", PROMETHEUS_GAUGE,
                   "AUC on the validation log after the last epoch.",
                   last != NULL ? json_f64(last, "auc", NAN) : NAN);
    prometheus_one(out, "penstock_valid_logloss", PROMETHEUS_GAUGE,
                   "Logloss on the validation log after the last epoch.",
                   last != NULL ? json_f64(last, "logloss", NAN) : NAN);
    static const struct {
        const char *name, *key, *help;
    } ranks[] = {
        {"penstock_valid_hr10", "hr10", "HR@10 on the validation log after the last epoch."},
        {"penstock_valid_ndcg10", "ndcg10", "NDCG@10 on the validation log after the last epoch."},
        {"penstock_valid_mrr", "mrr", "MRR on the validation log after the last epoch."},
    };
    for (size_t i = 0; json_bool(report, "ranks", false) && i < 3; i++) {
        prometheus_one(out, ranks[i].name, PROMETHEUS_GAUGE, ranks[i].help,
                       last != NULL ? json_f64(last, ranks[i].key, NAN) : NAN);
    }
}

/* data.follow: how well each segment was predicted before it was trained on, and how far behind the logs the run is. */
static void put_live(const struct json *report, struct buffer *out)
{
    static const struct row of[] = {
        {"penstock_live_segments_total", PROMETHEUS_COUNTER, "live.segments",
         "Segments of growing logs that are trained on."},
        {"penstock_live_records_total", PROMETHEUS_COUNTER, "live.records", "Their records."},
        {"penstock_live_bad_lines_total", PROMETHEUS_COUNTER, "follow.bad",
         "Lines of growing logs that were quarantined."},
        {"penstock_live_behind_records", PROMETHEUS_GAUGE, "follow.behind_records",
         "Records that are read but not trained on."},
        {"penstock_live_behind_bytes", PROMETHEUS_GAUGE, "follow.behind_bytes",
         "Bytes of lines that are not read yet."},
        {"penstock_live_behind_seconds", PROMETHEUS_GAUGE, "follow.behind_seconds",
         "Age of the oldest line that is not trained on."},
        {"penstock_live_fresh_seconds", PROMETHEUS_GAUGE, "live.fresh_seconds",
         "From the first line of the last segment to the cut that has it."},
        {"penstock_live_auc", PROMETHEUS_GAUGE, "live.recent_auc",
         "AUC of the last segments, each before it was trained on."},
        {"penstock_live_logloss", PROMETHEUS_GAUGE, "live.recent_logloss", "Their logloss."},
    };
    for (size_t i = 0; json_get(report, "live") != NULL && i < sizeof(of) / sizeof(of[0]); i++) {
        prometheus_one(out, of[i].name, of[i].type, of[i].help,
                       json_f64(report, of[i].path, of[i].type == PROMETHEUS_COUNTER ? 0 : NAN));
    }
}

void exporter_text(const struct job *job, const struct json *report, double samples_per_second,
                   struct buffer *out)
{
    put_labelled(job, report, out);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double none = rows[i].type == PROMETHEUS_COUNTER ? 0 : NAN;
        prometheus_one(out, rows[i].name, rows[i].type, rows[i].help,
                       json_f64(report, rows[i].path, none));
    }
    prometheus_one(out, "penstock_epoch", PROMETHEUS_GAUGE, "Epoch at work, from 1.",
                   json_f64(report, "epoch", 0) + 1);
    prometheus_one(out, "penstock_samples_per_second", PROMETHEUS_GAUGE,
                   "Records applied a second, smoothed over the last seconds.", samples_per_second);
    put_valid(report, out);
    put_live(report, out);
}

enum status exporter_open(const char *dir, const struct job *job, struct exporter **out,
                          struct errbuf *err)
{
    char url[HTTP_ADDRESS_MAX + 32];
    struct exporter *x = mem_zalloc(sizeof(*x));
    x->job = job;
    enum status st = http_page_open(job->cluster.metrics, "cluster.metrics", "/metrics",
                                    PROMETHEUS_CONTENT_TYPE, &x->page, err);
    if (st == ST_OK) {
        struct json *nothing = json_object();
        exporter_report(x, nothing, 0);
        json_free(nothing);
        x->path = file_join(dir, "metrics");
        snprintf(url, sizeof(url), "http://%s/metrics\n", http_page_address(x->page));
        st = file_write_atomic(x->path, url, strlen(url), err);
    }
    if (st != ST_OK) {
        exporter_close(x);
        return st;
    }
    fprintf(stderr, "penstock train: metrics at %s", url);
    *out = x;
    return ST_OK;
}

void exporter_report(struct exporter *x, const struct json *report, double samples_per_second)
{
    struct buffer text = BUFFER_INIT;
    exporter_text(x->job, report, samples_per_second, &text);
    http_page_set(x->page, buffer_text(&text), text.used);
    buffer_release(&text);
}

void exporter_close(struct exporter *x)
{
    if (x == NULL) {
        return;
    }
    http_page_close(x->page);
    if (x->path != NULL) {
        unlink(x->path);
    }
    free(x->path);
    free(x);
}
