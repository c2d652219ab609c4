/* json.h - JSON values; the only door to jansson.h.
 *
 * A tree is owned by its root: json_free(root) frees all. Getters take a path of object keys separated by
 * '.', e.g. "cut.version"; they return the default when the path is absent or of another type, so foreign
 * JSON is read with json_need_* where absence is an error. u64 beyond 2^63-1 are written and read as
 * decimal strings (jansson has no unsigned 64); the u64 getters and setters hide that.
 */
#ifndef PENSTOCK_COMMON_BASE_JSON_H
#define PENSTOCK_COMMON_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

struct json; /* opaque */

/* jansson exports functions named json_object and json_array; a second pair in the program would take their
 * place inside the library, too. So ours have names of their own, and the short ones are for callers. */
struct json *json_new_object(void);
struct json *json_new_array(void);
#define json_object() json_new_object()
#define json_array()  json_new_array()
void json_free(struct json *j);
struct json *json_clone(const struct json *j); /* all of it; owned by the caller */
/* Bounded depth (64); duplicate keys refused. name: what the text is called in errors. */
MUST_CHECK enum status json_parse(const char *text, size_t n, const char *name, struct json **out,
                                  struct errbuf *err);
MUST_CHECK enum status json_read(const char *path, size_t max, struct json **out,
                                 struct errbuf *err);
/* Keys in the order of insertion; indent 0 = one line. Owned by the caller. */
char *json_text(const struct json *j, int indent);

/* Setters: key is one key of this object, replaced if present. A child is handed over. */
void json_set_str(struct json *obj, const char *key, const char *v);
void json_set_u64(struct json *obj, const char *key, uint64_t v);
void json_set_f64(struct json *obj, const char *key, double v); /* non-finite is written as null */
void json_set_bool(struct json *obj, const char *key, bool v);
void json_set_null(struct json *obj, const char *key);
void json_set(struct json *obj, const char *key, struct json *child);
void json_add(struct json *arr, struct json *child);
void json_add_str(struct json *arr, const char *v);
void json_add_u64(struct json *arr, uint64_t v);
void json_add_i64(struct json *arr, int64_t v);
void json_add_f64(struct json *arr, double v);

/* Views into the tree (borrowed, live as long as the root). NULL when absent. */
const struct json *json_get(const struct json *j, const char *path);
size_t json_len(const struct json *arr); /* 0 unless an array */
const struct json *json_at(const struct json *arr, size_t i);
const char *json_str(const struct json *j, const char *path, const char *or_else);
uint64_t json_u64(const struct json *j, const char *path, uint64_t or_else);
double json_f64(const struct json *j, const char *path, double or_else);
bool json_bool(const struct json *j, const char *path, bool or_else);
/* path NULL or "" means j itself, in all getters. */
MUST_CHECK enum status json_need_str(const struct json *j, const char *path, const char **out,
                                     struct errbuf *err);
MUST_CHECK enum status json_need_u64(const struct json *j, const char *path, uint64_t *out,
                                     struct errbuf *err);
MUST_CHECK enum status json_need_f64(const struct json *j, const char *path, double *out,
                                     struct errbuf *err);
/* Names beside jansson's own (JSON_NULL, JSON_REAL ...). */
enum json_kind {
    JSON_NONE,
    JSON_NIL,
    JSON_BOOL,
    JSON_WHOLE,
    JSON_FRACTION,
    JSON_TEXT,
    JSON_LIST,
    JSON_MAP
};
enum json_kind json_kind(const struct json *j); /* JSON_NONE of NULL */
/* A text as it is, a number or truth value (1, 0) written into room so that reading it gives it back; borrowed. NULL
 * of any other kind. */
#define JSON_CELL_ROOM 32u
const char *json_cell(const struct json *j, char room[JSON_CELL_ROOM], size_t *out_n);
/* Iterate an object: i-th key and value; false beyond the end. O(i): bound the object first. */
bool json_item(const struct json *obj, size_t i, const char **out_key, const struct json **out_v);

#endif
