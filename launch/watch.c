/* watch.c - see watch.h.
 *
 * The loop sleeps in sigtimedwait, asks the head twice a second, and reaps. What it prints comes from the
 * head's report alone, so `penstock status` in another terminal sees the same.
 *
 * | state     | what ended it        | next                                        |
 * |-----------|----------------------|---------------------------------------------|
 * | running   | INT, TERM            | stopping: the head is told until it answers |
 * | running   | a child's bad end    | failed: what the head says of it, then all are ended |
 * | running, to go live | INT, TERM      | draining; stopping, if the head says that it is not live yet |
 * | running, live | INT, TERM, data.follow_for, _idle, or the follower gave up | draining          |
 * | draining  | all segments are trained on | stopping                             |
 * | stopping  | INT, TERM            | failed: all are ended now                   |
 * | any       | all children ended   | done                                        |
 */
#include "launch/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/progress.h"
#include "launch/ask.h"
#include "ps/snapshot/manifest.h"

#define ASK_EVERY_US     500000u
#define DRAIN_US         5000000u /* after one child ended well, the others must follow within */
#define DRAIN_EARLY_US   300000u
#define GRACE_US         4000000u /* TERM to KILL: mpirun needs two seconds to end its ranks */
#define STOP_MAX_US      90000000u
#define ASK_LIVE_US      100000u
#define REPORT_BYTES_MAX (64u << 20)

struct watch {
    struct run *run;
    const struct prepare *dir;
    struct ask *ask;
    struct progress progress;
    struct watch_end *end;
    const struct watch_listener *listener; /* borrowed */
    uint64_t asked_us, ended_us, stop_us;
    uint64_t epoch_shown;
    uint64_t notices_shown;
    const struct job *job;     /* borrowed, and so the next */
    struct follower *follower; /* data.follow, else NULL */
    uint64_t live_us;          /* when the run went live, or 0 */
    bool draining; /* no further segment: the end is asked for when all are trained on */
    bool stopping; /* the head is asked to end */
    uint64_t rate_us, rate_applied; /* of the last answer that brought something new */
    double rate;
};

void watch_block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int watch_signal(uint64_t wait_us)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    struct timespec ts = {(time_t)(wait_us / 1000000u), (long)(wait_us % 1000000u) * 1000};
    int got = sigtimedwait(&set, NULL, &ts);
    return got == SIGINT || got == SIGTERM || got == SIGHUP ? got : 0;
}

static void show_notices(struct watch *w, const struct json *rep)
{
    const struct json *notices = json_get(rep, "notices");
    uint64_t all = json_u64(rep, "notices_total", 0);
    uint64_t fresh = all - w->notices_shown, kept = json_len(notices);
    for (uint64_t i = kept - (fresh < kept ? fresh : kept); i < kept; i++) {
        progress_done(&w->progress, "notice: %s", json_str(json_at(notices, i), NULL, ""));
    }
    w->notices_shown = all;
}

/* How well the training records were predicted: the AUC, or of next-item models the part that was right. */
static const char *trained_text(const struct json *rep, const struct json *of, char *out,
                                size_t cap)
{
    if (json_bool(rep, "ranks", false)) {
        snprintf(out, cap, "accuracy %.5f", json_f64(of, "train_accuracy", 0));
    } else {
        snprintf(out, cap, "AUC %.5f", json_f64(of, "train_auc", 0));
    }
    return out;
}

/* "  valid AUC click .71234 cart .75678, logloss .3210 .0456, base rate .1021 .0123" */
static void tasks_text(const struct json *tasks, char *out, size_t cap)
{
    static const char *const keys[] = {"auc", "logloss", "base_rate"};
    static const char *const words[] = {"  valid AUC", ", logloss", ", base rate"};
    size_t n = 0;
    for (size_t k = 0; k < 3 && n < cap; k++) {
        n += (size_t)snprintf(out + n, cap - n, "%s", words[k]);
        for (size_t t = 0; t < json_len(tasks) && n < cap; t++) {
            const struct json *task = json_at(tasks, t);
            n += (size_t)(k == 0 ? snprintf(out + n, cap - n, " %.24s %.5f",
                                            json_str(task, "task", "?"), json_f64(task, keys[k], 0))
                                 : snprintf(out + n, cap - n, " %.4f", json_f64(task, keys[k], 0)));
        }
    }
}

/* A window's line: how it was judged by what had not seen it, then how it was trained on. */
static void show_window(struct watch *w, const struct json *rep, const struct json *h)
{
    char judged[96] = "not judged, nothing was before it";
    if (json_f64(h, "logloss", -1) >= 0) {
        snprintf(judged, sizeof(judged), "before training AUC %.5f logloss %.4f",
                 json_f64(h, "auc", NAN), json_f64(h, "logloss", NAN));
    }
    progress_done(&w->progress,
                  "Window %" PRIu64 "/%" PRIu64 " from %s  %" PRIu64
                  " records  %s  trained loss %.4f  %.0f/s",
                  json_u64(h, "window", 0), json_u64(rep, "epochs", 0), json_str(h, "from", "?"),
                  json_u64(h, "records", 0), judged, json_f64(h, "train_loss", NAN),
                  json_f64(h, "samples_per_second", 0));
}

/* The lines of epochs that ended since the last look. */
static void show_epochs(struct watch *w, const struct json *rep)
{
    const struct json *history = json_get(rep, "history");
    for (; w->epoch_shown < json_len(history); w->epoch_shown++) {
        const struct json *h = json_at(history, w->epoch_shown);
        char valid[640] = "", trained[32];
        if (json_bool(rep, "windows", false)) {
            show_window(w, rep, h);
            continue;
        }
        if (json_len(json_get(h, "tasks")) > 0) {
            tasks_text(json_get(h, "tasks"), valid, sizeof(valid));
        } else if (json_f64(h, "auc", -1) >= 0) {
            snprintf(valid, sizeof(valid), "  valid AUC %.5f logloss %.4f", json_f64(h, "auc", 0),
                     json_f64(h, "logloss", 0));
        } else if (json_f64(h, "ndcg10", -1) >= 0) {
            snprintf(valid, sizeof(valid), "  valid HR@10 %.4f NDCG@10 %.4f MRR %.4f loss %.4f",
                     json_f64(h, "hr10", 0), json_f64(h, "ndcg10", 0), json_f64(h, "mrr", 0),
                     json_f64(h, "logloss", 0));
        }
        if (json_f64(h, "gauc", -1) >= 0) {
            const size_t n = strlen(valid);
            snprintf(valid + n, sizeof(valid) - n, " GAUC %.5f", json_f64(h, "gauc", 0));
        }
        progress_done(
            &w->progress, "Epoch %" PRIu64 "/%" PRIu64 " done  loss %.4f  %s%s  rate x%g%s",
            w->epoch_shown + 1, json_u64(rep, "epochs", 0), json_f64(h, "train_loss", 0),
            trained_text(rep, h, trained, sizeof(trained)), valid, json_f64(h, "rate_factor", 1),
            json_u64(rep, "recipe.best_epoch", 0) == w->epoch_shown + 1 ? "  best" : "");
    }
}

/* Samples a second, smoothed over the last few answers. */
static double rate_of(struct watch *w, uint64_t applied, uint64_t now)
{
    if (w->rate_us != 0 && now > w->rate_us && applied > w->rate_applied) {
        double rate = (double)(applied - w->rate_applied) * 1e6 / (double)(now - w->rate_us);
        w->rate = w->rate > 0 ? .7 * w->rate + .3 * rate : rate;
    }
    if (w->rate_us == 0 || applied != w->rate_applied) {
        w->rate_us = now;
        w->rate_applied = applied;
    }
    return w->rate;
}

/* data.follow: one line, whatever the number of segments. */
static void show_live(struct watch *w, const struct json *rep, uint64_t now)
{
    char rate[16], done[16], behind[16];
    progress_count(rate, rate_of(w, json_u64(rep, "counters.applied", 0), now));
    progress_count(done, json_f64(rep, "live.records", 0));
    progress_count(behind, json_f64(rep, "follow.behind_records", 0));
    if (json_u64(rep, "live.segments", 0) == 0) {
        progress_show(&w->progress, now,
                      "Live, no new line was trained on yet  behind %s  cut %" PRIu64 "  %s",
                      behind, json_u64(rep, "cut.version", 0), json_str(rep, "phase", ""));
        return;
    }
    progress_show(&w->progress, now,
                  "Live segment %" PRIu64
                  "  %s records  %s/s  behind %s %.1f s  before training AUC "
                  "%.4f logloss %.4f (all %.4f %.4f)  cut %" PRIu64 "  fresh %.2f s  %s",
                  json_u64(rep, "live.segments", 0), done, rate, behind,
                  json_f64(rep, "follow.behind_seconds", 0), json_f64(rep, "live.recent_auc", NAN),
                  json_f64(rep, "live.recent_logloss", NAN), json_f64(rep, "live.auc", NAN),
                  json_f64(rep, "live.logloss", NAN), json_u64(rep, "cut.version", 0),
                  json_f64(rep, "live.fresh_seconds", NAN), json_str(rep, "phase", ""));
}

/* What the front alone knows joins the head's report, for all who look at it. */
static void add_follow(struct watch *w, struct json *rep)
{
    struct follower_status s;
    struct json *j = json_object();
    follower_status(w->follower, &s);
    json_set_u64(j, "segments", s.counts.segments);
    json_set_u64(j, "records", s.counts.records);
    json_set_u64(j, "lines", s.counts.lines);
    json_set_u64(j, "bad", s.counts.bad);
    json_set_u64(j, "behind_records", s.behind);
    json_set_u64(j, "behind_bytes", s.bytes);
    json_set_f64(j, "behind_seconds", s.behind_seconds);
    json_set(rep, "follow", j);
}

/* What a live run is ended by. */
static void check_live(struct watch *w, const struct json *rep, uint64_t now)
{
    struct follower_status s;
    const uint64_t done = json_u64(rep, "live.segments", 0);
    if (json_get(rep, "live") == NULL) {
        follower_tell(w->follower, 0, 0, 0);
        if (w->draining && !w->stopping) { /* in the middle of its epochs it stops like any other */
            w->stopping = true;
            w->asked_us = 0;
        }
        return;
    }
    follower_tell(w->follower, done, json_u64(rep, "live.records", 0),
                  json_u64(rep, "live.committed", 0));
    follower_status(w->follower, &s);
    w->live_us = w->live_us == 0 ? now : w->live_us;
    const uint64_t most = w->job->data.follow_for, idle = w->job->data.follow_idle;
    const double live = (double)(now - w->live_us) / 1e6;
    const double quiet = s.idle_seconds < live ? s.idle_seconds : live;
    const bool all = done >= s.counts.segments && s.bytes == 0;
    if ((most > 0 && now - w->live_us >= most) ||
        (idle > 0 && all && quiet * 1e6 >= (double)idle)) {
        w->draining = true;
        follower_drain(w->follower);
    }
    w->stopping =
        w->stopping || s.status != ST_OK || (w->draining && s.drained && done >= s.counts.segments);
}

static void show_line(struct watch *w, const struct json *rep, uint64_t now)
{
    char bar[32], rate[16], left[16], done_text[16], total_text[16], trained[32];
    double done = (double)json_u64(rep, "records.done", 0);
    double total = (double)json_u64(rep, "records.total", 0);
    double speed = rate_of(w, json_u64(rep, "counters.applied", 0), now);
    progress_bar(bar, 20, total > 0 ? done / total : 0);
    progress_count(rate, speed);
    progress_count(done_text, done);
    progress_count(total_text, total);
    progress_time(left, speed > 0 ? (total - done) / speed : 0);
    progress_show(
        &w->progress, now,
        "%s %" PRIu64 "/%" PRIu64 " %s %s/%s  %s/s  loss %.4f  %s  stale %.1f  "
        "cut %" PRIu64 "  %s  %s",
        json_bool(rep, "windows", false) ? "Window" : "Epoch", json_u64(rep, "epoch", 0) + 1,
        json_u64(rep, "epochs", 0), bar, done_text, total_text, rate, json_f64(rep, "loss", 0),
        trained_text(rep, rep, trained, sizeof(trained)), json_f64(rep, "staleness.mean", 0),
        json_u64(rep, "cut.version", 0), json_str(rep, "phase", ""), left);
}

static void ask(struct watch *w, uint64_t now)
{
    struct json *rep = NULL;
    struct errbuf err = ERRBUF_INIT;
    bool want_stop = w->follower == NULL ? w->end->interrupted != 0 : w->stopping;
    if (ask_head(w->ask, want_stop, 100000, &rep, &err) != ST_OK) {
        return;
    }
    json_free(w->end->report);
    w->end->report = rep;
    show_notices(w, rep);
    show_epochs(w, rep);
    if (w->follower != NULL) {
        check_live(w, rep, now);
        add_follow(w, rep);
    }
    if (w->live_us != 0) {
        show_live(w, rep, now);
    } else {
        show_line(w, rep, now);
    }
    w->listener->report(w->listener->self, rep, w->rate);
}

static enum status on_signal(struct watch *w, int sig, uint64_t now, struct errbuf *err)
{
    if (w->end->interrupted != 0) {
        return errbuf_set(err, ST_INTERNAL,
                          "interrupted twice: ended at once; --resume goes on from the last "
                          "complete cut");
    }
    w->end->interrupted = sig;
    w->stop_us = now;
    w->asked_us = 0;
    if (w->follower != NULL) {
        w->draining = true; /* whether it is live already is what the head says next */
        follower_drain(w->follower);
    }
    progress_done(&w->progress, "%s: stopping at a cut (again to end at once)", strsignal(sig));
    return ST_OK;
}

/* The newest complete cut, 0 if there is none: by the folder, since a head that was killed tells no more. */
static uint64_t newest_cut(const char *dir)
{
    struct manifest m;
    struct errbuf ignored = ERRBUF_INIT;
    if (manifest_newest(dir, &m, NULL, &ignored) != ST_OK) {
        return 0;
    }
    uint64_t k = m.k;
    manifest_release(&m);
    return k;
}

/* The head knows the reason better than an exit code does. */
static enum status say_bad_end(struct watch *w, const struct run_child *bad, struct errbuf *err)
{
    char who[128];
    run_child_text(bad, who, sizeof(who));
    uint64_t cut = newest_cut(w->dir->dir);
    const char *why = json_str(w->end->report, "text", "");
    char resume[96] = "";
    if (cut > 0 && strstr(why, "--resume") == NULL) {
        snprintf(resume, sizeof(resume),
                 "; the last complete cut is %" PRIu64 ", --resume goes on from it", cut);
    } else if (cut == 0) {
        snprintf(resume, sizeof(resume), "; no cut was complete yet");
    }
    bool data = json_u64(w->end->report, "code", 0) == 3;
    return errbuf_set(err, data ? ST_BAD_DATA : ST_INTERNAL, "%s%s%s%s; see %s/log", who,
                      why[0] != '\0' ? ": " : "", why, resume, w->dir->dir);
}

static enum status look(struct watch *w, const struct run_child **bad, struct errbuf *err)
{
    uint64_t now = clock_now_us();
    int sig = watch_signal(50000);
    enum status st = sig != 0 ? on_signal(w, sig, now, err) : ST_OK;
    if (st != ST_OK) {
        return st;
    }
    size_t before = run_alive(w->run);
    run_reap(w->run, bad);
    if (*bad != NULL) {
        ask(w, now); /* while it may still answer */
        return errbuf_set(err, ST_INTERNAL, "a process ended badly");
    }
    if (run_alive(w->run) < w->run->children && w->ended_us == 0) {
        w->ended_us = now;
    }
    if (run_alive(w->run) < before && w->ended_us != 0) {
        w->ended_us = now;
    }
    /* Stopped before all were there: who came too late for the head's word has nothing to wait for. */
    bool early = w->end->interrupted != 0 && json_f64(w->end->report, "run_seconds", 0) <= 0;
    if (w->ended_us != 0 && early && now - w->ended_us > DRAIN_EARLY_US) {
        run_end(w->run, GRACE_US);
        return ST_OK;
    }
    if (w->ended_us != 0 && now - w->ended_us > DRAIN_US && run_alive(w->run) > 0) {
        return errbuf_set(err, ST_TIMEOUT, "some processes didn't end with the others; see %s/log",
                          w->dir->dir);
    }
    if (w->stop_us != 0 && now - w->stop_us > STOP_MAX_US) {
        return errbuf_set(err, ST_TIMEOUT, "no cut within %u s of the stop; ended",
                          STOP_MAX_US / 1000000u);
    }
    if (now - w->asked_us >= (w->live_us != 0 ? ASK_LIVE_US : ASK_EVERY_US) && w->ended_us == 0) {
        w->asked_us = now;
        ask(w, now);
    }
    return ST_OK;
}

/* The head's last words are in DIR/run.json: newer than its last answer. */
static void take_last_words(struct watch *w, const char *path)
{
    struct json *last = NULL;
    struct errbuf ignored = ERRBUF_INIT;
    if (file_exists(path) && json_read(path, REPORT_BYTES_MAX, &last, &ignored) == ST_OK) {
        json_free(w->end->report);
        w->end->report = last;
        if (w->follower != NULL) {
            add_follow(w, last);
        }
        show_notices(w, last);
        show_epochs(w, last);
        w->listener->report(w->listener->self, last, w->rate);
    }
}

/* How a live run ended: its last cut has all segments, or the log could not be gone on with. */
static enum status end_live(struct watch *w, enum status st, struct errbuf *err)
{
    struct follower_status s;
    follower_status(w->follower, &s);
    if (st == ST_OK && s.status != ST_OK) {
        st = errbuf_set(err, s.status, "%s; stopped at cut %" PRIu64 ", --resume goes on from it",
                        s.why, newest_cut(w->dir->dir));
    }
    w->end->live = st == ST_OK && json_get(w->end->report, "live") != NULL;
    return st;
}

enum status watch_run(struct run *r, const struct prepare *dir, const struct job *job,
                      struct follower *follower, const struct watch_listener *listener,
                      struct watch_end *out, struct errbuf *err)
{
    struct watch w = {.run = r, .dir = dir, .end = out, .listener = listener};
    w.job = job;
    w.follower = follower;
    const struct run_child *bad = NULL;
    progress_init(&w.progress, stderr);
    memset(out, 0, sizeof(*out));
    char *words = file_join(dir->dir, "run.json");
    unlink(words);
    enum status st = ask_open(dir->dir, dir->job_id, &w.ask, err);
    if (st != ST_OK) {
        run_end(r, GRACE_US);
        free(words);
        return st;
    }
    while (st == ST_OK && run_alive(r) > 0) {
        st = look(&w, &bad, err);
    }
    run_end(r, st == ST_OK ? 0 : GRACE_US);
    ask_close(w.ask);
    take_last_words(&w, words);
    free(words);
    st = bad != NULL ? say_bad_end(&w, bad, err) : st;
    return follower != NULL ? end_live(&w, st, err) : st;
}
