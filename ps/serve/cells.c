/* cells.c - see cells.h. */
#include "ps/serve/cells.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/feature/number.h"

/* ---- names -------------------------------------------------------------------------------------- */

static size_t slot_of(const struct fields *f, const char *name, size_t n)
{
    size_t at = (size_t)hash_bytes(name, n, 0) & (f->slots - 1);
    while (f->slot[at] != 0) {
        const char *have = f->item[f->slot[at] - 1].name;
        if (strlen(have) == n && memcmp(have, name, n) == 0)
            break;
        at = (at + 1) & (f->slots - 1);
    }
    return at;
}

uint32_t fields_find(const struct fields *f, const char *name, size_t n)
{
    return f->slots == 0 ? FIELD_UNKNOWN : f->slot[slot_of(f, name, n)] - 1;
}

uint32_t fields_add(struct fields *f, const char *name, const char *sep, bool is_float)
{
    const uint32_t there = fields_find(f, name, strlen(name));
    if (there != FIELD_UNKNOWN)
        return there;
    mem_grow(&f->item, &f->cap, f->used + 1, sizeof(*f->item));
    f->item[f->used++] =
        (struct field){mem_strdup(name), sep != NULL ? mem_strdup(sep) : NULL, is_float};
    if (2 * f->used > f->slots) {
        f->slots = f->slots == 0 ? 64 : 2 * f->slots;
        free(f->slot);
        f->slot = mem_array(f->slots, sizeof(*f->slot));
        for (size_t i = 0; i < f->used; i++)
            f->slot[slot_of(f, f->item[i].name, strlen(f->item[i].name))] = (uint32_t)i + 1;
    } else {
        f->slot[slot_of(f, name, strlen(name))] = (uint32_t)f->used;
    }
    return (uint32_t)f->used - 1;
}

void fields_release(struct fields *f)
{
    for (size_t i = 0; i < f->used; i++) {
        free(f->item[i].name);
        free(f->item[i].sep);
    }
    free(f->item);
    free(f->slot);
    memset(f, 0, sizeof(*f));
}

/* ---- ids ---------------------------------------------------------------------------------------- */

enum status id_check(const char *id, size_t n, const char *where, struct errbuf *err)
{
    if (n == 0 || n > ID_MAX)
        return errbuf_set(err, ST_USAGE, "%s: an id of %zu bytes; expected 1 to %u", where, n,
                          ID_MAX);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)id[i] < 0x20 || id[i] == 0x7f)
            return errbuf_set(err, ST_USAGE, "%s: a control character in an id", where);
    if (id[0] == ' ' || id[n - 1] == ' ')
        return errbuf_set(err, ST_USAGE, "%s: a blank at the end of an id", where);
    return ST_OK;
}

enum status id_of_json(const struct json *j, const char *where, char room[JSON_CELL_ROOM],
                       const char **out, size_t *out_n, struct errbuf *err)
{
    const enum json_kind kind = json_kind(j);
    if (kind == JSON_NONE)
        return errbuf_set(err, ST_USAGE, "%s is missing; expected an id: a text or a whole number",
                          where);
    if (kind != JSON_TEXT && kind != JSON_WHOLE)
        return errbuf_set(err, ST_USAGE, "%s: expected an id: a text or a whole number", where);
    size_t n;
    const char *id = json_cell(j, room, &n);
    const enum status st = id_check(id, n, where, err);
    if (st == ST_OK) {
        *out = id;
        *out_n = n;
    }
    return st;
}

/* ---- from JSON ---------------------------------------------------------------------------------- */

static enum status list_cell(const struct field *f, const struct json *v, const char *where,
                             struct buffer *text, struct cell *out, struct errbuf *err)
{
    const size_t from = text->used;
    if (f == NULL || f->sep == NULL)
        return errbuf_set(err, ST_USAGE,
                          "%s: a list; only fields of type ids may have more than one value",
                          where);
    for (size_t i = 0; i < json_len(v); i++) {
        char room[JSON_CELL_ROOM];
        size_t n = 0;
        const char *one = json_cell(json_at(v, i), room, &n);
        if (one == NULL)
            return errbuf_set(err, ST_USAGE, "%s[%zu]: expected a text or a number", where, i);
        if (memmem(one, n, f->sep, strlen(f->sep)) != NULL)
            return errbuf_set(err, ST_USAGE, "%s[%zu]: \"%s\" in an id, which separates ids", where,
                              i, f->sep);
        if (text->used - from + n > CELLS_BYTES_MAX)
            return errbuf_set(err, ST_USAGE, "%s: longer than %u bytes", where, CELLS_BYTES_MAX);
        if (i > 0)
            buffer_put(text, f->sep, strlen(f->sep));
        buffer_put(text, one, n);
    }
    out->at = from;
    out->n = (uint32_t)(text->used - from);
    return ST_OK;
}

static enum status one_cell(const struct fields *f, const struct json *v, const char *where,
                            struct buffer *text, struct cell *out, struct errbuf *err)
{
    const struct field *field = out->field == FIELD_UNKNOWN ? NULL : &f->item[out->field];
    char room[JSON_CELL_ROOM];
    size_t n = 0;
    double number;
    if (json_kind(v) == JSON_NIL) {
        out->missing = true;
        return ST_OK;
    }
    if (json_kind(v) == JSON_LIST)
        return list_cell(field, v, where, text, out, err);
    const char *cell = json_cell(v, room, &n);
    if (cell == NULL)
        return errbuf_set(err, ST_USAGE, "%s: expected a text, a number, true, false or null",
                          where);
    if (n > CELLS_BYTES_MAX)
        return errbuf_set(err, ST_USAGE, "%s: longer than %u bytes", where, CELLS_BYTES_MAX);
    if (memchr(cell, 0, n) != NULL)
        return errbuf_set(err, ST_USAGE, "%s: a NUL character", where);
    const char *wrong =
        field != NULL && field->is_float && n > 0 ? number_parse(cell, n, &number) : NULL;
    if (wrong != NULL && json_kind(v) != JSON_TEXT)
        return errbuf_set(err, ST_USAGE, "%s: %s", where, wrong);
    if (cell == room) {
        out->at = text->used;
        buffer_put(text, cell, n);
    } else {
        out->text = cell;
    }
    out->n = (uint32_t)n;
    return ST_OK;
}

enum status cells_of_json(const struct fields *f, const struct json *object, const char *where,
                          const char *except, struct buffer *text, struct cell *out,
                          size_t *out_used, struct errbuf *err)
{
    const char *key;
    const struct json *v;
    size_t bytes = 0, used = 0;
    *out_used = 0;
    if (json_kind(object) == JSON_NONE)
        return ST_OK;
    if (json_kind(object) != JSON_MAP)
        return errbuf_set(err, ST_USAGE, "%s: expected an object {field: value}", where);
    for (size_t i = 0; json_item(object, i, &key, &v); i++) {
        char at[160];
        if (used == CELLS_MAX)
            return errbuf_set(err, ST_USAGE, "%s: more than %u fields", where, CELLS_MAX);
        snprintf(at, sizeof(at), "%s.%.100s", where, key);
        struct cell c = {.field = fields_find(f, key, strlen(key)),
                         .name = key,
                         .name_n = (uint32_t)strlen(key)};
        if (except != NULL && strcmp(key, except) == 0)
            continue;
        if (c.field == FIELD_UNKNOWN && except != NULL)
            return errbuf_set(err, ST_USAGE, "%s: the job has no such field", at);
        if (c.name_n == 0 || c.name_n > ID_MAX)
            return errbuf_set(err, ST_USAGE, "%s: a name of %u bytes; expected 1 to %u", at,
                              c.name_n, ID_MAX);
        const enum status st = one_cell(f, v, at, text, &c, err);
        if (st != ST_OK)
            return st;
        bytes += c.name_n + c.n;
        if (bytes > CELLS_BYTES_MAX)
            return errbuf_set(err, ST_USAGE, "%s: more than %u bytes in all", where,
                              CELLS_BYTES_MAX);
        out[used++] = c;
    }
    *out_used = used;
    return ST_OK;
}

void cells_settle(struct cell *cell, size_t n, const struct buffer *text)
{
    for (size_t i = 0; i < n; i++)
        if (cell[i].text == NULL && !cell[i].missing)
            cell[i].text = (const char *)text->data + cell[i].at;
}

const struct cell *cells_find(const struct cells *c, uint32_t field)
{
    for (size_t i = 0; i < c->used; i++)
        if (c->item[i].field == field)
            return &c->item[i];
    return NULL;
}

/* ---- copies and bytes --------------------------------------------------------------------------- */

size_t cells_bytes(const struct cells *c)
{
    size_t bytes = c->used * sizeof(*c->item);
    for (size_t i = 0; i < c->used; i++)
        bytes += c->item[i].name_n + c->item[i].n;
    return (bytes + 7) & ~(size_t)7;
}

struct cells cells_copy(const struct cells *c, void *to)
{
    struct cell *item = to;
    char *text = (char *)(item + c->used);
    for (size_t i = 0; i < c->used; i++) {
        item[i] = c->item[i];
        memcpy(text, c->item[i].name, item[i].name_n);
        item[i].name = text;
        text += item[i].name_n;
        if (item[i].n > 0)
            memcpy(text, c->item[i].text, item[i].n);
        item[i].text = text;
        text += item[i].n;
    }
    return (struct cells){item, c->used};
}

void cells_write(const struct cells *c, struct buffer *out)
{
    buffer_u16(out, (uint16_t)c->used);
    for (size_t i = 0; i < c->used; i++) {
        const struct cell *x = &c->item[i];
        buffer_u16(out, (uint16_t)x->name_n);
        buffer_put(out, x->name, x->name_n);
        buffer_u32(out, x->missing ? 0 : x->n + 1);
        if (!x->missing)
            buffer_put(out, x->text, x->n);
    }
}

bool cells_read(const struct fields *f, struct reader *in, struct cell *out,
                struct cells *out_cells)
{
    const size_t used = reader_u16(in);
    if (used > CELLS_MAX)
        in->bad = true;
    for (size_t i = 0; i < used && !in->bad; i++) {
        struct cell *c = &out[i];
        memset(c, 0, sizeof(*c));
        c->name_n = reader_u16(in);
        c->name = (const char *)reader_view(in, c->name_n);
        const uint32_t n = reader_u32(in);
        c->missing = n == 0;
        c->n = n == 0 ? 0 : n - 1;
        c->text = (const char *)reader_view(in, c->n);
        if (!in->bad)
            c->field = fields_find(f, c->name, c->name_n);
    }
    *out_cells = (struct cells){out, used};
    return !in->bad;
}

struct json *cells_json(const struct cells *c)
{
    struct json *o = json_object();
    struct buffer text = BUFFER_INIT, name = BUFFER_INIT;
    for (size_t i = 0; i < c->used; i++) {
        const struct cell *x = &c->item[i];
        buffer_reset(&name);
        buffer_put(&name, x->name, x->name_n);
        buffer_reset(&text);
        buffer_put(&text, x->text, x->n);
        json_set_str(o, buffer_text(&name), x->missing ? NULL : buffer_text(&text));
    }
    buffer_release(&text);
    buffer_release(&name);
    return o;
}
