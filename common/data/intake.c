/* intake.c - see intake.h. Hot: every cell of the log passes here once. */
#include "common/data/intake.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/feature/number.h"

void intake_init(struct intake *in, const struct encoder *encoder, bool time_needed)
{
    memset(in, 0, sizeof *in);
    in->encoder = encoder;
    in->time_needed = time_needed;
    in->column = mem_array(encoder->schema.fields_used + 1, sizeof *in->column);
}

void intake_release(struct intake *in)
{
    free(in->column);
    memset(in, 0, sizeof *in);
}

/* ---- columns ------------------------------------------------------------------------------------ */

static bool cell_is(const struct text_cell *cell, const char *name)
{
    const char *at = cell->at;
    size_t n = cell->n;
    encoder_trim(&at, &n);
    return n == strlen(name) && memcmp(at, name, n) == 0;
}

static enum status not_found(const struct text_record *header, const struct schema_field *f,
                             const char *path, struct errbuf *err)
{
    struct buffer names = BUFFER_INIT;
    for (size_t c = 0; c < header->cells_used && names.used < 400; c++)
        buffer_printf(&names, "%s%.*s", c > 0 ? ", " : "",
                      (int)(header->cell[c].n < 40 ? header->cell[c].n : 40), header->cell[c].at);
    enum status st =
        errbuf_set(err, ST_BAD_DATA, "%s: no column \"%s\" (field %s); the header has %zu: %s",
                   path, f->column, f->name, header->cells_used, buffer_text(&names));
    buffer_release(&names);
    return st;
}

/* A name in the header goes before a number: logs have columns named "101". */
static enum status find_column(const struct text_record *header, const struct schema_field *f,
                               const char *path, size_t *out, struct errbuf *err)
{
    uint64_t number;
    size_t found = 0;
    for (size_t c = 0; header != NULL && c < header->cells_used; c++)
        if (cell_is(&header->cell[c], f->column) && found++ == 0)
            *out = c;
    if (found == 1)
        return ST_OK;
    if (found > 1)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: %zu columns are named \"%s\" (field %s); name it by its number",
                          path, found, f->column, f->name);
    if (number_parse_u64(f->column, strlen(f->column), &number) &&
        number < (header != NULL ? header->cells_used : TEXT_COLUMNS_MAX)) {
        *out = (size_t)number;
        return ST_OK;
    }
    if (header == NULL)
        return errbuf_set(
            err, ST_USAGE,
            "data.fields: %s: without a header, column must be a number from 0, not \"%s\"",
            f->name, f->column);
    return not_found(header, f, path, err);
}

enum status intake_begin(struct intake *in, const struct text_record *header, const char *path,
                         struct errbuf *err)
{
    const struct schema *s = &in->encoder->schema;
    if (header != NULL && header->fault != NULL)
        return errbuf_set(err, ST_BAD_DATA, "%s:%llu: the header: %s", path,
                          (unsigned long long)header->line, header->fault);
    for (size_t i = 0; i < s->fields_used; i++) {
        enum status st = find_column(header, &s->field[i], path, &in->column[i], err);
        if (st != ST_OK)
            return st;
    }
    in->columns = header != NULL ? header->cells_used : 0;
    return ST_OK;
}

/* ---- cells -------------------------------------------------------------------------------------- */

static const char *fault_cell(struct intake *in, const struct schema_field *f, const char *what,
                              const char *cell, size_t n)
{
    char shown[33];
    size_t used = n < sizeof shown - 1 ? n : sizeof shown - 1;
    for (size_t i = 0; i < used; i++)
        shown[i] = cell[i] >= 0x20 && cell[i] != 0x7f ? cell[i] : '?';
    shown[used] = 0;
    snprintf(in->fault, sizeof in->fault, "%.64s: %s: \"%s\"%s", f->name, what, shown,
             used < n ? "..." : "");
    return in->fault;
}

static void take_bag(const struct encoder *e, const struct schema_field *f, const char *cell,
                     size_t n, struct cache_writer *w)
{
    const char *end = cell + n;
    size_t sep = strlen(f->sep);
    uint64_t used = 0;
    while (cell <= end && used < f->ids_max) {
        const char *next = memmem(cell, (size_t)(end - cell), f->sep, sep);
        const char *token = cell;
        size_t token_n = (size_t)((next != NULL ? next : end) - cell);
        cell = next != NULL ? next + sep : end + 1;
        encoder_trim(&token, &token_n);
        if (token_n == 0 || schema_missing(&e->schema, token, token_n))
            continue;
        cache_writer_key(w, encoder_key(e, f->slot, token, token_n));
        used++;
    }
}

static const char *take_label(struct intake *in, const struct schema_field *f, const char *cell,
                              size_t n, bool missing)
{
    double v;
    if (missing)
        return fault_cell(in, f, "no label", cell, n);
    const char *wrong = number_parse(cell, n, &v);
    if (wrong != NULL)
        return fault_cell(in, f, wrong, cell, n);
    in->label = v > in->encoder->schema.label_above;
    return NULL;
}

static const char *take_time(struct intake *in, const struct schema_field *f, const char *cell,
                             size_t n, bool missing)
{
    in->time = TIME_MISSING;
    const char *wrong = missing ? NULL : number_parse_time(cell, n, &in->time);
    if (missing && in->time_needed)
        wrong = "no time, and the log is split by it";
    return wrong != NULL ? fault_cell(in, f, wrong, cell, n) : NULL;
}

static const char *take_cell(struct intake *in, const struct schema_field *f, const char *cell,
                             size_t n, struct cache_writer *w)
{
    const struct encoder *e = in->encoder;
    double v = NAN;
    encoder_trim(&cell, &n);
    bool missing = schema_missing(&e->schema, cell, n);
    switch (f->type) {
    case FIELD_LABEL: return take_label(in, f, cell, n, missing);
    case FIELD_TIME: return take_time(in, f, cell, n, missing);
    case FIELD_FLOAT: {
        const char *wrong = missing ? NULL : number_parse(cell, n, &v);
        cache_writer_num(w, (float)v);
        return wrong != NULL ? fault_cell(in, f, wrong, cell, n) : NULL;
    }
    case FIELD_IDS:
        if (!missing)
            take_bag(e, f, cell, n, w);
        break;
    default:
        cache_writer_key(w, missing ? encoder_key_missing(e, f->slot)
                                    : encoder_key(e, f->slot, cell, n));
    }
    cache_writer_bag_end(w);
    return NULL;
}

const char *intake_text(struct intake *in, const struct text_record *r, struct cache_writer *w)
{
    const struct schema *s = &in->encoder->schema;
    if (r->fault != NULL)
        return r->fault;
    if (in->columns == 0) {
        size_t most = 0;
        for (size_t i = 0; i < s->fields_used; i++)
            most = in->column[i] > most ? in->column[i] : most;
        if (r->cells_used > most)
            in->columns = r->cells_used;
    }
    if (r->cells_used != in->columns) {
        snprintf(in->fault, sizeof in->fault, "%zu columns instead of %zu", r->cells_used,
                 in->columns);
        return in->fault;
    }
    in->time = TIME_MISSING;
    for (size_t i = 0; i < s->fields_used; i++) {
        const struct text_cell *cell = &r->cell[in->column[i]];
        const char *fault = take_cell(in, &s->field[i], cell->at, cell->n, w);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

const char *intake_libsvm(struct intake *in, const struct libsvm_record *r, struct cache_writer *w)
{
    const struct encoder *e = in->encoder;
    if (r->fault != NULL)
        return r->fault;
    uint64_t max = e->schema.field[e->schema.ids[0]].ids_max;
    for (size_t i = 0; i < r->n && i < max; i++)
        cache_writer_key_weighted(w, encoder_key_u64(e, 0, r->id[i]), r->value[i]);
    cache_writer_bag_end(w);
    in->label = r->label > e->schema.label_above;
    in->time = TIME_MISSING;
    return NULL;
}
