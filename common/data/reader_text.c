/* reader_text.c - see reader_text.h.
 *
 * Two paths. A line without a quote byte (nearly all of them) is cut at the delimiters and nothing is copied. A
 * line with one goes through the careful path, which may ask for more lines and copies only cells with
 * doubled quotes. Cells are kept as offsets until the record is whole, because asking for more moves the
 * window.
 */
#include "common/data/reader_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/data/lines.h"

struct span {
    size_t at, n;
    bool copied; /* at is in the copies, not in the line */
};

struct reader_text {
    struct lines *lines;
    char *delimiter;
    size_t delimiter_n;
    char quote; /* 0: none */
    struct text_cell *cell;
    size_t cells_used, cells_cap;
    struct span *span;
    size_t spans_used, spans_cap;
    struct buffer copies; /* cells with doubled quotes, unescaped */
};

enum status reader_text_open(const char *path, uint64_t bytes_max, const char *delimiter,
                             const char *quote, struct reader_text **out, struct errbuf *err)
{
    struct lines *lines;
    if (delimiter[0] == 0)
        return errbuf_set(err, ST_USAGE, "data.delimiter is empty");
    if (quote[0] != 0 && quote[1] != 0)
        return errbuf_set(err, ST_USAGE, "data.quote: one byte or nothing, not \"%s\"", quote);
    enum status st = lines_open(path, bytes_max, &lines, err);
    if (st != ST_OK)
        return st;
    struct reader_text *r = mem_zalloc(sizeof *r);
    r->lines = lines;
    r->delimiter = mem_strdup(delimiter);
    r->delimiter_n = strlen(delimiter);
    r->quote = quote[0];
    *out = r;
    return ST_OK;
}

void reader_text_close(struct reader_text *r)
{
    if (r == NULL)
        return;
    lines_close(r->lines);
    free(r->delimiter);
    free(r->cell);
    free(r->span);
    buffer_release(&r->copies);
    free(r);
}

uint64_t reader_text_in_bytes(const struct reader_text *r)
{
    return lines_in_bytes(r->lines);
}

/* ---- without quotes ----------------------------------------------------------------------------- */

static void add_cell(struct reader_text *r, const char *at, const char *end)
{
    if (r->cells_used == r->cells_cap)
        mem_grow(&r->cell, &r->cells_cap, r->cells_used + 1, sizeof *r->cell);
    r->cell[r->cells_used].at = at;
    r->cell[r->cells_used++].n = (size_t)(end - at);
}

static const char *split_plain(struct reader_text *r, const char *p, const char *end)
{
    const char *from = p;
    char first = r->delimiter[0];
    if (r->delimiter_n == 1) {
        /* A plain loop: cells are a few bytes, so a call to memchr for each costs more. */
        for (; p < end; p++)
            if (*p == first) {
                add_cell(r, from, p);
                from = p + 1;
            }
    } else {
        while ((p = memmem(from, (size_t)(end - from), r->delimiter, r->delimiter_n)) != NULL) {
            add_cell(r, from, p);
            from = p + r->delimiter_n;
        }
    }
    add_cell(r, from, end);
    return r->cells_used > TEXT_COLUMNS_MAX ? "more than 65536 columns" : NULL;
}

/* ---- with quotes -------------------------------------------------------------------------------- */

static bool at_delimiter(const struct reader_text *r, const struct line *line, size_t i)
{
    return line->n - i >= r->delimiter_n &&
           memcmp(line->text + i, r->delimiter, r->delimiter_n) == 0;
}

/* The quoted cell whose opening quote is at i. *io_i ends behind the closing one; fault if there is none. */
static enum status take_quoted(struct reader_text *r, struct line *line, size_t *io_i,
                               struct span *out, const char **fault, struct errbuf *err)
{
    size_t start = *io_i + 1, i = start, doubled = 0;
    for (;;) {
        const char *q = i < line->n ? memchr(line->text + i, r->quote, line->n - i) : NULL;
        if (q == NULL) {
            bool more = false;
            i = line->n;
            enum status st = lines_extend(r->lines, line, &more, err);
            if (st != ST_OK)
                return st;
            if (more)
                continue;
            *fault = "a quote that is not closed";
            return ST_OK;
        }
        i = (size_t)(q - line->text) + 1;
        if (i >= line->n || line->text[i] != r->quote)
            break;
        doubled++;
        i++;
    }
    *io_i = i;
    out->copied = doubled > 0;
    out->at = start;
    out->n = i - 1 - start;
    if (doubled == 0)
        return ST_OK;
    const char *from = line->text + start;
    out->at = r->copies.used;
    char *to = buffer_room(&r->copies, out->n - doubled);
    for (size_t j = 0, k = 0; j < out->n; j++) {
        to[k++] = from[j];
        j += from[j] == r->quote;
    }
    out->n -= doubled;
    return ST_OK;
}

static void take_bare(struct reader_text *r, const struct line *line, size_t *io_i,
                      struct span *out)
{
    size_t i = *io_i;
    const char *p = memmem(line->text + i, line->n - i, r->delimiter, r->delimiter_n);
    size_t end = p != NULL ? (size_t)(p - line->text) : line->n;
    *out = (struct span){i, end - i, false};
    *io_i = end;
}

static enum status split_quoted(struct reader_text *r, struct line *line, const char **fault,
                                struct errbuf *err)
{
    size_t i = 0;
    r->spans_used = 0;
    buffer_reset(&r->copies);
    for (;;) {
        struct span s = {0, 0, false};
        if (i < line->n && line->text[i] == r->quote) {
            enum status st = take_quoted(r, line, &i, &s, fault, err);
            if (st != ST_OK || *fault != NULL)
                return st;
        } else {
            take_bare(r, line, &i, &s);
        }
        if (r->spans_used == r->spans_cap)
            mem_grow(&r->span, &r->spans_cap, r->spans_used + 1, sizeof *r->span);
        r->span[r->spans_used++] = s;
        if (i == line->n)
            break;
        if (!at_delimiter(r, line, i)) {
            *fault = "text behind a closing quote";
            return ST_OK;
        }
        i += r->delimiter_n;
        if (r->spans_used > TEXT_COLUMNS_MAX) {
            *fault = "more than 65536 columns";
            return ST_OK;
        }
    }
    for (size_t c = 0; c < r->spans_used; c++) {
        const struct span *s = &r->span[c];
        const char *at = s->copied ? (const char *)r->copies.data + s->at : line->text + s->at;
        add_cell(r, at, at + s->n);
    }
    return ST_OK;
}

void reader_text_recut(struct reader_text *r, const char *delimiter, struct text_record *io)
{
    free(r->delimiter);
    r->delimiter = mem_strdup(delimiter);
    r->delimiter_n = strlen(delimiter);
    r->cells_used = 0;
    io->fault = split_plain(r, io->raw, io->raw + io->raw_n);
    io->cell = r->cell;
    io->cells_used = io->fault == NULL ? r->cells_used : 0;
}

enum status reader_text_next(struct reader_text *r, struct text_record *out, struct errbuf *err)
{
    struct line line;
    enum status st;
    do
        st = lines_next(r->lines, &line, err);
    while (st == ST_OK && line.n == 0 && line.fault == NULL);
    if (st != ST_OK)
        return st;
    r->cells_used = 0;
    const char *fault = line.fault;
    if (fault == NULL && r->quote != 0 && memchr(line.text, r->quote, line.n) != NULL) {
        st = split_quoted(r, &line, &fault, err);
        if (st != ST_OK)
            return st;
        /* Joined lines were not looked at for NUL bytes. */
        if (fault == NULL && memchr(line.text, 0, line.n) != NULL)
            fault = "a NUL byte (a binary file?)";
        if (fault != NULL)
            lines_retract(r->lines, &line);
    } else if (fault == NULL) {
        fault = split_plain(r, line.text, line.text + line.n);
    }
    out->cell = r->cell;
    out->cells_used = fault == NULL ? r->cells_used : 0;
    out->raw = line.text;
    out->raw_n = line.n;
    out->line = line.number;
    out->offset = line.offset;
    out->fault = fault;
    return ST_OK;
}
