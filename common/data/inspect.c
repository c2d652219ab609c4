/* inspect.c - see inspect.h.
 *
 *   format     libsvm if most lines are a number and then id:value pairs; else delimited
 *   delimiter  the candidate that cuts most lines into one and the same number of columns, more than one
 *   header     a first line without a number, over columns some of which are numbers below
 *   types      by name where logs agree on names, else by what the cells are (type_of)
 */
#include "common/data/inspect.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/job.h"
#include "common/base/mem.h"
#include "common/data/reader_libsvm.h"
#include "common/data/reader_text.h"
#include "common/feature/encode.h"
#include "common/feature/keyset.h"
#include "common/feature/number.h"
#include "common/feature/schema.h"

#define BYTES_MAX  ((uint64_t)1 << 50)
#define PROBE_ROWS 500u

static const char *const DELIMITERS[] = {",", "\t", ";", "::", "|", "\x01", " "};
static const char SEPS[4] = {'|', '^', ';', ' '};
static const char *const MISSING[] = {"", "NA", "null", "NULL", "nan", "\\N"};

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

/* ---- columns ------------------------------------------------------------------------------------ */

static bool cell_missing(const char *cell, size_t n)
{
    for (size_t i = 0; i < sizeof MISSING / sizeof MISSING[0]; i++)
        if (strlen(MISSING[i]) == n && memcmp(MISSING[i], cell, n) == 0)
            return true;
    return false;
}

static void add_example(struct inspect_column *c, const char *cell, size_t n)
{
    char text[sizeof c->example[0]];
    size_t used = n < sizeof text - 1 ? n : sizeof text - 1;
    for (size_t i = 0; i < used; i++)
        text[i] = (unsigned char)cell[i] >= 0x20 && cell[i] != 0x7f ? cell[i] : '?';
    text[used] = 0;
    for (size_t i = 0; i < c->examples_used; i++)
        if (strcmp(c->example[i], text) == 0)
            return;
    if (c->examples_used < INSPECT_EXAMPLES)
        memcpy(c->example[c->examples_used++], text, sizeof text);
}

static enum status add_cell(struct inspect_column *c, struct keyset *distinct, const char *cell,
                            size_t n, struct errbuf *err)
{
    double v;
    int64_t time;
    uint64_t whole;
    encoder_trim(&cell, &n);
    if (cell_missing(cell, n)) {
        c->missing++;
        return ST_OK;
    }
    if (number_parse(cell, n, &v) == NULL) {
        if (c->numbers++ == 0)
            c->min = c->max = v;
        c->min = v < c->min ? v : c->min;
        c->max = v > c->max ? v : c->max;
        size_t sign = cell[0] == '-' || cell[0] == '+';
        c->integers += number_parse_u64(cell + sign, n - sign, &whole);
    } else if (number_parse_time(cell, n, &time) == NULL) {
        c->dates++;
    }
    for (size_t i = 0; i < sizeof SEPS; i++)
        c->with_sep[i] += memchr(cell, SEPS[i], n) != NULL;
    add_example(c, cell, n);
    return keyset_add(distinct, hash_bytes(cell, n, 0), err);
}

/* Lower case, letters and digits only: "User_ID" and "userid" are one name. */
static void plain_name(const char *name, char out[64])
{
    size_t n = 0;
    for (; *name != 0 && n < 63; name++)
        if (isalnum((unsigned char)*name))
            out[n++] = (char)tolower((unsigned char)*name);
    out[n] = 0;
}

static bool named(const struct inspect_column *c, const char *words)
{
    char name[64];
    plain_name(c->name, name);
    size_t n = strlen(name);
    for (const char *w = words; *w != 0;) {
        size_t len = strcspn(w, " ");
        if (len == n && memcmp(w, name, n) == 0)
            return true;
        w += len + (w[len] == ' ');
    }
    return false;
}

static bool zero_one(const struct inspect_column *c)
{
    return c->integers > 0 && c->integers == c->numbers && c->min >= -1 && c->max == 1 &&
           c->distinct == 2;
}

static bool one_to_five(const struct inspect_column *c)
{
    return c->integers == c->numbers && c->min == 1 && c->max == 5 && c->distinct == 5;
}

/* Whole seconds between 1985 and 2049. */
static bool unix_seconds(const struct inspect_column *c)
{
    return c->integers == c->numbers && c->min > 4.7e8 && c->max < 2.5e9;
}

/* By name first, then by the cells; labels are chosen once all columns are known. */
static void type_of(struct inspect_column *c, uint64_t rows, bool header)
{
    uint64_t filled = rows - c->missing;
    c->type = FIELD_ID;
    c->why = "";
    for (size_t i = 0; i < sizeof SEPS - 1; i++)
        if (c->with_sep[i] * 5 >= filled && filled > 0 && c->dates == 0) {
            c->type = FIELD_IDS;
            c->sep = SEPS[i];
            return;
        }
    bool numeric = filled > 0 && c->numbers == filled;
    bool timely = named(c, "time timestamp ts date datetime eventtime eventdate invoicedate "
                           "timeunix unixtime");
    timely |= !header && numeric && unix_seconds(c);
    if (filled > 0 && (c->dates == filled || (numeric && timely && c->min >= 1e8)))
        c->type = FIELD_TIME;
    else if (named(c, "user userid uid visitorid customerid reviewerid memberid"))
        c->type = FIELD_USER;
    else if (named(c, "item itemid iid movieid adid adgroupid productid asin stockcode goodsid"))
        c->type = FIELD_ITEM;
    else if (numeric && c->integers < c->numbers)
        c->type = FIELD_FLOAT;
    else if (numeric && c->distinct > 20 && named(c, "price cost amount quantity age duration"))
        c->type = FIELD_FLOAT;
    else if (filled == 0 || (c->distinct == rows && rows >= 100))
        c->type = FIELD_SKIP;
    if (c->type == FIELD_SKIP)
        c->why = filled == 0 ? "always missing" : "another value in every line";
}

static void choose_label(struct inspect *in)
{
    static const char *const WORDS[] = {"label click clk isclick clicked y target", "rating stars",
                                        "conversion purchase buy like"};
    struct inspect_column *label = NULL;
    for (size_t w = 0; label == NULL && w < 3; w++)
        for (size_t i = 0; label == NULL && i < in->columns_used; i++)
            if (named(&in->column[i], WORDS[w]) && in->column[i].numbers > 0)
                label = &in->column[i];
    for (size_t i = 0; label == NULL && i < in->columns_used; i++)
        if (zero_one(&in->column[i]) || (!in->header && one_to_five(&in->column[i])))
            label = &in->column[i];
    if (label == NULL)
        return;
    label->type = FIELD_LABEL;
    label->why = label->max > 1 ? "positive above data.label_above" : "";
    for (size_t i = 0; i < in->columns_used; i++)
        if (&in->column[i] != label && zero_one(&in->column[i]) &&
            named(&in->column[i], "click clk cart addtocart buy purchase conversion like order")) {
            in->column[i].type = FIELD_SKIP;
            in->column[i].why = "an outcome: it would give the label away";
        }
    /* One of each: the first stays. */
    for (int type = FIELD_TIME; type <= FIELD_ITEM; type++)
        for (size_t i = 0, n = 0; type != FIELD_LABEL && i < in->columns_used; i++)
            if (in->column[i].type == type && n++ > 0)
                in->column[i].type = type == FIELD_TIME ? FIELD_SKIP : FIELD_ID;
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
        if (number || cell_missing(a->at, a->n) || second == NULL || c >= second->cells_used)
            continue;
        const struct text_cell *b = &second->cell[c];
        words_over_numbers += number_parse(b->at, b->n, &v) == NULL;
    }
    return numbers == 0 || words_over_numbers > 0;
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
        take_names(in, &first);
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
            st = add_cell(&in->column[c], &distinct[c], rec.cell[c].at, rec.cell[c].n, err);
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
    if (in->rows == 0)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: no two lines look alike: not a log that penstock reads", in->path);
    if (in->bad > in->rows)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: %llu of %llu lines don't have the %zu columns of its first line (a "
                          "binary file? a title?): not a log that penstock reads",
                          in->path, (unsigned long long)in->bad,
                          (unsigned long long)(in->bad + in->rows), in->columns_used);
    return ST_OK;
}

enum status inspect_file(const char *path, struct inspect *out, struct errbuf *err)
{
    struct inspect in;
    memset(&in, 0, sizeof in);
    in.path = mem_strdup(path);
    enum status st = looks_libsvm(path, &in.libsvm, err);
    if (st == ST_OK && in.libsvm) {
        st = read_libsvm(&in, err);
    } else if (st == ST_OK) {
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
    for (size_t c = 0; c < in.columns_used; c++)
        type_of(&in.column[c], in.rows, in.header);
    choose_label(&in);
    *out = in;
    return ST_OK;
}

void inspect_release(struct inspect *i)
{
    for (size_t c = 0; c < i->columns_used; c++)
        free(i->column[c].name);
    free(i->column);
    free(i->path);
    memset(i, 0, sizeof *i);
}
