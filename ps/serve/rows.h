/* rows.h - key -> row of weights: read by any number of threads without a lock while one thread writes.
 *
 * What a serving node holds of a sparse table. A row is [key u64 | float w[dim]] at an address that never changes
 * while the row lives. An entry may also be a tomb: "this key is gone", which hides a row of a layer below.
 *
 * One writer. Readers stand inside an epoch (common/base/epoch.h); what they may not meet is the caller's to know: a
 * row's floats are overwritten in place, and a removed row's place is used again at once. So a key that is put or
 * removed must be one that no reader can be looking for *here* (ps/serve/README.md, "Layers"). Readers of all other
 * keys are never disturbed: lanes are published after their rows, and a segment that grows is replaced, the old one
 * freed when its readers have left.
 */
#ifndef PENSTOCK_PS_SERVE_ROWS_H
#define PENSTOCK_PS_SERVE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/epoch.h"
#include "common/base/errbuf.h"
#include "common/base/hash.h"

struct rows; /* opaque */

enum rows_found { ROWS_ABSENT, ROWS_TOMB, ROWS_LIVE };

/* dim may be 0: a set of keys. about: how many rows there may be, for the size of the directory, which is fixed (more is
 * allowed). room: lanes for so many at once. epoch: borrowed, of the readers; outlives the rows. */
struct rows *rows_new(uint32_t dim, uint64_t about, bool room, struct epoch *epoch);
void rows_free(struct rows *r); /* nobody may be reading */
/* Gives back up to `chunks` chunks of memory (2 MiB at most, each); true when nothing is left and r itself is freed. */
bool rows_free_some(struct rows *r, size_t chunks);

/* -- any thread, inside the epoch -- */

/* h = hash_u64(key). Live: *out_w (dim) is the row. */
enum rows_found rows_find(const struct rows *r, uint64_t key, uint64_t h, const float **out_w);
/* Hints for a group of keys: first where they would stand, then the rows themselves. */
void rows_prefetch_lanes(const struct rows *r, const uint64_t *h, size_t n);
void rows_prefetch_rows(const struct rows *r, const uint64_t *h, size_t n);
bool rows_empty(const struct rows *r); /* neither rows nor tombs */

/* -- the writer -- */

/* A row of this key, made where it is absent or a tomb; *out_w (dim) may be written until the next call. w: its
 * floats. ST_NO_MEMORY: nothing has changed. */
MUST_CHECK enum status rows_put(struct rows *r, uint64_t key, const void *w, struct errbuf *err);
MUST_CHECK enum status rows_put_tomb(struct rows *r, uint64_t key, struct errbuf *err);
/* The entry, row or tomb, is gone: the key is absent. Nothing where it is absent already. */
void rows_remove(struct rows *r, uint64_t key);
/* Frees what readers have left; called by put and remove now and then, and by who waits for memory. */
void rows_reclaim(struct rows *r);

struct rows_entry {
    uint64_t key;
    const float *w; /* (dim); NULL: a tomb */
};
/* Walk all entries: *cursor from 0; up to n; 0 at the end. No put and no remove between. */
size_t rows_scan(const struct rows *r, uint64_t *cursor, size_t n, struct rows_entry *out);

uint64_t rows_live(const struct rows *r);
uint64_t rows_tombs(const struct rows *r);
uint64_t rows_bytes(const struct rows *r); /* memory taken from the system */

#endif
