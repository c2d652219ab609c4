/* cut_file.h - the durable half of a shard's cut: data/<name>.tmp -> fsync -> rename -> fsync data/.
 *
 * Used by the writer thread; the checksum streams along. A failure (disk full) removes the .tmp; after a
 * failed cut_file_add that is the caller's cut_file_abort. The rename never replaces: a file of this name that
 * is there already is ST_IO. Creates data/ where missing. sync: fsync; false in tests/sim only.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_CUT_FILE_H
#define PENSTOCK_PS_SNAPSHOT_CUT_FILE_H

#include <stdbool.h>

#include "ps/snapshot/manifest.h"

struct cut_file; /* opaque */

MUST_CHECK enum status cut_file_open(const char *dir, uint64_t k, uint64_t e, uint32_t shard,
                                     bool full, bool sync, struct cut_file **out,
                                     struct errbuf *err);
MUST_CHECK enum status cut_file_add(struct cut_file *f, const void *bytes, size_t n,
                                    struct errbuf *err);
/* Makes it durable and fills name, bytes, xxh3 (not rows). Frees f in either case. */
MUST_CHECK enum status cut_file_finish(struct cut_file *f, struct manifest_file *out,
                                       struct errbuf *err);
void cut_file_abort(struct cut_file *f);

#endif
