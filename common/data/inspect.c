/* inspect.c - see inspect.h.
 *
 *   format     libsvm if most lines are a number and then id:value pairs; else one whose cells have names
 *              (inspect_named.c); else delimited, of which recbole and criteo are told by header and cells
 *   delimiter  the candidate that cuts most lines into one and the same number of columns, more than one
 *   header     a first line without a number, over columns some of which are numbers below
 *   types      by name where logs agree on names, else by what the cells are (inspect_type)
 */
#include "common/data/inspect.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/job.h"
#include "common/base/mem.h"
#include "common/data/inspect_column.h"
#include "common/data/inspect_named.h"
#include "common/data/reader_libsvm.h"
#include "common/data/reader_text.h"
#include "common/feature/encode.h"
#include "common/feature/keyset.h"
#include "common/feature/number.h"
#include "common/feature/schema.h"

#define BYTES_MAX  ((uint64_t)1 << 50)
#define PROBE_ROWS 500u

static const char *const DELIMITERS[] = {",", "\t", ";", "::", "|", "\x01", " "};

/* ---- format and delimiter ----------------------------------------------------------------------- */

static enum status looks_libsvm(const char *path, bool *out, struct errbuf *err)
{
    struct reader_libsvm *r;
    struct libsvm_record rec;
    size_t good = 0, rows = 0, pairs = 0;
    enum status st = reader_libsvm_open(path, BYTES_MAX, &r, err);
    if (st != ST_OK)
        return st;
    while (rows < PROBE_ROWS && (st = reader_libsvm_next(r, &rec, err)) == ST_OK) {
        rows++;
        good += rec.fault == NULL;
        if (rec.fault == NULL)
            for (size_t i = 0; i < rec.raw_n; i++)
                pairs += rec.raw[i] == ':';
    }
    reader_libsvm_close(r);
    *out = rows > 0 && good * 10 >= rows * 9 && pairs > good;
    return st == ST_END ? ST_OK : st;
}

/* The most common number of columns and the part of rows that have it. */
static enum status probe(const char *path, const char *delimiter, size_t *out_columns,
                         double *out_part, struct errbuf *err)
{
    size_t seen[PROBE_ROWS], rows = 0, best = 0;
    struct reader_text *r;
    struct text_record rec;
    enum status st = reader_text_open(path, BYTES_MAX, delimiter, "\"", &r, err);
    if (st != ST_OK)
        return st;
    while (rows < PROBE_ROWS && (st = reader_text_next(r, &rec, err)) == ST_OK)
        seen[rows++] = rec.cells_used; /* 0 for a faulty one */
    reader_text_close(r);
    *out_columns = 0;
    for (size_t i = 0; i < rows; i++) {
        size_t same = 0;
        for (size_t j = 0; j < rows; j++)
            same += seen[j] == seen[i];
        if (seen[i] > 0 && same > best) {
            best = same;
            *out_columns = seen[i];
        }
    }
    *out_part = rows > 0 ? (double)best / (double)rows : 0;
    return st == ST_END ? ST_OK : st;
}

static enum status guess_delimiter(struct inspect *in, struct errbuf *err)
{
    double high = 0;
    in->delimiter = DELIMITERS[0];
    for (size_t i = 0; i < sizeof DELIMITERS / sizeof DELIMITERS[0]; i++) {
        size_t columns;
        double part;
        enum status st = probe(in->path, DELIMITERS[i], &columns, &part, err);
        if (st != ST_OK)
            return st;
        /* Earlier candidates win near ties: a blank cuts titles, too, now and then alike. */
        if (columns > 1 && part > high + .05) {
            high = part;
            in->delimiter = DELIMITERS[i];
        }
    }
    return ST_OK;
}

/* ---- reading the sample ------------------------------------------------------------------------- */

static void take_names(struct inspect *in, const struct text_record *first)
{
    in->columns_used = first->cells_used;
    in->column = mem_array(in->columns_used + 1, sizeof *in->column);
    for (size_t c = 0; c < in->columns_used; c++) {
        const char *at = first->cell[c].at;
        size_t n = first->cell[c].n;
        char name[24];
        encoder_trim(&at, &n);
        snprintf(name, sizeof name, "c%zu", c);
        in->column[c].name = mem_zalloc(n + sizeof name);
        if (in->header && n > 0)
            memcpy(in->column[c].name, at, n);
        else
            strcpy(in->column[c].name, name);
    }
}

/* Names over numbers. The names themselves may be numbers in part ("101", "109_14"), so it is enough that
 * one column says a word where the next line says a number. */
static bool looks_header(const struct text_record *first, const struct text_record *second)
{
    size_t numbers = 0, words_over_numbers = 0;
    double v;
    for (size_t c = 0; c < first->cells_used; c++) {
        const struct text_cell *a = &first->cell[c];
        bool number = number_parse(a->at, a->n, &v) == NULL;
        numbers += number;
        if (c == 0 && number)
            return false;
        if (number || inspect_missing(a->at, a->n) || second == NULL || c >= second->cells_used)
            continue;
        const struct text_cell *b = &second->cell[c];
        words_over_numbers += number_parse(b->at, b->n, &v) == NULL;
    }
    return numbers == 0 || words_over_numbers > 0;
}

/* ---- presets ------------------------------------------------------------------------------------ */

static int said_of(const char *at, size_t n)
{
    static const char *const TYPES[] = {"", ":token", ":float", ":token_seq", ":float_seq"};
    for (int t = SAID_TOKEN; t <= SAID_FLOAT_SEQ; t++) {
        size_t type_n = strlen(TYPES[t]);
        if (n > type_n && memcmp(at + n - type_n, TYPES[t], type_n) == 0)
            return t;
    }
    return SAID_NOTHING;
}

/* Every name of the first line ends in a type, with tabs between. */
static bool looks_recbole(struct inspect *in, const struct text_record *first)
{
    for (size_t c = 0; c < first->cells_used; c++)
        if (said_of(first->cell[c].at, first->cell[c].n) == SAID_NOTHING)
            return false;
    if (first->cells_used < 2 || strcmp(in->delimiter, "\t") != 0)
        return false;
    in->format = JOB_RECBOLE;
    return true;
}

static void strip_types(struct inspect *in)
{
    for (size_t c = 0; c < in->columns_used; c++) {
        char *name = in->column[c].name, *colon = strrchr(name, ':');
        in->column[c].said = said_of(name, strlen(name));
        if (colon != NULL && in->column[c].said != SAID_NOTHING)
            *colon = 0;
    }
}

/* The header knows a bag from a number better than the cells do; times and labels it does not know. */
static void take_said(struct inspect_column *c)
{
    if (c->said == SAID_TOKEN_SEQ || c->said == SAID_FLOAT_SEQ) {
        c->type = FIELD_IDS;
        c->sep = ' ';
        c->why = "";
    } else if (c->said == SAID_TOKEN && c->type == FIELD_FLOAT) {
        c->type = FIELD_ID;
    } else if (c->said == SAID_FLOAT && c->type == FIELD_ID) {
        c->type = FIELD_FLOAT;
    }
}

static bool is_hex8(const struct text_cell *cell)
{
    for (size_t i = 0; i < cell->n; i++)
        if (!isxdigit((unsigned char)cell->at[i]))
            return false;
    return cell->n == 8;
}

/* 40 columns: a label, 13 that are numbers or nothing, 26 that are 8 hex digits or nothing. */
static bool looks_criteo(const struct inspect *in, const struct text_record *first,
                         const struct text_record *second)
{
    const struct text_record *r = in->header ? second : first;
    size_t hex = 0, others = 0;
    double v;
    if (r == NULL || r->cells_used != 40 || in->columns_used != 40)
        return false;
    if (in->header &&
        (strcmp(in->column[1].name, "I1") != 0 || strcmp(in->column[0].name, "label") != 0 ||
         strcmp(in->column[39].name, "C26") != 0))
        return false;
    if (strcmp(in->delimiter, in->header ? "," : "\t") != 0)
        return false;
    for (size_t c = 1; c < 40; c++) {
        bool number = number_parse(r->cell[c].at, r->cell[c].n, &v) == NULL;
        if (c < 14)
            others += r->cell[c].n > 0 && !number;
        else if (is_hex8(&r->cell[c]))
            hex++;
        else
            others += r->cell[c].n > 0;
    }
    return hex >= 5 && others == 0;
}

static enum status guess_header(struct inspect *in, struct errbuf *err)
{
    struct reader_text *a = NULL, *b = NULL;
    struct text_record first, second;
    enum status st = reader_text_open(in->path, BYTES_MAX, in->delimiter, "\"", &a, err);
    if (st == ST_OK)
        st = reader_text_open(in->path, BYTES_MAX, in->delimiter, "\"", &b, err);
    if (st == ST_OK)
        st = reader_text_next(a, &first, err);
    if (st == ST_END || (st == ST_OK && first.fault != NULL))
        st = errbuf_set(err, ST_BAD_DATA, "%s:1: %s", in->path,
                        st == ST_END ? "no line in it" : first.fault);
    if (st == ST_OK) {
        /* Two readers, because a record lives only until the next one. */
        enum status has = reader_text_next(b, &second, NULL);
        if (has == ST_OK)
            has = reader_text_next(b, &second, NULL);
        in->header = looks_header(&first, has == ST_OK ? &second : NULL);
        if (looks_recbole(in, &first))
            in->header = true;
        take_names(in, &first);
        if (looks_criteo(in, &first, has == ST_OK ? &second : NULL))
            in->format = JOB_CRITEO;
        if (in->format == JOB_RECBOLE)
            strip_types(in);
    }
    reader_text_close(a);
    reader_text_close(b);
    return st;
}

static enum status read_sample(struct inspect *in, struct errbuf *err)
{
    struct keyset *distinct = mem_array(in->columns_used + 1, sizeof *distinct);
    struct reader_text *r;
    struct text_record rec;
    enum status st = reader_text_open(in->path, BYTES_MAX, in->delimiter, "\"", &r, err);
    if (st == ST_OK && in->header)
        st = reader_text_next(r, &rec, err);
    while (st == ST_OK && in->rows + in->bad < INSPECT_ROWS &&
           (st = reader_text_next(r, &rec, err)) == ST_OK) {
        if (rec.fault != NULL || rec.cells_used != in->columns_used) {
            in->bad++;
            in->columns_other += rec.fault == NULL;
            continue;
        }
        in->rows++;
        for (size_t c = 0; st == ST_OK && c < in->columns_used; c++)
            st = inspect_add(&in->column[c], &distinct[c], rec.cell[c].at, rec.cell[c].n, err);
    }
    in->whole = st == ST_END;
    reader_text_close(r);
    for (size_t c = 0; c < in->columns_used; c++) {
        in->column[c].distinct = distinct[c].used + (distinct[c].zero > 0);
        keyset_release(&distinct[c]);
    }
    free(distinct);
    return st == ST_END ? ST_OK : st;
}

static enum status read_libsvm(struct inspect *in, struct errbuf *err)
{
    struct reader_libsvm *r;
    struct libsvm_record rec;
    enum status st = reader_libsvm_open(in->path, BYTES_MAX, &r, err);
    if (st != ST_OK)
        return st;
    in->id_min = UINT64_MAX;
    while (in->rows < INSPECT_ROWS && (st = reader_libsvm_next(r, &rec, err)) == ST_OK) {
        in->rows += rec.fault == NULL;
        in->bad += rec.fault != NULL;
        in->positives += rec.fault == NULL && rec.label > .5;
        in->ids += rec.n;
        for (size_t i = 0; i < rec.n; i++) {
            in->id_min = rec.id[i] < in->id_min ? rec.id[i] : in->id_min;
            in->id_max = rec.id[i] > in->id_max ? rec.id[i] : in->id_max;
        }
    }
    in->whole = st == ST_END;
    reader_libsvm_close(r);
    return st == ST_END ? ST_OK : st;
}

/* Half of the lines, or none, are no guess: a binary file, a text with a title. */
static enum status believable(const struct inspect *in, struct errbuf *err)
{
    if (in->rows == 0 && in->note != NULL)
        return ST_OK;
    if (in->bad > in->rows && in->format >= JOB_LIBFFM)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: begins as %s does, but %llu of %llu records can't be read", in->path,
                          inspect_format_name(in->format), (unsigned long long)in->bad,
                          (unsigned long long)(in->bad + in->rows));
    if (in->bad > in->rows)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: %llu of %llu lines don't have the %zu columns of its first line (a "
                          "binary file? a title?): not a log that penstock reads",
                          in->path, (unsigned long long)in->bad,
                          (unsigned long long)(in->bad + in->rows), in->columns_used);
    if (in->rows == 0)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: no two lines look alike: not a log that penstock reads", in->path);
    return ST_OK;
}

enum status inspect_file(const char *path, struct inspect *out, struct errbuf *err)
{
    struct inspect in;
    memset(&in, 0, sizeof in);
    in.path = mem_strdup(path);
    enum status st = looks_libsvm(path, &in.libsvm, err);
    bool named = false;
    if (st == ST_OK && !in.libsvm)
        st = inspect_named_is(&in, &named, err);
    if (st == ST_OK && in.libsvm) {
        in.format = JOB_LIBSVM;
        st = read_libsvm(&in, err);
    } else if (st == ST_OK && named) {
        st = inspect_named_read(&in, err);
    } else if (st == ST_OK) {
        in.format = JOB_DELIMITED;
        st = guess_delimiter(&in, err);
        if (st == ST_OK)
            st = guess_header(&in, err);
        if (st == ST_OK)
            st = read_sample(&in, err);
    }
    if (st == ST_OK)
        st = believable(&in, err);
    if (st != ST_OK) {
        inspect_release(&in);
        return st;
    }
    if (!named) {
        for (size_t c = 0; c < in.columns_used; c++) {
            inspect_type(&in.column[c], in.rows, in.header);
            take_said(&in.column[c]);
        }
        inspect_label(&in);
    }
    *out = in;
    return ST_OK;
}

void inspect_release(struct inspect *i)
{
    for (size_t c = 0; c < i->columns_used; c++)
        free(i->column[c].name);
    free(i->column);
    free(i->note);
    free(i->path);
    memset(i, 0, sizeof *i);
}
