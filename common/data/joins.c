/* joins.c - see joins.h. Text in one buffer, cells as places in it, ids found by open addressing. */
#include "common/data/joins.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/data/reader_text.h"
#include "common/feature/encode.h"

enum status joins_sources(struct joins *js, const struct job *job, struct sources *sources,
                          struct errbuf *err)
{
    js->item = mem_array(job->data.joins_used + 1, sizeof *js->item);
    for (size_t i = 0; i < job->data.joins_used; i++) {
        struct join *j = &js->item[js->used++];
        struct texts one = {.item = &job->data.join[i].file, .used = 1};
        j->spec = &job->data.join[i];
        j->from = sources->used;
        enum status st = sources_add(sources, &one, SOURCE_JOIN, "data.join", err);
        if (st != ST_OK)
            return st;
        j->to = sources->used;
    }
    return ST_OK;
}

static void free_names(struct join *j)
{
    for (size_t c = 0; c < j->columns; c++)
        free(j->name[c]);
    free(j->name);
}

void joins_release(struct joins *js)
{
    for (size_t i = 0; i < js->used; i++) {
        struct join *j = &js->item[i];
        free_names(j);
        buffer_release(&j->text);
        free(j->cell);
        free(j->hash);
        free(j->line);
        free(j->slot);
    }
    free(js->item);
    memset(js, 0, sizeof *js);
}

/* ---- ids ---------------------------------------------------------------------------------------- */

static size_t width(const struct join *j)
{
    return j->columns + 1;
}

static bool id_is(const struct join *j, size_t row, const char *id, size_t n)
{
    const struct join_cell *c = &j->cell[row * width(j)];
    return c->n == n && memcmp(j->text.data + c->at, id, n) == 0;
}

/* The slot of an id, or the free one where it would go. */
static size_t find_slot(const struct join *j, uint64_t hash, const char *id, size_t n)
{
    size_t at = (size_t)hash & (j->slots - 1);
    for (; j->slot[at] != 0; at = (at + 1) & (j->slots - 1)) {
        size_t row = j->slot[at] - 1;
        if (j->hash[row] == hash && id_is(j, row, id, n))
            break;
    }
    return at;
}

static void grow_slots(struct join *j)
{
    size_t slots = j->slots == 0 ? 1024 : 2 * j->slots;
    free(j->slot);
    j->slot = mem_array(slots, sizeof *j->slot);
    j->slots = slots;
    for (size_t row = 0; row < j->rows; row++) {
        size_t at = (size_t)j->hash[row] & (slots - 1);
        while (j->slot[at] != 0)
            at = (at + 1) & (slots - 1);
        j->slot[at] = (uint32_t)row + 1;
    }
}

const struct join_cell *join_row(struct join *j, const char *id, size_t n)
{
    j->asked++;
    uint32_t row = j->slots > 0 ? j->slot[find_slot(j, hash_bytes(id, n, 0), id, n)] : 0;
    if (row == 0) {
        j->not_there++;
        return NULL;
    }
    return &j->cell[(row - 1) * width(j)];
}

const char *join_text(const struct join *j, const struct join_cell *row, size_t column,
                      size_t *out_n)
{
    *out_n = row[column + 1].n;
    return (const char *)j->text.data + row[column + 1].at;
}

bool joins_find(const struct joins *js, const char *column, size_t *out_join, size_t *out_column)
{
    for (size_t i = 0; i < js->used; i++)
        for (size_t c = 0; c < js->item[i].columns; c++)
            if (strcmp(js->item[i].name[c], column) == 0) {
                *out_join = i;
                *out_column = c;
                return true;
            }
    return false;
}

/* ---- reading ------------------------------------------------------------------------------------ */

struct layout {     /* of one side file */
    size_t cells;   /* a record has */
    size_t key;     /* place of the id */
    size_t *column; /* (join.columns) places of those kept; owned */
};

static bool listed(const struct texts *list, const char *name)
{
    for (size_t i = 0; i < list->used; i++)
        if (strcmp(list->item[i], name) == 0)
            return true;
    return list->used == 0;
}

static bool wanted(const struct join *j, const struct schema *s, const char *name)
{
    if (strcmp(name, j->spec->key) == 0 || !listed(&j->spec->fields, name))
        return false;
    for (size_t i = 0; i < s->fields_used; i++)
        if (strcmp(s->field[i].column, name) == 0)
            return true;
    return false;
}

static enum status no_column(const char *path, const char *name, char *const *names, size_t n,
                             struct errbuf *err)
{
    struct buffer have = BUFFER_INIT;
    for (size_t i = 0; i < n && have.used < 400; i++)
        buffer_printf(&have, "%s%.40s", i > 0 ? ", " : "", names[i]);
    enum status st =
        errbuf_set(err, ST_BAD_DATA, "%s: no column \"%s\" (data.join); it has %zu: %s", path, name,
                   n, buffer_text(&have));
    buffer_release(&have);
    return st;
}

/* The first file says which columns are kept; the others must have them, too. */
static enum status lay_out(struct join *j, const struct schema *s, const char *path,
                           char *const *names, size_t n, bool first, struct layout *out,
                           struct errbuf *err)
{
    const struct texts *fields = &j->spec->fields;
    out->cells = n;
    out->key = n;
    for (size_t i = n; i-- > 0;)
        if (strcmp(names[i], j->spec->key) == 0)
            out->key = i;
    if (out->key == n)
        return no_column(path, j->spec->key, names, n, err);
    if (first) {
        j->name = mem_array(n + 1, sizeof *j->name);
        for (size_t i = 0; i < n; i++)
            if (wanted(j, s, names[i]))
                j->name[j->columns++] = mem_strdup(names[i]);
        for (size_t f = 0; f < fields->used; f++) {
            size_t i = 0;
            while (i < n && strcmp(names[i], fields->item[f]) != 0)
                i++;
            if (i == n)
                return no_column(path, fields->item[f], names, n, err);
        }
    }
    out->column = mem_array(j->columns + 1, sizeof *out->column);
    for (size_t c = 0; c < j->columns; c++) {
        size_t i = 0;
        while (i < n && strcmp(names[i], j->name[c]) != 0)
            i++;
        if (i == n)
            return no_column(path, j->name[c], names, n, err);
        out->column[c] = i;
    }
    return ST_OK;
}

static enum status read_names(const struct join *j, bool typed, struct reader_text *reader,
                              const char *path, char ***out, size_t *out_n, struct errbuf *err)
{
    const struct texts *given = &j->spec->columns;
    struct text_record r;
    if (given->used > 0) {
        *out = mem_array(given->used, sizeof **out);
        for (*out_n = 0; *out_n < given->used; (*out_n)++)
            (*out)[*out_n] = mem_strdup(given->item[*out_n]);
        return ST_OK;
    }
    enum status st = reader_text_next(reader, &r, err);
    if (st == ST_END || (st == ST_OK && r.fault != NULL))
        return errbuf_set(err, ST_BAD_DATA, "%s:1: the header: %s", path,
                          st == ST_END ? "no line in it" : r.fault);
    if (st != ST_OK)
        return st;
    *out = mem_array(r.cells_used, sizeof **out);
    for (*out_n = 0; *out_n < r.cells_used; (*out_n)++) {
        const char *at = r.cell[*out_n].at;
        size_t n = r.cell[*out_n].n;
        const char *type = typed ? memrchr(at, ':', n) : NULL;
        n = type != NULL ? (size_t)(type - at) : n;
        encoder_trim(&at, &n);
        (*out)[*out_n] = mem_zalloc(n + 1);
        memcpy((*out)[*out_n], at, n);
    }
    return ST_OK;
}

static void keep(struct join *j, const char *at, size_t n)
{
    if (j->cells == j->cells_cap)
        mem_grow(&j->cell, &j->cells_cap, j->cells + 1, sizeof *j->cell);
    j->cell[j->cells++] = (struct join_cell){j->text.used, (uint32_t)n};
    buffer_put(&j->text, at, n);
}

/* NULL, or why the line is bad; *st for what ends the reading. */
static const char *take_row(struct join *j, const struct layout *at, const struct text_record *r,
                            const char *path, enum status *st, struct errbuf *err)
{
    if (r->fault != NULL)
        return r->fault;
    if (r->cells_used != at->cells)
        return "another number of columns than the header";
    const char *id = r->cell[at->key].at;
    size_t n = r->cell[at->key].n;
    encoder_trim(&id, &n);
    if (n == 0)
        return "no id in it";
    if (2 * (j->rows + 1) > j->slots)
        grow_slots(j);
    uint64_t hash = hash_bytes(id, n, 0);
    size_t slot = find_slot(j, hash, id, n);
    if (j->slot[slot] != 0)
        *st = errbuf_set(err, ST_BAD_DATA,
                         "%s:%llu: %s %.*s stands in line %llu already; a side file has one line "
                         "an id: remove one of the two",
                         path, (unsigned long long)r->line, j->spec->key, (int)(n < 60 ? n : 60),
                         id, (unsigned long long)j->line[j->slot[slot] - 1]);
    else if (j->rows >= JOINS_ROWS_MAX)
        *st = errbuf_set(err, ST_BAD_DATA, "%s: more than %u lines: too long for a side file", path,
                         JOINS_ROWS_MAX);
    if (*st != ST_OK)
        return NULL;
    if (j->rows == j->hashes_cap)
        mem_grow(&j->hash, &j->hashes_cap, j->rows + 1, sizeof *j->hash);
    if (j->rows == j->lines_cap)
        mem_grow(&j->line, &j->lines_cap, j->rows + 1, sizeof *j->line);
    j->hash[j->rows] = hash;
    j->line[j->rows] = r->line;
    keep(j, id, n);
    for (size_t c = 0; c < j->columns; c++)
        keep(j, r->cell[at->column[c]].at, r->cell[at->column[c]].n);
    j->slot[slot] = (uint32_t)++j->rows;
    return NULL;
}

static enum status read_rows(struct join *j, const struct layout *at, struct reader_text *reader,
                             const char *path, struct quarantine *q, struct errbuf *err)
{
    struct text_record r;
    enum status st;
    uint64_t lines = 0, bad = 0;
    char first[160] = "";
    while ((st = reader_text_next(reader, &r, err)) == ST_OK) {
        const char *fault = take_row(j, at, &r, path, &st, err);
        lines++;
        if (st == ST_OK && fault != NULL) {
            if (bad++ == 0)
                snprintf(first, sizeof first, "line %llu: %.120s", (unsigned long long)r.line,
                         fault);
            st = quarantine_add(q, path, r.line, fault, err);
        }
        if (st != ST_OK)
            return st;
    }
    if (st == ST_END && (double)bad > q->bad_max * (double)lines)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: %llu of %llu lines are bad, more than data.bad_max: %g allows; %s",
                          path, (unsigned long long)bad, (unsigned long long)lines, q->bad_max,
                          first);
    return st == ST_END ? ST_OK : st;
}

static enum status read_file(struct join *j, const struct job *job, const struct schema *schema,
                             const char *path, bool first, struct quarantine *q, struct errbuf *err)
{
    struct reader_text *reader;
    struct layout at = {0, 0, NULL};
    char **names = NULL;
    size_t names_n = 0;
    bool typed = job->data.format == JOB_RECBOLE;
    const char *quote = typed ? "" : job->data.format == JOB_DELIMITED ? job->data.quote : "\"";
    enum status st =
        reader_text_open(path, job->data.bytes_max, j->spec->delimiter, quote, &reader, err);
    if (st != ST_OK)
        return st;
    st = read_names(j, typed, reader, path, &names, &names_n, err);
    if (st == ST_OK)
        st = lay_out(j, schema, path, names, names_n, first, &at, err);
    if (st == ST_OK)
        st = read_rows(j, &at, reader, path, q, err);
    for (size_t i = 0; i < names_n; i++)
        free(names[i]);
    free(names);
    free(at.column);
    reader_text_close(reader);
    return st;
}

static enum status check_names(const struct joins *js, struct errbuf *err)
{
    size_t first, column;
    for (size_t i = 0; i < js->used; i++)
        for (size_t c = 0; c < js->item[i].columns; c++)
            if (joins_find(js, js->item[i].name[c], &first, &column) && first != i)
                return errbuf_set(err, ST_BAD_DATA,
                                  "data.join: %s and %s both have a column %s; say in `fields` of "
                                  "each which columns to take",
                                  js->item[first].spec->file, js->item[i].spec->file,
                                  js->item[i].name[c]);
    return ST_OK;
}

enum status joins_load(struct joins *js, const struct job *job, const struct schema *schema,
                       const struct sources *sources, struct quarantine *q, struct errbuf *err)
{
    for (size_t i = 0; i < js->used; i++)
        for (size_t f = js->item[i].from; f < js->item[i].to; f++) {
            enum status st = read_file(&js->item[i], job, schema, sources->item[f].path,
                                       f == js->item[i].from, q, err);
            if (st != ST_OK)
                return st;
        }
    return check_names(js, err);
}
