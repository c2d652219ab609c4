/* reader_query.c - see reader_query.h.
 *
 * Two statements a file: DESCRIBE says which columns the query has and of what type; from that comes
 *
 *   SELECT CAST("a" AS VARCHAR), CAST("tags" AS VARCHAR[]), ... FROM (query)
 *
 * so DuckDB reads only the columns that are wanted, and only two layouts of vectors are known here. Values are borrowed
 * from the chunk that holds them. The bytes of a record, for a split by them, are its cells with 0x1f between.
 */
#include "common/data/reader_query.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/duckdb.h"

struct selected {
    const char *name; /* borrowed from columns */
    size_t n;
    bool list;
};

struct reader_query {
    const struct duckdb *db;
    void *database, *connection, *statement, *chunk;
    struct duckdb_result result;
    bool running;
    char *path;              /* owned */
    struct columns *columns; /* borrowed */
    struct selected *selected;
    size_t selected_used;
    uint64_t row, rows; /* in the chunk */
    uint64_t number;    /* of records so far */
    struct buffer raw;
};

/* ---- texts of SQL ------------------------------------------------------------------------------- */

static void put_quoted(struct buffer *out, const char *text, size_t n, char quote)
{
    buffer_u8(out, (uint8_t)quote);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == quote)
            buffer_u8(out, (uint8_t)quote);
        buffer_u8(out, (uint8_t)text[i]);
    }
    buffer_u8(out, (uint8_t)quote);
}

/* A line end before the bracket: the query may end in a comment. */
static void put_query(struct buffer *out, const char *query, const char *path)
{
    size_t n = strlen(query);
    if (n == 0)
        query = "SELECT * FROM read_parquet(" QUERY_FILE ")", n = strlen(query);
    while (n > 0 && strchr(" \t\r\n;", query[n - 1]) != NULL)
        n--;
    buffer_printf(out, "(");
    for (const char *end = query + n; query < end;) {
        const char *file = memmem(query, (size_t)(end - query), QUERY_FILE, strlen(QUERY_FILE));
        buffer_put(out, query, (size_t)((file != NULL ? file : end) - query));
        query = file != NULL ? file + strlen(QUERY_FILE) : end;
        if (file != NULL)
            put_quoted(out, path, strlen(path), '\'');
    }
    buffer_printf(out, "\n) AS log");
}

/* Scalars as the text that the other formats have: 1 for true, microseconds where a zone is known. */
static const char *put_cast(struct buffer *out, const char *name, size_t n, const char *type)
{
    size_t type_n = strlen(type);
    bool list = type_n > 1 && type[type_n - 1] == ']';
    size_t opens = 0;
    for (const char *p = type; *p != 0; p++)
        opens += *p == '[';
    if (strncmp(type, "STRUCT", 6) == 0 || strncmp(type, "MAP", 3) == 0 ||
        strncmp(type, "UNION", 5) == 0 || opens > 1)
        return "can't be one cell or a list of them; take it apart in data.query";
    bool truth = strncmp(type, "BOOLEAN", 7) == 0,
         zone = strcmp(type, "TIMESTAMP WITH TIME ZONE") == 0;
    buffer_printf(out, "CAST(%s", truth ? "CAST(" : zone ? "epoch_us(" : "");
    put_quoted(out, name, n, '"');
    if (truth)
        buffer_printf(out, " AS TINYINT%s)", list ? "[]" : "");
    buffer_printf(out, "%s AS VARCHAR%s)", zone ? ")" : "", list ? "[]" : "");
    return NULL;
}

/* ---- running ------------------------------------------------------------------------------------ */

static enum status failed(const struct reader_query *r, const char *why, struct errbuf *err)
{
    /* DuckDB's own words may have several lines; the first says what it is. */
    why = why != NULL ? why : "no reason given";
    size_t n = strcspn(why, "\n");
    return errbuf_set(err, ST_BAD_DATA, "%s: the query failed: %.*s", r->path,
                      (int)(n < 600 ? n : 600), why);
}

static enum status connect_db(struct reader_query *r, struct errbuf *err)
{
    struct duckdb_result done;
    if (r->db->open(NULL, &r->database) != 0 || r->db->connect(r->database, &r->connection) != 0)
        return errbuf_set(err, ST_NO_MEMORY, "%s: DuckDB does not start", r->path);
    /* A conversion fetches nothing from anywhere. */
    r->db->query(r->connection, "SET autoinstall_known_extensions = false", &done);
    r->db->destroy_result(&done);
    return ST_OK;
}

static void end_statement(struct reader_query *r)
{
    if (r->chunk != NULL)
        r->db->destroy_data_chunk(&r->chunk);
    if (r->running)
        r->db->destroy_result(&r->result);
    if (r->statement != NULL)
        r->db->destroy_prepare(&r->statement);
    r->running = false;
    r->row = r->rows = 0;
}

static enum status run(struct reader_query *r, const char *sql, struct errbuf *err)
{
    const struct duckdb *db = r->db;
    end_statement(r);
    if (db->prepare(r->connection, sql, &r->statement) != 0)
        return failed(r, db->prepare_error(r->statement), err);
    r->running = true;
    int bad = db->execute_prepared_streaming != NULL
                  ? db->execute_prepared_streaming(r->statement, &r->result)
                  : db->execute_prepared(r->statement, &r->result);
    return bad != 0 ? failed(r, db->result_error(&r->result), err) : ST_OK;
}

/* The next row is r->row of r->chunk. */
static enum status step(struct reader_query *r, struct errbuf *err)
{
    r->row++;
    while (r->chunk == NULL || r->row >= r->rows) {
        if (r->chunk != NULL)
            r->db->destroy_data_chunk(&r->chunk);
        r->chunk = r->db->fetch_chunk(r->result);
        r->row = 0;
        if (r->chunk == NULL) {
            const char *why = r->db->result_error(&r->result);
            return why != NULL && *why != 0 ? failed(r, why, err) : ST_END;
        }
        r->rows = r->db->data_chunk_get_size(r->chunk);
        if (r->rows == 0)
            return ST_END;
    }
    return ST_OK;
}

static bool is_there(const struct reader_query *r, void *vector, uint64_t at)
{
    const uint64_t *valid = r->db->vector_get_validity(vector);
    return valid == NULL || (valid[at / 64] >> (at % 64) & 1) != 0;
}

static const char *text_of(const struct reader_query *r, void *vector, uint64_t at, size_t *out_n)
{
    const union duckdb_text *t = r->db->vector_get_data(vector);
    t += at;
    *out_n = t->near.n;
    return t->near.n <= sizeof t->near.at ? t->near.at : t->far.at;
}

/* ---- opening ------------------------------------------------------------------------------------ */

struct described {
    char **name, **type; /* owned */
    size_t used, cap, types_cap;
};

static void release_described(struct described *d)
{
    for (size_t i = 0; i < d->used; i++) {
        free(d->name[i]);
        free(d->type[i]);
    }
    free(d->name);
    free(d->type);
}

static char *copy_text(const struct reader_query *r, uint64_t column)
{
    void *vector = r->db->data_chunk_get_vector(r->chunk, column);
    size_t n = 0;
    const char *at = is_there(r, vector, r->row) ? text_of(r, vector, r->row, &n) : "";
    char *copy = mem_zalloc(n + 1);
    memcpy(copy, at, n);
    return copy;
}

static enum status describe(struct reader_query *r, const char *query, struct described *d,
                            struct errbuf *err)
{
    struct buffer sql = BUFFER_INIT;
    buffer_printf(&sql, "DESCRIBE SELECT * FROM ");
    put_query(&sql, query, r->path);
    enum status st = run(r, buffer_text(&sql), err);
    while (st == ST_OK && (st = step(r, err)) == ST_OK) {
        mem_grow(&d->name, &d->cap, d->used + 1, sizeof *d->name);
        mem_grow(&d->type, &d->types_cap, d->used + 1, sizeof *d->type);
        d->name[d->used] = copy_text(r, 0);
        d->type[d->used++] = copy_text(r, 1);
    }
    buffer_release(&sql);
    return st == ST_END ? ST_OK : st;
}

static enum status no_column(const struct reader_query *r, const char *name,
                             const struct described *d, struct errbuf *err)
{
    struct buffer names = BUFFER_INIT;
    for (size_t i = 0; i < d->used && names.used < 400; i++)
        buffer_printf(&names, "%s%.40s", i > 0 ? ", " : "", d->name[i]);
    enum status st = errbuf_set(err, ST_BAD_DATA, "%s: no column \"%s\"; the query has %zu: %s",
                                r->path, name, d->used, buffer_text(&names));
    buffer_release(&names);
    return st;
}

static bool chosen(const struct reader_query *r, const struct column *c)
{
    for (size_t i = 0; i < r->selected_used; i++)
        if (r->selected[i].n == c->name_n && memcmp(r->selected[i].name, c->name, c->name_n) == 0)
            return true;
    return c->name_n == 0;
}

static enum status select_columns(struct reader_query *r, const struct described *d,
                                  struct buffer *sql, struct errbuf *err)
{
    const struct columns *c = r->columns;
    r->selected = mem_array(c->used + 1, sizeof *r->selected);
    buffer_printf(sql, "SELECT ");
    for (size_t i = 0; i < c->used; i++) {
        const struct column *col = &c->column[i];
        size_t at = 0;
        if (chosen(r, col))
            continue;
        while (at < d->used && strcmp(d->name[at], col->name) != 0)
            at++;
        if (at == d->used)
            return no_column(r, col->name, d, err);
        buffer_printf(sql, "%s", r->selected_used > 0 ? ", " : "");
        const char *why = put_cast(sql, col->name, col->name_n, d->type[at]);
        if (why != NULL)
            return errbuf_set(err, ST_BAD_DATA, "%s: column %s is a %.60s, which %s", r->path,
                              col->name, d->type[at], why);
        size_t n = strlen(d->type[at]);
        r->selected[r->selected_used++] =
            (struct selected){col->name, col->name_n, n > 0 && d->type[at][n - 1] == ']'};
    }
    buffer_printf(sql, " FROM ");
    return ST_OK;
}

static enum status open_db(const char *library, const char *path, struct columns *columns,
                           struct reader_query **out, struct errbuf *err)
{
    const struct duckdb *db;
    enum status st = duckdb_load(library, &db, err);
    if (st != ST_OK)
        return errbuf_wrap(err, st, "%s: ", path);
    struct reader_query *r = mem_zalloc(sizeof *r);
    r->db = db;
    r->path = mem_strdup(path);
    r->columns = columns;
    *out = r;
    return connect_db(r, err);
}

enum status reader_query_open(const char *library, const char *query, const char *path,
                              struct columns *columns, struct reader_query **out,
                              struct errbuf *err)
{
    struct reader_query *r = NULL;
    struct described d = {NULL, NULL, 0, 0, 0};
    struct buffer sql = BUFFER_INIT;
    enum status st = open_db(library, path, columns, &r, err);
    if (st == ST_OK)
        st = describe(r, query, &d, err);
    if (st == ST_OK)
        st = select_columns(r, &d, &sql, err);
    if (st == ST_OK) {
        put_query(&sql, query, path);
        st = run(r, buffer_text(&sql), err);
    }
    buffer_release(&sql);
    release_described(&d);
    if (st == ST_OK)
        *out = r;
    else
        reader_query_close(r);
    return st;
}

enum status reader_query_describe(const char *library, const char *query, const char *path,
                                  struct buffer *out, struct errbuf *err)
{
    struct reader_query *r = NULL;
    struct described d = {NULL, NULL, 0, 0, 0};
    enum status st = open_db(library, path, NULL, &r, err);
    if (st == ST_OK)
        st = describe(r, query, &d, err);
    for (size_t i = 0; st == ST_OK && i < d.used; i++)
        buffer_printf(out, "%s\t%s\n", d.name[i], d.type[i]);
    release_described(&d);
    reader_query_close(r);
    return st;
}

void reader_query_close(struct reader_query *r)
{
    if (r == NULL)
        return;
    end_statement(r);
    if (r->connection != NULL)
        r->db->disconnect(&r->connection);
    if (r->database != NULL)
        r->db->close(&r->database);
    free(r->selected);
    free(r->path);
    buffer_release(&r->raw);
    free(r);
}

/* ---- rows --------------------------------------------------------------------------------------- */

static const char *give(struct reader_query *r, const struct selected *s, void *vector, uint64_t at)
{
    size_t n;
    if (!is_there(r, vector, at))
        return NULL;
    const char *text = text_of(r, vector, at, &n);
    struct given v = {.at = text, .n = n, .weight = 1, .list = s->list};
    buffer_put(&r->raw, text, n);
    buffer_u8(&r->raw, 0x1e);
    return columns_give(r->columns, s->name, s->n, &v);
}

static const char *take_row(struct reader_query *r)
{
    const char *fault = NULL;
    for (size_t i = 0; i < r->selected_used && fault == NULL; i++) {
        const struct selected *s = &r->selected[i];
        void *vector = r->db->data_chunk_get_vector(r->chunk, i);
        if (!s->list) {
            fault = give(r, s, vector, r->row);
        } else if (is_there(r, vector, r->row)) {
            const struct duckdb_list *list = r->db->vector_get_data(vector);
            void *child = r->db->list_vector_get_child(vector);
            columns_give_list(r->columns, s->name, s->n);
            for (uint64_t k = 0; k < list[r->row].n && fault == NULL; k++)
                fault = give(r, s, child, list[r->row].offset + k);
        }
        buffer_u8(&r->raw, 0x1f);
    }
    return fault;
}

enum status reader_query_next(struct reader_query *r, struct named_record *out, struct errbuf *err)
{
    enum status st = step(r, err);
    if (st != ST_OK)
        return st;
    columns_reset(r->columns);
    buffer_reset(&r->raw);
    const char *fault = take_row(r);
    if (fault != NULL)
        columns_reset(r->columns);
    columns_end(r->columns);
    r->number++;
    *out = (struct named_record){
        r->columns, (const char *)r->raw.data, r->raw.used, r->number, r->number - 1, fault};
    return ST_OK;
}
