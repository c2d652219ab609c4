/* beside.h - the baselines beside a result, for all models alike: as JSON for reports, as lines for people. */
#ifndef PENSTOCK_COMMON_DATA_BESIDE_H
#define PENSTOCK_COMMON_DATA_BESIDE_H

#include <stdio.h>

#include "common/base/job.h"
#include "common/base/json.h"
#include "common/data/dataset.h"

/* Of valid or test of the job, or of other records that were converted with its encoder (judged, borrowed; else NULL):
 * {"popularity": {...}, "popularity_recent": {...}, ...}, of click models with "auc", "logloss" and "field"
 * (baselines.h), of next-item models with "hr5" .. "mrr" (popularity_rank.h). A result is no worse for want of them:
 * what can't be had is left out, and if it is all of them *why says so (err's text; "" otherwise). Owned by the caller. */
struct json *beside_result(const struct job *job, const char *cache_dir, enum part part,
                           struct dataset *judged, struct errbuf *why);
/* A line each, of any object that has baselines by name. */
void beside_print(const struct json *named, FILE *out);
/* hr5, hr10, hr20, ndcg5, ndcg10, ndcg20, mrr of means. */
struct ranking;
void beside_put_ranking(const struct ranking *means, struct json *out);

#endif
