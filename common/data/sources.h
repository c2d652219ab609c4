/* sources.h - the files that data.train, data.valid, data.test and data.join name, and how to tell that one changed.
 *
 * Each entry of a list is a path, a glob, a folder (its files; hidden ones and those that begin with _ are
 * left out), all sorted; or "-", standard input, which is never the same twice. What is no readable, non-empty
 * regular file is an error that names key and path: ST_BAD_DATA.
 */
#ifndef PENSTOCK_COMMON_DATA_SOURCES_H
#define PENSTOCK_COMMON_DATA_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/options.h"

#define SOURCE_STDIN "-"
enum { SOURCE_JOIN = 3 /* behind enum part */ };

struct source {
    char *path;    /* owned */
    uint32_t list; /* enum part, or SOURCE_JOIN: which list of the job named it */
    uint64_t bytes, mtime_ns, inode;
};

struct sources {
    struct source *item; /* owned */
    size_t used, cap;
};

void sources_release(struct sources *s);
/* Append the files of one list; key is "data.train". On error s keeps what it had before. */
MUST_CHECK enum status sources_add(struct sources *s, const struct texts *patterns, uint32_t list,
                                   const char *key, struct errbuf *err);
/* What is read without a file (a query): never the same twice. */
void sources_add_live(struct sources *s, const char *name, uint32_t list);
bool sources_equal(const struct sources *a, const struct sources *b);
void sources_write(const struct sources *s, struct buffer *out);
/* n of them; sets in->bad if they don't fit. */
void sources_read(struct sources *s, size_t n, struct reader *in);

#endif
