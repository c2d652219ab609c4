/* service_check.c - a request's JSON becomes plain data, or a sentence that says what was expected where. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/feature/number.h"
#include "ps/serve/service_int.h"

void service_answer_error(struct service_request *r, int status, const char *text)
{
    json_free(r->answer);
    r->status = status;
    r->answer = json_object();
    json_set_str(r->answer, "error", text);
}

/* ---- small things ------------------------------------------------------------------------------- */

/* allowed: NULL-terminated. */
static enum status check_keys(const struct json *o, const char *where, const char *const *allowed,
                              struct errbuf *err)
{
    const char *key;
    const struct json *v;
    for (size_t i = 0; json_item(o, i, &key, &v); i++) {
        size_t a = 0;
        while (allowed[a] != NULL && strcmp(allowed[a], key) != 0)
            a++;
        if (allowed[a] != NULL)
            continue;
        char list[400] = "";
        for (size_t n = 0, j = 0; allowed[j] != NULL && n < sizeof(list); j++)
            n +=
                (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", j > 0 ? ", " : "", allowed[j]);
        return errbuf_set(err, ST_USAGE, "%s%s%.100s: no such key; expected %s", where,
                          where[0] != '\0' ? "." : "", key, list);
    }
    return ST_OK;
}

static void put_text(struct service_work *w, const char *text, size_t n, struct span_text *out)
{
    *out = (struct span_text){w->text.used, (uint32_t)n, true};
    buffer_put(&w->text, text, n);
    buffer_u8(&w->text, 0);
}

static enum status take_id(struct service_work *w, const struct json *j, const char *where,
                           struct span_text *out, struct errbuf *err)
{
    char room[JSON_CELL_ROOM];
    const char *id;
    size_t n;
    const enum status st = id_of_json(j, where, room, &id, &n, err);
    if (st == ST_OK)
        put_text(w, id, n, out);
    return st;
}

/* Absent or null: not there. */
static enum status take_id_if(struct service_work *w, const struct json *o, const char *key,
                              struct span_text *out, struct errbuf *err)
{
    const struct json *j = json_get(o, key);
    if (json_kind(j) == JSON_NONE || json_kind(j) == JSON_NIL)
        return ST_OK;
    return take_id(w, j, key, out, err);
}

static enum status take_flag(const struct json *o, const char *key, bool *out, struct errbuf *err)
{
    const struct json *j = json_get(o, key);
    if (json_kind(j) == JSON_NONE)
        return ST_OK;
    if (json_kind(j) != JSON_BOOL)
        return errbuf_set(err, ST_USAGE, "%s: expected true or false", key);
    *out = json_bool(j, NULL, false);
    return ST_OK;
}

static enum status take_time(const struct json *o, const char *key, uint64_t now_us, int64_t *out,
                             struct errbuf *err)
{
    const struct json *j = json_get(o, key);
    char room[JSON_CELL_ROOM];
    size_t n;
    *out = (int64_t)now_us;
    if (json_kind(j) == JSON_NONE || json_kind(j) == JSON_NIL)
        return ST_OK;
    const char *cell = json_kind(j) == JSON_BOOL ? NULL : json_cell(j, room, &n);
    if (json_kind(j) == JSON_FRACTION)
        n = (size_t)snprintf(room, sizeof(room), "%.6f", json_f64(j, NULL, 0));
    const char *wrong = cell == NULL ? "not a time" : number_parse_time(cell, n, out);
    return wrong == NULL ? ST_OK
                         : errbuf_set(err, ST_USAGE,
                                      "%s: %s; expected seconds since 1970 or a date like "
                                      "2026-01-31T12:00:00Z",
                                      key, wrong);
}

/* From a body (a number) or a query (a text). */
static enum status take_count(const struct json *o, const char *key, size_t max, size_t *out,
                              struct errbuf *err)
{
    uint64_t n;
    if (json_kind(json_get(o, key)) == JSON_NONE)
        return ST_OK;
    if (json_need_u64(o, key, &n, err) != ST_OK || n < 1 || n > max)
        return errbuf_set(err, ST_USAGE, "%s: expected a whole number from 1 to %zu", key, max);
    *out = (size_t)n;
    return ST_OK;
}

static enum status take_version(const struct json *o, uint64_t *out, struct errbuf *err)
{
    if (json_kind(json_get(o, "version")) == JSON_NONE)
        return ST_OK;
    if (json_need_u64(o, "version", out, err) != ST_OK)
        return errbuf_set(err, ST_USAGE,
                          "version: expected the number of a cut, 0: the one shown now");
    return ST_OK;
}

/* {field: cell} behind those that w has. view: cells must be encodable; NULL: a profile, for any stream. */
static enum status take_cells(struct service_worker *s, struct service_work *w,
                              const struct json *o, const char *where, const char *except,
                              const struct model_view *view, struct errbuf *err)
{
    struct cell cell[CELLS_MAX];
    size_t used;
    const enum status st =
        cells_of_json(&s->service->fields, o, where, except, &w->text, cell, &used, err);
    if (st != ST_OK)
        return st;
    mem_grow(&w->cell, &w->cells_cap, w->cells + used, sizeof(*w->cell));
    if (used > 0)
        memcpy(w->cell + w->cells, cell, used * sizeof(*cell));
    cells_settle(cell, used, &w->text);
    for (size_t i = 0; i < used; i++)
        for (size_t v = 0; v < s->service->streams; v++) {
            const struct model_view *one = view != NULL ? view : &s->service->stream[v].view;
            const char *wrong = model_view_fault(one, &cell[i]);
            if (wrong != NULL)
                return errbuf_set(err, ST_USAGE, "%s.%.*s: \"%.*s\": %s; expected a finite number",
                                  where, (int)(cell[i].name_n < 100 ? cell[i].name_n : 100),
                                  cell[i].name, (int)(cell[i].n < 40 ? cell[i].n : 40),
                                  cell[i].text, wrong);
        }
    w->cells += used;
    return ST_OK;
}

/* ---- rank, recommend ---------------------------------------------------------------------------- */

static enum status take_item(struct service_worker *s, struct service_work *w, const struct json *j,
                             const char *where, const struct model_view *view, struct errbuf *err)
{
    char inside[64];
    mem_grow(&w->item_list, &w->items_cap, w->items + 1, sizeof(*w->item_list));
    struct wanted *out = &w->item_list[w->items];
    memset(out, 0, sizeof(*out));
    snprintf(inside, sizeof(inside), "%s.item_id", where);
    const bool object = json_kind(j) == JSON_MAP;
    enum status st =
        take_id(w, object ? json_get(j, "item_id") : j, object ? inside : where, &out->id, err);
    out->cell = w->cells;
    if (st == ST_OK && object)
        st = take_cells(s, w, j, where, "item_id", view, err);
    out->cells = w->cells - out->cell;
    w->items += st == ST_OK;
    return st;
}

static enum status take_items(struct service_worker *s, struct service_work *w,
                              const struct json *list, const char *key,
                              const struct model_view *view, struct errbuf *err)
{
    const size_t max = s->service->conf.candidates_max;
    enum status st = ST_OK;
    if (json_kind(list) != JSON_LIST || json_len(list) == 0 || json_len(list) > max)
        return errbuf_set(err, ST_USAGE, "%s: expected a list of 1 to %zu items", key, max);
    for (size_t i = 0; i < json_len(list) && st == ST_OK; i++) {
        char where[48];
        snprintf(where, sizeof(where), "%s[%zu]", key, i);
        st = take_item(s, w, json_at(list, i), where, view, err);
    }
    return st;
}

static enum status take_asker(struct service_worker *s, struct service_request *r,
                              struct service_work *w, const struct model_view *view,
                              struct errbuf *err)
{
    const struct json *b = r->body;
    struct span_text unused;
    enum status st = take_cells(s, w, json_get(b, "context"), "context", "", view, err);
    w->context = w->cells;
    if (st == ST_OK)
        st = take_id_if(w, b, "user_id", &w->user, err);
    if (st == ST_OK)
        st = take_id_if(w, b, "session_id", &unused, err);
    if (st == ST_OK)
        st = take_id_if(w, b, "scenario", &unused, err);
    if (st == ST_OK)
        st = take_time(b, "time", r->now_us, &w->time, err);
    if (st == ST_OK)
        st = take_version(b, &w->version, err);
    w->log = true;
    if (st == ST_OK)
        st = take_flag(b, "log", &w->log, err);
    return st;
}

static enum status check_rank(struct service_worker *s, struct service_request *r,
                              struct service_work *w, struct errbuf *err)
{
    static const char *const keys[] = {"user_id",  "items", "context", "session_id",
                                       "scenario", "time",  "version", "n",
                                       "outputs",  "log",   NULL};
    const struct model_view *view = &s->service->stream[r->stream].view;
    enum status st = check_keys(r->body, "", keys, err);
    if (st == ST_OK)
        st = take_asker(s, r, w, view, err);
    if (st == ST_OK)
        st = take_items(s, w, json_get(r->body, "items"), "items", view, err);
    w->n = w->items;
    if (st == ST_OK)
        st = take_count(r->body, "n", s->service->conf.candidates_max, &w->n, err);
    return st == ST_OK ? take_flag(r->body, "outputs", &w->outputs, err) : st;
}

static enum status take_ids(struct service_work *w, const struct json *j, const char *where,
                            size_t max, struct span_text **out, size_t *used, size_t *cap,
                            struct errbuf *err)
{
    const bool list = json_kind(j) == JSON_LIST;
    const size_t n = list ? json_len(j) : 1;
    if (json_kind(j) == JSON_NONE)
        return ST_OK;
    if (n > max)
        return errbuf_set(err, ST_USAGE, "%s: %zu ids; at most %zu", where, n, max);
    for (size_t i = 0; i < n; i++) {
        mem_grow(out, cap, *used + 1, sizeof(**out));
        const enum status st = take_id(w, list ? json_at(j, i) : j, where, &(*out)[*used], err);
        if (st != ST_OK)
            return st;
        (*used)++;
    }
    return ST_OK;
}

static enum status check_recommend(struct service_worker *s, struct service_request *r,
                                   struct service_work *w, struct errbuf *err)
{
    static const char *const keys[] = {"user_id",    "n",        "context", "filter",
                                       "session_id", "scenario", "time",    "version",
                                       "outputs",    "log",      NULL};
    static const char *const filters[] = {"seen", "in_stock", "category", "allow", "deny", NULL};
    const struct model_view *view = &s->service->stream[r->stream].view;
    const size_t max = s->service->conf.candidates_max;
    const struct json *f = json_get(r->body, "filter");
    enum status st = check_keys(r->body, "", keys, err);
    if (st == ST_OK && view->item_slot == SCHEMA_NONE)
        st = errbuf_set(err, ST_USAGE,
                        "the job has no field of type item: there is nothing to recommend");
    if (st == ST_OK)
        st = take_asker(s, r, w, view, err);
    w->n = s->service->conf.n_max < 10 ? s->service->conf.n_max : 10;
    w->seen = w->in_stock = true;
    if (st == ST_OK)
        st = take_count(r->body, "n", s->service->conf.n_max, &w->n, err);
    if (st == ST_OK && json_kind(f) != JSON_NONE && json_kind(f) != JSON_MAP)
        st = errbuf_set(err, ST_USAGE, "filter: expected an object");
    if (st == ST_OK)
        st = check_keys(f, "filter", filters, err);
    if (st == ST_OK)
        st = take_flag(f, "seen", &w->seen, err);
    if (st == ST_OK)
        st = take_flag(f, "in_stock", &w->in_stock, err);
    if (st == ST_OK)
        st = take_ids(w, json_get(f, "category"), "filter.category", 100, &w->categories,
                      &w->categories_used, &w->categories_cap, err);
    if (st == ST_OK)
        st = take_ids(w, json_get(f, "deny"), "filter.deny", max, &w->deny, &w->denies,
                      &w->deny_cap, err);
    w->allow = json_kind(json_get(f, "allow")) != JSON_NONE;
    if (st == ST_OK && w->allow)
        st = take_items(s, w, json_get(f, "allow"), "filter.allow", view, err);
    return st;
}

static enum status check_similar(struct service_worker *s, struct service_request *r,
                                 struct service_work *w, struct errbuf *err)
{
    static const char *const keys[] = {"n", "version", "in_stock", "category", NULL};
    enum status st = check_keys(r->query, "", keys, err);
    w->n = s->service->conf.n_max < 10 ? s->service->conf.n_max : 10;
    w->in_stock = true;
    if (st == ST_OK && s->service->stream[r->stream].view.items_table < 0)
        st = errbuf_set(err, ST_USAGE, "the model has no rows of items that could be compared");
    if (st == ST_OK)
        st = take_count(r->query, "n", s->service->conf.n_max, &w->n, err);
    if (st == ST_OK)
        st = take_version(r->query, &w->version, err);
    if (st == ST_OK)
        st = take_ids(w, json_get(r->query, "category"), "category", 1, &w->categories,
                      &w->categories_used, &w->categories_cap, err);
    w->in_stock = strcmp(json_str(r->query, "in_stock", "true"), "false") != 0;
    return st;
}

/* ---- infer -------------------------------------------------------------------------------------- */

static enum status check_infer(struct service_worker *s, struct service_request *r,
                               struct service_work *w, struct errbuf *err)
{
    const struct service_table *t = r->table;
    const struct model_view *view = &s->service->stream[r->stream].view;
    if (t->records == 0 || t->records > s->service->conf.candidates_max)
        return errbuf_set(err, ST_USAGE, "%zu records; expected 1 to %zu", t->records,
                          s->service->conf.candidates_max);
    for (size_t c = 0; c < t->columns; c++) {
        size_t i = 0;
        while (i < view->inputs && strcmp(view->input[i].name, t->name[c]) != 0)
            i++;
        if (i == view->inputs)
            return errbuf_set(err, ST_USAGE, "%s: the model has no such input", t->name[c]);
        if (view->input[i].type != FIELD_FLOAT)
            continue;
        const uint32_t field = fields_find(&s->service->fields, t->name[c], strlen(t->name[c]));
        for (size_t k = 0; k < t->records; k++) {
            const struct service_cell *cell = &t->cell[c * t->records + k];
            const struct cell one = {.field = field,
                                     .text = cell->text,
                                     .n = (uint32_t)cell->n,
                                     .missing = cell->text == NULL};
            const char *wrong = model_view_fault(view, &one);
            if (wrong != NULL)
                return errbuf_set(err, ST_USAGE, "%s[%zu]: %s; expected a finite number",
                                  t->name[c], k, wrong);
        }
    }
    w->time = (int64_t)r->now_us;
    return ST_OK;
}

/* ---- events ------------------------------------------------------------------------------------- */

static enum status check_value(struct service_work *w, const struct json *j, const char *where,
                               double above, struct happened *e, struct errbuf *err)
{
    char room[JSON_CELL_ROOM];
    size_t n;
    if (json_kind(j) == JSON_NONE || json_kind(j) == JSON_NIL)
        return ST_OK;
    if (json_kind(j) != JSON_WHOLE && json_kind(j) != JSON_FRACTION)
        return errbuf_set(err, ST_USAGE, "%s: expected a number", where);
    const char *text = json_cell(j, room, &n);
    const double v = json_f64(j, NULL, 0);
    if (!(fabs(v) <= NUMBER_MAX))
        return errbuf_set(err, ST_USAGE, "%s: expected a number of at most %g", where, NUMBER_MAX);
    put_text(w, text, n, &e->value);
    e->has_value = true;
    e->positive = v > above;
    return ST_OK;
}

static bool is_negative_type(const char *type, size_t n)
{
    static const char *const names[] = {"impression", "exposure", "skip", "dismiss"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strlen(names[i]) == n && memcmp(names[i], type, n) == 0)
            return true;
    return false;
}

static enum status check_event(struct service_worker *s, struct service_request *r,
                               struct service_work *w, const struct json *j, size_t i,
                               struct errbuf *err)
{
    static const char *const keys[] = {"event_id", "user_id", "session_id", "type",
                                       "item_id",  "ts",      "value",      "rec_id",
                                       "position", "context", NULL};
    char where[64];
    struct errbuf why = ERRBUF_INIT;
    struct span_text unused;
    mem_grow(&w->event, &w->events_cap, w->events + 1, sizeof(*w->event));
    struct happened *e = &w->event[w->events];
    memset(e, 0, sizeof(*e));
    snprintf(where, sizeof(where), "events[%zu]", i);
    if (json_kind(j) != JSON_MAP)
        return errbuf_set(err, ST_USAGE, "%s: expected an object", where);
    enum status st = check_keys(j, "", keys, &why);
    if (st == ST_OK)
        st = take_id(w, json_get(j, "event_id"), "event_id", &e->id, &why);
    if (st == ST_OK)
        st = take_id(w, json_get(j, "item_id"), "item_id", &e->item, &why);
    if (st == ST_OK)
        st = take_id(w, json_get(j, "type"), "type", &e->type, &why);
    if (st == ST_OK && e->type.n > 64)
        st = errbuf_set(&why, ST_USAGE, "type: longer than 64 bytes");
    e->user = w->user;
    if (st == ST_OK && json_kind(json_get(j, "user_id")) != JSON_NONE)
        st = take_id(w, json_get(j, "user_id"), "user_id", &e->user, &why);
    if (st == ST_OK && !e->user.there)
        st = errbuf_set(&why, ST_USAGE, "user_id is missing, here and in the request");
    if (st == ST_OK)
        st = take_id_if(w, j, "session_id", &unused, &why);
    if (st == ST_OK)
        st = take_id_if(w, j, "rec_id", &e->rec, &why);
    if (st == ST_OK)
        st = take_time(j, "ts", r->now_us, &e->time, &why);
    if (st == ST_OK) {
        e->positive = !is_negative_type(work_text(w, &e->type), e->type.n);
        st = check_value(w, json_get(j, "value"), "value",
                         s->service->stream[0].view.encoder->schema.label_above, e, &why);
    }
    e->cell = w->cells;
    if (st == ST_OK)
        st = take_cells(s, w, json_get(j, "context"), "context", "", NULL, &why);
    e->cells = w->cells - e->cell;
    if (e->time > (int64_t)r->now_us)
        e->time = (int64_t)r->now_us;
    w->events += st == ST_OK;
    return st == ST_OK ? st : errbuf_set(err, st, "%s: %s", where, why.text);
}

static enum status check_events(struct service_worker *s, struct service_request *r,
                                struct service_work *w, struct errbuf *err)
{
    static const char *const keys[] = {"user_id", "session_id", "events", NULL};
    const struct json *list = json_get(r->body, "events");
    struct span_text unused;
    enum status st = check_keys(r->body, "", keys, err);
    if (st == ST_OK)
        st = take_id_if(w, r->body, "user_id", &w->user, err);
    if (st == ST_OK)
        st = take_id_if(w, r->body, "session_id", &unused, err);
    if (st == ST_OK &&
        (json_kind(list) != JSON_LIST || json_len(list) == 0 || json_len(list) > STATE_EVENTS_MAX))
        st = errbuf_set(err, ST_USAGE, "events: expected a list of 1 to %u events",
                        STATE_EVENTS_MAX);
    for (size_t i = 0; st == ST_OK && i < json_len(list); i++)
        st = check_event(s, r, w, json_at(list, i), i, err);
    return st;
}

/* ---- users, items ------------------------------------------------------------------------------- */

static enum status check_put(struct service_worker *s, struct service_request *r,
                             struct service_work *w, struct errbuf *err)
{
    static const char *const user_keys[] = {"fields", NULL};
    static const char *const item_keys[] = {"fields", "in_stock", "category", NULL};
    const bool item = r->kind == SERVICE_ITEM_PUT;
    enum status st = check_keys(r->body, "", item ? item_keys : user_keys, err);
    w->in_stock = true;
    if (st == ST_OK)
        st = take_cells(s, w, json_get(r->body, "fields"), "fields", NULL, NULL, err);
    if (st == ST_OK && item)
        st = take_flag(r->body, "in_stock", &w->in_stock, err);
    if (st == ST_OK && item)
        st = take_id_if(w, r->body, "category", &w->category, err);
    if (st == ST_OK && w->category.there) {
        if (w->cells == CELLS_MAX) /* one more could not be read back from the journal */
            return errbuf_set(err, ST_USAGE, "more than %u fields, with category", CELLS_MAX);
        mem_grow(&w->cell, &w->cells_cap, w->cells + 1, sizeof(*w->cell));
        for (size_t i = 0; i < w->cells; i++)
            if (w->cell[i].field == s->service->category)
                return errbuf_set(err, ST_USAGE, "category stands in fields, too; give it once");
        w->cell[w->cells++] = (struct cell){.field = s->service->category,
                                            .name = "category",
                                            .name_n = 8,
                                            .n = w->category.n,
                                            .at = w->category.at};
    }
    return st;
}

static enum status check_path_id(const struct service_request *r, struct service_work *w,
                                 struct errbuf *err)
{
    if (r->id == NULL)
        return errbuf_set(err, ST_USAGE, "the path has no id");
    enum status st = id_check(r->id, strlen(r->id), "the id in the path", err);
    if (st == ST_OK && !utf8_valid(r->id))
        st = errbuf_set(err, ST_USAGE, "the id in the path is not UTF-8");
    if (st == ST_OK)
        put_text(w, r->id, strlen(r->id), &w->item);
    return st;
}

static enum status check_kind(struct service_worker *s, struct service_request *r,
                              struct service_work *w, struct errbuf *err)
{
    const bool body = r->kind == SERVICE_RANK || r->kind == SERVICE_RECOMMEND ||
                      r->kind == SERVICE_EVENTS || r->kind == SERVICE_USER_PUT ||
                      r->kind == SERVICE_ITEM_PUT;
    if (r->stream >= s->service->streams)
        return errbuf_set(err, ST_NOT_FOUND, "there is no stream %u", r->stream);
    if (body && json_kind(r->body) != JSON_MAP)
        return errbuf_set(err, ST_USAGE, "expected a JSON object as the body");
    switch (r->kind) {
    case SERVICE_RANK: return check_rank(s, r, w, err);
    case SERVICE_RECOMMEND: return check_recommend(s, r, w, err);
    case SERVICE_INFER: return check_infer(s, r, w, err);
    case SERVICE_EVENTS: return check_events(s, r, w, err);
    default: break;
    }
    enum status st = check_path_id(r, w, err);
    if (st == ST_OK && r->kind == SERVICE_SIMILAR)
        st = check_similar(s, r, w, err);
    if (st == ST_OK && (r->kind == SERVICE_USER_PUT || r->kind == SERVICE_ITEM_PUT))
        st = check_put(s, r, w, err);
    return st;
}

static int status_of(enum status st)
{
    switch (st) {
    case ST_NOT_FOUND: return 404;
    case ST_AGAIN: return 429;
    default: return 400;
    }
}

enum status service_check(struct service_worker *s, struct service_request *r, struct errbuf *err)
{
    struct service_work *w = mem_zalloc(sizeof(*w));
    struct errbuf why = ERRBUF_INIT;
    r->work = w;
    const enum status st = check_kind(s, r, w, &why);
    cells_settle(w->cell, w->cells, &w->text);
    if (r->version != 0)
        w->version = r->version;
    if (st == ST_OK)
        return st;
    service_answer_error(r, status_of(st), why.text);
    return errbuf_set(err, st, "%s", why.text);
}

void service_request_release(struct service_request *r)
{
    struct service_work *w = r->work;
    if (w == NULL)
        return;
    buffer_release(&w->text);
    free(w->cell);
    free(w->item_list);
    free(w->deny);
    free(w->categories);
    free(w->event);
    free(w->shown);
    free(w->shadow);
    free(w);
    r->work = NULL;
}

const char *service_unit(const struct service_request *r, char *room, size_t room_n)
{
    char number[JSON_CELL_ROOM];
    static const char *const keys[] = {"user_id", "session_id"};
    for (size_t i = 0; i < 2; i++) {
        const struct json *j = json_get(r->body, keys[i]);
        size_t n;
        if (json_kind(j) != JSON_TEXT && json_kind(j) != JSON_WHOLE)
            continue;
        const char *id = json_cell(j, number, &n);
        if (id != number)
            return id;
        snprintf(room, room_n, "%s", number);
        return room;
    }
    return NULL;
}
