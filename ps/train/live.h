/* live.h - the part of the recipe that a growing log has (data.follow): segments judged, then trained on. Pure.
 *
 * Behind its epochs a run is live: each segment is an epoch of the head's log, judged by parameters that have seen
 * nothing of it, then trained on once. There may be any number of them, so what is kept is bounded: means over all, each
 * segment by its records, and the last LIVE_KEPT. Both are in the manifest of each cut, and so is the judgement of the
 * segment under way: a cut may lie inside one, and nobody can judge it again once it is half learned.
 */
#ifndef PENSTOCK_PS_TRAIN_LIVE_H
#define PENSTOCK_PS_TRAIN_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/json.h"

#define LIVE_KEPT 16u

struct live_segment {
    uint64_t number, records;
    double auc, logloss, accuracy; /* before it was trained on; NaN: not known */
    double train_loss;
};

struct live {
    uint64_t from; /* the epoch that segment 1 is, from 0; 0: not live yet */
    uint64_t segments, records;
    double auc, logloss, accuracy;        /* means over all by record, of those that have one */
    uint64_t auc_records, judged_records; /* that they are of */
    struct live_segment now;              /* under way; number 0: none */
    struct live_segment last[LIVE_KEPT];  /* segment n at n % LIVE_KEPT; number 0: none */
};

/* The segment under way is trained on. */
void live_done(struct live *l, double train_loss);
/* Means by record over the last LIVE_KEPT; NaN: of none. */
void live_recent(const struct live *l, double *out_auc, double *out_logloss);
struct json *live_json(const struct live *l); /* owned by the caller */
MUST_CHECK enum status live_parse(const struct json *j, struct live *out, struct errbuf *err);

#endif
