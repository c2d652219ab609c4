/* ab_online.h - all that is measured of one variant, as it happens: how good its scores were, and what its users did.
 *
 * Progressive (prequential) metrics: every example counts with the logit of the model that served it, before any
 * training on it. A negative is known when the outcome's window is over; a positive that comes later still corrects
 * it. Accumulators add: over nodes, over windows of time. Saved bytes let a node go on after a restart:
 *
 *       0   8  "PNSTKABO"
 *       8   4  version, 1
 *      12   4  M, metrics
 *      16   8  tag: whose bytes these are
 *      24   8  U, users
 *      32   8  E, bins that hold something
 *      40  40  loss, predicted (f64), count, correct, positives
 *      80  24  corrected, refused, refused by the table of users
 *     104  4M  kinds of the metrics
 *       .  12E u32 bin (positives behind negatives), ascending; u64 count
 *       .  U (16 + 16 M)  u64 key, f64 exposures, f64 y (M), f64 x (M)
 *       .   8  xxh3-64 of all before
 *
 * Not thread-safe: one owner. Memory: 16 MiB of address space for bins, of which pages that hold a score are real;
 * a user takes 2 to 4 times (16 + 16 M) bytes.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_ONLINE_H
#define PENSTOCK_COMMON_METRICS_AB_ONLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/metrics/ab_users.h"
#include "common/metrics/auc.h"
#include "common/metrics/logloss.h"

struct ab_online {
    uint64_t tag;
    struct auc auc;
    struct logloss loss;
    uint64_t corrected; /* negatives that became positives */
    uint64_t refused;   /* logits that are no number; corrections of what was never a negative */
    struct ab_users users;
};

struct ab_online_result {
    uint64_t examples, positives;
    double auc, auc_bound; /* where both_classes; the true value is at most auc_bound away */
    double entropy;        /* NE, where both_classes */
    double logloss;        /* where examples > 0 */
    double calibration;    /* predicted over positives, where positives > 0 */
    bool both_classes;     /* false: not enough data for auc and entropy */
};

/* tag: of experiment and variant, so that no other's bytes are loaded. */
void ab_online_init(struct ab_online *o, uint64_t tag, const enum ab_kind *kinds, size_t metrics,
                    uint64_t users_max);
void ab_online_release(struct ab_online *o);
/* An example whose outcome is known, or whose window is over without one. false: refused, counted. */
bool ab_online_example(struct ab_online *o, float logit, bool positive);
/* Late: an example that was given as a negative is a positive. logit: as it was given. */
bool ab_online_correct(struct ab_online *o, float logit);
/* Exposures, outcomes and covariates: ab_users_* of o->users. */
struct ab_online_result ab_online_value(const struct ab_online *o);
void ab_online_merge(struct ab_online *into, const struct ab_online *from); /* same metrics */

void ab_online_save(const struct ab_online *o, struct buffer *out);
/* In place of what o holds; o is as it was on failure. ST_BAD_DATA: damaged, or more users than o's users_max;
 * ST_FOREIGN: of another tag or other metrics. name: how the bytes are called in errors. */
MUST_CHECK enum status ab_online_load(struct ab_online *o, const void *bytes, size_t n,
                                      const char *name, struct errbuf *err);

#endif
