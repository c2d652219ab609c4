/* undo.h - the image of each record at its first touch in an interval: the only snapshot there is.
 *
 * It is the frozen view the cut's writer reads while training goes on, the way back after a death, the
 * dirty set, and the old values of the hash (ps/snapshot/README.md, "The undo log"). One log covers all tables of a shard.
 * The record's meta holds the interval stamp and the index of its image, so first touch and the writer's
 * lookup cost no search.
 *
 * Call undo_touch BEFORE changing a record; undo_added right AFTER table_add. Walk back newest first.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_UNDO_H
#define PENSTOCK_PS_SNAPSHOT_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ps/store/table.h"

struct undo_entry {
    uint64_t key;
    uint32_t table;
    uint32_t slot;
    void *image; /* copy of the record, in the log's arena; NULL = the row was absent */
};

struct undo; /* opaque */

struct undo *undo_new(void);
void undo_free(struct undo *u);
void undo_reset(struct undo *u); /* forget all; memory kept up to a bound */

/* stamp: the shard's interval counter (open interval), never 0. Does nothing if the record already
 * carries the stamp; else copies the record (with its old meta), then sets meta.stamp and meta.image. */
void undo_touch(struct undo *u, struct store *s, uint32_t table, uint32_t slot, uint64_t key,
                uint32_t stamp);
void undo_added(struct undo *u, struct store *s, uint32_t table, uint32_t slot, uint64_t key,
                uint32_t stamp);

size_t undo_entries(const struct undo *u);
const struct undo_entry *undo_at(const struct undo *u, size_t i); /* oldest first */
uint64_t undo_bytes(const struct undo *u);
/* Append `newer` behind u and empty newer (an abandoned cut's log takes the open one's entries).
 * meta.image of rows touched in `newer` is made right for the joined log, which then is the open one. */
void undo_fold(struct undo *u, struct undo *newer, struct store *s, uint32_t newer_stamp);
/* Put every image back, newest first; added rows are removed. The log is empty afterwards. Records carry the
 * meta they had, stamps of former intervals too: the caller goes on with a stamp that was never used. */
void undo_rollback(struct undo *u, struct store *s);
/* Assert: each entry's row is in its slot, and rows with `stamp` name an entry of their own. Walks all. */
void undo_check(const struct undo *u, const struct store *s, uint32_t stamp);

#endif
