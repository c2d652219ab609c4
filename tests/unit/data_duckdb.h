/* data_duckdb.h - where DuckDB's library is on this host, for the tests that need it; they skip where it is not.
 *
 * $PENSTOCK_DUCKDB, the system's libduckdb.so, or the one inside an installed module of Python or Node.
 */
#ifndef TESTS_UNIT_DATA_DUCKDB_H
#define TESTS_UNIT_DATA_DUCKDB_H

#include <dlfcn.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline bool duckdb_named(void)
{
    static const char *const PLACES[] = {
        "node_modules/@duckdb/*/libduckdb.so",
        "/usr/lib/node_modules/@duckdb/*/libduckdb.so",
        "/usr/local/lib/node_modules/@duckdb/*/libduckdb.so",
        "/usr/lib/python3*/*-packages/duckdb/libduckdb.so",
        "/usr/local/lib/python3*/*-packages/duckdb/libduckdb.so",
    };
    if (getenv("PENSTOCK_DUCKDB") != NULL)
        return true;
    void *handle = dlopen("libduckdb.so", RTLD_LAZY);
    if (handle != NULL)
        return true;
    bool found = false;
    for (size_t i = 0; !found && i < sizeof PLACES / sizeof PLACES[0]; i++) {
        glob_t at;
        memset(&at, 0, sizeof at);
        found = glob(PLACES[i], 0, NULL, &at) == 0;
        if (found)
            setenv("PENSTOCK_DUCKDB", at.gl_pathv[0], 1);
        globfree(&at);
    }
    return found;
}

#define NEED_DUCKDB()                                                                              \
    do {                                                                                           \
        if (!duckdb_named()) {                                                                     \
            print_message("DuckDB's library is not on this host (PENSTOCK_DUCKDB names it)\n");    \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

#endif
