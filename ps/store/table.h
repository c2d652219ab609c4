/* table.h - one shard's rows of one table: a collisionless, growing map from 64-bit keys to records.
 *
 * A record holds everything of a row, contiguous: [struct row_meta | float w[dim] | float state[..]].
 * Records live in 2 MiB slabs, each behind its key; a record's slot never changes while the row lives, and
 * its address neither. Tags and slots live in a directory of bounded segments (extendible hashing), so
 * growth splits one segment and never rehashes globally. Calls take whole batches and prefetch: hash a
 * group of keys, prefetch tags, compare, prefetch records. Records are 8-byte aligned.
 *
 * Owned by the shard's thread. table_find changes nothing; only table_add makes a row. bytes never
 * exceeds conf.bytes_max: table_add then answers ST_AGAIN and nothing changed.
 */
#ifndef PENSTOCK_PS_STORE_TABLE_H
#define PENSTOCK_PS_STORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/plan.h"

#define SLOT_NONE UINT32_MAX

struct row_meta {       /* 16 bytes, first in every record */
    uint32_t last_step; /* the shard's step at the last update; 0 = never (a row as initialized) */
    uint16_t freq;      /* pushes that touched it, saturating */
    uint16_t flags;     /* bit 15 is the table's: set in free records, which no caller meets */
    uint32_t stamp;     /* interval of the last undo image; not in files, not hashed */
    uint32_t image;     /* index of that image in the open undo log; not in files, not hashed */
};

struct table_conf {
    const struct plan *plan; /* borrowed, outlives the table */
    uint32_t index;          /* of the table in the plan: dim, initial values */
    uint32_t state_floats;   /* a row's optimizer state; 0 where only weights are wanted */
    uint64_t bytes_max;      /* directory + segments + slabs in use */
};

struct table; /* opaque */

MUST_CHECK enum status table_new(const struct table_conf *conf, struct table **out,
                                 struct errbuf *err);
void table_free(struct table *t);
void table_clear(struct table *t); /* no rows; memory may be kept */

/* slots[i] = slot of keys[i], or SLOT_NONE. */
void table_find(const struct table *t, const uint64_t *keys, size_t n, uint32_t *slots);
/* slots in: a guess for each key, or SLOT_NONE (a handle's slots from an earlier pull). Out: as table_find.
 * A right guess costs no lookup. */
void table_resolve(const struct table *t, const uint64_t *keys, size_t n, uint32_t *slots);
bool table_holds(const struct table *t, uint64_t key,
                 uint32_t slot); /* any slot, also a foreign one */
/* Make the row of an absent key: meta zero, weights initial (plan_init_row), state zero.
 * ST_AGAIN: over budget. ST_NO_MEMORY. */
MUST_CHECK enum status table_add(struct table *t, uint64_t key, uint32_t *out_slot,
                                 struct errbuf *err);
/* Take the row away (undo of an add); its slot is reused by later adds. */
void table_remove(struct table *t, uint64_t key, uint32_t slot);

static inline float *row_weights(void *record)
{
    return (float *)(void *)((char *)record + sizeof(struct row_meta));
}
void *table_record(const struct table *t,
                   uint32_t slot); /* struct row_meta *, valid until removed */
void table_records(const struct table *t, const uint32_t *slots, size_t n,
                   void **out); /* NONE: NULL */
void table_prefetch(const struct table *t, const uint32_t *slots,
                    size_t n); /* any slots, also NONE */
uint32_t table_dim(const struct table *t);
uint32_t table_state_floats(const struct table *t);
size_t table_record_bytes(const struct table *t); /* 16 + 4 * (dim + state_floats) */
uint64_t table_rows(const struct table *t);
uint32_t table_slots(const struct table *t); /* all slots that were ever given are below it */
uint64_t table_bytes(const struct table *t);

/* Walk all rows: *cursor from 0; up to n (key, slot) pairs; 0 at the end. No add or remove between. */
size_t table_scan(const struct table *t, uint64_t *cursor, size_t n, uint64_t *out_keys,
                  uint32_t *out_slots);
/* Probe length: groups looked at per key found, mean and longest, for metrics. */
void table_probe_stats(const struct table *t, double *out_mean, uint32_t *out_max);
void table_check(const struct table *t); /* walks everything, asserts; debug and sim builds */

/* A shard's tables, by the plan's index. */
struct store {
    struct table *table[PLAN_TABLES_MAX]; /* owned */
    size_t tables;
};
/* state_floats[i] for plan table i. bytes_max is shared: each sparse table may use what others left. */
MUST_CHECK enum status store_new(const struct plan *plan, const uint32_t *state_floats,
                                 uint64_t bytes_max, struct store **out, struct errbuf *err);
void store_free(struct store *s);
uint64_t store_bytes(const struct store *s);

#endif
