/* option.h - one option: a row of a table, and its value, from a YAML node or a text into its slot and back.
 *
 * A row says where the value lives in a plain struct, what it may be, and what it is for; options.h works
 * on whole tables of rows. Texts of errors here say what was found and what is allowed; options.c puts the
 * place and the key before them.
 */
#ifndef PENSTOCK_COMMON_BASE_OPTION_H
#define PENSTOCK_COMMON_BASE_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/yaml.h"

enum option_type {
    OPT_BOOL,   /* bool */
    OPT_U64,    /* uint64_t */
    OPT_F64,    /* double */
    OPT_BYTES,  /* uint64_t, bytes */
    OPT_TIME,   /* uint64_t, microseconds */
    OPT_TEXT,   /* char *, owned */
    OPT_PATH,   /* char *, owned; relative to data.root or the job file, resolved after loading */
    OPT_CHOICE, /* int, index into choices */
    OPT_TEXTS,  /* struct texts: one text or a list */
    OPT_PATHS,  /* struct texts of paths or globs */
    OPT_U64S    /* struct u64s: one number or a list */
};

struct texts {
    char **item; /* owned */
    size_t used;
};
struct u64s {
    uint64_t *item; /* owned */
    size_t used;
};

enum { OPTION_RESUME_FREE = 1 /* --resume may change it */ };

struct option {
    const char *path; /* "train.batch"; of list items "name" (the list's own table) */
    enum option_type type;
    size_t offset;       /* in the struct it fills */
    double min, max;     /* inclusive; items of lists too; both 0 = unbounded */
    const char *def;     /* as it would be written in a job; NULL = required, "" = empty */
    const char *choices; /* "a|b|c" for OPT_CHOICE, else NULL */
    const char *applies; /* "model.family=mlp|dcnv2" or NULL */
    unsigned flags;
    const char *help; /* one line */
};

/* Replace the value in slot by what node says. *out_at: the node to blame on failure (an item of a list). */
MUST_CHECK enum status option_load(const struct option *row, const struct yaml_node *node,
                                   void *slot, const struct yaml_node **out_at, struct errbuf *err);
/* As it would be written in a job, so that loading it gives the same value to the bit. */
void option_put(const struct option *row, const void *slot, struct buffer *out);
/* Free what the slot owns and zero it. */
void option_release(const struct option *row, void *slot);
/* "1 to 16M", "lr, fm, mlp, dcnv2", "any text": for errors and help. */
void option_put_allowed(const struct option *row, struct buffer *out);
/* "count", "bytes", "time" ...: for help. */
const char *option_type_name(enum option_type type);

/* Parse one number with units, for command lines: ST_USAGE names what. */
MUST_CHECK enum status option_parse_u64(const char *text, const char *what, uint64_t min,
                                        uint64_t max, uint64_t *out, struct errbuf *err);

#endif
