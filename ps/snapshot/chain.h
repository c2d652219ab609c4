/* chain.h - a complete cut as one sorted list of rows for each table, merged from all files of its chain.
 *
 * Restoring puts a shard's share into memory; this reads everything and keeps nothing: files are mapped,
 * and a cursor walks the rows of one table by key, the newest file's record each. For verify, diff, show.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_CHAIN_H
#define PENSTOCK_PS_SNAPSHOT_CHAIN_H

#include <stdbool.h>

#include "ps/snapshot/part.h"

struct chain {
    const struct plan *plan; /* borrowed */
    struct part *part;       /* owned; oldest first */
    size_t parts;
};

/* Opens and checks every file. ST_BAD_DATA names it. */
MUST_CHECK enum status chain_open(const char *dir, const struct manifest *m,
                                  const struct plan *plan, struct chain *out, struct errbuf *err);
void chain_close(struct chain *c);

struct chain_source; /* a part's ids or tombs */

struct chain_cursor {
    const struct chain *chain; /* borrowed */
    uint32_t table;
    struct chain_source *heap; /* owned */
    size_t used;
};

void chain_cursor_init(struct chain_cursor *at, const struct chain *c, uint32_t table);
void chain_cursor_release(struct chain_cursor *at);
/* The next key and its record: `out_table` says how to read `out_row`. ST_END; ST_BAD_DATA: two shards of
 * one cut both have the row. */
MUST_CHECK enum status chain_next(struct chain_cursor *at, uint64_t *out_key,
                                  const struct part_table **out_table, struct part_row *out_row,
                                  struct errbuf *err);

#endif
