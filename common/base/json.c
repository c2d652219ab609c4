/* json.c - JSON values; the only door to jansson.h.
 *
 * What jansson leaves to its callers is decided here once: depth is counted before it parses (its own
 * bound, 2048, is compiled in), duplicate keys are refused, u64 beyond 2^63-1 become decimal strings, a
 * string that is not UTF-8 (a file name may be anything) is written with '?' for the bad bytes instead of
 * failing, non-finite numbers become null, and memory that runs out ends the process as mem.c does.
 *
 * struct json is jansson's json_t under our name: it is never defined, only cast. jansson exports
 * json_object and json_array itself; inside this file those names in parentheses are jansson's.
 */
#include <jansson.h>

#include "common/base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"

enum { DEPTH_MAX = 64 };

static json_t *in(const struct json *j)
{
    return (json_t *)(uintptr_t)j; /* jansson's getters are const in spirit, not in type */
}

static json_t *need(json_t *made)
{
    if (made == NULL) {
        fprintf(stderr, "out of memory: a JSON value\n");
        abort();
    }
    return made;
}

struct json *json_new_object(void)
{
    return (struct json *)need((json_object)());
}

struct json *json_new_array(void)
{
    return (struct json *)need((json_array)());
}

struct json *json_clone(const struct json *j)
{
    return (struct json *)need(json_deep_copy(in(j)));
}

void json_free(struct json *j)
{
    json_decref(in(j));
}

/* Brackets outside strings, counted; what is no JSON at all is left to the parser to refuse. */
static bool too_deep(const char *text, size_t n)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > DEPTH_MAX)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

enum status json_parse(const char *text, size_t n, const char *name, struct json **out,
                       struct errbuf *err)
{
    if (too_deep(text, n))
        return errbuf_set(err, ST_BAD_DATA, "%s: JSON nested deeper than %d", name, DEPTH_MAX);
    json_error_t why;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL)
        return errbuf_set(err, ST_BAD_DATA, "%s:%d:%d: %s", name, why.line, why.column, why.text);
    *out = (struct json *)root;
    return ST_OK;
}

enum status json_read(const char *path, size_t max, struct json **out, struct errbuf *err)
{
    char *text;
    size_t n;
    enum status st = file_read(path, max, &text, &n, err);
    if (st != ST_OK)
        return st;
    st = json_parse(text, n, path, out, err);
    free(text);
    return st;
}

/* -- making values -- */

static json_t *make_str(const char *v)
{
    if (v == NULL)
        return json_null();
    json_t *made = json_string(v);
    if (made != NULL)
        return made;
    char *clean = mem_strdup(v);
    for (size_t i = 0; clean[i] != '\0';) {
        size_t n = utf8_next(clean + i, NULL);
        if (n == 0)
            clean[i] = '?';
        i += n == 0 ? 1 : n;
    }
    made = need(json_string(clean));
    free(clean);
    return made;
}

static json_t *make_u64(uint64_t v)
{
    if (v <= INT64_MAX)
        return need(json_integer((json_int_t)v));
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, v);
    return need(json_string(text));
}

static json_t *make_f64(double v)
{
    return isfinite(v) ? need(json_real(v)) : json_null();
}

static void set(struct json *obj, const char *key, json_t *v)
{
    int failed = json_object_set_new(in(obj), key, v);
    assert(!failed && "obj is an object, key is UTF-8");
    (void)failed;
}

static void add(struct json *arr, json_t *v)
{
    int failed = json_array_append_new(in(arr), v);
    assert(!failed && "arr is an array");
    (void)failed;
}

void json_set_str(struct json *obj, const char *key, const char *v)
{
    set(obj, key, make_str(v));
}

void json_set_u64(struct json *obj, const char *key, uint64_t v)
{
    set(obj, key, make_u64(v));
}

void json_set_f64(struct json *obj, const char *key, double v)
{
    set(obj, key, make_f64(v));
}

void json_set_bool(struct json *obj, const char *key, bool v)
{
    set(obj, key, json_boolean(v));
}

void json_set_null(struct json *obj, const char *key)
{
    set(obj, key, json_null());
}

void json_set(struct json *obj, const char *key, struct json *child)
{
    set(obj, key, in(child));
}

void json_add(struct json *arr, struct json *child)
{
    add(arr, in(child));
}

void json_add_str(struct json *arr, const char *v)
{
    add(arr, make_str(v));
}

void json_add_u64(struct json *arr, uint64_t v)
{
    add(arr, make_u64(v));
}

void json_add_i64(struct json *arr, int64_t v)
{
    add(arr, json_integer(v));
}

void json_add_f64(struct json *arr, double v)
{
    add(arr, make_f64(v));
}

/* -- reading -- */

static json_t *walk(const struct json *j, const char *path)
{
    json_t *at = in(j);
    while (at != NULL && path != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        at = json_object_getn(at, path, n);
        path += n;
        if (*path == '.')
            path++;
    }
    return at;
}

const struct json *json_get(const struct json *j, const char *path)
{
    return (const struct json *)walk(j, path);
}

size_t json_len(const struct json *arr)
{
    return json_array_size(in(arr));
}

const struct json *json_at(const struct json *arr, size_t i)
{
    return (const struct json *)json_array_get(in(arr), i);
}

/* Plain decimal only: no sign, no blank, no leading zero, nothing behind. */
static bool u64_of_text(const char *s, uint64_t *out)
{
    if (*s == '\0' || (s[0] == '0' && s[1] != '\0'))
        return false;
    uint64_t v = 0;
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return false;
        unsigned digit = (unsigned)(*s - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

static bool u64_of(const json_t *v, uint64_t *out)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *out = (uint64_t)json_integer_value(v);
        return true;
    }
    return json_is_string(v) && u64_of_text(json_string_value(v), out);
}

const char *json_str(const struct json *j, const char *path, const char *or_else)
{
    const json_t *v = walk(j, path);
    return json_is_string(v) ? json_string_value(v) : or_else;
}

uint64_t json_u64(const struct json *j, const char *path, uint64_t or_else)
{
    uint64_t v;
    return u64_of(walk(j, path), &v) ? v : or_else;
}

double json_f64(const struct json *j, const char *path, double or_else)
{
    const json_t *v = walk(j, path);
    return json_is_number(v) ? json_number_value(v) : or_else;
}

bool json_bool(const struct json *j, const char *path, bool or_else)
{
    const json_t *v = walk(j, path);
    return json_is_boolean(v) ? json_is_true(v) : or_else;
}

static enum status lacking(const json_t *v, const char *path, const char *wanted,
                           struct errbuf *err)
{
    const char *what = path == NULL || *path == '\0' ? "value" : path;
    if (v == NULL)
        return errbuf_set(err, ST_BAD_DATA, "%s is missing", what);
    return errbuf_set(err, ST_BAD_DATA, "%s is not %s", what, wanted);
}

enum status json_need_str(const struct json *j, const char *path, const char **out,
                          struct errbuf *err)
{
    const json_t *v = walk(j, path);
    if (!json_is_string(v))
        return lacking(v, path, "a text", err);
    *out = json_string_value(v);
    return ST_OK;
}

enum status json_need_u64(const struct json *j, const char *path, uint64_t *out, struct errbuf *err)
{
    const json_t *v = walk(j, path);
    uint64_t got;
    if (!u64_of(v, &got))
        return lacking(v, path, "a whole number from 0 to 2^64-1", err);
    *out = got;
    return ST_OK;
}

enum status json_need_f64(const struct json *j, const char *path, double *out, struct errbuf *err)
{
    const json_t *v = walk(j, path);
    if (!json_is_number(v))
        return lacking(v, path, "a number", err);
    *out = json_number_value(v);
    return ST_OK;
}

enum json_kind json_kind(const struct json *j)
{
    if (j == NULL)
        return JSON_NONE;
    switch (json_typeof(in(j))) {
    case JSON_OBJECT: return JSON_MAP;
    case JSON_ARRAY: return JSON_LIST;
    case JSON_STRING: return JSON_TEXT;
    case JSON_INTEGER: return JSON_WHOLE;
    case JSON_TRUE:
    case JSON_FALSE: return JSON_BOOL;
    case JSON_NULL: return JSON_NIL;
    default: return json_is_real(in(j)) ? JSON_FRACTION : JSON_NONE;
    }
}

const char *json_cell(const struct json *j, char room[JSON_CELL_ROOM], size_t *out_n)
{
    const json_t *v = in(j);
    if (json_is_string(v)) {
        *out_n = json_string_length(v);
        return json_string_value(v);
    }
    if (json_is_integer(v))
        *out_n =
            (size_t)snprintf(room, JSON_CELL_ROOM, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        *out_n = (size_t)snprintf(room, JSON_CELL_ROOM, "%.17g", json_real_value(v));
    else if (json_is_boolean(v))
        *out_n = (size_t)snprintf(room, JSON_CELL_ROOM, "%d", json_is_true(v));
    else
        return NULL;
    return room;
}

bool json_item(const struct json *obj, size_t i, const char **out_key, const struct json **out_v)
{
    json_t *o = in(obj);
    void *at = json_object_iter(o);
    while (at != NULL && i-- > 0)
        at = json_object_iter_next(o, at);
    if (at == NULL)
        return false;
    *out_key = json_object_iter_key(at);
    *out_v = (const struct json *)json_object_iter_value(at);
    return true;
}
