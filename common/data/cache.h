/* cache.h - the file format of a converted part: header, blocks, tail. Byte tables: README.md.
 *
 *   [ header 256 | block 0 | block 1 | ... | tail: directory of blocks, list of sources ]
 *
 * Every byte lies under one checksum: the header under its own, the tail under one in the header, each
 * block under one in the tail. A block holds up to block_rows records in columns by kind (labels, sources, times,
 * keys, weights, floats); inside keys and floats the order is record-major, because a shuffled epoch asks
 * for whole records and one record's keys should share a cache line.
 *
 * This file knows bytes. Who writes: cache_writer.h. Who maps: dataset.c.
 */
#ifndef PENSTOCK_COMMON_DATA_CACHE_H
#define PENSTOCK_COMMON_DATA_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/job_task.h"
#include "common/data/dataset.h"
#include "common/data/sources.h"

#define CACHE_VERSION           1u
#define CACHE_HEADER_BYTES      256u
#define CACHE_BLOCK_ROWS        65536u
#define CACHE_BLOCK_BYTES       ((size_t)64 << 20) /* a block ends early when its keys reach this */
#define CACHE_BLOCK_ENTRY_BYTES 40u

enum { CACHE_RAGGED = 1, CACHE_WEIGHTED = 2, CACHE_TIMED = 4, CACHE_USERS = 8 };

struct cache_shape {
    uint32_t flags;
    uint32_t fields, floats; /* F, D */
    uint32_t block_rows;     /* records a block, at most */
    uint32_t labels;         /* T, at least 1 */
};

struct cache_counts { /* of the whole conversion, all parts */
    uint64_t lines[PARTS], bad[PARTS], rows[PARTS], positives[PARTS];
};

struct cache_header {
    struct cache_shape shape;
    uint32_t part; /* enum part */
    uint64_t schema_hash, encoder_hash;
    uint64_t stamp; /* equal in all parts that were written together */
    uint64_t rows, keys, blocks;
    uint64_t record_keys_max; /* the longest record */
    uint64_t sources;
    uint64_t tail_offset, tail_bytes, tail_hash;
    struct cache_counts counts;
};

struct cache_entry { /* of the directory */
    uint64_t offset, bytes, first_row;
    uint32_t rows, keys;
    uint64_t hash;
};

/* Columns of one block in its bytes; absent ones are NULL. */
struct cache_block {
    size_t rows, keys;
    float *label;     /* (rows, T) 0, 1 or, of several, LABEL_MISSING */
    uint64_t *offset; /* (rows) of the line in the inflated source */
    uint32_t *source; /* (rows) */
    int64_t *time;    /* (rows) microseconds since 1970, TIME_MISSING */
    uint64_t *user;   /* (rows) hash of the whole id, 0: none */
    uint32_t *bag;    /* (rows * F + 1) positions in key */
    uint64_t *key;    /* (keys) */
    float *weight;    /* (keys) */
    float *num;       /* (rows, D) */
};

struct cache_tail {
    struct cache_entry *entry; /* owned */
    struct sources sources;    /* owned */
};

const char *cache_part_name(enum part part);       /* "train" */
char *cache_path(const char *dir, enum part part); /* owned: <dir>/train.cache */

/* Bytes of a block, a multiple of 64; block: pointers relative to `bytes` (may be NULL to ask the size). */
size_t cache_block_view(const struct cache_shape *shape, size_t rows, size_t keys, uint8_t *bytes,
                        struct cache_block *out);
/* Sizes inside a block fit each other: bags in order, sources known, numbers finite. */
bool cache_block_sound(const struct cache_shape *shape, const struct cache_block *b,
                       uint64_t sources);

void cache_header_write(const struct cache_header *h, struct buffer *out); /* CACHE_HEADER_BYTES */
/* Checks checksum, version and that all sizes fit a file of file_bytes. ST_BAD_DATA. */
MUST_CHECK enum status cache_header_read(const uint8_t *bytes, size_t n, uint64_t file_bytes,
                                         const char *path, struct cache_header *out,
                                         struct errbuf *err);
void cache_tail_write(const struct cache_entry *entry, size_t blocks, const struct sources *sources,
                      struct buffer *out);
/* bytes: tail_bytes of them. Checks the checksum and that the directory tiles the file. */
MUST_CHECK enum status cache_tail_read(const struct cache_header *h, const uint8_t *bytes,
                                       const char *path, struct cache_tail *out,
                                       struct errbuf *err);
void cache_tail_release(struct cache_tail *t);

#endif
