/* experiment.h - EXPERIMENT.yaml: who is compared with whom, on which users, by which metrics, how surely.
 *
 * A variant is the live version, a pinned version, another stream (another job's) or other settings; the first is
 * the control. Shadow variants are scored and logged and never shown, so they get no users. All keys stand in the
 * three tables below, with their bounds and their help; launch/jobs/experiment.yaml is one with comments.
 */
#ifndef PENSTOCK_COMMON_METRICS_EXPERIMENT_H
#define PENSTOCK_COMMON_METRICS_EXPERIMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/options.h"
#include "common/metrics/ab_assign.h"
#include "common/metrics/ab_users.h"

enum variant_source { SOURCE_LIVE, SOURCE_VERSION, SOURCE_STREAM, SOURCE_SETTINGS };

struct experiment_variant {
    char *name;            /* owned */
    double weight;         /* of those shown they sum to 1 or nearly; shadow: 1, without meaning */
    int source;            /* enum variant_source */
    uint64_t version;      /* SOURCE_VERSION: the cut, >= 1 */
    char *stream;          /* SOURCE_STREAM: where another job's is; owned */
    struct texts settings; /* SOURCE_SETTINGS: KEY=VALUE of the node's own options */
    bool shadow;
};

struct experiment_metric {
    char *name, *event; /* owned; event: the kind of outcome it counts */
    int kind;           /* enum ab_kind */
    bool amount;        /* add up the outcomes' amounts, not their number */
    bool cuped;         /* adjust by what the user did before */
};

struct experiment {
    char *name, *seed; /* owned; seed is the name where none is given */
    int hash;          /* enum ab_hash */
    double coverage;
    struct {
        char *name; /* "" = none; owned */
        double from, to;
    } exclusive;
    uint64_t window_us; /* an outcome this long after its exposure still counts with it */
    uint64_t users_max; /* per variant */
    double alpha, n_star;
    struct experiment_variant *variant; /* owned; [0] is the control */
    size_t variants;
    struct experiment_metric *metric; /* owned */
    size_t metrics;
    /* -- derived -- */
    struct ab_range range[AB_VARIANTS_MAX]; /* (shown_used) */
    size_t shown[AB_VARIANTS_MAX]; /* (shown_used) indices of variants that aren't shadows */
    size_t shown_used;
};

extern const struct option_table experiment_options;
extern const struct option_table experiment_variant_options; /* each item of `variants` */
extern const struct option_table experiment_metric_options;  /* each item of `metrics` */

/* name: how the text is called in errors. ST_USAGE: "name:line:column: key: ...". */
MUST_CHECK enum status experiment_parse(const char *text, size_t n, const char *name,
                                        struct experiment *out, struct errbuf *err);
MUST_CHECK enum status experiment_read(const char *path, struct experiment *out,
                                       struct errbuf *err);
void experiment_release(struct experiment *e);
/* With every option and its value: an experiment that loads and is the same. */
void experiment_dump(const struct experiment *e, struct buffer *out);

/* The index of a user's variant, or -1: not in the experiment (an empty id never is). */
int experiment_assign(const struct experiment *e, const char *user);
/* What names an accumulator of this variant: changes when experiment, seed, variant or metrics do. */
uint64_t experiment_tag(const struct experiment *e, size_t variant);

#endif
