/* schema.h - what the columns of a log are: the order of id fields and floats that models see.
 *
 * Made from a job's data.fields, or read back from an encoder file (encode.h), so that a serving node
 * needs no job. Id kinds (id, ids, user, item) take the slots 0 .. F-1 in the order of the job, floats
 * 0 .. D-1. Fields of one vocab share rows, so they must agree in what decides a key.
 */
#ifndef PENSTOCK_COMMON_FEATURE_SCHEMA_H
#define PENSTOCK_COMMON_FEATURE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/job_task.h"

#define SCHEMA_NONE         ((size_t)-1)
#define SCHEMA_FIELDS_MAX   4096u
#define SCHEMA_LIBSVM_FIELD "features" /* the one bag of a libsvm log */

struct schema_field {
    char *name;   /* owned */
    char *column; /* owned: header name or number from 0 */
    int type;     /* enum field_type */
    char *sep;    /* owned: between the ids of a bag */
    uint64_t hash, min_count, ids_max;
    int norm;     /* enum field_norm */
    size_t vocab; /* id kinds: index in vocab[]; else SCHEMA_NONE */
    size_t slot;  /* id kinds: 0 .. F-1; floats: 0 .. D-1; labels: 0 .. T-1; else SCHEMA_NONE */
    /* -- from a job only (schema_derive): a server is given the bag as it is -- */
    bool derived;  /* no column: the user's earlier ids of field `of` */
    bool positive; /* only those of positive records */
    size_t of;     /* index in field */
};

struct schema {
    bool libsvm;                /* one bag of numeric ids, each with a weight */
    bool weighted;              /* ids have weights: libsvm, libffm */
    bool sequences;             /* three bags of items, no label: schema_init */
    bool ragged;                /* some id field is a bag, so a record's keys vary in number */
    struct schema_field *field; /* owned; in the job's order, skipped columns left out */
    size_t fields_used;
    size_t *ids;                    /* (F) indices in field; owned */
    size_t ids_used;                /* F */
    size_t *floats;                 /* (D) indices in field; owned */
    size_t floats_used;             /* D */
    size_t label, time, user, item; /* indices in field or SCHEMA_NONE; label: the first */
    size_t labels_used;             /* T; 0 of sequences */
    char **vocab;                   /* names; owned */
    size_t vocabs_used;
    char **missing;    /* cells that mean missing; owned */
    size_t *missing_n; /* their lengths; owned */
    size_t missing_used;
    size_t missing_max; /* length of the longest */
    double label_above;
};

/* What a record is. With data.records=sequences it has three bags of the item's vocab, whatever the columns of the log:
 * what one is predicted from, the target, and what was still before. ST_USAGE names the field that does not fit. */
MUST_CHECK enum status schema_init(struct schema *s, const struct job *job, struct errbuf *err);
#define SCHEMA_SEQUENCE_FIELDS 3u
/* What a line is, when records are sequences of lines: one user, one item, perhaps a time. */
MUST_CHECK enum status schema_init_events(struct schema *s, const struct job *job,
                                          struct errbuf *err);
/* Which fields are histories, and of what: what a schema that was read back does not know. Done by schema_init. */
MUST_CHECK enum status schema_derive(struct schema *s, const struct job *job, struct errbuf *err);
bool schema_derives(const struct schema *s); /* some field is a history */
void schema_release(struct schema *s);
bool schema_is_id(int field_type);
const char *schema_type_name(int field_type);
/* The trimmed cell means "no value". */
bool schema_missing(const struct schema *s, const char *cell, size_t n);
/* xxh3 over all of data.* that decides what a cache holds, but not over paths and bad_max. */
uint64_t schema_hash(const struct schema *s, const struct job *job);

/* The encoder file's part (byte table: README.md). Read checks everything and leaves s untouched on
 * error: ST_BAD_DATA. */
void schema_write(const struct schema *s, struct buffer *out);
MUST_CHECK enum status schema_read(struct schema *s, struct reader *in, struct errbuf *err);

#endif
