/* intake.h - one record of a log into a cache_writer: columns found, cells parsed, raw keys made.
 *
 * Returns NULL or why the record is bad (borrowed until the next call); the caller then undoes the row.
 * All policy about cells is here and in feature/: what is missing, what a number is, how long a bag may be.
 */
#ifndef PENSTOCK_COMMON_DATA_INTAKE_H
#define PENSTOCK_COMMON_DATA_INTAKE_H

#include "common/data/cache_writer.h"
#include "common/data/columns.h"
#include "common/data/joins.h"
#include "common/data/reader_libsvm.h"
#include "common/data/reader_text.h"
#include "common/feature/encode.h"

struct intake {
    const struct encoder *encoder; /* borrowed */
    bool time_needed;              /* a record without time is bad (split by time) */
    size_t *column;                /* (schema.fields_used) index of the cell; owned */
    struct joins *joins;           /* borrowed */
    size_t *from; /* (schema.fields_used) join whose cell it is, + 1; 0: the log's; owned */
    size_t *on;   /* (joins.used) index of the cell with the id; owned */
    const struct join_cell **row; /* (joins.used) of this record, NULL: none; owned */
    size_t columns;               /* cells a record must have; 0 = the first record decides */
    bool *met;                    /* (schema.fields_used) named: some record had it; owned */
    bool named;
    float label[JOB_TASKS_MAX]; /* (T) -- of the last record --; 0, 1 or LABEL_MISSING */
    int64_t time;
    uint64_t user; /* all of the id, hashed, whatever rows a model has for it; 0: none */
    char fault[224];
};

/* joins: loaded, borrowed until release. */
void intake_init(struct intake *in, const struct encoder *encoder, struct joins *joins,
                 bool time_needed);
void intake_release(struct intake *in);
/* A new file begins. header: its first record, or NULL where files have none. ST_BAD_DATA names the
 * column that is not there. */
MUST_CHECK enum status intake_begin(struct intake *in, const struct text_record *header,
                                    const char *path, struct errbuf *err);
/* As intake_begin, for records whose cells have names: columns are those of intake_columns. */
void intake_begin_named(struct intake *in);
/* ST_BAD_DATA when a column of named cells was in no record at all: a name that is misspelt. */
MUST_CHECK enum status intake_check_met(const struct intake *in, struct errbuf *err);
/* Columns to ask a reader for: of each field, then of each join. */
void intake_columns(const struct intake *in, struct columns *out);
/* The record's user, trimmed; NULL where it has none. Before it is taken, so that it can choose the part. */
const char *intake_user_text(const struct intake *in, const struct text_record *r, size_t *out_n);
const char *intake_user_named(const struct intake *in, const struct named_record *r, size_t *out_n);
/* What is not in columns of the record just taken, for cache_writer_row_end; its labels are borrowed until the next. */
struct cache_row intake_row(const struct intake *in, uint32_t source, uint64_t offset);
const char *intake_text(struct intake *in, const struct text_record *r, struct cache_writer *w);
const char *intake_named(struct intake *in, const struct named_record *r, struct cache_writer *w);
const char *intake_libsvm(struct intake *in, const struct libsvm_record *r, struct cache_writer *w);

#endif
