/* inspect.h - guess what an unknown log is: format, delimiter, header, columns and their types.
 *
 * Looks at the first rows of a file and says what they suggest, with counts to judge the guess by, and a
 * job skeleton that reads the file as guessed. A guess is where a person starts; nothing else uses it.
 */
#ifndef PENSTOCK_COMMON_DATA_INSPECT_H
#define PENSTOCK_COMMON_DATA_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"

#define INSPECT_EXAMPLES  3
#define INSPECT_ROWS      20000u
#define INSPECT_DENSE_MAX 64u /* longer lists of numbers are not made a float each */

enum inspect_said { SAID_NOTHING, SAID_TOKEN, SAID_FLOAT, SAID_TOKEN_SEQ, SAID_FLOAT_SEQ };

struct inspect_column {
    char *name;        /* owned; "c0" ... without a header */
    int type;          /* enum field_type */
    const char *why;   /* static: a remark, or "" */
    uint64_t distinct; /* in the sample; bags: of whole cells */
    uint64_t missing, numbers, integers, times, dates;
    double min, max;            /* of the numbers */
    uint64_t with_sep[4];       /* cells that hold '|', '^', ';', ' ' */
    char sep;                   /* of type ids */
    uint64_t with, lists, most; /* named: records with it, with a list of it, longest list */
    int said;                   /* recbole: enum inspect_said of the header */
    char example[INSPECT_EXAMPLES][32];
    size_t examples_used;
};

struct inspect {
    char *path;  /* owned */
    int format;  /* enum job_format */
    bool libsvm; /* format is */
    bool slot_last;
    char *note;            /* why no row could be looked at, or NULL; owned */
    const char *delimiter; /* static */
    bool header;
    bool whole;                    /* the sample is the whole file */
    uint64_t rows, bad;            /* of the sample, without the header */
    uint64_t columns_other;        /* rows with another number of columns than most */
    struct inspect_column *column; /* owned */
    size_t columns_used;
    uint64_t id_min, id_max, ids; /* libsvm: of the ids, and how many there were */
    uint64_t positives;           /* libsvm: labels above .5 */
};

/* ST_BAD_DATA names the path when there is nothing to guess from. */
MUST_CHECK enum status inspect_file(const char *path, struct inspect *out, struct errbuf *err);
void inspect_release(struct inspect *i);
const char *inspect_format_name(int format); /* as data.format has it */
/* A table for people, and a job skeleton (YAML). */
void inspect_text(const struct inspect *i, struct buffer *out);
void inspect_job(const struct inspect *i, struct buffer *out);

#endif
