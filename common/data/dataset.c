/* dataset.c - see dataset.h; batches are made in batch.c.
 *
 * The cache is mapped, not read: the page cache of the host is shared by all workers on it. What a block
 * says is believed only after its checksum was computed and its insides fit each other, once, at its first use;
 * from then on the hot path checks nothing.
 */
#include "common/data/dataset.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/data/dataset_map.h"
#include "common/feature/schema.h"

void schema_counts(const struct job *job, size_t *out_fields, size_t *out_floats)
{
    size_t F = 0, D = 0;
    for (size_t i = 0; i < job->data.fields_used; i++) {
        F += schema_is_id(job->data.fields[i].type);
        D += job->data.fields[i].type == FIELD_FLOAT;
    }
    bool libsvm = job->data.format == JOB_LIBSVM, sequences = job->data.records == JOB_SEQUENCES;
    *out_fields = sequences ? SCHEMA_SEQUENCE_FIELDS : libsvm ? 1 : F;
    *out_floats = sequences || libsvm ? 0 : D;
}

static enum status open_map(struct dataset *d, enum part part, struct errbuf *err)
{
    enum status st = file_map_open(d->path, &d->map, err);
    if (st != ST_OK)
        return st;
    st = cache_header_read(d->map.data, d->map.n, d->map.n, d->path, &d->header, err);
    if (st == ST_OK && d->header.part != (uint32_t)part)
        st = errbuf_set(err, ST_BAD_DATA, "%s: holds the %s part, not %s", d->path,
                        cache_part_name((enum part)d->header.part), cache_part_name(part));
    if (st == ST_OK)
        st = cache_tail_read(&d->header, d->map.data + d->header.tail_offset, d->path, &d->tail,
                             err);
    return st;
}

static enum status check_schema(const struct dataset *d, const struct job *job, struct errbuf *err)
{
    struct schema s;
    enum status st = schema_init(&s, job, err);
    if (st != ST_OK)
        return st;
    uint64_t want = schema_hash(&s, job);
    schema_release(&s);
    if (want != d->header.schema_hash)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: was made for another data section of the job; convert again",
                          d->path);
    return ST_OK;
}

static void view_blocks(struct dataset *d)
{
    size_t n = d->header.blocks;
    d->block = mem_array(n + 1, sizeof *d->block);
    d->checked = mem_zalloc(n + 1);
    d->uniform = (d->header.shape.block_rows & (d->header.shape.block_rows - 1)) == 0;
    while ((1u << d->shift) < d->header.shape.block_rows)
        d->shift++;
    for (size_t b = 0; b < n; b++) {
        const struct cache_entry *e = &d->tail.entry[b];
        /* The map is read-only; the view's pointers are never written through. */
        uint8_t *bytes = (uint8_t *)(uintptr_t)(d->map.data + e->offset);
        cache_block_view(&d->header.shape, e->rows, e->keys, bytes, &d->block[b]);
        if (b + 1 < n && e->rows != d->header.shape.block_rows)
            d->uniform = false;
    }
}

/* path: handed over. */
static enum status open_at(const struct job *job, char *path, enum part part, struct dataset **out,
                           struct errbuf *err)
{
    struct dataset *d = mem_zalloc(sizeof *d);
    d->path = path;
    enum status st;
    if (!file_exists(d->path))
        st = errbuf_set(err, ST_NOT_FOUND, "%s: the job has no %s part, or it was not converted",
                        d->path, cache_part_name(part));
    else
        st = open_map(d, part, err);
    if (st == ST_OK)
        st = check_schema(d, job, err);
    if (st == ST_OK && d->header.rows == 0)
        st = errbuf_set(err, ST_NOT_FOUND, "%s: no records", d->path);
    if (st != ST_OK) {
        dataset_close(d);
        return st;
    }
    view_blocks(d);
    *out = d;
    return ST_OK;
}

enum status dataset_open(const struct job *job, const char *cache_dir, enum part part,
                         struct dataset **out, struct errbuf *err)
{
    return open_at(job, cache_path(cache_dir, part), part, out, err);
}

enum status dataset_open_segment(const struct job *job, const char *path, struct dataset **out,
                                 struct errbuf *err)
{
    return open_at(job, mem_strdup(path), PART_TRAIN, out, err);
}

void dataset_close(struct dataset *d)
{
    if (d == NULL)
        return;
    cache_tail_release(&d->tail);
    if (d->map.data != NULL)
        file_map_close(&d->map);
    free(d->block);
    free(d->checked);
    free(d->path);
    free(d);
}

uint64_t dataset_rows(const struct dataset *d)
{
    return d->header.rows;
}

size_t dataset_fields(const struct dataset *d)
{
    return d->header.shape.fields;
}

size_t dataset_floats(const struct dataset *d)
{
    return d->header.shape.floats;
}

bool dataset_users(const struct dataset *d)
{
    return (d->header.shape.flags & CACHE_USERS) != 0;
}

size_t dataset_block_of(const struct dataset *d, uint64_t r)
{
    if (d->uniform)
        return (size_t)(r >> d->shift);
    size_t low = 0, high = d->header.blocks;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (d->tail.entry[mid].first_row <= r)
            low = mid;
        else
            high = mid;
    }
    return low;
}

enum status dataset_check_block(struct dataset *d, size_t b, struct errbuf *err)
{
    const struct cache_entry *e = &d->tail.entry[b];
    if (hash_bytes(d->map.data + e->offset, e->bytes, 0) != e->hash)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: block %zu of %llu is damaged (checksum); delete it to convert again",
                          d->path, b, (unsigned long long)d->header.blocks);
    if (!cache_block_sound(&d->header.shape, &d->block[b], d->header.sources))
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: block %zu of %llu does not fit itself; delete it to convert again",
                          d->path, b, (unsigned long long)d->header.blocks);
    d->checked[b] = 1;
    return ST_OK;
}

enum status dataset_locate(struct dataset *d, uint64_t r, const struct cache_block **out,
                           size_t *out_i, struct errbuf *err)
{
    if (r >= d->header.rows)
        return errbuf_set(err, ST_NOT_FOUND, "%s: record %llu of %llu", d->path,
                          (unsigned long long)r, (unsigned long long)d->header.rows);
    size_t k = dataset_block_of(d, r);
    if (!d->checked[k]) {
        enum status st = dataset_check_block(d, k, err);
        if (st != ST_OK)
            return st;
    }
    *out = &d->block[k];
    *out_i = (size_t)(r - d->tail.entry[k].first_row);
    return ST_OK;
}

void dataset_source(const struct dataset *d, uint64_t r, const char **out_path,
                    uint64_t *out_offset)
{
    *out_path = "?";
    *out_offset = 0;
    if (r >= d->header.rows)
        return;
    size_t b = dataset_block_of(d, r), i = (size_t)(r - d->tail.entry[b].first_row);
    if (d->block[b].source[i] >= d->tail.sources.used)
        return; /* in a block nobody has checked yet */
    *out_path = d->tail.sources.item[d->block[b].source[i]].path;
    *out_offset = d->block[b].offset[i];
}
