/* lines.c - see lines.h.
 *
 *   buf: [ old | begin .. begin + whole | not yet looked at .. end | room ]
 *
 * `whole` is the current record with its line end. Before reading more, what begins at `begin` moves to
 * the front, so the window never needs more than one record and one chunk.
 */
#include "common/data/lines.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/stream.h"

#define CHUNK  (LINE_BYTES_MAX / 4)
#define WINDOW (LINE_BYTES_MAX + 2 + CHUNK)

struct lines {
    struct stream *stream;
    char *buf;
    size_t begin, whole, end;
    size_t first_whole; /* bytes of the record's first line with its end */
    uint64_t base;      /* offset of buf[0] in the text */
    uint64_t number;    /* of the line at begin */
    uint64_t joined;    /* lines in the current record */
    bool eof;
};

enum status lines_open(const char *path, uint64_t bytes_max, struct lines **out, struct errbuf *err)
{
    struct stream *stream;
    enum status st = stream_open(path, bytes_max, &stream, err);
    if (st != ST_OK)
        return st;
    struct lines *l = mem_zalloc(sizeof *l);
    l->stream = stream;
    l->buf = mem_alloc(WINDOW);
    *out = l;
    return ST_OK;
}

void lines_close(struct lines *l)
{
    if (l == NULL)
        return;
    stream_close(l->stream);
    free(l->buf);
    free(l);
}

uint64_t lines_in_bytes(const struct lines *l)
{
    return stream_in_bytes(l->stream);
}

static enum status refill(struct lines *l, struct errbuf *err)
{
    size_t got = 0, left = l->end - l->begin;
    if (l->begin > 0) {
        memmove(l->buf, l->buf + l->begin, left);
        l->base += l->begin;
        l->begin = 0;
        l->end = left;
    }
    size_t room = WINDOW - l->end;
    enum status st =
        stream_read(l->stream, l->buf + l->end, room < CHUNK ? room : CHUNK, &got, err);
    if (st != ST_OK)
        return st;
    l->end += got;
    l->eof = got == 0;
    return ST_OK;
}

/* The stream says which file and what; here is added how far it was good. */
static enum status broken(const struct lines *l, enum status st, struct errbuf *err)
{
    if (err == NULL)
        return st;
    return errbuf_set(err, st, "%s (read up to line %llu)", err->text,
                      (unsigned long long)l->number);
}

/* Length of the record with its line end, looking for that from begin + from on. It is `from` when the
 * text ends there, and above LINE_BYTES_MAX + 1 without a line end when none came in time. */
static enum status find_end(struct lines *l, size_t from, size_t *out_whole, struct errbuf *err)
{
    for (size_t seen = from;;) {
        size_t have = l->end - l->begin;
        const char *at = l->buf + l->begin;
        const char *lf = have > seen ? memchr(at + seen, '\n', have - seen) : NULL;
        if (lf != NULL || l->eof || have > LINE_BYTES_MAX + 1) {
            *out_whole = lf != NULL ? (size_t)(lf - at) + 1 : have;
            return ST_OK;
        }
        if (have > seen)
            seen = have;
        enum status st = refill(l, err);
        if (st != ST_OK)
            return st;
    }
}

/* Bytes of a record without its line end. */
static size_t text_bytes(const char *text, size_t whole)
{
    if (whole > 0 && text[whole - 1] == '\n')
        whole--;
    if (whole > 0 && text[whole - 1] == '\r')
        whole--;
    return whole;
}

/* The line is too long: drop bytes up to its end. */
static enum status skip_line(struct lines *l, struct errbuf *err)
{
    for (;;) {
        const char *at = l->buf + l->begin;
        const char *lf = memchr(at, '\n', l->end - l->begin);
        if (lf != NULL) {
            l->begin += (size_t)(lf - at) + 1;
            return ST_OK;
        }
        l->begin = l->end;
        if (l->eof)
            return ST_OK;
        enum status st = refill(l, err);
        if (st != ST_OK)
            return st;
    }
}

static enum status skip_mark(struct lines *l, struct errbuf *err)
{
    while (!l->eof && l->end - l->begin < 3) {
        enum status st = refill(l, err);
        if (st != ST_OK)
            return st;
    }
    if (l->end - l->begin >= 3 && memcmp(l->buf + l->begin, "\xEF\xBB\xBF", 3) == 0)
        l->begin += 3;
    return ST_OK;
}

static void show(const struct lines *l, struct line *out)
{
    out->text = l->buf + l->begin;
    out->n = text_bytes(out->text, l->whole);
    out->number = l->number;
    out->offset = l->base + l->begin;
    out->fault = NULL;
}

enum status lines_next(struct lines *l, struct line *out, struct errbuf *err)
{
    enum status st = ST_OK;
    size_t whole = 0;
    if (l->number == 0)
        st = skip_mark(l, err);
    l->begin += l->whole;
    l->number += l->number == 0 ? 1 : l->joined;
    l->whole = 0;
    l->joined = 1;
    if (st == ST_OK)
        st = find_end(l, 0, &whole, err);
    if (st != ST_OK)
        return broken(l, st, err);
    if (whole == 0)
        return ST_END;
    l->whole = l->first_whole = whole;
    show(l, out);
    if (out->n > LINE_BYTES_MAX) {
        out->fault = "a line of more than 1048576 bytes";
        out->n = 0;
        l->whole = 0;
        return skip_line(l, err);
    }
    if (memchr(out->text, 0, out->n) != NULL) {
        out->fault = "a NUL byte (a binary file?)";
        out->n = 0;
    }
    return ST_OK;
}

enum status lines_extend(struct lines *l, struct line *io, bool *out_more, struct errbuf *err)
{
    size_t whole = 0;
    enum status st = find_end(l, l->whole, &whole, err);
    if (st != ST_OK)
        return broken(l, st, err);
    /* The window may have moved: io is shown anew in any case. */
    *out_more = whole > l->whole && text_bytes(l->buf + l->begin, whole) <= LINE_BYTES_MAX;
    if (*out_more) {
        l->whole = whole;
        l->joined++;
    }
    show(l, io);
    return ST_OK;
}

void lines_retract(struct lines *l, struct line *io)
{
    l->whole = l->first_whole;
    l->joined = 1;
    show(l, io);
}
