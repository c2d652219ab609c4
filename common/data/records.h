/* records.h - one source as records, whatever its format: the switch between the readers and the intake.
 *
 * Three shapes: cells by place (delimited, criteo, recbole), pairs of numbers (libsvm), cells by name (the others). A
 * new format is a reader that gives one of the three, and a line in records.c's switch.
 */
#ifndef PENSTOCK_COMMON_DATA_RECORDS_H
#define PENSTOCK_COMMON_DATA_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/data/cache_writer.h"
#include "common/data/intake.h"

struct records; /* opaque */

struct record { /* borrowed until the next call */
    const char *raw;
    size_t raw_n;
    uint64_t line, offset;
};

/* Opens, and reads the header where there is one. job and intake are borrowed until close. */
MUST_CHECK enum status records_open(const struct job *job, const char *path, struct intake *intake,
                                    struct records **out, struct errbuf *err);
void records_close(struct records *r); /* NULL is fine */
/* ST_END behind the last record. A faulty one is a record, too: records_take says so. */
MUST_CHECK enum status records_next(struct records *r, struct record *out, struct errbuf *err);
/* The current record's user, trimmed; NULL: none. */
const char *records_user(const struct records *r, size_t *out_n);
/* The current record into w, for the caller to end or undo. NULL, or why it is bad. */
const char *records_take(struct records *r, struct cache_writer *w);
uint64_t records_in_bytes(const struct records *r);

#endif
