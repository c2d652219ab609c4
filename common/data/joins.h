/* joins.h - side files held in memory: a user's and an item's profile, found by the id that a log names.
 *
 * data.join names the files; a field of the job whose column stands in one is taken from there. Only such columns
 * are kept. An id that stands twice is an error, for then the log would depend on the order of lines; an id of the
 * log that no side file has gets missing cells and is counted. Bad lines of a side file go to the quarantine, and
 * too many of them (data.bad_max) end the conversion.
 */
#ifndef PENSTOCK_COMMON_DATA_JOINS_H
#define PENSTOCK_COMMON_DATA_JOINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/data/quarantine.h"
#include "common/data/sources.h"
#include "common/feature/schema.h"

#define JOINS_ROWS_MAX (1u << 30)

struct join_cell {
    uint64_t at; /* in text */
    uint32_t n;
};

struct join {
    const struct job_join *spec; /* borrowed from the job */
    size_t from, to;             /* its files in the sources */
    char **name;                 /* (columns) those kept; owned */
    size_t columns;
    struct buffer text;     /* ids and cells */
    struct join_cell *cell; /* (rows, 1 + columns): the id, then the cells; owned */
    size_t cells, cells_cap;
    uint64_t *hash; /* (rows) of the ids; owned */
    uint64_t *line; /* (rows) where they stand; owned */
    size_t rows, hashes_cap, lines_cap;
    uint32_t *slot;            /* (slots) row + 1, 0 = free; owned */
    size_t slots;              /* a power of two */
    uint64_t asked, not_there; /* lookups */
};

struct joins {
    struct join *item; /* owned */
    size_t used;
};

/* Files of data.join behind those of the log. */
MUST_CHECK enum status joins_sources(struct joins *js, const struct job *job,
                                     struct sources *sources, struct errbuf *err);
/* Read them. schema: whose columns are kept. */
MUST_CHECK enum status joins_load(struct joins *js, const struct job *job,
                                  const struct schema *schema, const struct sources *sources,
                                  struct quarantine *q, struct errbuf *err);
void joins_release(struct joins *js);
/* Whether a column comes from a side file, and which. */
bool joins_find(const struct joins *js, const char *column, size_t *out_join, size_t *out_column);
/* The row of an id (trimmed), or NULL; counts. */
const struct join_cell *join_row(struct join *j, const char *id, size_t n);
const char *join_text(const struct join *j, const struct join_cell *row, size_t column,
                      size_t *out_n);

#endif
