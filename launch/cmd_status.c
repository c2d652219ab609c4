/* cmd_status.c - `penstock status DIR`: the head's own words if it answers, else what the folder says. */
#include "launch/cmd_status.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "launch/args.h"
#include "launch/ask.h"
#include "ps/snapshot/manifest.h"

#define ANSWER_US 2000000u

static void print_live(const struct json *rep)
{
    printf("running: %s, epoch %" PRIu64 "/%" PRIu64 ", %" PRIu64 "/%" PRIu64 " records\n",
           json_str(rep, "phase", "?"), json_u64(rep, "epoch", 0) + 1, json_u64(rep, "epochs", 0),
           json_u64(rep, "records.done", 0), json_u64(rep, "records.total", 0));
    const bool ranks = json_bool(rep, "ranks", false);
    printf("loss %.5f, %s %.5f, staleness mean %.2f p99 %.0f\n", json_f64(rep, "loss", 0),
           ranks ? "accuracy" : "AUC", json_f64(rep, ranks ? "train_accuracy" : "train_auc", 0),
           json_f64(rep, "staleness.mean", 0), json_f64(rep, "staleness.p99", 0));
    printf("last complete cut %" PRIu64 ", best %" PRIu64 "; applied %" PRIu64 ", doubled %" PRIu64
           ", skipped %" PRIu64 ", refused rows %" PRIu64 "\n",
           json_u64(rep, "cut.version", 0), json_u64(rep, "recipe.best_cut", 0),
           json_u64(rep, "counters.applied", 0), json_u64(rep, "counters.doubled", 0),
           json_u64(rep, "counters.skipped", 0), json_u64(rep, "counters.refused", 0));
}

/* Where followers are served, if they are. */
static void print_stream(const char *dir)
{
    char *path = file_join(dir, "stream"), *text = NULL;
    size_t n = 0;
    if (file_exists(path) && file_read(path, 256, &text, &n, NULL) == ST_OK) {
        printf("complete cuts are served at %s", text);
    }
    free(text);
    free(path);
}

static enum status print_ended(const char *dir, struct errbuf *err)
{
    struct manifest m;
    enum status st = manifest_newest(dir, &m, NULL, err);
    if (st != ST_OK) {
        return errbuf_wrap(err, st, "no head answers, and ");
    }
    char *path = file_join(dir, "report.json");
    printf("not running; last complete cut %" PRIu64 ", best %" PRIu64 ", epoch %" PRIu64
           ", applied %" PRIu64 " records; %s\n",
           m.k, m.best, m.epoch, m.applied,
           file_exists(path) ? "report.json tells how it ended" : "--resume goes on from it");
    free(path);
    manifest_release(&m);
    return ST_OK;
}

static enum status read_job_id(const char *dir, uint64_t *out, struct errbuf *err)
{
    char *path = file_join(dir, "job");
    char *text = NULL;
    size_t n = 0;
    enum status st = file_read(path, 64, &text, &n, err);
    if (!file_exists(dir)) {
        st = errbuf_set(err, ST_USAGE, "%s: no such folder", dir);
    } else if (st != ST_OK) {
        st = errbuf_set(err, ST_USAGE, "%s: no run's folder (it has no file `job`)", dir);
    } else if (sscanf(text, "%16" SCNx64, out) != 1) {
        st = errbuf_set(err, ST_BAD_DATA, "%s: not a job id", path);
    }
    free(text);
    free(path);
    return st;
}

static enum status show(const char *dir, bool json, struct errbuf *err)
{
    uint64_t id = 0;
    struct ask *ask = NULL;
    struct json *rep = NULL;
    enum status st = read_job_id(dir, &id, err);
    if (st != ST_OK) {
        return st;
    }
    char *head = file_join(dir, "head");
    bool has_head = file_exists(head);
    free(head);
    st = has_head ? ask_open(dir, id, &ask, err) : ST_TIMEOUT;
    if (st == ST_OK) {
        st = ask_head(ask, false, ANSWER_US, &rep, err);
        ask_close(ask);
    }
    if (st == ST_OK && json) {
        char *text = json_text(rep, 2);
        printf("%s\n", text);
        free(text);
    } else if (st == ST_OK) {
        print_live(rep);
        print_stream(dir);
    }
    json_free(rep);
    return st == ST_TIMEOUT ? print_ended(dir, err) : st;
}

int cmd_status(int argc, char **argv)
{
    bool json = false;
    struct args_list rest;
    const struct args_flag flags[] = {
        {"--json", ARGS_SWITCH, &json, NULL, "print all that the head knows, as JSON"}};
    const struct args_spec spec = {"status DIR [--json]",
                                   "Asks the head of the run in DIR; where none answers, tells the "
                                   "last complete cut.",
                                   flags,
                                   1,
                                   1,
                                   1};
    struct errbuf err = ERRBUF_INIT;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK) {
        st = show(rest.item[0], json, &err);
    }
    return args_fail("status", st, &err);
}
