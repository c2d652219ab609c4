/* columns.h - the values of one record whose cells have names: JSON, slots, libffm, tf.Example, SQL.
 *
 * A reader is told the columns that are wanted and gives each value it meets by name; all others cost one
 * search. A column may hold any number of values, kept in order. "name[3]" wants the fourth alone, so that thirteen
 * numbers under one name can be thirteen floats. Nothing is allocated per value after warm-up.
 */
#ifndef PENSTOCK_COMMON_DATA_COLUMNS_H
#define PENSTOCK_COMMON_DATA_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

#define COLUMNS_VALUES_MAX (4u << 20) /* of one record */

struct value {
    const char *at; /* borrowed: the reader's record, or text below; until the next record */
    size_t n;
    float weight;
    bool copied;   /* at is not set yet: offset in text */
    size_t offset; /* only where copied */
    uint32_t next; /* index + 1 of the column's next value; 0: the last */
};

struct given { /* what a reader says of a value */
    const char *at;
    size_t n;
    float weight; /* 1 where the format has none */
    bool list;    /* it stands in a list */
    bool copy;    /* the bytes don't outlive the call */
};

struct value_set {        /* of one column */
    uint32_t first, last; /* index + 1; 0: no value */
    uint32_t n;           /* values kept */
    uint64_t met;         /* values met, for [i] */
    bool list;            /* they came as a list: nothing is split further */
};

struct column {
    char *name; /* without [i]; owned */
    size_t name_n;
    bool one;
    uint64_t index; /* one: which */
};

struct columns {
    /* -- set once in init -- */
    struct column *column; /* (used); owned */
    size_t *order;         /* (used) by name; owned */
    size_t used;
    /* Told of every value, wanted or not: inspect. */
    void (*seen)(void *arg, const char *name, size_t n, const struct given *v);
    void *arg; /* borrowed */
    /* -- of the record -- */
    struct value_set *set; /* (used); owned */
    struct value *value;   /* owned */
    size_t values, values_cap;
    struct buffer text; /* values that don't stand in the record as they are */
};

struct named_record {              /* borrowed until the next call of its reader */
    const struct columns *columns; /* without values where faulty */
    const char *raw;               /* the record as it stands in the file */
    size_t raw_n;
    uint64_t line;     /* from 1; of formats without lines the record's number */
    uint64_t offset;   /* bytes before it in the inflated file */
    const char *fault; /* NULL, or why it is no record */
};

/* names: as a job has them. */
void columns_init(struct columns *c, const char *const *names, size_t used);
void columns_watch(struct columns *c,
                   void (*seen)(void *arg, const char *name, size_t n, const struct given *v),
                   void *arg);
void columns_release(struct columns *c);
void columns_reset(struct columns *c); /* before a record */
bool columns_want(const struct columns *c, const char *name, size_t n);

/* One value of the column `name`, if somebody wants it. NULL, or what is wrong (static). */
const char *columns_give(struct columns *c, const char *name, size_t n, const struct given *v);
/* A list under `name` is there, even if nothing is in it. */
void columns_give_list(struct columns *c, const char *name, size_t n);
/* The record is whole: copied values get their places. */
void columns_end(struct columns *c);
/* Values of column i in order: for (v = columns_first(..); v != NULL; v = columns_next(..)). */
const struct value *columns_first(const struct columns *c, size_t i);
const struct value *columns_next(const struct columns *c, const struct value *v);

#endif
