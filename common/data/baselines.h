/* baselines.h - what a click model has to beat, beside each of its results.
 *
 *   popularity         mean label of the item over train: (p + 10 m) / (n + 10); m: mean label of all that is counted
 *   popularity_recent  the same over the newest tenth of train by time; by window over the last window before
 *   item_mean          running: (p + 5 m) / (n + 5) over the item's records of strictly earlier times, m that of all of them
 *   item_user_mean     running: item's + user's - m, the user's as the item's
 *
 * n records, p positive ones. The running means are as of each record's instant: they go on inside the part that is judged, and
 * records of one instant know nothing of each other. They know what was known then, whatever part it is in. By window
 * popularity, too, is of all records before the window. 5 is what does best on ml-100k by time (test AUC .7078 and
 * .7401; anything from 3 to 10 is within .001).
 *
 * "item" is the field of type item, without one the field that ranks best (popularity.h). The last three need a time,
 * the last one a user whose id is kept whole (no hash, no min_count).
 */
#ifndef PENSTOCK_COMMON_DATA_BASELINES_H
#define PENSTOCK_COMMON_DATA_BASELINES_H

#include "common/base/job.h"
#include "common/base/json.h"
#include "common/data/popularity.h"

enum baseline_kind {
    BASELINE_POPULARITY,
    BASELINE_RECENT,
    BASELINE_ITEM,
    BASELINE_ITEM_USER,
    BASELINES
};

struct baselines { /* of one part or window */
    char field[64];
    struct baseline of[BASELINES];
};

/* Of valid or test of a job, or of other records that were converted with its encoder (judged, borrowed; NULL: part). Other
 * records come on top of train and valid. ST_NOT_FOUND when there is no such part, records are sequences, or no
 * field gives one id a record (libsvm). */
MUST_CHECK enum status baselines_of(const struct job *job, const char *cache_dir, enum part part,
                                    struct dataset *judged, struct baselines *out,
                                    struct errbuf *err);
/* Of each window of a train part made with data.split.by: window, in their order; owned by the caller. The first has
 * nothing before it: none is there. */
MUST_CHECK enum status baselines_windows(const struct job *job, const char *cache_dir,
                                         struct baselines **out, size_t *out_n, struct errbuf *err);
/* {"popularity": {"auc", "logloss", "field"}, ...}: those that are there. Owned by the caller. */
struct json *baselines_json(const struct baselines *b);
const char *baseline_name(enum baseline_kind kind);

#endif
