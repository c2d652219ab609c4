/* folds.c - see folds.h. */
#include "launch/folds.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"

#define REPORT_BYTES_MAX (16u << 20)

static const char *const parts[] = {"valid", "test"};
static const char *const figures[] = {"auc", "logloss", "accuracy"};
enum { PARTS_SHOWN = 2, FIGURES = 3 };

char *folds_dir(const char *dir, uint64_t fold)
{
    char name[32];
    snprintf(name, sizeof(name), "fold-%" PRIu64, fold);
    return file_join(dir, name);
}

static enum status read_report(const char *dir, uint64_t fold, struct json **out,
                               struct errbuf *err)
{
    char *of_fold = folds_dir(dir, fold);
    char *path = file_join(of_fold, "report.json");
    enum status st = json_read(path, REPORT_BYTES_MAX, out, err);
    free(path);
    free(of_fold);
    return st;
}

bool folds_done(const char *dir, uint64_t fold)
{
    struct json *report = NULL;
    struct errbuf ignored = ERRBUF_INIT;
    bool done =
        read_report(dir, fold, &report, &ignored) == ST_OK && !json_bool(report, "stopped", true);
    json_free(report);
    return done;
}

void folds_mean_sd(const double *values, uint64_t n, double *out_mean, double *out_sd)
{
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < n; i++) {
        sum += values[i];
    }
    *out_mean = n > 0 ? sum / (double)n : NAN;
    for (uint64_t i = 0; i < n; i++) {
        squares += (values[i] - *out_mean) * (values[i] - *out_mean);
    }
    *out_sd = n > 1 ? sqrt(squares / (double)(n - 1)) : NAN;
}

struct seen {
    uint64_t folds;
    double value[PARTS_SHOWN][FIGURES][FOLDS_MAX]; /* NaN: no such part */
    double mean[PARTS_SHOWN][FIGURES], sd[PARTS_SHOWN][FIGURES];
};

static enum status gather(const char *dir, struct seen *s, struct json *list, struct errbuf *err)
{
    for (uint64_t i = 0; i < s->folds; i++) {
        struct json *report = NULL;
        enum status st = read_report(dir, i, &report, err);
        if (st != ST_OK) {
            return st;
        }
        for (int p = 0; p < PARTS_SHOWN; p++) {
            for (int f = 0; f < FIGURES; f++) {
                char path[32];
                snprintf(path, sizeof(path), "%s.%s", parts[p], figures[f]);
                s->value[p][f][i] = json_f64(report, path, NAN);
            }
        }
        json_add(list, report); /* whole: nothing that a fold said is lost */
    }
    for (int p = 0; p < PARTS_SHOWN; p++) {
        for (int f = 0; f < FIGURES; f++) {
            folds_mean_sd(s->value[p][f], s->folds, &s->mean[p][f], &s->sd[p][f]);
        }
    }
    return ST_OK;
}

static void put_means(const struct seen *s, struct json *out)
{
    for (int p = 0; p < PARTS_SHOWN; p++) {
        struct json *of_part = json_object();
        for (int f = 0; f < FIGURES; f++) {
            struct json *o = json_object();
            json_set_f64(o, "mean", s->mean[p][f]);
            json_set_f64(o, "sd", s->sd[p][f]);
            json_set(of_part, figures[f], o);
        }
        json_set(out, parts[p], of_part);
    }
}

static void print_table(const struct seen *s, const char *dir, const char *name)
{
    const int test = 1;
    printf("\n%s: %" PRIu64 "-fold cross-validation, folds of users; test:\n", name, s->folds);
    printf("  fold         AUC    logloss   accuracy\n");
    for (uint64_t i = 0; i < s->folds; i++) {
        printf("  %4" PRIu64 "  %10.5f %10.5f %10.5f\n", i, s->value[test][0][i],
               s->value[test][1][i], s->value[test][2][i]);
    }
    printf("  mean  %10.5f %10.5f %10.5f\n", s->mean[test][0], s->mean[test][1], s->mean[test][2]);
    printf("  +- sd %10.5f %10.5f %10.5f\n", s->sd[test][0], s->sd[test][1], s->sd[test][2]);
    printf("  report: %s/report.json\n", dir);
}

enum status folds_report(const char *dir, const char *job_name, uint64_t folds, bool json,
                         struct errbuf *err)
{
    static struct seen s; /* too large for a stack; a front reports once */
    struct json *out = json_object(), *list = json_array();
    memset(&s, 0, sizeof(s));
    s.folds = folds;
    enum status st = gather(dir, &s, list, err);
    json_set_str(out, "job", job_name);
    json_set_u64(out, "folds", folds);
    put_means(&s, out);
    json_set(out, "fold", list);
    char *text = json_text(out, 2);
    char *path = file_join(dir, "report.json");
    if (st == ST_OK) {
        st = file_write_atomic(path, text, strlen(text), err);
    }
    if (st == ST_OK && json) {
        printf("%s\n", text);
    } else if (st == ST_OK) {
        print_table(&s, dir, job_name);
    }
    free(path);
    free(text);
    json_free(out);
    return st;
}
