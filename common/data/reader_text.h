/* reader_text.h - delimited text as records of cells: any delimiter, quotes, line ends inside quotes.
 *
 * A cell that begins with the quote byte ends at the next single one; a doubled one inside stands for
 * itself; behind the closing one must come the delimiter or the line's end. A quote elsewhere in a cell is an
 * ordinary byte. Blank lines are no records. A record that can't be read comes with a fault and no
 * cells, and reading goes on behind its first line, so that one stray quote costs one line.
 */
#ifndef PENSTOCK_COMMON_DATA_READER_TEXT_H
#define PENSTOCK_COMMON_DATA_READER_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

#define TEXT_COLUMNS_MAX 65536u

struct reader_text; /* opaque */

struct text_cell {
    const char *at;
    size_t n;
};

struct text_record {              /* borrowed until the next call */
    const struct text_cell *cell; /* not trimmed */
    size_t cells_used;
    const char *raw; /* the record as it stands in the file, without its line end */
    size_t raw_n;
    uint64_t line;     /* from 1 */
    uint64_t offset;   /* bytes before it in the inflated text */
    const char *fault; /* NULL, or why it is no record */
};

/* delimiter: any text, not empty; quote: one byte or "" for none. */
MUST_CHECK enum status reader_text_open(const char *path, uint64_t bytes_max, const char *delimiter,
                                        const char *quote, struct reader_text **out,
                                        struct errbuf *err);
void reader_text_close(struct reader_text *r);
/* ST_END behind the last record. */
MUST_CHECK enum status reader_text_next(struct reader_text *r, struct text_record *out,
                                        struct errbuf *err);
/* The current record, which has no quotes, and all that follow, with another delimiter. */
void reader_text_recut(struct reader_text *r, const char *delimiter, struct text_record *io);
uint64_t reader_text_in_bytes(const struct reader_text *r);

#endif
