/* stage.h - build the next version from the files of a manifest's chain, as differences from the newest one. Pure:
 * parts in (ps/snapshot/part.h), a version out or a reason why not. Private to ps/serve.
 *
 * Three ways, by what the manifest's chain has in common with the chain of the newest version:
 *
 *   extend   all of it, and more behind: only the new files are read
 *   over     another chain (a full cut, a new incarnation): all its files are read over what is there; rows that do not
 *            differ cost nothing. It can't see rows that the new chain lacks: then the numbers of rows differ, ST_AGAIN
 *   anew     as over, but every key is remembered, what the chain lacks is removed, and the hash is summed from the rows
 *            as they stand now, not carried along: also the answer to a mismatch
 */
#ifndef PENSTOCK_PS_SERVE_STAGE_H
#define PENSTOCK_PS_SERVE_STAGE_H

#include "ps/serve/versions.h"
#include "ps/snapshot/part.h"

struct stage; /* opaque */

/* m: borrowed until the stage is freed. anew: read everything, trust nothing. ST_BAD_DATA: the tables of m are not the
 * plan's. */
MUST_CHECK enum status stage_new(struct versions *vs, const struct manifest *m, bool anew,
                                 struct stage **out, struct errbuf *err);
void stage_free(struct stage *s);
/* m->files[i] for i from here on must be given to stage_part, in order. */
size_t stage_first(const struct stage *s);
MUST_CHECK enum status stage_part(struct stage *s, const struct part *p, struct errbuf *err);
/* After the last part. ST_AGAIN: must be staged anew (rows that only that can find); ST_BAD_DATA: a hash differs, table
 * and hashes named; ST_REFUSED: a weight is not finite, table and key named. Changes nothing of vs. */
MUST_CHECK enum status stage_prove(struct stage *s, struct errbuf *err);
/* After it: the version is vs's, and shown unless another one is pinned. ST_AGAIN: versions_add's. */
MUST_CHECK enum status stage_commit(struct stage *s, uint64_t now_wall_us, struct errbuf *err);

#endif
