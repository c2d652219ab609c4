/* board.c - see board.h. */
#include "launch/board.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/wire/tfevents.h"

struct board {
    int fd;     /* -1: given up */
    char *path; /* owned */
    double rate_embedding, rate_dense;
    bool started;
    uint64_t step;   /* last written */
    uint64_t epochs; /* written */
};

static double wall_time(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void write_out(struct board *b, struct buffer *bytes)
{
    for (size_t at = 0; b->fd >= 0 && at < bytes->used;) {
        ssize_t n = write(b->fd, bytes->data + at, bytes->used - at);
        if (n < 0 && errno != EINTR) {
            fprintf(stderr, "penstock train: %s: %s; it ends here\n", b->path, strerror(errno));
            close(b->fd);
            b->fd = -1;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    buffer_release(bytes);
}

enum status board_open(const char *dir, const struct job *job, struct board **out,
                       struct errbuf *err)
{
    char host[128] = "", name[256];
    char *folder = file_join(dir, "tensorboard");
    enum status st = file_mkdirs(folder, err);
    if (st != ST_OK) {
        free(folder);
        return st;
    }
    gethostname(host, sizeof(host) - 1);
    /* TensorBoard reads what has "tfevents" in its name, in the order of the names. */
    snprintf(name, sizeof(name), "events.out.tfevents.%" PRId64 ".%s.%d.0", (int64_t)time(NULL),
             host, (int)getpid());
    struct board *b = mem_zalloc(sizeof(*b));
    b->path = file_join(folder, name);
    b->rate_embedding = job->optimizer.embedding.rate;
    b->rate_dense = job->optimizer.dense.rate;
    b->fd = open(b->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    free(folder);
    if (b->fd < 0) {
        st = errbuf_errno(err, ST_IO, "%s", b->path);
        board_close(b);
        return st;
    }
    struct buffer bytes = BUFFER_INIT;
    tfevents_version(&bytes, wall_time());
    write_out(b, &bytes);
    *out = b;
    return ST_OK;
}

/* Of several tasks: epoch/valid_auc/NAME and so on. */
static void put_tasks(const struct json *tasks, double now, uint64_t epoch, struct buffer *bytes)
{
    for (size_t t = 0; t < json_len(tasks); t++) {
        const struct json *task = json_at(tasks, t);
        char name[2][160];
        snprintf(name[0], sizeof(name[0]), "epoch/valid_auc/%.120s", json_str(task, "task", "?"));
        snprintf(name[1], sizeof(name[1]), "epoch/valid_logloss/%.120s",
                 json_str(task, "task", "?"));
        const struct tfevents_scalar s[] = {{name[0], json_f64(task, "auc", NAN)},
                                            {name[1], json_f64(task, "logloss", NAN)}};
        tfevents_scalars(bytes, now, epoch, s, 2);
    }
}

/* Step: the window's number. Its first figures are those of before it was trained on. */
static void put_window(struct board *b, const struct json *h, double now, struct buffer *bytes)
{
    const struct tfevents_scalar s[] = {
        {"window/auc", json_f64(h, "auc", NAN)},
        {"window/logloss", json_f64(h, "logloss", NAN)},
        {"window/accuracy", json_f64(h, "accuracy", NAN)},
        {"window/records", json_f64(h, "records", NAN)},
        {"window/samples_per_second", json_f64(h, "samples_per_second", NAN)},
        {"window/train_loss", json_f64(h, "train_loss", NAN)},
        {"window/train_auc", json_f64(h, "train_auc", NAN)},
        {"window/train_accuracy", json_f64(h, "train_accuracy", NAN)},
    };
    tfevents_scalars(bytes, now, json_u64(h, "window", b->epochs + 1), s, sizeof(s) / sizeof(s[0]));
}

static void put_epochs(struct board *b, const struct json *report, double now, struct buffer *bytes)
{
    const struct json *history = json_get(report, "history");
    for (; b->epochs < json_len(history); b->epochs++) {
        const struct json *h = json_at(history, b->epochs);
        if (json_bool(report, "windows", false)) {
            put_window(b, h, now, bytes);
            continue;
        }
        double factor = json_f64(h, "rate_factor", NAN);
        const struct tfevents_scalar s[] = {
            {"epoch/train_loss", json_f64(h, "train_loss", NAN)},
            {"epoch/train_auc", json_f64(h, "train_auc", NAN)},
            {"epoch/valid_auc", json_f64(h, "auc", NAN)},
            {"epoch/valid_gauc", json_f64(h, "gauc", NAN)},
            {"epoch/valid_logloss", json_f64(h, "logloss", NAN)},
            {"epoch/valid_accuracy", json_f64(h, "accuracy", NAN)},
            {"epoch/valid_hr10", json_f64(h, "hr10", NAN)},
            {"epoch/valid_ndcg10", json_f64(h, "ndcg10", NAN)},
            {"epoch/valid_mrr", json_f64(h, "mrr", NAN)},
            {"epoch/train_accuracy", json_f64(h, "train_accuracy", NAN)},
            {"epoch/rate_embedding", b->rate_embedding * factor},
            {"epoch/rate_dense", b->rate_dense * factor},
        };
        tfevents_scalars(bytes, now, b->epochs + 1, s, sizeof(s) / sizeof(s[0]));
        put_tasks(json_get(h, "tasks"), now, b->epochs + 1, bytes);
    }
}

void board_report(struct board *b, const struct json *report, double samples_per_second)
{
    uint64_t step = json_u64(report, "counters.pushes", 0);
    double now = wall_time(), factor = json_f64(report, "recipe.rate_factor", NAN);
    struct buffer bytes = BUFFER_INIT;
    if (b->fd < 0) {
        return;
    }
    if (!b->started) {
        tfevents_start(&bytes, now, step + 1);
        b->started = true;
        b->step = step;
    }
    put_epochs(b, report, now, &bytes);
    if (step != b->step) {
        const struct tfevents_scalar s[] = {
            {"step/loss", json_f64(report, "loss", NAN)},
            {"step/auc", json_f64(report, "train_auc", NAN)},
            {"step/accuracy", json_f64(report, "train_accuracy", NAN)},
            {"step/samples_per_second", samples_per_second > 0 ? samples_per_second : NAN},
            {"step/staleness_mean", json_f64(report, "staleness.mean", NAN)},
            {"step/staleness_p99", json_f64(report, "staleness.p99", NAN)},
            {"step/rate_embedding", b->rate_embedding * factor},
            {"step/rate_dense", b->rate_dense * factor},
        };
        b->step = step;
        tfevents_scalars(&bytes, now, step, s, sizeof(s) / sizeof(s[0]));
    }
    write_out(b, &bytes);
}

void board_close(struct board *b)
{
    if (b == NULL) {
        return;
    }
    if (b->fd >= 0) {
        close(b->fd);
    }
    free(b->path);
    free(b);
}
