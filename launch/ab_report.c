/* ab_report.c - see ab_report.h. The statistics are the node's, from sums that stand beside them; nothing is computed here. */
#include "launch/ab_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "launch/args.h"
#include "launch/node_ask.h"

#define ANSWER_US 10000000u
#define TOKEN_MAX 4096u
#define SRM_ALARM 1e-3 /* of chi-square; of the sequential test it is alpha */

/* ---- the verdict -------------------------------------------------------------------------------- */

static const struct json *first_metric(const struct json *figures)
{
    return json_at(json_get(figures, "metrics"), 0);
}

static bool split_is_broken(const struct json *figures)
{
    const struct json *srm = json_get(first_metric(figures), "statistics.srm");
    return json_f64(srm, "p", 1) < SRM_ALARM ||
           json_f64(srm, "sequential_p", 1) < json_f64(figures, "alpha", 0);
}

void ab_report_verdict(const struct json *figures, char *out, size_t out_n)
{
    const struct json *metric = first_metric(figures);
    const struct json *list = json_get(metric, "statistics.comparisons");
    const double alpha = json_f64(figures, "alpha", .05);
    size_t used = 0;
    out[0] = '\0';
    if (split_is_broken(figures)) {
        snprintf(out, out_n,
                 "The split is broken: users were lost on the way, more of one variant than of "
                 "another. Don't read the rest; find out where.");
        return;
    }
    if (json_len(list) == 0)
        snprintf(out, out_n, "One variant is shown: there is nothing to compare.");
    for (size_t i = 0; i < json_len(list) && used < out_n; i++) {
        const struct json *c = json_at(list, i);
        const char *arm = json_str(c, "arm", ""), *control = json_str(c, "control", "");
        const double p = json_f64(c, "absolute.sequential.p", NAN);
        const double lift = json_f64(c, "absolute.lift", NAN);
        const char *gap = i > 0 ? " " : "";
        if (isnan(p))
            used += (size_t)snprintf(out + used, out_n - used,
                                     "%sThere is not enough data about %s yet.", gap, arm);
        else if (p < alpha)
            used += (size_t)snprintf(out + used, out_n - used, "%s%s is %s than %s by %s.", gap,
                                     arm, lift > 0 ? "better" : "worse", control,
                                     json_str(metric, "metric", ""));
        else
            used += (size_t)snprintf(out + used, out_n - used,
                                     "%sNo difference between %s and %s yet.", gap, arm, control);
    }
}

/* ---- the table ---------------------------------------------------------------------------------- */

/* A number, or a dash where there is not enough data. */
static void cell(double v, const char *fmt, int width)
{
    char text[40] = "-";
    if (!isnan(v))
        snprintf(text, sizeof(text), fmt, v);
    printf(" %*s", width, text);
}

/* Of a variant among a metric's arms; NULL: a shadow. */
static const struct json *arm_of(const struct json *metric, const char *variant)
{
    const struct json *arms = json_get(metric, "statistics.arms");
    for (size_t i = 0; i < json_len(arms); i++)
        if (strcmp(json_str(json_at(arms, i), "name", ""), variant) == 0)
            return json_at(arms, i);
    return NULL;
}

static void print_variants(const struct json *figures)
{
    const struct json *list = json_get(figures, "variants"),
                      *metrics = json_get(figures, "metrics");
    printf("%-16s %9s %10s", "variant", "users", "exposures");
    for (size_t m = 0; m < json_len(metrics); m++)
        printf(" %10.10s", json_str(json_at(metrics, m), "metric", ""));
    printf(" %9s %8s %8s %8s %11s\n", "examples", "AUC", "logloss", "NE", "calibration");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *v = json_at(list, i);
        const char *name = json_str(v, "variant", "");
        printf("%-16s %9" PRIu64 " %10" PRIu64, name, json_u64(v, "users", 0),
               json_u64(v, "exposures", 0));
        for (size_t m = 0; m < json_len(metrics); m++)
            cell(json_f64(arm_of(json_at(metrics, m), name), "mean", NAN), "%.4g", 10);
        printf(" %9" PRIu64, json_u64(v, "examples", 0));
        cell(json_f64(v, "auc", NAN), "%.4f", 8);
        cell(json_f64(v, "logloss", NAN), "%.4f", 8);
        cell(json_f64(v, "normalized_entropy", NAN), "%.4f", 8);
        cell(json_f64(v, "calibration", NAN), "%.4f", 11);
        printf("%s", json_bool(v, "shadow", false) ? "  shadow" : "");
        const uint64_t missing = json_u64(v, "missing", json_u64(v, "unscored", 0));
        if (missing > 0)
            printf("  %" PRIu64 " answers without it", missing);
        printf("\n");
    }
}

static void print_comparisons(const struct json *figures)
{
    const struct json *metrics = json_get(figures, "metrics");
    const double percent = 100 * (1 - json_f64(figures, "alpha", .05));
    printf("\n%-16s %-16s %9s   %.4g %% interval   %8s\n", "metric", "variant", "lift", percent,
           "p");
    for (size_t m = 0; m < json_len(metrics); m++) {
        const struct json *metric = json_at(metrics, m),
                          *list = json_get(metric, "statistics.comparisons");
        for (size_t i = 0; i < json_len(list); i++) {
            const struct json *c = json_at(list, i), *lift = json_get(c, "fieller");
            printf("%-16s %-16s", json_str(metric, "metric", ""), json_str(c, "arm", ""));
            cell(100 * json_f64(lift, "lift", NAN), "%+.2f %%", 9);
            cell(100 * json_f64(lift, "from", NAN), "%+.2f %%", 10);
            cell(100 * json_f64(lift, "to", NAN), "%+.2f %%", 10);
            cell(json_f64(c, "absolute.sequential.p", NAN), "%.3g", 9);
            const double reduction = json_f64(c, "cuped.reduction", NAN);
            if (!isnan(reduction))
                printf("  CUPED: variance -%.1f %%", 100 * reduction);
            printf("\n");
        }
    }
    const struct json *srm = json_get(first_metric(figures), "statistics.srm");
    if (json_kind(srm) == JSON_MAP)
        printf("split: chi-square p %.3g, sequential p %.3g\n", json_f64(srm, "p", NAN),
               json_f64(srm, "sequential_p", NAN));
}

static void print_report(const struct json *figures)
{
    char verdict[4096];
    ab_report_verdict(figures, verdict, sizeof(verdict));
    printf("experiment %s, coverage %g\n%s\n\n", json_str(figures, "experiment", ""),
           json_f64(figures, "coverage", 1), verdict);
    print_variants(figures);
    print_comparisons(figures);
    if (json_u64(figures, "unmatched", 0) > 0)
        printf("%" PRIu64 " outcomes named what was not shown, or too long ago\n",
               json_u64(figures, "unmatched", 0));
}

/* ---- the call ----------------------------------------------------------------------------------- */

static enum status ask(const char *node, const char *token, struct json **out, struct errbuf *err)
{
    struct json *list = NULL;
    char path[400];
    enum status st = node_ask(node, "GET", "/v1/experiments", token, NULL, ANSWER_US, &list, err);
    if (st != ST_OK)
        return st;
    const char *name = json_str(json_at(json_get(list, "experiments"), 0), NULL, "");
    if (name[0] == '\0')
        st = errbuf_set(err, ST_NOT_FOUND,
                        "%s: no experiment runs there; start it with serve --ab EXPERIMENT.yaml",
                        node);
    snprintf(path, sizeof(path), "/v1/experiments/%.300s", name);
    if (st == ST_OK)
        st = node_ask(node, "GET", path, token, NULL, ANSWER_US, out, err);
    json_free(list);
    return st;
}

int ab_report(int argc, char **argv)
{
    const char *token_file = NULL;
    bool as_json = false;
    struct args_list rest;
    const struct args_flag flags[] = {
        {"--token-file", ARGS_TEXT, &token_file, "FILE", "holds the node's token, if it has one"},
        {"--json", ARGS_SWITCH, &as_json, NULL,
         "the node's figures; `sums` of each metric are what `ab calc` takes"},
    };
    const struct args_spec spec = {
        "ab report HOST:PORT [--json] [--token-file FILE]",
        "What a serving node measured of its experiment: each variant's users, rates and the "
        "quality of its\nscores, lift with its always valid interval, whether the split is sound, "
        "and a verdict.",
        flags,
        sizeof(flags) / sizeof(flags[0]),
        1,
        1};
    struct errbuf err = ERRBUF_INIT;
    struct json *figures = NULL;
    char *token = NULL;
    size_t token_n = 0;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK && token_file != NULL) {
        st = file_read(token_file, TOKEN_MAX, &token, &token_n, &err);
        if (st == ST_OK)
            token[strcspn(token, "\r\n")] = '\0';
        else
            st = errbuf_wrap(&err, ST_USAGE, "--token-file: ");
    }
    if (st == ST_OK)
        st = ask(rest.item[0], token, &figures, &err);
    if (st == ST_OK && as_json) {
        char *text = json_text(figures, 2);
        puts(text);
        free(text);
    } else if (st == ST_OK) {
        print_report(figures);
    }
    json_free(figures);
    free(token);
    return args_fail("ab report", st, &err);
}
