/* cache.c - see cache.h. */
#include "common/data/cache.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

static const char MAGIC[8] = "PNSTKDAT";
static const char AGAIN[] = "delete it to convert again";

const char *cache_part_name(enum part part)
{
    return part == PART_TRAIN ? "train" : part == PART_VALID ? "valid" : "test";
}

char *cache_path(const char *dir, enum part part)
{
    char name[16];
    snprintf(name, sizeof name, "%s.cache", cache_part_name(part));
    return file_join(dir, name);
}

/* ---- blocks ------------------------------------------------------------------------------------- */

/* Where the next column of n items begins; columns are 8-aligned. */
static void *column(uint8_t *bytes, size_t *io_at, size_t n, size_t each)
{
    void *p = bytes != NULL ? bytes + *io_at : NULL;
    *io_at += (n * each + 7) & ~(size_t)7;
    return p;
}

size_t cache_block_view(const struct cache_shape *s, size_t rows, size_t keys, uint8_t *bytes,
                        struct cache_block *out)
{
    size_t at = 0, F = s->fields;
    struct cache_block b = {.rows = rows, .keys = keys};
    b.label = column(bytes, &at, rows * s->labels, sizeof *b.label);
    b.offset = column(bytes, &at, rows, sizeof *b.offset);
    b.source = column(bytes, &at, rows, sizeof *b.source);
    if (s->flags & CACHE_TIMED)
        b.time = column(bytes, &at, rows, sizeof *b.time);
    if (s->flags & CACHE_USERS)
        b.user = column(bytes, &at, rows, sizeof *b.user);
    if (s->flags & CACHE_RAGGED)
        b.bag = column(bytes, &at, rows * F + 1, sizeof *b.bag);
    b.key = column(bytes, &at, keys, sizeof *b.key);
    if (s->flags & CACHE_WEIGHTED)
        b.weight = column(bytes, &at, keys, sizeof *b.weight);
    b.num = column(bytes, &at, rows * s->floats, sizeof *b.num);
    *out = b;
    return (at + 63) & ~(size_t)63;
}

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

bool cache_block_sound(const struct cache_shape *s, const struct cache_block *b, uint64_t sources)
{
    size_t bags = b->rows * s->fields;
    if (b->bag != NULL) {
        if (b->bag[0] != 0 || b->bag[bags] != b->keys)
            return false;
        for (size_t i = 0; i < bags; i++)
            if (b->bag[i] > b->bag[i + 1])
                return false;
    }
    for (size_t i = 0; i < b->rows; i++)
        if (b->source[i] >= sources)
            return false;
    for (size_t i = 0; i < b->rows * s->labels; i++)
        if (b->label[i] != 0 && b->label[i] != 1 && (s->labels < 2 || b->label[i] != LABEL_MISSING))
            return false;
    return (b->weight == NULL || all_finite(b->weight, b->keys)) &&
           all_finite(b->num, b->rows * s->floats);
}

/* ---- header ------------------------------------------------------------------------------------- */

static void put_counts(struct buffer *out, const uint64_t *counts)
{
    for (int p = 0; p < PARTS; p++)
        buffer_u64(out, counts[p]);
}

static void get_counts(struct reader *in, uint64_t *counts)
{
    for (int p = 0; p < PARTS; p++)
        counts[p] = reader_u64(in);
}

void cache_header_write(const struct cache_header *h, struct buffer *out)
{
    size_t from = out->used;
    buffer_put(out, MAGIC, sizeof MAGIC);
    buffer_u32(out, CACHE_VERSION);
    buffer_u32(out, h->part);
    buffer_u32(out, h->shape.flags);
    buffer_u32(out, h->shape.fields);
    buffer_u32(out, h->shape.floats);
    buffer_u32(out, h->shape.block_rows);
    buffer_u64(out, h->schema_hash);
    buffer_u64(out, h->encoder_hash);
    buffer_u64(out, h->stamp);
    buffer_u64(out, h->rows);
    buffer_u64(out, h->keys);
    buffer_u64(out, h->blocks);
    buffer_u64(out, h->record_keys_max);
    buffer_u64(out, h->sources);
    buffer_u64(out, h->tail_offset);
    buffer_u64(out, h->tail_bytes);
    buffer_u64(out, h->tail_hash);
    put_counts(out, h->counts.lines);
    put_counts(out, h->counts.bad);
    put_counts(out, h->counts.rows);
    put_counts(out, h->counts.positives);
    buffer_u32(out, h->shape.labels - 1);
    while (out->used - from < CACHE_HEADER_BYTES - 8)
        buffer_u8(out, 0);
    buffer_u64(out, hash_bytes(out->data + from, CACHE_HEADER_BYTES - 8, 0));
}

static bool header_fits(const struct cache_header *h, uint64_t file_bytes)
{
    const struct cache_shape *s = &h->shape;
    if (s->flags > (CACHE_RAGGED | CACHE_WEIGHTED | CACHE_TIMED | CACHE_USERS) || h->part >= PARTS)
        return false;
    if (s->fields > 65536 || s->floats > 65536 || s->labels == 0 || s->labels > JOB_TASKS_MAX ||
        s->block_rows == 0 || s->block_rows > CACHE_BLOCK_ROWS)
        return false;
    if (h->tail_offset < CACHE_HEADER_BYTES || h->tail_offset > file_bytes ||
        h->tail_bytes != file_bytes - h->tail_offset)
        return false;
    /* Each block takes an entry in the tail, each source some bytes: so none can ask for much memory. */
    return h->blocks <= h->tail_bytes / CACHE_BLOCK_ENTRY_BYTES && h->sources <= h->tail_bytes &&
           h->rows <= h->blocks * CACHE_BLOCK_ROWS && h->keys <= file_bytes / 8 &&
           h->record_keys_max <= h->keys;
}

enum status cache_header_read(const uint8_t *bytes, size_t n, uint64_t file_bytes, const char *path,
                              struct cache_header *out, struct errbuf *err)
{
    struct cache_header h;
    struct reader in;
    reader_init(&in, bytes, n < CACHE_HEADER_BYTES ? n : CACHE_HEADER_BYTES);
    memset(&h, 0, sizeof h);
    const uint8_t *magic = reader_view(&in, sizeof MAGIC);
    if (magic == NULL || memcmp(magic, MAGIC, sizeof MAGIC) != 0)
        return errbuf_set(err, ST_BAD_DATA, "%s: not a cache of penstock; %s", path, AGAIN);
    uint32_t version = reader_u32(&in);
    if (!in.bad && version != CACHE_VERSION)
        return errbuf_set(err, ST_BAD_DATA, "%s: version %u, this program reads %u; %s", path,
                          version, CACHE_VERSION, AGAIN);
    h.part = reader_u32(&in);
    h.shape.flags = reader_u32(&in);
    h.shape.fields = reader_u32(&in);
    h.shape.floats = reader_u32(&in);
    h.shape.block_rows = reader_u32(&in);
    h.schema_hash = reader_u64(&in);
    h.encoder_hash = reader_u64(&in);
    h.stamp = reader_u64(&in);
    h.rows = reader_u64(&in);
    h.keys = reader_u64(&in);
    h.blocks = reader_u64(&in);
    h.record_keys_max = reader_u64(&in);
    h.sources = reader_u64(&in);
    h.tail_offset = reader_u64(&in);
    h.tail_bytes = reader_u64(&in);
    h.tail_hash = reader_u64(&in);
    get_counts(&in, h.counts.lines);
    get_counts(&in, h.counts.bad);
    get_counts(&in, h.counts.rows);
    get_counts(&in, h.counts.positives);
    h.shape.labels = reader_u32(&in) + 1;
    const uint8_t *pad = reader_view(&in, reader_left(&in) > 8 ? reader_left(&in) - 8 : 0);
    uint64_t sum = reader_u64(&in);
    if (in.bad || pad == NULL || sum != hash_bytes(bytes, CACHE_HEADER_BYTES - 8, 0) ||
        !header_fits(&h, file_bytes))
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: the header is damaged or the file is cut short; %s", path, AGAIN);
    *out = h;
    return ST_OK;
}

/* ---- tail --------------------------------------------------------------------------------------- */

void cache_tail_write(const struct cache_entry *entry, size_t blocks, const struct sources *sources,
                      struct buffer *out)
{
    for (size_t i = 0; i < blocks; i++) {
        buffer_u64(out, entry[i].offset);
        buffer_u64(out, entry[i].bytes);
        buffer_u64(out, entry[i].first_row);
        buffer_u32(out, entry[i].rows);
        buffer_u32(out, entry[i].keys);
        buffer_u64(out, entry[i].hash);
    }
    sources_write(sources, out);
}

/* Blocks stand one behind the other from the header to the tail, and so do their rows. */
static bool read_entries(const struct cache_header *h, struct reader *in, struct cache_entry *entry)
{
    uint64_t at = CACHE_HEADER_BYTES, row = 0, keys = 0;
    for (size_t i = 0; i < h->blocks; i++) {
        struct cache_entry *e = &entry[i];
        struct cache_block view;
        e->offset = reader_u64(in);
        e->bytes = reader_u64(in);
        e->first_row = reader_u64(in);
        e->rows = reader_u32(in);
        e->keys = reader_u32(in);
        e->hash = reader_u64(in);
        if (e->rows == 0 || e->rows > h->shape.block_rows || e->first_row != row || e->offset != at)
            return false;
        if (!(h->shape.flags & CACHE_RAGGED) && e->keys != (uint64_t)e->rows * h->shape.fields)
            return false;
        if (e->bytes != cache_block_view(&h->shape, e->rows, e->keys, NULL, &view))
            return false;
        at += e->bytes;
        row += e->rows;
        keys += e->keys;
        if (at > h->tail_offset)
            return false;
    }
    return !in->bad && at == h->tail_offset && row == h->rows && keys == h->keys;
}

enum status cache_tail_read(const struct cache_header *h, const uint8_t *bytes, const char *path,
                            struct cache_tail *out, struct errbuf *err)
{
    struct cache_tail t = {0};
    struct reader in;
    reader_init(&in, bytes, h->tail_bytes);
    bool sound = hash_bytes(bytes, h->tail_bytes, 0) == h->tail_hash;
    if (sound) {
        t.entry = mem_array(h->blocks + 1, sizeof *t.entry);
        sound = read_entries(h, &in, t.entry);
    }
    if (sound) {
        sources_read(&t.sources, h->sources, &in);
        sound = !in.bad && reader_left(&in) == 0;
    }
    if (!sound) {
        cache_tail_release(&t);
        return errbuf_set(err, ST_BAD_DATA, "%s: the directory of blocks is damaged; %s", path,
                          AGAIN);
    }
    *out = t;
    return ST_OK;
}

void cache_tail_release(struct cache_tail *t)
{
    free(t->entry);
    sources_release(&t->sources);
    memset(t, 0, sizeof *t);
}
