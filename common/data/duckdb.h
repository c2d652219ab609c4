/* duckdb.h - the few functions of DuckDB's C API that a query needs, found in its library at run time.
 *
 * Declared by ourselves after the API's documentation (stable since DuckDB 1.0), so that neither building nor
 * running Penstock asks for DuckDB. Handles are opaque pointers; a result is passed by value where the API does so.
 * Threads: any; the table is filled once and never given back, for DuckDB may have threads in it.
 */
#ifndef PENSTOCK_COMMON_DATA_DUCKDB_H
#define PENSTOCK_COMMON_DATA_DUCKDB_H

#include <stdint.h>

#include "common/base/errbuf.h"

struct duckdb_result {
    uint64_t deprecated[3];
    void *deprecated_columns;
    char *deprecated_error;
    void *internal;
};

union duckdb_text { /* a VARCHAR in a vector */
    struct {        /* more than 12 bytes */
        uint32_t n;
        char prefix[4];
        const char *at;
    } far;
    struct {
        uint32_t n;
        char at[12];
    } near;
};

struct duckdb_list { /* a list in a vector: places in its child */
    uint64_t offset, n;
};

struct duckdb { /* 0 is success of what returns int */
    int (*open)(const char *path, void **out_database);
    void (*close)(void **database);
    int (*connect)(void *database, void **out_connection);
    void (*disconnect)(void **connection);
    int (*query)(void *connection, const char *sql, struct duckdb_result *out);
    int (*prepare)(void *connection, const char *sql, void **out_statement);
    const char *(*prepare_error)(void *statement);
    void (*destroy_prepare)(void **statement);
    int (*execute_prepared)(void *statement, struct duckdb_result *out);
    int (*execute_prepared_streaming)(void *statement, struct duckdb_result *out); /* or NULL */
    const char *(*result_error)(struct duckdb_result *result);
    void (*destroy_result)(struct duckdb_result *result);
    uint64_t (*column_count)(struct duckdb_result *result);
    void *(*fetch_chunk)(struct duckdb_result result);
    void (*destroy_data_chunk)(void **chunk);
    uint64_t (*data_chunk_get_size)(void *chunk);
    void *(*data_chunk_get_vector)(void *chunk, uint64_t column);
    void *(*vector_get_data)(void *vector);
    uint64_t *(*vector_get_validity)(void *vector); /* NULL: all are there */
    void *(*list_vector_get_child)(void *vector);
};

/* library: path or name; "" looks at $PENSTOCK_DUCKDB, then for libduckdb.so. ST_NOT_FOUND says what to do. */
MUST_CHECK enum status duckdb_load(const char *library, const struct duckdb **out,
                                   struct errbuf *err);

#endif
