/* follower.h - the thread of the front that makes segments of growing logs (data.follow; common/data/segments.h).
 *
 * It looks each FOLLOWER_LOOK_US; lines that have waited for data.follow_every, or more than fit a segment, become
 * one, durable before anybody hears of it: the head finds it by DIR/live/position.json. Never more than
 * FOLLOWER_AHEAD segments wait for training: beyond that lines wait in their log, and segments become larger, which
 * is what makes a cluster that fell behind faster. Nothing is held in memory but the segment under construction.
 */
#ifndef PENSTOCK_LAUNCH_FOLLOWER_H
#define PENSTOCK_LAUNCH_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/data/segments.h"

#define FOLLOWER_LOOK_US 50000u
#define FOLLOWER_AHEAD   4u
#define FOLLOWER_KEPT                                                                              \
    64u /* files of done segments: cuts that a run may go on from stand further on */

struct follower; /* opaque */

struct follower_status {
    struct segments_counts counts;
    uint64_t behind;       /* records in segments that are not trained on */
    uint64_t bytes;        /* of lines that are in no segment yet */
    double behind_seconds; /* age of the oldest line that is not trained on; 0: there is none */
    double idle_seconds;   /* since a line was new, or the start */
    bool drained;          /* asked to drain, and there will be no further segment */
    enum status status;    /* not ST_OK: it gave up, and why */
    char why[sizeof(((struct errbuf *)0)->text)];
};

MUST_CHECK enum status follower_start(const struct job *job, const char *dir, const char *cache,
                                      struct follower **out, struct errbuf *err);
void follower_stop(struct follower *f); /* waits; frees; NULL-safe */
/* What the head says: segments that are trained on, their records, and those in a complete cut. */
void follower_tell(struct follower *f, uint64_t done, uint64_t done_records, uint64_t committed);
/* What is there now becomes the last segment. */
void follower_drain(struct follower *f);
void follower_status(struct follower *f, struct follower_status *out);

#endif
