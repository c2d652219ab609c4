/* cache_writer.h - write one part: rows into a block, blocks into a temporary file, then a name.
 *
 * Life: open; rows; end_rows; [fit, seal]; finish; commit. While the encoder is not fitted, blocks are
 * written raw, and seal reads, encodes and rewrites each in place (encoding changes no size): text is parsed once.
 * A row is built by key/bag_end/num calls and either kept (row_end) or taken back (row_undo).
 * Nothing is visible under the final name before commit; close without commit removes the temporary file.
 */
#ifndef PENSTOCK_COMMON_DATA_CACHE_WRITER_H
#define PENSTOCK_COMMON_DATA_CACHE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/mem.h"
#include "common/data/cache.h"
#include "common/feature/encode.h"
#include "common/feature/fit.h"

struct cache_writer {
    /* -- set once in open -- */
    char *path, *tmp; /* owned */
    int fd;
    struct cache_shape shape;
    size_t keys_max;               /* a block ends when it holds so many keys */
    const struct encoder *encoder; /* borrowed until close */
    /* -- the block under construction -- */
    size_t rows;
    float *label; /* (block_rows, T); owned, and so the next, (block_rows) each */
    uint64_t *offset;
    uint32_t *source;
    int64_t *time;
    uint64_t *user;
    uint32_t *bag; /* (block_rows * F + 1) or NULL */
    size_t bags;
    uint64_t *key;
    float *weight; /* NULL unless weighted */
    size_t keys, keys_cap, weights_cap;
    float *num; /* (block_rows, D) */
    size_t nums;
    /* -- written -- */
    struct cache_entry *entry; /* owned */
    size_t blocks, blocks_cap;
    bool raw;       /* the blocks written so far are not encoded */
    uint8_t *bytes; /* one block as it stands in the file; owned */
    size_t bytes_cap;
    uint64_t end; /* of the file so far */
    uint64_t rows_all, keys_all, record_keys_max, positives;
};

struct cache_row {      /* what a record has beside keys and floats */
    const float *label; /* (T), borrowed for the call */
    uint32_t source;
    uint64_t offset;
    int64_t time;
    uint64_t user;
};

/* timed: a time column is wanted. */
struct cache_shape cache_shape_of(const struct schema *s, bool timed);

MUST_CHECK enum status cache_writer_open(struct cache_writer *w, const char *path,
                                         const struct cache_shape *shape,
                                         const struct encoder *encoder, struct errbuf *err);
void cache_writer_close(struct cache_writer *w); /* also of a zeroed one */

static inline void cache_writer_key(struct cache_writer *w, uint64_t key)
{
    if (w->keys == w->keys_cap)
        mem_grow(&w->key, &w->keys_cap, w->keys + 1, sizeof *w->key);
    w->key[w->keys++] = key;
}

static inline void cache_writer_key_weighted(struct cache_writer *w, uint64_t key, float weight)
{
    if (w->keys == w->weights_cap)
        mem_grow(&w->weight, &w->weights_cap, w->keys + 1, sizeof *w->weight);
    w->weight[w->keys] = weight;
    cache_writer_key(w, key);
}

/* The current id field is complete. */
static inline void cache_writer_bag_end(struct cache_writer *w)
{
    if (w->bag != NULL)
        w->bag[++w->bags] = (uint32_t)w->keys;
}

static inline void cache_writer_num(struct cache_writer *w, float raw)
{
    w->num[w->nums++] = raw;
}

MUST_CHECK enum status cache_writer_row_end(struct cache_writer *w, const struct cache_row *row,
                                            struct errbuf *err);
void cache_writer_row_undo(struct cache_writer *w);
/* The last rows go to the file. */
MUST_CHECK enum status cache_writer_end_rows(struct cache_writer *w, struct errbuf *err);

/* Block b from the file, into w->bytes; the view lives until the next call. After end_rows. */
MUST_CHECK enum status cache_writer_read(struct cache_writer *w, size_t b, struct cache_block *out,
                                         struct errbuf *err);
/* The block that holds a row; row < rows_all. */
size_t cache_writer_block_of(const struct cache_writer *w, uint64_t row);
/* All rows, or with window_us > 0, where rows stand in the order of time, those of the first window alone. */
MUST_CHECK enum status cache_writer_fit(struct cache_writer *w, uint64_t window_us, struct fit *fit,
                                        struct errbuf *err);
/* Encode blocks that were written raw. The encoder is fitted now. */
MUST_CHECK enum status cache_writer_seal(struct cache_writer *w, struct errbuf *err);
/* Tail, header, fsync. h: part, hashes, stamp and counts are the caller's, the rest is filled in. */
MUST_CHECK enum status cache_writer_finish(struct cache_writer *w, struct cache_header *h,
                                           const struct sources *sources, struct errbuf *err);
MUST_CHECK enum status cache_writer_commit(struct cache_writer *w, struct errbuf *err);

#endif
