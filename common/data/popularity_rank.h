/* popularity_rank.h - the baselines of next-item models: rank items by their events in train, for everybody alike; or by
 * those among the newest tenth of train's events by time (recent).
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

/* out: sums over the part's records, or those of judged (borrowed; NULL: the part); ranking_value gives the means. part:
 * valid or test, for records of train have no target (ST_USAGE). ST_NOT_FOUND when there is no such part, records are
 * no sequences, or recent is asked of a log without a time. */
MUST_CHECK enum status popularity_rank(const struct job *job, const char *cache_dir, enum part part,
                                       struct dataset *judged, bool recent, struct ranking *out,
                                       struct errbuf *err);

#endif
