/* duckdb.c - see duckdb.h. */
#include "common/data/duckdb.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "common/base/options.h"

#define AT(member) offsetof(struct duckdb, member)

static const struct {
    const char *name;
    size_t at;
} functions[] = {
    {"duckdb_open", AT(open)},
    {"duckdb_close", AT(close)},
    {"duckdb_connect", AT(connect)},
    {"duckdb_disconnect", AT(disconnect)},
    {"duckdb_query", AT(query)},
    {"duckdb_prepare", AT(prepare)},
    {"duckdb_prepare_error", AT(prepare_error)},
    {"duckdb_destroy_prepare", AT(destroy_prepare)},
    {"duckdb_execute_prepared", AT(execute_prepared)},
    {"duckdb_result_error", AT(result_error)},
    {"duckdb_destroy_result", AT(destroy_result)},
    {"duckdb_column_count", AT(column_count)},
    {"duckdb_fetch_chunk", AT(fetch_chunk)},
    {"duckdb_destroy_data_chunk", AT(destroy_data_chunk)},
    {"duckdb_data_chunk_get_size", AT(data_chunk_get_size)},
    {"duckdb_data_chunk_get_vector", AT(data_chunk_get_vector)},
    {"duckdb_vector_get_data", AT(vector_get_data)},
    {"duckdb_vector_get_validity", AT(vector_get_validity)},
    {"duckdb_list_vector_get_child", AT(list_vector_get_child)},
};

/* A function is no object to C, but dlsym gives it as one: its bits are copied. */
static void put(struct duckdb *to, size_t at, void *function)
{
    memcpy((char *)to + at, &function, sizeof function);
}

static enum status load(const char *library, struct duckdb *out, struct errbuf *err)
{
    struct duckdb found;
    memset(&found, 0, sizeof found);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return errbuf_set(
            err, ST_NOT_FOUND,
            "Parquet and SQL need DuckDB's shared library, and it can't be loaded: %s; "
            "install libduckdb, or name its file in data.duckdb or $PENSTOCK_DUCKDB",
            dlerror());
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *function = dlsym(handle, functions[i].name);
        if (function == NULL) {
            dlclose(handle);
            return errbuf_set(
                err, ST_NOT_FOUND,
                "%s has no %s: not DuckDB's library with its C API, or one before 1.0", library,
                functions[i].name);
        }
        put(&found, functions[i].at, function);
    }
    /* Rows as they come instead of all at once, as long as the library has it. */
    put(&found, AT(execute_prepared_streaming), dlsym(handle, "duckdb_execute_prepared_streaming"));
    *out = found;
    return ST_OK;
}

enum status duckdb_load(const char *library, const struct duckdb **out, struct errbuf *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct duckdb loaded;
    const char *name =
        library != NULL && *library != '\0' ? library : option_env("PENSTOCK_DUCKDB");
    enum status st = ST_OK;
    pthread_mutex_lock(&lock);
    if (loaded.open == NULL)
        st = load(name != NULL ? name : "libduckdb.so", &loaded, err);
    pthread_mutex_unlock(&lock);
    if (st == ST_OK)
        *out = &loaded;
    return st;
}
