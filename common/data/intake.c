/* intake.c - see intake.h. Hot: every cell of the log passes here once. */
#include "common/data/intake.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/feature/number.h"

void intake_init(struct intake *in, const struct encoder *encoder, struct joins *joins,
                 bool time_needed)
{
    memset(in, 0, sizeof *in);
    in->encoder = encoder;
    in->time_needed = time_needed;
    in->column = mem_array(encoder->schema.fields_used + 1, sizeof *in->column);
    in->from = mem_array(encoder->schema.fields_used + 1, sizeof *in->from);
    in->joins = joins;
    in->met = mem_array(encoder->schema.fields_used + 1, sizeof *in->met);
    in->on = mem_array(joins->used + 1, sizeof *in->on);
    in->row = mem_array(joins->used + 1, sizeof *in->row);
}

void intake_release(struct intake *in)
{
    free(in->column);
    free(in->from);
    free(in->met);
    free(in->on);
    free(in->row);
    memset(in, 0, sizeof *in);
}

struct cache_row intake_row(const struct intake *in, uint32_t source, uint64_t offset)
{
    return (struct cache_row){in->label, source, offset, in->time, in->user};
}

/* ---- columns ------------------------------------------------------------------------------------ */

static bool cell_is(const struct text_cell *cell, const char *name)
{
    const char *at = cell->at;
    size_t n = cell->n;
    encoder_trim(&at, &n);
    return n == strlen(name) && memcmp(at, name, n) == 0;
}

static enum status not_found(const struct text_record *header, const char *column, const char *name,
                             const char *path, struct errbuf *err)
{
    struct buffer names = BUFFER_INIT;
    for (size_t c = 0; c < header->cells_used && names.used < 400; c++)
        buffer_printf(&names, "%s%.*s", c > 0 ? ", " : "",
                      (int)(header->cell[c].n < 40 ? header->cell[c].n : 40), header->cell[c].at);
    enum status st =
        errbuf_set(err, ST_BAD_DATA, "%s: no column \"%s\" (field %s); the header has %zu: %s",
                   path, column, name, header->cells_used, buffer_text(&names));
    buffer_release(&names);
    return st;
}

/* A name in the header goes before a number: logs have columns named "101". */
static enum status find_column(const struct text_record *header, const char *column,
                               const char *name, const char *path, size_t *out, struct errbuf *err)
{
    uint64_t number;
    size_t found = 0;
    for (size_t c = 0; header != NULL && c < header->cells_used; c++)
        if (cell_is(&header->cell[c], column) && found++ == 0)
            *out = c;
    if (found == 1)
        return ST_OK;
    if (found > 1)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: %zu columns are named \"%s\" (field %s); name it by its number",
                          path, found, column, name);
    if (number_parse_u64(column, strlen(column), &number) &&
        number < (header != NULL ? header->cells_used : TEXT_COLUMNS_MAX)) {
        *out = (size_t)number;
        return ST_OK;
    }
    if (header == NULL)
        return errbuf_set(
            err, ST_USAGE,
            "data.fields: %s: without a header, column must be a number from 0, not \"%s\"", name,
            column);
    return not_found(header, column, name, path, err);
}

/* The field's column stands in a side file. */
static bool find_joined(struct intake *in, size_t i)
{
    size_t join = 0;
    const struct schema_field *f = &in->encoder->schema.field[i];
    bool found = !f->derived && joins_find(in->joins, f->column, &join, &in->column[i]);
    in->from[i] = found ? join + 1 : 0;
    return found;
}

/* In the log as well: which one is meant must be said. */
static enum status check_joined(const struct intake *in, size_t i, const struct text_record *header,
                                const char *path, struct errbuf *err)
{
    const struct schema_field *f = &in->encoder->schema.field[i];
    const struct job_join *spec = in->joins->item[in->from[i] - 1].spec;
    for (size_t c = 0; header != NULL && spec->fields.used == 0 && c < header->cells_used; c++)
        if (cell_is(&header->cell[c], f->column))
            return errbuf_set(err, ST_BAD_DATA,
                              "%s: its column %s stands in %s, too; say in `fields` of data.join "
                              "which columns to take from there",
                              path, f->column, spec->file);
    return ST_OK;
}

enum status intake_check_met(const struct intake *in, struct errbuf *err)
{
    const struct schema *s = &in->encoder->schema;
    for (size_t i = 0; in->named && i < s->fields_used; i++)
        if (!in->met[i] && in->from[i] == 0 && !s->field[i].derived)
            return errbuf_set(err, ST_BAD_DATA,
                              "no record has a value named \"%s\" (field %s of data.fields): is it "
                              "spelt as in the log? penstock data inspect FILE lists the names",
                              s->field[i].column, s->field[i].name);
    return ST_OK;
}

void intake_begin_named(struct intake *in)
{
    in->named = true;
    for (size_t i = 0; i < in->encoder->schema.fields_used; i++)
        if (!find_joined(in, i))
            in->column[i] = i;
    for (size_t j = 0; j < in->joins->used; j++)
        in->on[j] = in->encoder->schema.fields_used + j;
}

void intake_columns(const struct intake *in, struct columns *out)
{
    const struct schema *s = &in->encoder->schema;
    const char **names = mem_array(s->fields_used + in->joins->used + 1, sizeof *names);
    for (size_t i = 0; i < s->fields_used; i++)
        names[i] = in->from[i] == 0 && !s->field[i].derived
                       ? s->field[i].column
                       : ""; /* nobody is asked for those of side files */
    for (size_t j = 0; j < in->joins->used; j++)
        names[s->fields_used + j] = in->joins->item[j].spec->on;
    columns_init(out, names, s->fields_used + in->joins->used);
    free(names);
}

enum status intake_begin(struct intake *in, const struct text_record *header, const char *path,
                         struct errbuf *err)
{
    const struct schema *s = &in->encoder->schema;
    if (header != NULL && header->fault != NULL)
        return errbuf_set(err, ST_BAD_DATA, "%s:%llu: the header: %s", path,
                          (unsigned long long)header->line, header->fault);
    for (size_t i = 0; i < s->fields_used; i++) {
        const struct schema_field *f = &s->field[i];
        if (f->derived)
            continue;
        enum status st = find_joined(in, i)
                             ? check_joined(in, i, header, path, err)
                             : find_column(header, f->column, f->name, path, &in->column[i], err);
        if (st != ST_OK)
            return st;
    }
    for (size_t j = 0; j < in->joins->used; j++) {
        enum status st =
            find_column(header, in->joins->item[j].spec->on, "data.join", path, &in->on[j], err);
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

static void put_key(const struct encoder *e, struct cache_writer *w, uint64_t key, float weight)
{
    if (e->schema.weighted)
        cache_writer_key_weighted(w, key, weight);
    else
        cache_writer_key(w, key);
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
        put_key(e, w, encoder_key(e, f->slot, token, token_n), 1);
        used++;
    }
}

static const char *take_label(struct intake *in, const struct schema_field *f, const char *cell,
                              size_t n, bool missing)
{
    double v;
    const struct schema *s = &in->encoder->schema;
    in->label[f->slot] = LABEL_MISSING;
    if (missing)
        return s->labels_used > 1 ? NULL : fault_cell(in, f, "no label", cell, n);
    const char *wrong = number_parse(cell, n, &v);
    if (wrong != NULL)
        return fault_cell(in, f, wrong, cell, n);
    in->label[f->slot] = v > s->label_above;
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

/* cell NULL: the record has none. */
static const char *take_cell(struct intake *in, const struct schema_field *f, const char *cell,
                             size_t n, float weight, struct cache_writer *w)
{
    const struct encoder *e = in->encoder;
    double v = NAN;
    bool missing = cell == NULL;
    if (missing)
        cell = "";
    encoder_trim(&cell, &n);
    missing = missing || schema_missing(&e->schema, cell, n);
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
        if (f->type == FIELD_USER)
            in->user = missing ? 0 : hash_bytes(cell, n, 0) | 1;
        put_key(e, w, missing ? encoder_key_missing(e, f->slot) : encoder_key(e, f->slot, cell, n),
                missing ? 1 : weight);
    }
    cache_writer_bag_end(w);
    return NULL;
}

/* ---- side files --------------------------------------------------------------------------------- */

static void look_up(struct intake *in, size_t join, const char *id, size_t n)
{
    in->row[join] = NULL;
    if (id == NULL)
        return;
    encoder_trim(&id, &n);
    if (!schema_missing(&in->encoder->schema, id, n))
        in->row[join] = join_row(&in->joins->item[join], id, n);
}

static const char *take_joined(struct intake *in, size_t i, struct cache_writer *w)
{
    size_t join = in->from[i] - 1, n = 0;
    const char *cell = NULL;
    if (in->row[join] != NULL)
        cell = join_text(&in->joins->item[join], in->row[join], in->column[i], &n);
    return take_cell(in, &in->encoder->schema.field[i], cell, n, 1, w);
}

/* A history is put in when all records are there (history.h). */
static const char *take_derived(struct cache_writer *w)
{
    cache_writer_bag_end(w);
    return NULL;
}

/* ---- records ------------------------------------------------------------------------------------ */

static const char *user_of(const struct intake *in, const char *cell, size_t n, size_t *out_n)
{
    encoder_trim(&cell, &n);
    *out_n = n;
    return schema_missing(&in->encoder->schema, cell, n) ? NULL : cell;
}

const char *intake_user_text(const struct intake *in, const struct text_record *r, size_t *out_n)
{
    size_t user = in->encoder->schema.user;
    if (user == SCHEMA_NONE || in->from[user] != 0 || in->column[user] >= r->cells_used)
        return NULL;
    const struct text_cell *cell = &r->cell[in->column[user]];
    return user_of(in, cell->at, cell->n, out_n);
}

const char *intake_user_named(const struct intake *in, const struct named_record *r, size_t *out_n)
{
    size_t user = in->encoder->schema.user;
    if (user == SCHEMA_NONE || in->from[user] != 0)
        return NULL;
    const struct value *v = columns_first(r->columns, in->column[user]);
    return v != NULL ? user_of(in, v->at, v->n, out_n) : NULL;
}

/* Of several labels some may be missing, but not all: nothing could be learned from the record. */
static const char *judge_labels(struct intake *in)
{
    const size_t n = in->encoder->schema.labels_used;
    bool any = n < 2;
    for (size_t t = 0; t < n; t++)
        any |= in->label[t] >= 0;
    return any ? NULL : "no label of any task";
}

/* A list gives a key each; one cell may hold several with `sep` between, as in text. */
static const char *take_values(struct intake *in, size_t i, const struct columns *columns,
                               struct cache_writer *w)
{
    const struct encoder *e = in->encoder;
    const struct schema_field *f = &e->schema.field[i];
    const struct value_set *set = &columns->set[in->column[i]];
    const struct value *v = columns_first(columns, in->column[i]);
    in->met[i] |= v != NULL;
    if (f->type != FIELD_IDS && set->n > 1) {
        snprintf(in->fault, sizeof in->fault,
                 "%.64s: %u values where one is expected; type ids takes all, column %.48s[0] one",
                 f->name, set->n, f->column);
        return in->fault;
    }
    if (f->type != FIELD_IDS || (set->n == 1 && !set->list))
        return take_cell(in, f, v != NULL ? v->at : NULL, v != NULL ? v->n : 0,
                         v != NULL ? v->weight : 1, w);
    for (uint64_t used = 0; v != NULL && used < f->ids_max; v = columns_next(columns, v)) {
        const char *token = v->at;
        size_t n = v->n;
        encoder_trim(&token, &n);
        if (n == 0 || schema_missing(&e->schema, token, n))
            continue;
        put_key(e, w, encoder_key(e, f->slot, token, n), v->weight);
        used++;
    }
    cache_writer_bag_end(w);
    return NULL;
}

const char *intake_named(struct intake *in, const struct named_record *r, struct cache_writer *w)
{
    if (r->fault != NULL)
        return r->fault;
    in->time = TIME_MISSING;
    in->user = 0;
    for (size_t j = 0; j < in->joins->used; j++) {
        const struct value *id = columns_first(r->columns, in->on[j]);
        look_up(in, j, id != NULL ? id->at : NULL, id != NULL ? id->n : 0);
    }
    for (size_t i = 0; i < in->encoder->schema.fields_used; i++) {
        const char *fault = in->encoder->schema.field[i].derived ? take_derived(w)
                            : in->from[i] != 0                   ? take_joined(in, i, w)
                                               : take_values(in, i, r->columns, w);
        if (fault != NULL)
            return fault;
    }
    return judge_labels(in);
}

const char *intake_text(struct intake *in, const struct text_record *r, struct cache_writer *w)
{
    const struct schema *s = &in->encoder->schema;
    if (r->fault != NULL)
        return r->fault;
    if (in->columns == 0) {
        size_t most = 0;
        for (size_t i = 0; i < s->fields_used; i++)
            most = in->from[i] == 0 && in->column[i] > most ? in->column[i] : most;
        for (size_t j = 0; j < in->joins->used; j++)
            most = in->on[j] > most ? in->on[j] : most;
        if (r->cells_used > most) {
            in->columns = r->cells_used;
        } else {
            snprintf(in->fault, sizeof in->fault, "%zu columns, but the fields of the job need %zu",
                     r->cells_used, most + 1);
            return in->fault;
        }
    }
    if (r->cells_used != in->columns) {
        snprintf(in->fault, sizeof in->fault, "%zu columns instead of %zu", r->cells_used,
                 in->columns);
        return in->fault;
    }
    in->time = TIME_MISSING;
    in->user = 0;
    for (size_t j = 0; j < in->joins->used; j++)
        look_up(in, j, r->cell[in->on[j]].at, r->cell[in->on[j]].n);
    for (size_t i = 0; i < s->fields_used; i++) {
        const struct text_cell *cell = &r->cell[in->from[i] == 0 ? in->column[i] : 0];
        const char *fault = s->field[i].derived ? take_derived(w)
                            : in->from[i] != 0
                                ? take_joined(in, i, w)
                                : take_cell(in, &s->field[i], cell->at, cell->n, 1, w);
        if (fault != NULL)
            return fault;
    }
    return judge_labels(in);
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
    in->label[0] = r->label > e->schema.label_above;
    in->time = TIME_MISSING;
    return NULL;
}
