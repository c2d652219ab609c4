/* fence.h - which head may commit: incarnation directories run/<e> (ps/snapshot/README.md, "The fence").
 *
 * The descriptor of run/<e> is opened once and everything goes by it: a removed directory can neither be
 * renamed out of nor created in, so a fenced head's commit fails with ENOENT or ESTALE -> ST_FENCED.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_FENCE_H
#define PENSTOCK_PS_SNAPSHOT_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "ps/snapshot/manifest.h"

struct fence {
    int run_fd, cuts_fd, data_fd; /* owned */
    uint64_t e;
    bool sync; /* fsync; false in tests/sim only */
    char dir[1024];
};

/* Make the next incarnation: exact = 0: largest + 1; else exactly that number (a living head renews).
 * Creates run/ cuts/ data/ where missing. ST_FENCED: another head was faster or a larger number exists. */
MUST_CHECK enum status fence_open(const char *dir, uint64_t exact, bool sync, struct fence *out,
                                  struct errbuf *err);
void fence_close(struct fence *f);
/* Write run/<e>/m, fsync, rename to cuts/<k>.json without replacing, fsync cuts/. Asked twice: ST_OK.
 * ST_IO: cuts/<k>.json was looked at, it is not there, nor is run/<e>/m: abandon. ST_FENCED: this head must
 * exit: a newer one exists, or the manifest is there but can't be synced (or not be looked at), so that
 * only a restart, which reads cuts/, knows what is true. */
MUST_CHECK enum status fence_commit(struct fence *f, const struct manifest *m, struct errbuf *err);
/* Remove manifests that are neither among the newest `keep` whole ones (0 counts as 1), nor `best` of the
 * newest, then data files that no remaining one lists and that are not newer than the newest, or of an older
 * e. Nothing without a whole manifest; ST_FENCED: nothing, a newer head exists. */
MUST_CHECK enum status fence_prune(struct fence *f, uint32_t keep, struct errbuf *err);

#endif
