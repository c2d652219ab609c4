/* restore.h - load a complete cut into a shard's empty tables, whatever number of shards wrote it.
 *
 * Reads the chain oldest first; of each file the rows whose bucket the map gives to this shard, and of
 * dense tensors the blocks it owns. Checks size and xxh3 of every file before its first use; a damaged one
 * is ST_BAD_DATA naming it. Reports how many rows matched.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_RESTORE_H
#define PENSTOCK_PS_SNAPSHOT_RESTORE_H

#include "ps/snapshot/cut.h"
#include "ps/snapshot/manifest.h"
#include "ps/store/table.h"

/* map: bucket -> shard of the NEW layout. store: tables empty (no blocks either); where state_floats is 0 only
 * weights are loaded. hash (may be NULL; of the plan's number of tables): set to this shard's share, of no use
 * without state. Stamps are 0. out_rows (may be NULL): rows and blocks loaded.
 * ST_BAD_DATA names cut, file and tensor: damage, a table that the plan has not, another dim or state.
 * ST_AGAIN: the budget of the store is too small. On failure the tables hold a part: table_clear. */
MUST_CHECK enum status restore_load(const char *dir, const struct manifest *m,
                                    const struct plan *plan, const uint16_t *map, uint32_t shard,
                                    uint32_t shards, struct store *store, struct cut_hash *hash,
                                    uint64_t *out_rows, struct errbuf *err);
/* Check one complete cut: manifest, every file's bytes, xxh3 and structure, ids sorted and once, rows and hash
 * by table recomputed from the merged files. ST_BAD_DATA names cut and file or table. */
struct verify_result {
    uint64_t files, bytes, rows;
};
MUST_CHECK enum status snapshot_verify(const char *dir, uint64_t k, const struct plan *plan,
                                       struct verify_result *out, struct errbuf *err);

#endif
