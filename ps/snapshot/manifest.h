/* manifest.h - cuts/<k>.json: one complete cut, whole in itself.
 *
 * JSON with its own checksum ("xxh3" over the text with that field's value all zeros; see README). Reading is
 * bounded and checks everything before any field is used: ST_BAD_DATA names file and field.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_MANIFEST_H
#define PENSTOCK_PS_SNAPSHOT_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/hash.h"
#include "common/base/plan.h"

struct manifest_file {
    char name[96]; /* "data/<k>.<e>.<shard>.<full|delta>.safetensors", relative to DIR */
    uint64_t k, e;
    uint32_t shard;
    bool full;
    uint64_t bytes, rows, xxh3;
};

struct manifest_split { /* a split that isn't at its begin: records [begin, upto) are in the cut */
    uint64_t split, upto; /* upto: absolute offset in the epoch's order */
};

struct manifest {
    uint64_t job;        /* id */
    uint64_t e, k, prev; /* prev: cut this one's newest files are relative to; 0 = none */
    uint32_t shards;
    uint16_t map[BUCKETS];       /* bucket -> shard */
    struct manifest_file *files; /* owned; the whole chain, oldest first (full ones, then deltas) */
    size_t files_used;
    uint32_t tables;                   /* of the plan */
    uint64_t hash[PLAN_TABLES_MAX];    /* H(table) over all shards: sum mod 2^64 */
    uint64_t weights[PLAN_TABLES_MAX]; /* the same over keys and weights alone (cut_hash.h) */
    uint64_t rows[PLAN_TABLES_MAX];    /* live rows by table over all shards */
    char table_name[PLAN_TABLES_MAX][PLAN_NAME_MAX];
    uint64_t step;     /* pushes applied */
    uint64_t rendered; /* step up to which every row stands replayed (last full cut's) */
    /* log positions: epoch from 0; records [0, records) cut into splits of split_records */
    uint64_t epoch, records, split_records;
    struct manifest_split *splits; /* owned */
    size_t splits_used;
    uint64_t applied; /* records applied since the beginning, over all epochs */
    uint64_t best;    /* cut that the recipe restores; 0 = none; may equal k */
    uint64_t seed, config_hash, plan_hash, encoder_hash;
    uint64_t wall_us; /* when, since 1970 */
    char *recipe;     /* JSON object as text, opaque here; owned */
};

void manifest_init(struct manifest *m);
void manifest_release(struct manifest *m);
char *manifest_text(const struct manifest *m); /* owned by the caller */
MUST_CHECK enum status manifest_parse(const char *text, size_t n, const char *name,
                                      struct manifest *out, struct errbuf *err);
MUST_CHECK enum status manifest_read(const char *dir, uint64_t k, struct manifest *out,
                                     struct errbuf *err);
/* Numbers of cuts/<k>.json in dir, rising; *out owned. `bad` ones (".bad", unparsable names) are left
 * out. highest_seen: also counts .bad files and data files: numbers are never used twice. */
MUST_CHECK enum status manifest_list(const char *dir, uint64_t **out, size_t *out_n,
                                     uint64_t *highest_seen, struct errbuf *err);
/* The newest whose own checksum holds; ST_NOT_FOUND if there is none. Damaged newer ones are named in
 * `notes` (may be NULL). */
MUST_CHECK enum status manifest_newest(const char *dir, struct manifest *out, struct errbuf *notes,
                                       struct errbuf *err);
/* "DIR" or "DIR@k": the manifest of k; without k that of the newest's `best`, else the newest.
 * dir_out: buffer for the folder part. */
MUST_CHECK enum status manifest_resolve(const char *spec, char *dir_out, size_t dir_cap,
                                        struct manifest *out, struct errbuf *err);

#endif
