/* lines.h - a stream as lines in a window of memory: bounded, nothing allocated per line.
 *
 * Under both readers. A line ends with LF or CRLF or the end of the file; a byte order mark before the
 * first line is skipped. Longer lines than LINE_BYTES_MAX are skipped whole and reported as faulty, and
 * so are lines with NUL bytes. A reader whose quoted cell holds a line end asks for the next line behind this
 * one (lines_extend), and gives all but the first back if the quote never closes (lines_retract).
 */
#ifndef PENSTOCK_COMMON_DATA_LINES_H
#define PENSTOCK_COMMON_DATA_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

#ifdef PENSTOCK_FUZZ /* a window so small that a fuzzer's inputs reach over its end */
#define LINE_BYTES_MAX ((size_t)1 << 8)
#else
#define LINE_BYTES_MAX ((size_t)1 << 20)
#endif

struct lines;

struct line {
    const char *text; /* borrowed until the next call; no line end behind it, no 0 either */
    size_t n;
    uint64_t number;   /* from 1; of the first, where several were joined */
    uint64_t offset;   /* in the inflated text */
    const char *fault; /* NULL, or what is wrong; then text is empty */
};

MUST_CHECK enum status lines_open(const char *path, uint64_t bytes_max, struct lines **out,
                                  struct errbuf *err);
void lines_close(struct lines *l);
/* ST_END behind the last line; errors of the stream name the path. */
MUST_CHECK enum status lines_next(struct lines *l, struct line *out, struct errbuf *err);
/* Join the next line to io with the line end between them. *out_more false: there is none, or the
 * whole would be longer than LINE_BYTES_MAX; io is unchanged. */
MUST_CHECK enum status lines_extend(struct lines *l, struct line *io, bool *out_more,
                                    struct errbuf *err);
/* io is its first line again; the joined ones will be read anew. */
void lines_retract(struct lines *l, struct line *io);
uint64_t lines_in_bytes(const struct lines *l); /* compressed bytes consumed: for progress */

#endif
