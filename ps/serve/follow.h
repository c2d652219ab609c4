/* follow.h - from a manifest to a version that is shown, or to the reason why the old one stays. Private to ps/serve.
 *
 * No thread and no wait of its own: the replica's follower calls it, and so do the tests.
 */
#ifndef PENSTOCK_PS_SERVE_FOLLOW_H
#define PENSTOCK_PS_SERVE_FOLLOW_H

#include <pthread.h>

#include "ps/serve/source.h"
#include "ps/serve/versions.h"

struct follow {
    /* -- set once -- */
    struct versions *vs;                   /* borrowed */
    struct source *source;                 /* borrowed */
    const struct plan *plan;               /* borrowed */
    pthread_mutex_t *lock;                 /* borrowed: of vs; held for instants only */
    uint64_t job, plan_hash, encoder_hash; /* what a manifest must name; 0: not compared */
    /* -- under the lock -- */
    uint64_t newest_k, shown_total, mismatch_total, refused_total, damaged_total, resync_total;
};

/* Stages m; on ST_OK its version is there, shown unless another is pinned. ST_END: it is not newer than what is there,
 * nothing to do. ST_BAD_DATA: damaged, or its hash differs even when read anew; ST_REFUSED: not finite; ST_FOREIGN: another
 * job or plan; or the source's. In all these cases what was shown is shown. */
MUST_CHECK enum status follow_take(struct follow *f, const struct manifest *m, struct errbuf *err);

#endif
