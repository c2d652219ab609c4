/* reader_query.h - rows of a SELECT as records: Parquet and SQL, through DuckDB's library where it is installed.
 *
 * The library is loaded at run time (dlopen) and only when a job asks for it; duckdb.h of its C API is not needed:
 * duckdb.c declares the few functions it calls. Every wanted column is cast to text in the query itself, a list to
 * a list of texts, so its rows are cells as those of a text log are; a time without a zone is UTC.
 */
#ifndef PENSTOCK_COMMON_DATA_READER_QUERY_H
#define PENSTOCK_COMMON_DATA_READER_QUERY_H

#include "common/base/errbuf.h"
#include "common/data/columns.h"

#define QUERY_FILE "{file}" /* in a query: the path, quoted as SQL quotes texts */

struct reader_query; /* opaque */

/* library: path or name, "" to look for it. query: "" reads path as Parquet. columns: borrowed until close; those
 * that the query lacks are ST_BAD_DATA, with the names of those it has. */
MUST_CHECK enum status reader_query_open(const char *library, const char *query, const char *path,
                                         struct columns *columns, struct reader_query **out,
                                         struct errbuf *err);
void reader_query_close(struct reader_query *r); /* NULL is fine */
/* ST_END behind the last row. */
MUST_CHECK enum status reader_query_next(struct reader_query *r, struct named_record *out,
                                         struct errbuf *err);
/* Columns and their SQL types as "name\ttype\n" lines, for inspect. */
MUST_CHECK enum status reader_query_describe(const char *library, const char *query,
                                             const char *path, struct buffer *out,
                                             struct errbuf *err);

#endif
