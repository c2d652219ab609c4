/* intake.h - one record of a log into a cache_writer: columns found, cells parsed, raw keys made.
 *
 * Returns NULL or why the record is bad (borrowed until the next call); the caller then undoes the row.
 * All policy about cells is here and in feature/: what is missing, what a number is, how long a bag may be.
 */
#ifndef PENSTOCK_COMMON_DATA_INTAKE_H
#define PENSTOCK_COMMON_DATA_INTAKE_H

#include "common/data/cache_writer.h"
#include "common/data/reader_libsvm.h"
#include "common/data/reader_text.h"
#include "common/feature/encode.h"

struct intake {
    const struct encoder *encoder; /* borrowed */
    bool time_needed;              /* a record without time is bad (split by time) */
    size_t *column;                /* (schema.fields_used) index of the cell; owned */
    size_t columns;                /* cells a record must have; 0 = the first record decides */
    float label;                   /* -- of the last record -- */
    int64_t time;
    char fault[192];
};

void intake_init(struct intake *in, const struct encoder *encoder, bool time_needed);
void intake_release(struct intake *in);
/* A new file begins. header: its first record, or NULL where files have none. ST_BAD_DATA names the
 * column that is not there. */
MUST_CHECK enum status intake_begin(struct intake *in, const struct text_record *header,
                                    const char *path, struct errbuf *err);
const char *intake_text(struct intake *in, const struct text_record *r, struct cache_writer *w);
const char *intake_libsvm(struct intake *in, const struct libsvm_record *r, struct cache_writer *w);

#endif
