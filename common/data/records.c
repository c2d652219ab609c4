/* records.c - see records.h. */
#include "common/data/records.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/reader_json.h"
#include "common/data/reader_libsvm.h"
#include "common/data/reader_pairs.h"
#include "common/data/reader_query.h"
#include "common/data/reader_text.h"
#include "common/data/reader_tfrecord.h"
#include "common/feature/number.h"

enum { CRITEO_COLUMNS = 40 };

struct records {
    const struct job *job;
    struct intake *intake;
    const char *path;
    struct reader_text *text; /* one of these is open */
    struct reader_libsvm *libsvm;
    struct reader_json *json;
    struct reader_pairs *pairs;
    struct reader_tfrecord *tfrecord;
    struct reader_query *query;
    struct columns columns;
    struct text_record text_record;
    struct libsvm_record libsvm_record;
    struct named_record named_record;
    bool again; /* the first record was looked at and is to be given, too */
};

/* ---- headers ------------------------------------------------------------------------------------ */

static enum status begin_with_header(struct records *r, struct errbuf *err)
{
    enum status st = reader_text_next(r->text, &r->text_record, err);
    if (st == ST_END)
        return errbuf_set(err, ST_BAD_DATA, "%s: no line in it, not even a header", r->path);
    return st != ST_OK ? st : intake_begin(r->intake, &r->text_record, r->path, err);
}

/* name:type, of which the job needs the name. */
static enum status begin_recbole(struct records *r, struct errbuf *err)
{
    enum status st = reader_text_next(r->text, &r->text_record, err);
    if (st == ST_END)
        return errbuf_set(err, ST_BAD_DATA, "%s: no line in it, not even a header", r->path);
    if (st != ST_OK)
        return st;
    struct text_record header = r->text_record;
    struct text_cell *cell = mem_array(header.cells_used + 1, sizeof *cell);
    for (size_t c = 0; c < header.cells_used; c++) {
        cell[c] = header.cell[c];
        const char *type = memrchr(cell[c].at, ':', cell[c].n);
        if (type != NULL)
            cell[c].n = (size_t)(type - cell[c].at);
    }
    header.cell = cell;
    st = intake_begin(r->intake, &header, r->path, err);
    free(cell);
    return st;
}

/* Tabs without a header as it was published, commas with one as it is often passed on. */
static enum status begin_criteo(struct records *r, struct errbuf *err)
{
    char names[CRITEO_COLUMNS][16];
    struct text_cell cell[CRITEO_COLUMNS];
    double label;
    enum status st = reader_text_next(r->text, &r->text_record, err);
    if (st == ST_END)
        return errbuf_set(err, ST_BAD_DATA, "%s: no line in it", r->path);
    if (st != ST_OK)
        return st;
    struct text_record *first = &r->text_record;
    if (first->fault == NULL && first->cells_used == 1 &&
        memchr(first->raw, ',', first->raw_n) != NULL)
        reader_text_recut(r->text, ",", first);
    bool numbered = first->fault == NULL && first->cells_used > 0 &&
                    number_parse(first->cell[0].at, first->cell[0].n, &label) == NULL;
    if (!numbered && first->fault == NULL)
        return intake_begin(r->intake, first, r->path, err);
    for (int c = 0; c < CRITEO_COLUMNS; c++) {
        if (c == 0)
            strcpy(names[c], "label");
        else
            snprintf(names[c], sizeof names[c], "%c%d", c <= 13 ? 'I' : 'C', c <= 13 ? c : c - 13);
        cell[c] = (struct text_cell){names[c], strlen(names[c])};
    }
    struct text_record header = {.cell = cell, .cells_used = CRITEO_COLUMNS};
    r->again = true;
    return intake_begin(r->intake, &header, r->path, err);
}

/* ---- opening ------------------------------------------------------------------------------------ */

static enum status open_text(struct records *r, struct errbuf *err)
{
    const struct job *job = r->job;
    bool delimited = job->data.format == JOB_DELIMITED;
    const char *quote = delimited && job->data.quote != NULL ? job->data.quote : "";
    enum status st = reader_text_open(r->path, job->data.bytes_max,
                                      delimited ? job->data.delimiter : "\t", quote, &r->text, err);
    if (st != ST_OK)
        return st;
    if (job->data.format == JOB_CRITEO)
        return begin_criteo(r, err);
    if (job->data.format == JOB_RECBOLE)
        return begin_recbole(r, err);
    return job->data.header ? begin_with_header(r, err)
                            : intake_begin(r->intake, NULL, r->path, err);
}

static enum status open_named(struct records *r, struct errbuf *err)
{
    const struct job *job = r->job;
    uint64_t max = job->data.bytes_max;
    intake_begin_named(r->intake);
    intake_columns(r->intake, &r->columns);
    switch (job->data.format) {
    case JOB_LIBFFM:
        return reader_pairs_open(r->path, max, PAIRS_LIBFFM, &r->columns, &r->pairs, err);
    case JOB_SLOTS:
        return reader_pairs_open(r->path, max,
                                 job->data.slot_last ? PAIRS_SLOT_LAST : PAIRS_SLOT_FIRST,
                                 &r->columns, &r->pairs, err);
    case JOB_JSON: return reader_json_open(r->path, max, &r->columns, &r->json, err);
    case JOB_TFRECORD: return reader_tfrecord_open(r->path, max, &r->columns, &r->tfrecord, err);
    default:
        return reader_query_open(job->data.duckdb, job->data.query, r->path, &r->columns, &r->query,
                                 err);
    }
}

enum status records_open(const struct job *job, const char *path, struct intake *intake,
                         struct records **out, struct errbuf *err)
{
    struct records *r = mem_zalloc(sizeof *r);
    r->job = job;
    r->intake = intake;
    r->path = path;
    enum status st;
    /* The schema says what the records are: of a saved encoder, when other files are judged with it. */
    if (intake->encoder->schema.libsvm)
        st = reader_libsvm_open(path, job->data.bytes_max, &r->libsvm, err);
    else if (job->data.format >= JOB_LIBFFM)
        st = open_named(r, err);
    else
        st = open_text(r, err);
    if (st != ST_OK) {
        records_close(r);
        return st;
    }
    *out = r;
    return ST_OK;
}

void records_close(struct records *r)
{
    if (r == NULL)
        return;
    reader_text_close(r->text);
    reader_libsvm_close(r->libsvm);
    reader_json_close(r->json);
    reader_pairs_close(r->pairs);
    reader_tfrecord_close(r->tfrecord);
    reader_query_close(r->query);
    columns_release(&r->columns);
    free(r);
}

/* ---- records ------------------------------------------------------------------------------------ */

static enum status next_named(struct records *r, struct errbuf *err)
{
    if (r->json != NULL)
        return reader_json_next(r->json, &r->named_record, err);
    if (r->pairs != NULL)
        return reader_pairs_next(r->pairs, &r->named_record, err);
    if (r->tfrecord != NULL)
        return reader_tfrecord_next(r->tfrecord, &r->named_record, err);
    return reader_query_next(r->query, &r->named_record, err);
}

enum status records_next(struct records *r, struct record *out, struct errbuf *err)
{
    enum status st = ST_OK;
    if (r->text != NULL) {
        const struct text_record *t = &r->text_record;
        if (!r->again)
            st = reader_text_next(r->text, &r->text_record, err);
        r->again = false;
        if (st == ST_OK)
            *out = (struct record){t->raw, t->raw_n, t->line, t->offset};
    } else if (r->libsvm != NULL) {
        const struct libsvm_record *l = &r->libsvm_record;
        st = reader_libsvm_next(r->libsvm, &r->libsvm_record, err);
        if (st == ST_OK)
            *out = (struct record){l->raw, l->raw_n, l->line, l->offset};
    } else {
        const struct named_record *n = &r->named_record;
        st = next_named(r, err);
        if (st == ST_OK)
            *out = (struct record){n->raw, n->raw_n, n->line, n->offset};
    }
    return st;
}

const char *records_user(const struct records *r, size_t *out_n)
{
    if (r->text != NULL)
        return intake_user_text(r->intake, &r->text_record, out_n);
    return r->libsvm != NULL ? NULL : intake_user_named(r->intake, &r->named_record, out_n);
}

const char *records_take(struct records *r, struct cache_writer *w)
{
    if (r->text != NULL)
        return intake_text(r->intake, &r->text_record, w);
    if (r->libsvm != NULL)
        return intake_libsvm(r->intake, &r->libsvm_record, w);
    return intake_named(r->intake, &r->named_record, w);
}

uint64_t records_in_bytes(const struct records *r)
{
    if (r->text != NULL)
        return reader_text_in_bytes(r->text);
    if (r->libsvm != NULL)
        return reader_libsvm_in_bytes(r->libsvm);
    if (r->json != NULL)
        return reader_json_in_bytes(r->json);
    if (r->pairs != NULL)
        return reader_pairs_in_bytes(r->pairs);
    return r->tfrecord != NULL ? reader_tfrecord_in_bytes(r->tfrecord) : 0;
}
