/* online_report.c - an experiment's figures as JSON: sums over users, and what common/metrics/ab_calc.h makes of them, so
 * that anyone can compute the one from the other; and the gauges that stand in /metrics.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics/ab_calc.h"
#include "common/metrics/prometheus.h"
#include "ps/serve/online.h"

static const char *const kinds[] = {"mean", "proportion", "ratio"};

/* ---- variants ----------------------------------------------------------------------------------- */

static struct json *variant_json(const struct online *o, size_t v)
{
    static const char *const sources[] = {"live", "version", "stream", "settings"};
    const struct experiment_variant *x = &o->experiment->variant[v];
    const struct ab_online *a = &o->variant[v];
    const struct ab_online_result r = ab_online_value(a);
    struct json *j = json_object();
    json_set_str(j, "variant", x->name);
    json_set_str(j, "source", sources[x->source]);
    if (x->source == SOURCE_VERSION)
        json_set_u64(j, "version", x->version);
    if (x->source == SOURCE_STREAM)
        json_set_str(j, "stream", x->stream);
    json_set_bool(j, "shadow", x->shadow);
    if (!x->shadow)
        json_set_f64(j, "weight", x->weight);
    json_set_u64(j, "users", a->users.users);
    json_set_u64(j, "exposures", (uint64_t)a->users.sums[0].d_sum);
    json_set_u64(j, "examples", r.examples);
    json_set_u64(j, "positives", r.positives);
    json_set_f64(j, "auc", r.both_classes ? r.auc : NAN);
    json_set_f64(j, "auc_bound", r.both_classes ? r.auc_bound : NAN);
    json_set_f64(j, "logloss", r.examples > 0 ? r.logloss : NAN);
    json_set_f64(j, "normalized_entropy", r.both_classes ? r.entropy : NAN);
    json_set_f64(j, "calibration", r.positives > 0 ? r.calibration : NAN);
    json_set_u64(j, "corrected", a->corrected);
    json_set_u64(j, "refused", a->refused + a->users.refused);
    json_set_u64(j, x->shadow ? "unscored" : "missing",
                 atomic_load(x->shadow ? &o->unscored[v] : &o->missing[v]));
    return j;
}

/* ---- metrics ------------------------------------------------------------------------------------ */

/* Sums of a shown variant, as `ab calc` takes them. */
static struct json *arm_json(const struct online *o, size_t v, size_t m)
{
    const struct experiment_metric *x = &o->experiment->metric[m];
    const struct ab_sums *s = &o->variant[v].users.sums[m];
    struct json *j = json_object();
    json_set_str(j, "name", o->experiment->variant[v].name);
    json_set_f64(j, "weight", o->experiment->variant[v].weight);
    json_set_f64(j, "n", s->n);
    json_set_f64(j, "sum", s->sum);
    json_set_f64(j, "sum_squares", s->square_sum);
    if (x->kind == AB_RATIO) {
        json_set_f64(j, "denominator_sum", s->d_sum);
        json_set_f64(j, "denominator_sum_squares", s->d_square_sum);
        json_set_f64(j, "denominator_cross_sum", s->yd_sum);
    } else if (x->cuped) {
        json_set_f64(j, "covariate_sum", s->x_sum);
        json_set_f64(j, "covariate_sum_squares", s->x_square_sum);
        json_set_f64(j, "cross_sum", s->xy_sum);
    }
    return j;
}

static struct json *metric_json(const struct online *o, size_t m)
{
    const struct experiment *e = o->experiment;
    struct json *j = json_object(), *sums = json_object(), *arms = json_array(), *statistics = NULL;
    json_set_str(j, "metric", e->metric[m].name);
    json_set_str(j, "event", e->metric[m].event);
    json_set_str(sums, "kind", kinds[e->metric[m].kind]);
    json_set_str(sums, "test", "sequential");
    json_set_f64(sums, "alpha", e->alpha);
    json_set_f64(sums, "n_star", e->n_star);
    for (size_t i = 0; i < e->shown_used; i++)
        json_add(arms, arm_json(o, e->shown[i], m));
    json_set(sums, "arms", arms);
    if (e->shown_used >= 2 && ab_calc(sums, e->metric[m].name, &statistics, NULL) == ST_OK)
        json_set(j, "statistics", statistics);
    else
        json_set_null(j, "statistics"); /* one variant is shown, the others are shadows */
    json_set(j, "sums", sums);
    return j;
}

struct json *online_json(const struct online *o)
{
    const struct experiment *e = o->experiment;
    struct json *j = json_object(), *variants = json_array(), *metrics = json_array();
    json_set_str(j, "experiment", e->name);
    json_set_str(j, "seed", e->seed);
    json_set_f64(j, "coverage", e->coverage);
    json_set_f64(j, "alpha", e->alpha);
    json_set_f64(j, "n_star", e->n_star);
    json_set_f64(j, "window_seconds", (double)e->window_us * 1e-6);
    json_set_u64(j, "waiting", o->used);
    json_set_u64(j, "unmatched", o->unmatched);
    for (size_t v = 0; v < e->variants; v++)
        json_add(variants, variant_json(o, v));
    for (size_t m = 0; m < e->metrics; m++)
        json_add(metrics, metric_json(o, m));
    json_set(j, "variants", variants);
    json_set(j, "metrics", metrics);
    return j;
}

/* ---- /metrics ----------------------------------------------------------------------------------- */

static void by_variant(const struct json *figures, const char *key, const char *name,
                       enum prometheus_type type, const char *help, struct buffer *out)
{
    const struct json *list = json_get(figures, "variants");
    prometheus_metric(out, name, type, help);
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *v = json_at(list, i);
        const double value = json_f64(v, key, NAN);
        if (!isnan(value))
            prometheus_sample(out, name, "variant", json_str(v, "variant", ""), value);
    }
}

void online_metrics(const struct json *figures, struct buffer *out)
{
    const struct json *first = json_at(json_get(figures, "metrics"), 0);
    const struct json *lift =
        json_get(json_at(json_get(first, "statistics.comparisons"), 0), "fieller");
    const double p = json_f64(first, "statistics.srm.p", NAN);
    by_variant(figures, "exposures", "penstock_ab_exposures_total", PROMETHEUS_COUNTER,
               "Items shown by a variant of the experiment.", out);
    by_variant(figures, "users", "penstock_ab_users", PROMETHEUS_GAUGE,
               "Users that a variant was shown to.", out);
    by_variant(figures, "missing", "penstock_ab_missing_total", PROMETHEUS_COUNTER,
               "Answers by the live model, since the variant's was not there.", out);
    by_variant(figures, "auc", "penstock_prequential_auc", PROMETHEUS_GAUGE,
               "AUC of a variant's scores when they were shown.", out);
    by_variant(figures, "logloss", "penstock_prequential_logloss", PROMETHEUS_GAUGE,
               "Their logloss.", out);
    by_variant(figures, "calibration", "penstock_prequential_calibration", PROMETHEUS_GAUGE,
               "Positives that they predicted over those that came.", out);
    if (!isnan(p))
        prometheus_one(out, "penstock_ab_srm_pvalue", PROMETHEUS_GAUGE,
                       "Chi-square's p of the split; below .001 no figure can be believed.", p);
    if (json_kind(lift) != JSON_MAP)
        return;
    const struct {
        const char *bound;
        double value;
    } rows[] = {{"est", json_f64(lift, "lift", NAN)},
                {"lo", json_f64(lift, "from", -INFINITY)},
                {"hi", json_f64(lift, "to", INFINITY)}};
    prometheus_metric(out, "penstock_ab_lift", PROMETHEUS_GAUGE,
                      "Relative lift of the second variant in the first metric.");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        prometheus_sample(out, "penstock_ab_lift", "bound", rows[i].bound, rows[i].value);
}
