/* final_windows.c - see final_windows.h. */
#include "launch/final_windows.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "common/data/beside.h"

/* A mean that is weighted by records. */
struct mean {
    double sum, weight;
};

static void add(struct mean *m, double value, double records)
{
    if (isfinite(value)) {
        m->sum += value * records;
        m->weight += records;
    }
}

static double value(const struct mean *m)
{
    return m->weight > 0 ? m->sum / m->weight : NAN;
}

static const char *const figures[] = {"auc", "logloss", "accuracy"};
enum { FIGURES = sizeof(figures) / sizeof(figures[0]) };

static bool is_judged(const struct json *line)
{
    return isfinite(json_f64(line, "logloss", NAN));
}

static struct json *means_of(const struct final *f)
{
    const struct json *history = json_get(f->head, "history");
    struct mean mean[FIGURES] = {{0, 0}}, of[BASELINES][2] = {{{0, 0}}};
    uint64_t judged = 0, windows = 0;
    struct json *out = json_object(), *named = json_object();
    for (size_t i = 0; i < json_len(history); i++) {
        const struct json *line = json_at(history, i);
        const double records = json_f64(line, "records", 0);
        if (!is_judged(line)) {
            continue;
        }
        windows++;
        judged += json_u64(line, "records", 0);
        for (int k = 0; k < FIGURES; k++) {
            add(&mean[k], json_f64(line, figures[k], NAN), records);
        }
        for (int b = 0; b < BASELINES && i < f->windows_used; b++) {
            const struct baseline *x = &f->windows[i].of[b];
            add(&of[b][0], x->there ? x->auc : NAN, records);
            add(&of[b][1], x->there ? x->logloss : NAN, records);
        }
    }
    json_set_u64(out, "windows", windows);
    json_set_u64(out, "records", judged);
    for (int k = 0; k < FIGURES; k++) {
        json_set_f64(out, figures[k], value(&mean[k]));
    }
    for (int b = 0; b < BASELINES; b++) {
        if (of[b][0].weight > 0) {
            struct json *o = json_object();
            json_set_f64(o, "auc", value(&of[b][0]));
            json_set_f64(o, "logloss", value(&of[b][1]));
            json_set_str(o, "field", f->windows[0].field);
            json_set(named, baseline_name((enum baseline_kind)b), o);
        }
    }
    json_set(out, "baselines", named);
    return out;
}

void final_put_windows(const struct final *f, struct json *out)
{
    const struct json *history = json_get(f->head, "history");
    struct json *list = json_array();
    for (size_t i = 0; i < json_len(history); i++) {
        struct json *line = json_clone(json_at(history, i));
        if (i < f->windows_used) {
            json_set(line, "baselines", baselines_json(&f->windows[i]));
        }
        json_add(list, line);
    }
    json_set(out, "windows", list);
    json_set(out, "windows_mean", means_of(f));
}

void final_print_windows(const struct final *f)
{
    struct json *m = means_of(f);
    printf("  %" PRIu64 " windows judged before they were trained on, %" PRIu64
           " records; means by record:\n",
           json_u64(m, "windows", 0), json_u64(m, "records", 0));
    printf("  %-18s AUC %.5f  logloss %.5f  accuracy %.5f\n", "the model", json_f64(m, "auc", NAN),
           json_f64(m, "logloss", NAN), json_f64(m, "accuracy", NAN));
    beside_print(json_get(m, "baselines"), stdout);
    json_free(m);
}
