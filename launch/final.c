/* final.c - see final.h.
 *
 * valid and test are judged by penstock-worker --eval on the cut that the recipe restores, read back from
 * its files: what is reported is what a serving fleet would load. The training figures are those of the last
 * epoch as it ran.
 */
#include "launch/final.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/job_task.h"
#include "common/base/mem.h"
#include "common/data/beside.h"
#include "launch/final_windows.h"

#define EVAL_DEADLINE_US 3600000000ull

static const char *const part_names[PARTS] = {"train", "valid", "test"};

/* What penstock-worker prints; argv[0] is its place. */
static enum status ask_worker(const char **argv, const char *what, struct json **out,
                              struct errbuf *err)
{
    char program[1100], *text = NULL;
    size_t n = 0;
    int code = 0;
    enum status st = run_program("penstock-worker", program, sizeof(program), err);
    if (st != ST_OK) {
        return st;
    }
    argv[0] = program;
    st = run_capture((char *const *)argv, 1u << 20, EVAL_DEADLINE_US, &text, &n, &code, err);
    if (st != ST_OK) {
        return st;
    }
    if (code != 0) {
        st = errbuf_set(err, code == 3 ? ST_BAD_DATA : ST_INTERNAL, "%s (the reason stands above)",
                        what);
    } else {
        st = json_parse(text, n, "what penstock-worker says", out, err);
    }
    free(text);
    return st;
}

static enum status judge_part(struct final *f, enum part part, struct errbuf *err)
{
    char what[64];
    const char *argv[] = {NULL,     "--eval",         "--snapshot", f->dir->dir,
                          "--data", part_names[part], "--json",     NULL};
    snprintf(what, sizeof(what), "the best cut can't be judged on %s", part_names[part]);
    return ask_worker(argv, what, &f->eval[part], err);
}

/* Baselines are no reason to fail: what can't be had is said and left out. */
static void say_no_baseline(const char *name, const char *where, const char *why)
{
    fprintf(stderr, "penstock train: no %s baseline on %s: %s\n", name, where, why);
}

static void ease_of(struct final *f, enum part p)
{
    struct errbuf why = ERRBUF_INIT;
    const char *argv[] = {NULL, "--baseline", "--dir", f->dir->dir, "--data", part_names[p], NULL};
    enum status st = ask_worker(argv, "penstock-worker --baseline failed", &f->ease, &why);
    const char *text = st == ST_OK ? json_str(f->ease, "why", "") : why.text;
    if (text[0] != '\0') {
        say_no_baseline("EASE", part_names[p], text);
        json_free(f->ease);
        f->ease = NULL;
    }
}

static enum part last_part(const struct final *f)
{
    return f->data->rows[PART_TEST] > 0 ? PART_TEST : PART_VALID;
}

enum status final_judge(struct final *f, struct errbuf *err)
{
    for (enum part p = PART_VALID; p < PARTS; p++) {
        if (f->data->rows[p] == 0) {
            continue;
        }
        enum status st = judge_part(f, p, err);
        if (st != ST_OK) {
            return st;
        }
    }
    if (f->job->train.window) {
        struct errbuf why = ERRBUF_INIT;
        if (baselines_windows(f->job, f->dir->cache, &f->windows, &f->windows_used, &why) != ST_OK)
            say_no_baseline("any", "windows", why.text);
    }
    if (job_ranks(f->job) && f->job->train.ease > 0 && f->data->rows[last_part(f)] > 0) {
        ease_of(f, last_part(f));
    }
    return ST_OK;
}

void final_release(struct final *f)
{
    for (int p = 0; p < PARTS; p++) {
        json_free(f->eval[p]);
        f->eval[p] = NULL;
    }
    json_free(f->ease);
    f->ease = NULL;
    free(f->windows);
    f->windows = NULL;
}

static uint64_t total(const uint64_t v[PARTS])
{
    return v[PART_TRAIN] + v[PART_VALID] + v[PART_TEST];
}

static const struct json *last_epoch(const struct final *f)
{
    const struct json *history = json_get(f->head, "history");
    size_t n = json_len(history);
    return n > 0 ? json_at(history, n - 1) : NULL;
}

/* What a next-item model is judged by, as penstock-worker --eval names it. */
static const char *const rank_keys[] = {"hr5", "hr10", "hr20", "ndcg5", "ndcg10", "ndcg20", "mrr"};

static void put_ranks(const struct json *from, struct json *out)
{
    for (size_t i = 0; i < sizeof(rank_keys) / sizeof(rank_keys[0]); i++) {
        json_set_f64(out, rank_keys[i], json_f64(from, rank_keys[i], 0));
    }
}

static void put_gauc(const struct json *from, struct json *out)
{
    static const char *const counts[] = {"gauc_users", "gauc_records", "gauc_left_users",
                                         "gauc_left_records", "gauc_unknown_records"};
    if (json_get(from, "gauc") == NULL) {
        return;
    }
    json_set_f64(out, "gauc", json_f64(from, "gauc", NAN));
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        json_set_u64(out, counts[i], json_u64(from, counts[i], 0));
    }
}

static void put_tasks(const struct json *from, struct json *out)
{
    static const char *const figures[] = {"base_rate", "auc",      "auc_bound",
                                          "logloss",   "accuracy", "calibration"};
    const struct json *tasks = json_get(from, "tasks");
    struct json *list = json_array();
    if (tasks == NULL) {
        json_free(list);
        return;
    }
    for (size_t t = 0; t < json_len(tasks); t++) {
        const struct json *task = json_at(tasks, t);
        struct json *o = json_object();
        json_set_str(o, "task", json_str(task, "task", "?"));
        json_set_u64(o, "records", json_u64(task, "records", 0));
        for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
            json_set_f64(o, figures[i], json_f64(task, figures[i], NAN));
        }
        put_gauc(task, o);
        json_add(list, o);
    }
    json_set_str(out, "task", json_str(from, "task", "?"));
    json_set(out, "tasks", list);
}

static struct json *part_of(const struct final *f, enum part p)
{
    const struct json *e = f->eval[p];
    struct json *o = json_object();
    if (job_ranks(f->job)) {
        put_ranks(e, o);
        json_set_f64(o, "loss", json_f64(e, "loss", 0));
    } else {
        json_set_f64(o, "auc", json_f64(e, "auc", 0));
        json_set_f64(o, "auc_bound", json_f64(e, "auc_bound", 0));
        put_gauc(e, o);
        json_set_f64(o, "logloss", json_f64(e, "logloss", 0));
        put_tasks(e, o);
    }
    json_set_f64(o, "accuracy", json_f64(e, "accuracy", 0));
    json_set_u64(o, "records", json_u64(e, "records", 0));
    return o;
}

static bool has_ease(const struct final *f, enum part p)
{
    return f->ease != NULL && p == last_part(f);
}

static struct json *baselines_of_part(const struct final *f, enum part p)
{
    const struct json *named = json_get(f->eval[p], "baselines");
    struct json *out = named != NULL ? json_clone(named) : json_object();
    if (has_ease(f, p)) {
        struct json *e = json_object();
        put_ranks(f->ease, e);
        json_set_f64(e, "lambda", json_f64(f->ease, "lambda", 0));
        json_set_f64(e, "seconds", json_f64(f->ease, "seconds", 0));
        json_set(out, "ease", e);
    }
    return out;
}

static void put_parts(const struct final *f, struct json *out)
{
    const struct json *last = last_epoch(f);
    const bool ranks = job_ranks(f->job);
    if (last != NULL) {
        struct json *train = json_object();
        if (!ranks) {
            json_set_f64(train, "auc", json_f64(last, "train_auc", 0));
        }
        json_set_f64(train, ranks ? "loss" : "logloss", json_f64(last, "train_loss", 0));
        json_set_f64(train, "accuracy", json_f64(last, "train_accuracy", 0));
        json_set(out, "train", train);
    }
    struct json *baselines = json_object();
    for (enum part p = PART_VALID; p < PARTS; p++) {
        if (f->eval[p] == NULL) {
            continue;
        }
        json_set(out, part_names[p], part_of(f, p));
        json_set(baselines, part_names[p], baselines_of_part(f, p));
    }
    json_set(out, "baselines", baselines);
}

static void put_resources(const struct final *f, struct json *out)
{
    struct json *rss = json_object();
    uint64_t ps = 0, workers = 0;
    for (size_t i = 0; i < f->run->children; i++) {
        const struct run_child *c = &f->run->child[i];
        uint64_t *of = strncmp(c->name, "ps-", 3) == 0 ? &ps : &workers;
        *of = c->rss_bytes > *of ? c->rss_bytes : *of;
    }
    if (f->elsewhere) { /* our children are ssh, srun and mpirun */
        json_set_null(rss, "server");
        json_set_null(rss, "worker");
    } else {
        json_set_u64(rss, "server", ps);
        json_set_u64(rss, "worker", workers);
    }
    json_set_u64(rss, "front", mem_rss_peak_bytes());
    json_set(out, "peak_rss_bytes", rss);
    struct json *seconds = json_object();
    json_set_f64(seconds, "convert", f->convert_seconds);
    json_set_f64(seconds, "train", f->train_seconds);
    json_set_f64(seconds, "evaluate", f->evaluate_seconds);
    json_set(out, "seconds", seconds);
}

static void put_log(const struct final *f, struct json *out)
{
    struct json *records = json_object();
    json_set_u64(records, "read", total(f->data->lines));
    json_set_u64(records, "bad", total(f->data->bad));
    json_set_u64(records, "applied", json_u64(f->head, "counters.applied", 0));
    json_set_u64(records, "train", f->data->rows[PART_TRAIN]);
    json_set_u64(records, "doubled", json_u64(f->head, "counters.doubled", 0));
    json_set_u64(records, "skipped", json_u64(f->head, "counters.skipped", 0));
    json_set_u64(records, "refused_rows", json_u64(f->head, "counters.refused", 0));
    json_set(out, "records", records);
    struct json *cut = json_object();
    json_set_u64(cut, "version", json_u64(f->head, "cut.version", 0));
    json_set_u64(cut, "rows", json_u64(f->head, "cut.rows", 0));
    json_set_u64(cut, "bytes", json_u64(f->head, "cut.bytes", 0));
    json_set_u64(cut, "best", json_u64(f->head, "recipe.best_cut", 0));
    json_set(out, "cut", cut);
    struct json *stale = json_object();
    json_set_f64(stale, "mean", json_f64(f->head, "staleness.mean", 0));
    json_set_f64(stale, "p99", json_f64(f->head, "staleness.p99", 0));
    json_set(out, "staleness", stale);
}

static struct json *make_report(const struct final *f)
{
    const struct job *job = f->job;
    struct json *out = json_object();
    char hash[24];
    double wall = (double)(clock_now_us() - f->started_us) / 1e6;
    uint64_t here = json_u64(f->head, "counters.applied", 0) - f->dir->resumed_applied;
    json_set_str(out, "job", job->name);
    json_set_str(out, "model", job_family_name(job->model.family));
    json_set_str(out, "consistency", job_consistency_name(job->train.consistency));
    json_set_str(out, "dense", job_dense_name(job->train.dense));
    json_set_u64(out, "servers", job->cluster.servers);
    json_set_u64(out, "shards", job->cluster.shards);
    json_set_u64(out, "workers", job->cluster.workers);
    json_set_u64(out, "epochs", json_len(json_get(f->head, "history")));
    json_set_f64(out, "wall_seconds", wall);
    json_set_f64(out, "samples_per_second",
                 f->train_seconds > 0 ? (double)here / f->train_seconds : 0);
    if (job_ranks(job) && f->train_seconds > 0 && f->data->rows[PART_TRAIN] > 0) {
        const double epochs = (double)here / (double)f->data->rows[PART_TRAIN];
        json_set_f64(out, "positions_per_second",
                     (double)f->data->sequence.positions * epochs / f->train_seconds);
    }
    put_log(f, out);
    put_parts(f, out);
    if (job->train.window) {
        final_put_windows(f, out);
    }
    if (json_get(f->head, "live") != NULL) {
        json_set(out, "live", json_clone(json_get(f->head, "live")));
        json_set(out, "follow", json_clone(json_get(f->head, "follow")));
    }
    put_resources(f, out);
    snprintf(hash, sizeof(hash), "%016" PRIx64, job_config_hash(job));
    json_set_str(out, "config_hash", hash);
    json_set_bool(out, "stopped", f->interrupted);
    return out;
}

static void print_ranks(const struct final *f, enum part p)
{
    const struct json *e = f->eval[p];
    printf("  %s HR@10     %10.5f  (@5 %.5f, @20 %.5f)\n", part_names[p], json_f64(e, "hr10", 0),
           json_f64(e, "hr5", 0), json_f64(e, "hr20", 0));
    printf("  %s NDCG@10   %10.5f  (@5 %.5f, @20 %.5f)\n", part_names[p], json_f64(e, "ndcg10", 0),
           json_f64(e, "ndcg5", 0), json_f64(e, "ndcg20", 0));
    printf("  %s MRR       %10.5f\n", part_names[p], json_f64(e, "mrr", 0));
}

/* Of several tasks a line each; the figures above are then those of train.task. */
static void print_tasks(const struct json *e)
{
    const struct json *tasks = json_get(e, "tasks");
    for (size_t t = 0; t < json_len(tasks); t++) {
        const struct json *task = json_at(tasks, t);
        const char *name = json_str(task, "task", "?");
        printf("    %-12s %10.5f  AUC", name, json_f64(task, "auc", 0));
        if (json_f64(task, "gauc", -1) >= 0) {
            printf(", GAUC %.5f", json_f64(task, "gauc", 0));
        }
        printf(", logloss %.5f, base rate %.5f, %" PRIu64 " records%s\n",
               json_f64(task, "logloss", 0), json_f64(task, "base_rate", 0),
               json_u64(task, "records", 0),
               strcmp(name, json_str(e, "task", "")) == 0 ? "  (train.task)" : "");
    }
}

static void print_part(const struct final *f, enum part p)
{
    const struct json *e = f->eval[p];
    if (e == NULL) {
        return;
    }
    printf("  %s loss      %10.5f\n", part_names[p],
           json_f64(e, job_ranks(f->job) ? "loss" : "logloss", 0));
    printf("  %s accuracy  %10.5f\n", part_names[p], json_f64(e, "accuracy", 0));
    if (job_ranks(f->job)) {
        print_ranks(f, p);
    } else {
        printf("  %s AUC       %10.5f  (+- %.1e)\n", part_names[p], json_f64(e, "auc", 0),
               json_f64(e, "auc_bound", 0));
        if (json_f64(e, "gauc", -1) >= 0) {
            printf("  %s GAUC      %10.5f  (%" PRIu64 " users; %" PRIu64
                   " of one class left out)\n",
                   part_names[p], json_f64(e, "gauc", 0), json_u64(e, "gauc_users", 0),
                   json_u64(e, "gauc_left_users", 0));
        }
        printf("  %s logloss   %10.5f\n", part_names[p], json_f64(e, "logloss", 0));
        print_tasks(e);
    }
    struct json *named = baselines_of_part(f, p);
    beside_print(named, stdout);
    json_free(named);
}

/* Behind the epochs: the growing log, whose records count on top. */
static void print_live(const struct final *f)
{
    if (json_u64(f->head, "live.segments", 0) == 0) {
        printf("  live: no segment was trained on; %" PRIu64 " records wait for --resume, %" PRIu64
               " bad lines\n",
               json_u64(f->head, "follow.records", 0), json_u64(f->head, "follow.bad", 0));
        return;
    }
    printf("  live: %" PRIu64 " segments of %" PRIu64 " records, %" PRIu64
           " bad lines; before training AUC %.5f, logloss %.5f; from a line to its cut %.2f s, at "
           "most %.2f s\n",
           json_u64(f->head, "follow.segments", 0), json_u64(f->head, "follow.records", 0),
           json_u64(f->head, "follow.bad", 0), json_f64(f->head, "live.auc", NAN),
           json_f64(f->head, "live.logloss", NAN),
           json_f64(f->head, "live.fresh_seconds_mean", NAN),
           json_f64(f->head, "live.fresh_seconds_max", NAN));
}

static void print_table(const struct final *f)
{
    /* Windows are parts of one pass. */
    const size_t epochs = f->job->train.window ? 1 : json_len(json_get(f->head, "history"));
    uint64_t log = f->data->rows[PART_TRAIN] * epochs;
    uint64_t applied = json_u64(f->head, "counters.applied", 0);
    uint64_t refused = json_u64(f->head, "counters.refused", 0);
    printf("\n%s: %s, %" PRIu64 " servers, %" PRIu64 " workers; best cut %" PRIu64 " of %s %" PRIu64
           "\n",
           f->job->name, job_family_name(f->job->model.family), f->job->cluster.servers,
           f->job->cluster.workers, json_u64(f->head, "recipe.best_cut", 0),
           f->job->train.window ? "window" : "epoch", json_u64(f->head, "recipe.best_epoch", 0));
    print_part(f, PART_VALID);
    print_part(f, PART_TEST);
    if (f->job->train.window) {
        final_print_windows(f);
    }
    if (json_get(f->head, "live") != NULL) {
        log += json_u64(f->head, "follow.records", 0);
        print_live(f);
    }
    printf("  records in the log %" PRIu64 " x %zu epochs = %" PRIu64 " %s applied %" PRIu64
           ", doubled %" PRIu64 ", skipped %" PRIu64 ", quarantined %" PRIu64 "\n",
           f->data->rows[PART_TRAIN], epochs, log,
           f->interrupted   ? "(stopped early);"
           : log == applied ? "="
                            : "NOT =",
           applied, json_u64(f->head, "counters.doubled", 0),
           json_u64(f->head, "counters.skipped", 0), total(f->data->bad));
    if (refused > 0) {
        printf("  %" PRIu64 " gradient rows were refused; the last: %s\n", refused,
               json_str(f->head, "counters.refused_where", "?"));
    }
    printf("  report: %s/report.json\n", f->dir->dir);
}

enum status final_report(const struct final *f, enum final_print print, struct errbuf *err)
{
    struct json *report = make_report(f);
    char *text = json_text(report, 2);
    char *path = file_join(f->dir->dir, "report.json");
    enum status st = file_write_atomic(path, text, strlen(text), err);
    if (st == ST_OK && print == FINAL_JSON) {
        printf("%s\n", text);
    } else if (st == ST_OK && print == FINAL_TABLE) {
        print_table(f);
    }
    free(path);
    free(text);
    json_free(report);
    return st;
}
