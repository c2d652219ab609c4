/* popularity_rank.h - the baseline of next-item models: rank items by their events in train, for everybody alike.
 *
 * Each record's target among all items of the catalog but those that the record's user has seen (history and earlier);
 * ties count by half, so all items that train never saw stand in the middle of the rest.
 */
#ifndef PENSTOCK_COMMON_DATA_POPULARITY_RANK_H
#define PENSTOCK_COMMON_DATA_POPULARITY_RANK_H

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/data/dataset.h"
#include "common/metrics/ranking.h"

/* out: sums over the part's records; ranking_value gives the means. part: valid or test, for records of train have no
 * target (ST_USAGE). ST_NOT_FOUND when there is no such part, or records are no sequences. */
MUST_CHECK enum status popularity_rank(const struct job *job, const char *cache_dir, enum part part,
                                       struct ranking *out, struct errbuf *err);

#endif
