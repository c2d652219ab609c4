/* dataset.h - an opened part (train, valid, test) of a converted log: mapped caches, rows in any order.
 *
 * Records are numbered 0 .. rows-1 over all files of the part in the order of the job. A batch is built by
 * record numbers; unique keys are found once. Opening checks header and sizes; a block's checksum is checked at its first use
 * (ST_BAD_DATA names the file and block).
 */
#ifndef PENSTOCK_COMMON_DATA_DATASET_H
#define PENSTOCK_COMMON_DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"

enum part { PART_TRAIN, PART_VALID, PART_TEST, PARTS };

struct dataset; /* opaque; one thread at a time */

struct batch {       /* owned arrays, reused: batch_init once, then dataset_batch many times */
    size_t n, n_max; /* records */
    size_t fields, floats_used; /* F, D of the schema */
    uint64_t *keys;             /* (unique) distinct 64-bit keys, in order of first occurrence */
    size_t unique;
    uint32_t *offsets;   /* (n * F + 1) */
    uint32_t *index;     /* (offsets[n * F]) positions in keys */
    float *weight;       /* as index; NULL when the data has no weights (only libsvm has) */
    float *floats;       /* (n, D) normalized; missing = 0 */
    float *labels;       /* (T, n): of task t from t * n on; 0, 1 or LABEL_MISSING */
    size_t labels_used;  /* T */
    uint64_t *users;     /* (n) who, hashed, 0: unknown; NULL: the cache has no users */
    uint64_t *record;    /* (n) record numbers */
    uint32_t *candidate; /* (candidates) positions in keys: batch_candidates */
    size_t candidates, candidates_cap;
    size_t index_cap, keys_cap;
    uint32_t
        *seen; /* scratch of the unique-ify hash: the first seen_mask + 1 of seen_cap are used */
    size_t seen_cap, seen_mask;
    size_t bags, open; /* of a batch that is put together by hand: bags ended, occurrences */
};

/* cache_dir: what convert_job wrote. ST_NOT_FOUND when the part has no rows or was not converted. */
MUST_CHECK enum status dataset_open(const struct job *job, const char *cache_dir, enum part part,
                                    struct dataset **out, struct errbuf *err);
/* A segment of a growing log (segments.h): a train part in a file of its own. */
MUST_CHECK enum status dataset_open_segment(const struct job *job, const char *path,
                                            struct dataset **out, struct errbuf *err);
void dataset_close(struct dataset *d);
uint64_t dataset_rows(const struct dataset *d);
size_t dataset_fields(const struct dataset *d); /* F: id fields, in schema order */
size_t dataset_floats(const struct dataset *d); /* D */
bool dataset_users(const struct dataset *d);    /* batches say whose each record is */

void batch_init(struct batch *b, const struct dataset *d, size_t n_max);
void batch_release(struct batch *b);
/* Fill b with the records rows[0..n), n <= n_max. After warm-up it does not allocate. */
MUST_CHECK enum status dataset_batch(struct dataset *d, const uint64_t *rows, size_t n,
                                     struct batch *b, struct errbuf *err);
/* Behind dataset_batch: n keys, those of a catalog or some of them, join the batch's unique keys where they are
 * not yet, and b->candidate says where they all are, in their order. */
void batch_candidates(struct batch *b, const uint64_t *keys, size_t n);
/* Or without a dataset, as a serving node does: batch_open once; then batch_clear, and of each record in turn all its
 * bags: batch_key for each occurrence, batch_bag_end behind each of the F fields; its D floats stand in
 * batch_record's. batch_key_at: a key whose position is known already (batch_key returned it). n_max records. */
void batch_open(struct batch *b, size_t fields, size_t floats, bool weighted, size_t n_max);
void batch_clear(struct batch *b);
uint32_t batch_key(struct batch *b, uint64_t key, float weight);
void batch_key_at(struct batch *b, uint32_t position, float weight);
void batch_bag_end(struct batch *b);
/* Where the floats of the record being added stand (D); batch_record_end closes it, when F bags have ended. */
float *batch_record(struct batch *b);
void batch_record_end(struct batch *b);
/* Where record r came from: a sequence from its last event: path (borrowed) and byte offset of its line in the inflated text. */
void dataset_source(const struct dataset *d, uint64_t r, const char **out_path,
                    uint64_t *out_offset);
/* Number of id fields and floats a job's schema gives, without data: for the plan. */
void schema_counts(const struct job *job, size_t *out_fields, size_t *out_floats);

#endif
