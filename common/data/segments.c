/* segments.c - see segments.h.
 *
 * Lines go through a temporary file to the very readers that convert whole logs: a segment is converted as if it were a
 * file of its own, and differs from one only in the numbers of its lines.
 */
#include "common/data/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/data/cache.h"
#include "common/data/cache_writer.h"
#include "common/data/intake.h"
#include "common/data/joins.h"
#include "common/data/records.h"
#include "common/data/tail.h"
#include "common/feature/encode.h"

enum { POSITION_BYTES_MAX = 4 << 20, BAD_FROM_LINES = 1000 };

struct segments {
    const struct job *job; /* borrowed */
    char *dir;             /* DIR/live; owned */
    char *lines_path;      /* owned */
    struct encoder *encoder;
    uint64_t schema_hash;
    struct sources joined; /* files of data.join */
    struct joins joins;
    struct intake intake;
    struct tail tail;
    struct segments_counts counts;
    uint64_t dropped; /* segments up to here are removed */
    /* -- the segment under construction -- */
    struct cache_writer writer;
    struct sources sources;
    struct buffer header, bytes, bad;
    struct segments_counts next;
};

/* -- readers -- */

char *segments_path(const char *dir, uint64_t n)
{
    struct buffer b = BUFFER_INIT;
    buffer_printf(&b, "%s/live/%" PRIu64 ".cache", dir, n);
    char *path = mem_strdup(buffer_text(&b));
    buffer_release(&b);
    return path;
}

static enum status read_position(const char *live, struct json **out, struct segments_counts *c,
                                 struct errbuf *err)
{
    char *path = file_join(live, "position.json");
    *out = NULL;
    *c = (struct segments_counts){0};
    enum status st = file_exists(path) ? json_read(path, POSITION_BYTES_MAX, out, err) : ST_OK;
    if (st == ST_OK && *out != NULL) {
        st = json_need_u64(*out, "segments", &c->segments, err);
        if (st == ST_OK)
            st = json_need_u64(*out, "records", &c->records, err);
        if (st == ST_OK)
            st = json_need_u64(*out, "lines", &c->lines, err);
        if (st == ST_OK)
            st = json_need_u64(*out, "bad", &c->bad, err);
        if (st != ST_OK)
            errbuf_wrap(err, st, "%s: ", path);
    }
    if (st != ST_OK) {
        json_free(*out);
        *out = NULL;
    }
    free(path);
    return st;
}

enum status segments_read(const char *dir, struct segments_counts *out, struct errbuf *err)
{
    struct json *j = NULL;
    char *live = file_join(dir, "live");
    enum status st = read_position(live, &j, out, err);
    json_free(j);
    free(live);
    return st;
}

enum status segments_header(const char *dir, uint64_t n, uint64_t *out_records,
                            uint64_t *out_seen_us, struct errbuf *err)
{
    char *path = segments_path(dir, n);
    struct file_map map;
    struct cache_header h;
    enum status st = file_map_open(path, &map, err);
    if (st == ST_OK) {
        st = cache_header_read(map.data, map.n, map.n, path, &h, err);
        file_map_close(&map);
    }
    if (st == ST_OK) {
        *out_records = h.rows;
        *out_seen_us = h.stamp;
    }
    free(path);
    return st;
}

/* -- open, close -- */

static enum status open_encoder(struct segments *s, const char *cache, struct errbuf *err)
{
    char *path = file_join(cache, "encoder.bin");
    enum status st = encoder_load(path, &s->encoder, err);
    free(path);
    if (st == ST_OK)
        st = schema_derive(&s->encoder->schema, s->job, err);
    if (st == ST_OK)
        s->schema_hash = schema_hash(&s->encoder->schema, s->job);
    return st;
}

static enum status open_joins(struct segments *s, struct errbuf *err)
{
    struct quarantine q;
    quarantine_init(&q, s->dir, s->job->data.bad_max);
    enum status st = joins_sources(&s->joins, s->job, &s->joined, err);
    if (st == ST_OK)
        st = joins_load(&s->joins, s->job, &s->encoder->schema, &s->joined, &q, err);
    quarantine_release(&q);
    return st;
}

enum status segments_open(const struct job *job, const char *dir, const char *cache,
                          struct segments **out, struct errbuf *err)
{
    struct segments *s = mem_zalloc(sizeof *s);
    struct json *position = NULL;
    s->job = job;
    s->dir = file_join(dir, "live");
    s->lines_path = file_join(s->dir, "lines.tmp");
    s->writer.fd = -1;
    tail_init(&s->tail, job);
    enum status st = file_mkdirs(s->dir, err);
    if (st == ST_OK)
        st = open_encoder(s, cache, err);
    if (st == ST_OK)
        st = open_joins(s, err);
    if (st == ST_OK)
        st = read_position(s->dir, &position, &s->counts, err);
    if (st == ST_OK && position != NULL) {
        st = tail_parse(&s->tail, json_get(position, "files"), err);
        if (st != ST_OK)
            errbuf_wrap(err, st, "%s/position.json: ", s->dir);
    }
    json_free(position);
    if (st != ST_OK) {
        segments_close(s);
        return st;
    }
    const int by = job->data.split.by;
    intake_init(&s->intake, s->encoder, &s->joins, by == JOB_SPLIT_TIME || by == JOB_SPLIT_WINDOW);
    *out = s;
    return ST_OK;
}

void segments_close(struct segments *s)
{
    if (s == NULL)
        return;
    intake_release(&s->intake);
    joins_release(&s->joins);
    sources_release(&s->joined);
    sources_release(&s->sources);
    tail_release(&s->tail);
    encoder_free(s->encoder);
    buffer_release(&s->header);
    buffer_release(&s->bytes);
    buffer_release(&s->bad);
    free(s->lines_path);
    free(s->dir);
    free(s);
}

void segments_count(const struct segments *s, struct segments_counts *out)
{
    *out = s->counts;
}

enum status segments_look(struct segments *s, uint64_t *out_bytes, struct errbuf *notes,
                          struct errbuf *err)
{
    enum status st = tail_look(&s->tail, notes, err);
    if (st == ST_OK)
        *out_bytes = tail_waiting(&s->tail, false);
    return st;
}

void segments_drop(struct segments *s, uint64_t n)
{
    for (; s->dropped < n; s->dropped++) {
        char name[32];
        snprintf(name, sizeof name, "%" PRIu64 ".cache", s->dropped + 1);
        char *path = file_join(s->dir, name);
        unlink(path);
        free(path);
    }
}

/* -- one segment -- */

static enum status write_lines(const struct segments *s, struct errbuf *err)
{
    FILE *out = fopen(s->lines_path, "we");
    if (out == NULL)
        return errbuf_errno(err, ST_IO, "%s", s->lines_path);
    if (s->header.used > 0)
        fwrite(s->header.data, 1, s->header.used, out);
    fwrite(s->bytes.data, 1, s->bytes.used, out);
    const bool bad = ferror(out) != 0;
    if (fclose(out) != 0 || bad)
        return errbuf_errno(err, ST_IO, "%s", s->lines_path);
    return ST_OK;
}

static void note_bad(struct segments *s, const char *path, uint64_t line, const char *fault)
{
    s->next.bad++;
    for (; *path != '\0'; path++)
        buffer_u8(&s->bad, (uint8_t)(strchr("\t\n\r", *path) != NULL ? ' ' : *path));
    buffer_printf(&s->bad, "\t%" PRIu64 "\t%s\n", line, fault);
}

/* The lines of one piece into the writer. */
static enum status convert_piece(struct segments *s, const struct tail_piece *p, struct errbuf *err)
{
    const struct tail_file *f = &s->tail.file[p->file];
    const uint32_t source = (uint32_t)s->sources.used;
    const uint64_t headers = s->header.used > 0;
    const uint64_t before = f->at == 0 ? headers : f->lines;
    struct records *records = NULL;
    struct record r;
    enum status st = write_lines(s, err);
    if (st == ST_OK)
        st = records_open(s->job, s->lines_path, &s->intake, &records, err);
    while (st == ST_OK && (st = records_next(records, &r, err)) == ST_OK) {
        const uint64_t line = before + r.line - headers;
        const uint64_t offset = p->from + r.offset - s->header.used;
        const char *fault = records_take(records, &s->writer);
        s->next.lines++;
        if (fault != NULL) {
            cache_writer_row_undo(&s->writer);
            note_bad(s, f->path, line, fault);
            continue;
        }
        const struct cache_row row = intake_row(&s->intake, source, offset);
        st = cache_writer_row_end(&s->writer, &row, err);
    }
    records_close(records);
    if (st != ST_END)
        return errbuf_wrap(err, st, "data.follow: %s: ", f->path);
    mem_grow(&s->sources.item, &s->sources.cap, s->sources.used + 1, sizeof *s->sources.item);
    s->sources.item[s->sources.used++] = (struct source){.path = mem_strdup(f->path),
                                                         .list = PART_TRAIN,
                                                         .bytes = p->to,
                                                         .mtime_ns = p->from,
                                                         .inode = f->inode};
    return ST_OK;
}

static enum status judge_bad(const struct segments *s, struct errbuf *err)
{
    const struct segments_counts *c = &s->next;
    if (c->lines < BAD_FROM_LINES || (double)c->bad <= s->job->data.bad_max * (double)c->lines)
        return ST_OK;
    const uint8_t *first = s->bad.data; /* path, line, reason */
    const uint8_t *end = s->bad.used > 0 ? memchr(first, '\n', s->bad.used) : NULL;
    return errbuf_set(err, ST_BAD_DATA,
                      "data.follow: %" PRIu64 " of %" PRIu64
                      " lines are bad, more than data.bad_max=%g; one of them: %.*s",
                      c->bad, c->lines, s->job->data.bad_max, end == NULL ? 0 : (int)(end - first),
                      (const char *)first);
}

static enum status append_bad(const struct segments *s, struct errbuf *err)
{
    if (s->bad.used == 0)
        return ST_OK;
    char *path = file_join(s->dir, "quarantine.tsv");
    enum status st = ST_OK;
    FILE *out = fopen(path, "ae");
    if (out != NULL && ftell(out) == 0)
        fputs("file\tline\treason\n", out);
    if (out == NULL || fwrite(s->bad.data, 1, s->bad.used, out) != s->bad.used)
        st = errbuf_errno(err, ST_IO, "%s", path);
    if (out != NULL && fclose(out) != 0 && st == ST_OK)
        st = errbuf_errno(err, ST_IO, "%s", path);
    free(path);
    return st;
}

static enum status finish_cache(struct segments *s, uint64_t seen_wall_us, struct errbuf *err)
{
    struct cache_header h = {.part = PART_TRAIN,
                             .schema_hash = s->schema_hash,
                             .encoder_hash = s->encoder->hash,
                             .stamp = seen_wall_us};
    h.counts.lines[PART_TRAIN] = s->next.lines - s->counts.lines;
    h.counts.bad[PART_TRAIN] = s->next.bad - s->counts.bad;
    h.counts.rows[PART_TRAIN] = s->writer.rows_all;
    h.counts.positives[PART_TRAIN] = s->writer.positives;
    enum status st = cache_writer_seal(&s->writer, err);
    if (st == ST_OK)
        st = cache_writer_finish(&s->writer, &h, &s->sources, err);
    if (st == ST_OK)
        st = cache_writer_commit(&s->writer, err);
    if (st == ST_OK)
        st = file_sync_dir(s->dir, err);
    if (st == ST_OK) {
        s->next.segments++;
        s->next.records += s->writer.rows_all;
    }
    return st;
}

/* From here on the lines are taken. */
static enum status commit_position(struct segments *s, struct errbuf *err)
{
    struct json *j = json_object();
    json_set_u64(j, "segments", s->next.segments);
    json_set_u64(j, "records", s->next.records);
    json_set_u64(j, "lines", s->next.lines);
    json_set_u64(j, "bad", s->next.bad);
    json_set(j, "files", tail_json(&s->tail));
    char *text = json_text(j, 1), *path = file_join(s->dir, "position.json");
    enum status st = file_write_atomic(path, text, strlen(text), err);
    if (st == ST_OK)
        s->counts = s->next;
    free(path);
    free(text);
    json_free(j);
    return st;
}

/* Pieces of the files in turn, until the segment is full or no line is left. */
static enum status convert_pieces(struct segments *s, struct errbuf *err)
{
    const uint64_t most = s->job->data.follow_records;
    uint64_t lines = 0, bytes = 0;
    enum status st = ST_OK;
    while (st == ST_OK && lines < most && bytes < TAIL_LINE_MAX) {
        struct tail_piece p;
        st = tail_take(&s->tail, most - lines, &s->header, &s->bytes, &p, err);
        if (st == ST_OK)
            st = convert_piece(s, &p, err);
        if (st == ST_OK)
            st = tail_took(&s->tail, &p, err);
        lines += st == ST_OK ? p.lines : 0;
        bytes += s->bytes.used;
    }
    if (st == ST_END && lines > 0)
        st = ST_OK;
    if (st == ST_OK)
        st = cache_writer_end_rows(&s->writer, err);
    return st == ST_OK ? judge_bad(s, err) : st;
}

enum status segments_add(struct segments *s, uint64_t seen_wall_us, struct errbuf *err)
{
    char name[32];
    const struct cache_shape shape =
        cache_shape_of(&s->encoder->schema, s->encoder->schema.time != SCHEMA_NONE);
    s->next = s->counts;
    buffer_reset(&s->bad);
    snprintf(name, sizeof name, "%" PRIu64 ".cache", s->counts.segments + 1);
    char *path = file_join(s->dir, name);
    enum status st = cache_writer_open(&s->writer, path, &shape, s->encoder, err);
    free(path);
    if (st != ST_OK)
        return st;
    st = convert_pieces(s, err);
    if (st == ST_OK || st == ST_BAD_DATA) { /* the reasons are worth most when they end the run */
        enum status kept = append_bad(s, st == ST_OK ? err : NULL);
        st = st == ST_OK ? kept : st;
    }
    if (st == ST_OK && s->writer.rows_all > 0)
        st = finish_cache(s, seen_wall_us, err);
    if (st == ST_OK)
        st = commit_position(s, err);
    cache_writer_close(&s->writer);
    unlink(s->lines_path);
    sources_release(&s->sources);
    return st;
}
