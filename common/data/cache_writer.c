/* cache_writer.c - see cache_writer.h.
 *
 * Blocks are read and rewritten with pread and pwrite, not through a mapping: a full disk is then an error of
 * a call and not a SIGBUS.
 */
#include "common/data/cache_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/data/windows.h"

struct cache_shape cache_shape_of(const struct schema *s, bool timed)
{
    struct cache_shape shape = {
        .fields = (uint32_t)s->ids_used,
        .floats = (uint32_t)s->floats_used,
        .block_rows = CACHE_BLOCK_ROWS,
        .labels = (uint32_t)(s->labels_used > 0 ? s->labels_used : 1),
    };
    const bool users = s->user != SCHEMA_NONE && !s->sequences;
    shape.flags = (s->ragged ? CACHE_RAGGED : 0) | (s->weighted ? CACHE_WEIGHTED : 0) |
                  (timed ? CACHE_TIMED : 0) | (users ? CACHE_USERS : 0);
    size_t row_bytes = s->ids_used * (s->ragged ? 4 : 8) + (s->floats_used + shape.labels) * 4 + 20;
    while (shape.block_rows > 64 && shape.block_rows * row_bytes > CACHE_BLOCK_BYTES)
        shape.block_rows /= 2;
    return shape;
}

enum status cache_writer_open(struct cache_writer *w, const char *path,
                              const struct cache_shape *shape, const struct encoder *encoder,
                              struct errbuf *err)
{
    char tmp[32];
    memset(w, 0, sizeof *w);
    snprintf(tmp, sizeof tmp, ".tmp.%ld", (long)getpid());
    w->path = mem_strdup(path);
    w->tmp = mem_alloc(strlen(path) + sizeof tmp);
    strcpy(w->tmp, path);
    strcat(w->tmp, tmp);
    w->fd = open(w->tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (w->fd < 0) {
        enum status st = errbuf_errno(err, ST_IO, "%s", w->tmp);
        free(w->path);
        free(w->tmp);
        memset(w, 0, sizeof *w);
        return st;
    }
    w->shape = *shape;
    w->encoder = encoder;
    w->raw = !encoder->fitted;
    w->keys_max = CACHE_BLOCK_BYTES / (shape->flags & CACHE_WEIGHTED ? 12 : 8);
    size_t rows = shape->block_rows;
    w->label = mem_array(rows * shape->labels, sizeof *w->label);
    w->offset = mem_array(rows, sizeof *w->offset);
    w->source = mem_array(rows, sizeof *w->source);
    w->time = mem_array(rows, sizeof *w->time);
    w->user = mem_array(rows, sizeof *w->user);
    if (shape->flags & CACHE_RAGGED)
        w->bag = mem_array(rows * shape->fields + 1, sizeof *w->bag);
    w->num = mem_array(rows * shape->floats + 1, sizeof *w->num);
    w->end = CACHE_HEADER_BYTES;
    return ST_OK;
}

void cache_writer_close(struct cache_writer *w)
{
    if (w->path == NULL)
        return;
    if (w->fd >= 0) {
        close(w->fd);
        unlink(w->tmp);
    }
    free(w->path);
    free(w->tmp);
    free(w->label);
    free(w->offset);
    free(w->source);
    free(w->time);
    free(w->user);
    free(w->bag);
    free(w->key);
    free(w->weight);
    free(w->num);
    free(w->entry);
    free(w->bytes);
    memset(w, 0, sizeof *w);
}

static enum status write_at(struct cache_writer *w, const uint8_t *bytes, size_t n, uint64_t at,
                            struct errbuf *err)
{
    while (n > 0) {
        ssize_t put = pwrite(w->fd, bytes, n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return errbuf_errno(err, ST_IO, "%s", w->tmp);
        bytes += put;
        n -= (size_t)put;
        at += (uint64_t)put;
    }
    return ST_OK;
}

static enum status read_at(struct cache_writer *w, uint8_t *bytes, size_t n, uint64_t at,
                           struct errbuf *err)
{
    while (n > 0) {
        ssize_t got = pread(w->fd, bytes, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errbuf_errno(err, ST_IO, "%s", w->tmp);
        if (got == 0)
            return errbuf_set(err, ST_IO, "%s: became shorter while it was written", w->tmp);
        bytes += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return ST_OK;
}

static enum status room_for(struct cache_writer *w, size_t n, struct errbuf *err)
{
    if (n <= w->bytes_cap)
        return ST_OK;
    uint8_t *bytes = realloc(w->bytes, n);
    if (bytes == NULL)
        return errbuf_set(err, ST_NO_MEMORY, "%s: no memory for a block of %zu bytes", w->path, n);
    w->bytes = bytes;
    w->bytes_cap = n;
    return ST_OK;
}

static void encode(const struct cache_writer *w, const struct cache_block *b)
{
    struct encoder_rows rows = {b->rows, b->bag, b->key, b->num};
    encoder_apply(w->encoder, &rows);
}

/* The block under construction as bytes, columns behind each other. */
static void assemble(struct cache_writer *w, size_t n, struct cache_block *out)
{
    struct cache_block b;
    memset(w->bytes, 0, n);
    cache_block_view(&w->shape, w->rows, w->keys, w->bytes, &b);
    memcpy(b.label, w->label, w->rows * w->shape.labels * sizeof *b.label);
    memcpy(b.offset, w->offset, w->rows * sizeof *b.offset);
    memcpy(b.source, w->source, w->rows * sizeof *b.source);
    if (b.time != NULL)
        memcpy(b.time, w->time, w->rows * sizeof *b.time);
    if (b.user != NULL)
        memcpy(b.user, w->user, w->rows * sizeof *b.user);
    if (b.bag != NULL)
        memcpy(b.bag, w->bag, (w->bags + 1) * sizeof *b.bag);
    if (w->keys > 0)
        memcpy(b.key, w->key, w->keys * sizeof *b.key);
    if (b.weight != NULL && w->keys > 0)
        memcpy(b.weight, w->weight, w->keys * sizeof *b.weight);
    memcpy(b.num, w->num, w->nums * sizeof *b.num);
    *out = b;
}

static enum status flush(struct cache_writer *w, struct errbuf *err)
{
    struct cache_block b;
    size_t n = cache_block_view(&w->shape, w->rows, w->keys, NULL, &b);
    if (w->rows == 0)
        return ST_OK;
    enum status st = room_for(w, n, err);
    if (st != ST_OK)
        return st;
    assemble(w, n, &b);
    if (!w->raw)
        encode(w, &b);
    st = write_at(w, w->bytes, n, w->end, err);
    if (st != ST_OK)
        return st;
    mem_grow(&w->entry, &w->blocks_cap, w->blocks + 1, sizeof *w->entry);
    w->entry[w->blocks++] = (struct cache_entry){
        .offset = w->end,
        .bytes = n,
        .first_row = w->rows_all,
        .rows = (uint32_t)w->rows,
        .keys = (uint32_t)w->keys,
        .hash = w->raw ? 0 : hash_bytes(w->bytes, n, 0),
    };
    w->end += n;
    w->rows_all += w->rows;
    w->keys_all += w->keys;
    w->rows = w->bags = w->keys = w->nums = 0;
    return ST_OK;
}

enum status cache_writer_row_end(struct cache_writer *w, const struct cache_row *row,
                                 struct errbuf *err)
{
    size_t F = w->shape.fields, T = w->shape.labels;
    size_t first = w->bag != NULL ? w->bag[w->bags - F] : w->keys - F;
    if (w->keys - first > w->record_keys_max)
        w->record_keys_max = w->keys - first;
    memcpy(w->label + w->rows * T, row->label, T * sizeof *w->label);
    w->source[w->rows] = row->source;
    w->offset[w->rows] = row->offset;
    w->time[w->rows] = row->time;
    w->user[w->rows] = row->user;
    w->positives += row->label[0] > 0;
    w->rows++;
    if (w->rows == w->shape.block_rows || w->keys >= w->keys_max)
        return flush(w, err);
    return ST_OK;
}

void cache_writer_row_undo(struct cache_writer *w)
{
    w->bags = w->rows * w->shape.fields;
    w->keys = w->bag != NULL ? w->bag[w->bags] : w->bags;
    w->nums = w->rows * w->shape.floats;
}

enum status cache_writer_end_rows(struct cache_writer *w, struct errbuf *err)
{
    return flush(w, err);
}

enum status cache_writer_read(struct cache_writer *w, size_t b, struct cache_block *out,
                              struct errbuf *err)
{
    const struct cache_entry *e = &w->entry[b];
    enum status st = room_for(w, e->bytes, err);
    if (st == ST_OK)
        st = read_at(w, w->bytes, e->bytes, e->offset, err);
    if (st == ST_OK)
        cache_block_view(&w->shape, e->rows, e->keys, w->bytes, out);
    return st;
}

size_t cache_writer_block_of(const struct cache_writer *w, uint64_t row)
{
    size_t low = 0, high = w->blocks;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (w->entry[mid].first_row <= row)
            low = mid;
        else
            high = mid;
    }
    return low;
}

enum status cache_writer_fit(struct cache_writer *w, uint64_t window_us, struct fit *fit,
                             struct errbuf *err)
{
    int64_t from = 0;
    for (size_t i = 0; i < w->blocks; i++) {
        struct cache_block b;
        enum status st = cache_writer_read(w, i, &b, err);
        if (st != ST_OK)
            return st;
        size_t n = b.rows;
        if (window_us > 0 && i == 0)
            from = windows_begin(b.time[0], window_us);
        while (window_us > 0 && n > 0 && b.time[n - 1] - from >= (int64_t)window_us)
            n--;
        struct encoder_rows rows = {n, b.bag, b.key, b.num};
        st = n > 0 ? fit_add(fit, &rows, err) : ST_OK;
        if (st != ST_OK || n < b.rows)
            return st;
    }
    return ST_OK;
}

enum status cache_writer_seal(struct cache_writer *w, struct errbuf *err)
{
    for (size_t i = 0; w->raw && i < w->blocks; i++) {
        struct cache_block b;
        struct cache_entry *e = &w->entry[i];
        enum status st = cache_writer_read(w, i, &b, err);
        if (st != ST_OK)
            return st;
        encode(w, &b);
        e->hash = hash_bytes(w->bytes, e->bytes, 0);
        st = write_at(w, w->bytes, e->bytes, e->offset, err);
        if (st != ST_OK)
            return st;
    }
    w->raw = false;
    return ST_OK;
}

enum status cache_writer_finish(struct cache_writer *w, struct cache_header *h,
                                const struct sources *sources, struct errbuf *err)
{
    struct buffer tail = BUFFER_INIT, head = BUFFER_INIT;
    cache_tail_write(w->entry, w->blocks, sources, &tail);
    h->shape = w->shape;
    h->rows = w->rows_all;
    h->keys = w->keys_all;
    h->blocks = w->blocks;
    h->record_keys_max = w->record_keys_max;
    h->sources = sources->used;
    h->tail_offset = w->end;
    h->tail_bytes = tail.used;
    h->tail_hash = hash_bytes(tail.data, tail.used, 0);
    cache_header_write(h, &head);
    enum status st = write_at(w, tail.data, tail.used, w->end, err);
    if (st == ST_OK)
        st = write_at(w, head.data, head.used, 0, err);
    if (st == ST_OK && fsync(w->fd) != 0)
        st = errbuf_errno(err, ST_IO, "%s", w->tmp);
    buffer_release(&tail);
    buffer_release(&head);
    return st;
}

enum status cache_writer_commit(struct cache_writer *w, struct errbuf *err)
{
    if (rename(w->tmp, w->path) != 0)
        return errbuf_errno(err, ST_IO, "%s", w->path);
    close(w->fd);
    w->fd = -1;
    return ST_OK;
}
