/* cmd_train.c - `penstock train`: one run from a job file to a report.
 *
 * load the job -> take DIR -> convert the logs -> start servers, then workers -> watch -> judge the best
 * cut -> report. Each step that fails leaves DIR so that the same call with --resume goes on.
 */
#include "launch/cmd_train.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/options.h"
#include "launch/args.h"
#include "launch/board.h"
#include "launch/exporter.h"
#include "launch/final.h"
#include "launch/folds.h"
#include "launch/follower.h"
#include "launch/place.h"
#include "launch/prepare.h"
#include "launch/run.h"
#include "launch/watch.h"

struct train_call {
    struct args_list sets;
    const char *out, *hostfile;
    const char *servers, *shards, *workers;
    uint64_t folds; /* NO_FOLDS: one run */
    bool resume, force, json, slurm;
    enum final_print print;
};

static volatile int interrupted; /* polled by the conversion */

static void on_signal(int sig)
{
    interrupted = sig;
}

/* While the logs are converted a signal only raises the flag that convert_job polls. */
static void catch_signals(bool on)
{
    static const int sigs[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa;
    sigset_t set;
    memset(&sa, 0, sizeof(sa));
    sigemptyset(&set);
    sa.sa_handler = on ? on_signal : SIG_DFL;
    for (size_t i = 0; i < 3; i++) {
        sigaddset(&set, sigs[i]);
        if (on) {
            sigaction(sigs[i], &sa, NULL);
        }
    }
    sigprocmask(on ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
    for (size_t i = 0; !on && i < 3; i++) {
        sigaction(sigs[i], &sa, NULL);
    }
}

/* --servers 2 is --set cluster.servers=2 behind all other assignments. */
static void add_cluster_sets(struct train_call *call, char text[3][64])
{
    const char *values[3] = {call->servers, call->shards, call->workers};
    static const char *const keys[3] = {"cluster.servers", "cluster.shards", "cluster.workers"};
    for (size_t i = 0; i < 3; i++) {
        if (values[i] != NULL &&
            call->sets.used < sizeof(call->sets.item) / sizeof(call->sets.item[0])) {
            snprintf(text[i], sizeof(text[i]), "%s=%.40s", keys[i], values[i]);
            call->sets.item[call->sets.used++] = text[i];
        }
    }
}

static enum status convert(const struct job *job, const struct prepare *dir,
                           struct convert_result *out, struct errbuf *err)
{
    struct progress progress;
    progress_init(&progress, stderr);
    catch_signals(true);
    enum status st = convert_job(job, dir->cache, &progress, &interrupted, out, err);
    catch_signals(false);
    if (st == ST_OK && out->rows[PART_TRAIN] == 0) {
        return errbuf_set(err, ST_BAD_DATA, "data.train: no records to train on");
    }
    return st;
}

/* What was learned is about ids and floats as the first run encoded them. */
static enum status same_encoder(const struct prepare *dir, uint64_t now, struct errbuf *err)
{
    if (!dir->resumed || now == dir->resumed_encoder) {
        return ST_OK;
    }
    return errbuf_set(err, ST_BAD_DATA,
                      "can't resume: the training files changed since cut %" PRIu64
                      " (%s/encoder.bin has hash %016" PRIx64 ", the cut %016" PRIx64
                      "), so its ids and scales mean something else; put the files back, add "
                      "--force to go on all the same, or train anew with another --out",
                      dir->resumed_cut, dir->cache, now, dir->resumed_encoder);
}

/* Where else the run shows itself: TensorBoard's files always, /metrics where the job says so. */
struct shown {
    struct board *board;
    struct exporter *exporter; /* NULL: nowhere */
};

static void show(void *self, const struct json *report, double samples_per_second)
{
    struct shown *s = self;
    board_report(s->board, report, samples_per_second);
    if (s->exporter != NULL) {
        exporter_report(s->exporter, report, samples_per_second);
    }
}

static enum status show_open(struct shown *s, const struct job *job, const struct prepare *dir,
                             struct errbuf *err)
{
    memset(s, 0, sizeof(*s));
    enum status st = ST_OK;
    if (job->cluster.metrics[0] != '\0') {
        st = exporter_open(dir->dir, job, &s->exporter, err);
    }
    return st == ST_OK ? board_open(dir->dir, job, &s->board, err) : st;
}

static void show_close(struct shown *s)
{
    board_close(s->board);
    exporter_close(s->exporter);
}

/* The cluster from its first process to its last. */
static enum status run_cluster(struct run *r, const struct place *place, const struct prepare *dir,
                               struct watch_end *end, struct errbuf *err)
{
    struct shown shown;
    struct follower *follower = NULL;
    enum status st = run_init(r, err);
    if (st != ST_OK) {
        return st;
    }
    st = show_open(&shown, place->job, dir, err);
    for (uint64_t i = 0; st == ST_OK && i < place_server_children(place); i++) {
        st = place_start_server(place, r, i, err);
    }
    if (st == ST_OK) {
        st = place_start_workers(place, r, err);
    }
    if (st == ST_OK && job_follows(place->job)) {
        st = follower_start(place->job, dir->dir, dir->cache, &follower, err);
    }
    if (st == ST_OK) {
        const struct watch_listener listener = {show, &shown};
        st = watch_run(r, dir, place->job, follower, &listener, end, err);
    } else {
        run_end(r, 1000000);
    }
    follower_stop(follower);
    show_close(&shown);
    run_release(r);
    return st;
}

static enum status conclude(struct final *f, const struct watch_end *end, enum final_print print,
                            struct errbuf *err)
{
    f->head = end->report;
    f->interrupted = end->interrupted != 0 && !end->live;
    if (f->interrupted && json_u64(f->head, "cut.version", 0) == 0) {
        return errbuf_set(err, ST_INTERNAL,
                          "stopped before the first cut was complete; nothing was trained");
    }
    uint64_t t = clock_now_us();
    enum status st = final_judge(f, err);
    f->evaluate_seconds = (double)(clock_now_us() - t) / 1e6;
    if (st == ST_OK) {
        st = final_report(f, print, err);
    }
    if (st == ST_OK && f->interrupted) {
        st = errbuf_set(err, ST_INTERNAL, "stopped at cut %" PRIu64 "; --resume goes on from it",
                        json_u64(f->head, "cut.version", 0));
    }
    return st;
}

static enum status train(const struct job *job, const struct train_call *call, struct place *place,
                         const struct prepare *dir, struct errbuf *err)
{
    struct convert_result data;
    struct watch_end end = {NULL, 0, false};
    struct run run;
    memset(&data, 0, sizeof(data));
    struct final f = {.job = job, .dir = dir, .data = &data, .run = &run};
    f.elsewhere = place->kind != PLACE_HERE;
    f.started_us = clock_now_us();
    enum status st = place_check(place, dir, err);
    if (st == ST_OK) {
        st = convert(job, dir, &data, err);
    }
    f.convert_seconds = (double)(clock_now_us() - f.started_us) / 1e6;
    if (st == ST_OK && !call->force) {
        st = same_encoder(dir, data.encoder_hash, err);
    }
    if (st != ST_OK) {
        return st;
    }
    uint64_t t = clock_now_us();
    st = run_cluster(&run, place, dir, &end, err);
    f.train_seconds = (double)(clock_now_us() - t) / 1e6;
    if (st == ST_OK && end.report == NULL) {
        st = errbuf_set(err, ST_INTERNAL, "the head never spoke; see %s/log", dir->dir);
    }
    if (st == ST_OK) {
        st = conclude(&f, &end, call->print, err);
    }
    final_release(&f);
    json_free(end.report);
    return st;
}

static enum status parse(struct train_call *call, int argc, char **argv, struct args_list *rest,
                         struct errbuf *err)
{
    const struct args_flag flags[] = {
        {"--servers", ARGS_TEXT, &call->servers, "N",
         "parameter-server processes (cluster.servers)"},
        {"--shards", ARGS_TEXT, &call->shards, "N", "shards over all servers (cluster.shards)"},
        {"--workers", ARGS_TEXT, &call->workers, "N", "worker ranks (cluster.workers)"},
        {"--hostfile", ARGS_TEXT, &call->hostfile, "F",
         "hosts of servers and workers, as mpirun reads it (HOST slots=N)"},
        {"--slurm", ARGS_SWITCH, &call->slurm, NULL,
         "start servers and workers as steps of this allocation (see penstock submit)"},
        {"--out", ARGS_TEXT, &call->out, "DIR", "folder of the run; default ./<job>.run"},
        {"--resume", ARGS_SWITCH, &call->resume, NULL, "go on from the newest complete cut in DIR"},
        {"--force", ARGS_SWITCH, &call->force, NULL,
         "begin again where DIR holds a run; with --resume: though the job changed"},
        {"--set", ARGS_LIST, &call->sets, "KEY=VALUE",
         "change one option of the job; may be repeated"},
        {"--folds", ARGS_U64, &call->folds, "K",
         "cross-validation: K runs, each with a K-th of the users as test; mean and deviation"},
        {"--json", ARGS_SWITCH, &call->json, NULL, "print report.json instead of the table"},
    };
    const struct args_spec spec = {
        "train JOB.yaml [--servers N] [--shards N] [--workers N] [--hostfile F | --slurm] "
        "[--out DIR] [--folds K] [--resume] [--force] [--set key=value]... [--json]",
        "Trains the job on server and worker processes: of this host, of several (--hostfile), or "
        "as\n"
        "steps of a Slurm allocation. Ctrl-C or TERM ends it at a complete cut; a second one at "
        "once.\n"
        "--resume goes on so that each record counts once.",
        flags,
        sizeof(flags) / sizeof(flags[0]),
        1,
        1};
    return args_parse(&spec, argc, argv, rest, err);
}

/* One run from its job to its report, in DIR `out`; NULL: ./<job>.run. */
static enum status one_run(const char *path, const struct train_call *call, const char *out,
                           struct errbuf *err)
{
    struct job job;
    enum status st = prepare_job(path, (char *const *)call->sets.item, call->sets.used, &job, err);
    if (st != ST_OK) {
        return st;
    }
    char name[512];
    snprintf(name, sizeof(name), "%s.run", job.name);
    struct prepare_call where = {out != NULL ? out : name, call->resume, call->force};
    struct prepare dir;
    struct place place;
    st = place_init(&place, &job, call->hostfile, call->slurm, err);
    if (st == ST_OK) {
        st = prepare_open(&where, &job, &dir, err);
        if (st == ST_OK) {
            st = train(&job, call, &place, &dir, err);
            prepare_close(&dir);
        }
        place_release(&place);
    }
    job_release(&job);
    return st;
}

/* A fold is a run with three more assignments. --resume skips folds that are done and begins those that aren't there. */
static enum status one_fold(const char *path, const struct train_call *call, const char *dir,
                            uint64_t fold, struct errbuf *err)
{
    struct train_call c = *call;
    char folds[48], number[48];
    snprintf(folds, sizeof(folds), "data.split.folds=%" PRIu64, call->folds);
    snprintf(number, sizeof(number), "data.split.fold=%" PRIu64, fold);
    const char *sets[] = {"data.split.by=fold", folds, number};
    for (size_t i = 0; i < 3; i++) {
        if (c.sets.used == sizeof(c.sets.item) / sizeof(c.sets.item[0])) {
            return errbuf_set(err, ST_USAGE, "--set: too many for --folds");
        }
        c.sets.item[c.sets.used++] = sets[i];
    }
    c.print = call->json ? FINAL_QUIET : FINAL_TABLE;
    char *out = folds_dir(dir, fold);
    char *resolved = file_join(out, "resolved.yaml");
    c.resume = call->resume && file_exists(resolved);
    enum status st = ST_OK;
    if (!call->resume || !folds_done(dir, fold)) {
        fprintf(stderr, "penstock train: fold %" PRIu64 " of %" PRIu64 " in %s\n", fold + 1,
                call->folds, out);
        st = one_run(path, &c, out, err);
    }
    if (st != ST_OK) {
        errbuf_wrap(err, st, "fold %" PRIu64 " of %" PRIu64 ": ", fold + 1, call->folds);
    }
    free(resolved);
    free(out);
    return st;
}

static enum status all_folds(const char *path, const struct train_call *call, struct errbuf *err)
{
    struct job job;
    if (call->folds < 2 || call->folds > FOLDS_MAX) {
        return errbuf_set(err, ST_USAGE, "--folds: %" PRIu64 " is not between 2 and %d",
                          call->folds, FOLDS_MAX);
    }
    enum status st = job_load(path, (char *const *)call->sets.item, call->sets.used, &job, err);
    if (st != ST_OK) {
        return st;
    }
    char name[512];
    snprintf(name, sizeof(name), "%s.run", job.name);
    const char *dir = call->out != NULL ? call->out : name;
    for (uint64_t i = 0; st == ST_OK && i < call->folds; i++) {
        st = one_fold(path, call, dir, i, err);
    }
    if (st == ST_OK) {
        st = folds_report(dir, job.name, call->folds, call->json, err);
    }
    job_release(&job);
    return st;
}

int cmd_train(int argc, char **argv)
{
    struct train_call call;
    struct args_list rest;
    struct errbuf err = ERRBUF_INIT;
    char sets[3][64];
    memset(&call, 0, sizeof(call));
    call.folds = NO_FOLDS;
    enum status st = parse(&call, argc, argv, &rest, &err);
    if (st == ST_OK) {
        call.print = call.json ? FINAL_JSON : FINAL_TABLE;
        add_cluster_sets(&call, sets);
        watch_block_signals();
        st = call.folds == NO_FOLDS ? one_run(rest.item[0], &call, call.out, &err)
                                    : all_folds(rest.item[0], &call, &err);
    }
    return args_fail("train", st, &err);
}
