/* visit.c - see visit.h. */
#include "launch/visit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"

const char *const visit_fault_names[VISIT_FAULTS] = {
    [VISIT_SOUND] = "sound",
    [VISIT_MALFORMED] = "malformed",
    [VISIT_NO_VERSION] = "no_version",
    [VISIT_TWO_VERSIONS] = "two_versions",
    [VISIT_WRONG_ITEMS] = "wrong_items",
};

static const struct {
    const char *name;
    unsigned bit;
} columns[] = {
    {"hour", VISIT_HOUR},
    {"device", VISIT_DEVICE},
    {"position", VISIT_POSITION},
    {"user_segment", VISIT_SEGMENT},
};

enum status visit_context_parse(const char *list, unsigned *out, struct errbuf *err)
{
    unsigned bits = 0;
    if (strcmp(list, "none") == 0)
        list = "";
    while (*list != '\0') {
        size_t n = strcspn(list, ","), i = 0, of = sizeof columns / sizeof columns[0];
        while (i < of && (strlen(columns[i].name) != n || strncmp(columns[i].name, list, n) != 0))
            i++;
        if (i == of)
            return errbuf_set(err, ST_USAGE,
                              "--context: \"%.*s\": allowed are hour, device, position and "
                              "user_segment, with commas between, or none",
                              (int)(n < 60 ? n : 60), list);
        bits |= columns[i].bit;
        list += n + (list[n] == ',');
    }
    *out = bits;
    return ST_OK;
}

/* ---- what is said ------------------------------------------------------------------------------- */

static void put_text(struct json *j, struct buffer *out)
{
    char *text = json_text(j, 0);
    buffer_put(out, text, strlen(text));
    free(text);
    json_free(j);
}

static void set_id(struct json *j, const char *key, uint64_t id)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, id);
    json_set_str(j, key, text);
}

static void set_session(struct json *j, const struct shop_visit *v)
{
    char session[48];
    snprintf(session, sizeof session, "%016" PRIx64 "-%" PRIu64, v->key, v->number);
    json_set_str(j, "session_id", session);
}

void visit_ask(const struct shop_people *p, const struct visit_form *f, const struct shop_visit *v,
               bool looks, struct buffer *out)
{
    const struct shop_world *w = shop_people_world(p);
    struct json *j = json_object(), *context = json_object();
    set_id(j, "user_id", shop_world_user_name(w, v->user));
    set_session(j, v);
    if (!f->recommend) {
        struct json *items = json_array();
        char name[24];
        for (size_t i = 0; i < f->candidates; i++) {
            snprintf(name, sizeof name, "%" PRIu64, shop_world_item_name(w, v->candidate[i]));
            json_add_str(items, name);
        }
        json_set(j, "items", items);
    }
    if (f->context & VISIT_HOUR)
        json_set_u64(context, "hour", v->hour);
    if (f->context & VISIT_DEVICE)
        json_set_str(context, "device", shop_device_names[v->device]);
    if (f->context & VISIT_POSITION)
        json_set_u64(context, "position", 1);
    if (f->context & VISIT_SEGMENT)
        json_set_u64(context, "user_segment", w->user[v->user].segment + 1);
    json_set(j, "context", context);
    json_set_u64(j, "n", SHOP_PAGE); /* what is shown: the node takes what it answers for exposed */
    if (!looks)
        json_set_bool(j, "log", false);
    put_text(j, out);
}

void visit_user(const struct shop_people *p, size_t user, struct buffer *out)
{
    struct json *j = json_object(), *fields = json_object();
    json_set_u64(fields, "user_segment", shop_people_world(p)->user[user].segment + 1);
    json_set(j, "fields", fields);
    put_text(j, out);
}

void visit_item(const struct shop_people *p, size_t item, struct buffer *out)
{
    const struct shop_item *t = &shop_people_world(p)->item[item];
    struct json *j = json_object(), *fields = json_object();
    char price[32];
    snprintf(price, sizeof price, "%.2f", shop_world_price(t)); /* the log's own text */
    json_set_u64(fields, "category", t->category + 1);
    json_set_u64(fields, "brand", t->brand + 1);
    json_set_str(fields, "price", price);
    json_set(j, "fields", fields);
    put_text(j, out);
}

struct report {
    const struct shop_world *world;
    const struct visit_answer *answer;
    uint64_t wall_ms;
    struct json *events;
};

static void add_event(struct report *r, const char *type, size_t at)
{
    struct json *e = json_object();
    char id[128];
    snprintf(id, sizeof id, "%s-%s-%zu", r->answer->rec_id, type, at + 1);
    json_set_str(e, "event_id", id);
    json_set_str(e, "type", type);
    set_id(e, "item_id", shop_world_item_name(r->world, r->answer->item[at]));
    /* One after the other, as they happened. */
    json_set_u64(e, "ts", r->wall_ms + json_len(r->events));
    json_set_str(e, "rec_id", r->answer->rec_id);
    json_set_u64(e, "position", at + 1);
    json_add(r->events, e);
}

size_t visit_report(const struct shop_people *p, const struct visit_form *f,
                    const struct shop_visit *v, const struct visit_answer *a, uint64_t wall_us,
                    struct buffer *out)
{
    const struct shop_world *w = shop_people_world(p);
    struct report r = {w, a, wall_us / 1000, json_array()};
    for (size_t at = 0; at < a->n; at++) {
        struct shop_choice c = shop_people_choose(p, v, a->item[at], at);
        if (f->impressions)
            add_event(&r, "impression", at);
        if (c.click)
            add_event(&r, "click", at);
        if (c.cart)
            add_event(&r, "cart", at);
        if (c.buy)
            add_event(&r, "buy", at);
    }
    size_t n = json_len(r.events);
    if (n == 0) {
        json_free(r.events);
        return 0;
    }
    struct json *j = json_object();
    set_id(j, "user_id", shop_world_user_name(w, v->user));
    set_session(j, v);
    json_set(j, "events", r.events);
    put_text(j, out);
    return n;
}

/* ---- what is answered --------------------------------------------------------------------------- */

/* An id of the shop: a decimal string, or a number. */
static bool read_id(const struct json *j, const char *path, uint64_t *out)
{
    const char *text = json_str(j, path, NULL);
    if (text == NULL)
        return json_need_u64(j, path, out, NULL) == ST_OK;
    char *end;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0';
}

static bool asked_for(const struct visit_form *f, const struct shop_visit *v, size_t item)
{
    bool found = f->recommend;
    for (size_t i = 0; !found && i < f->candidates; i++)
        found = v->candidate[i] == item;
    return found;
}

static enum visit_fault fault(struct errbuf *why, enum visit_fault f, const char *text)
{
    (void)errbuf_set(why, ST_BAD_PEER, "%s", text);
    return f;
}

static enum visit_fault read_item(const struct shop_people *p, const struct visit_form *f,
                                  const struct shop_visit *v, const struct json *j,
                                  struct visit_answer *out, struct errbuf *why)
{
    uint64_t name;
    size_t at = out->n;
    if (!read_id(j, "item_id", &name) || json_need_f64(j, "score", &out->score[at], why) != ST_OK)
        return fault(why, VISIT_MALFORMED, "items: each needs an item_id and a score");
    uint64_t version = json_u64(j, "snapshot_version", out->version);
    if (version != out->version)
        return fault(why, VISIT_TWO_VERSIONS,
                     "an item has another snapshot_version than the answer");
    if (!shop_people_find(p, name, &out->item[at]) || !asked_for(f, v, out->item[at]))
        return fault(why, VISIT_WRONG_ITEMS, "items: one that was not asked for");
    for (size_t i = 0; i < at; i++)
        if (out->item[i] == out->item[at])
            return fault(why, VISIT_WRONG_ITEMS, "items: one stands twice");
    if (!isfinite(out->score[at]) || (at > 0 && out->score[at] > out->score[at - 1]))
        return fault(why, VISIT_WRONG_ITEMS, "items: scores must be finite and fall");
    out->n++;
    return VISIT_SOUND;
}

static enum visit_fault read_answer(const struct shop_people *p, const struct visit_form *f,
                                    const struct shop_visit *v, const struct json *j,
                                    struct visit_answer *out, struct errbuf *why)
{
    const char *rec_id = json_str(j, "rec_id", ""), *variant = json_str(j, "variant", "");
    const struct json *items = json_get(j, "items"), *version = json_get(j, "snapshot_version");
    memset(out, 0, sizeof *out);
    if (json_len(version) > 1)
        return fault(why, VISIT_TWO_VERSIONS, "snapshot_version: more than one");
    if (json_need_u64(j, "snapshot_version", &out->version, why) != ST_OK || out->version == 0)
        return fault(why, VISIT_NO_VERSION, "snapshot_version: must be a number, the cut's");
    if (rec_id[0] == '\0' || strlen(rec_id) >= sizeof out->rec_id)
        return fault(why, VISIT_MALFORMED, "rec_id: must be a text of 1 to 63 characters");
    snprintf(out->rec_id, sizeof out->rec_id, "%s", rec_id);
    snprintf(out->variant, sizeof out->variant, "%s", variant);
    size_t n = json_len(items);
    if (items == NULL)
        return fault(why, VISIT_MALFORMED, "items: must be an array");
    if (n > SHOP_PAGE || (n < SHOP_PAGE && !f->recommend))
        return fault(why, VISIT_WRONG_ITEMS, "items: their number is not the n that was asked for");
    for (size_t i = 0; i < n; i++) {
        enum visit_fault bad = read_item(p, f, v, json_at(items, i), out, why);
        if (bad != VISIT_SOUND)
            return bad;
    }
    return VISIT_SOUND;
}

enum visit_fault visit_read(const struct shop_people *p, const struct visit_form *f,
                            const struct shop_visit *v, const char *text, size_t n,
                            struct visit_answer *out, struct errbuf *why)
{
    struct json *j = NULL;
    if (json_parse(text, n, "answer", &j, why) != ST_OK)
        return VISIT_MALFORMED;
    enum visit_fault bad = read_answer(p, f, v, j, out, why);
    json_free(j);
    return bad;
}

bool visit_same(const struct visit_answer *a, const struct visit_answer *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (fabs(a->score[i] - b->score[i]) > VISIT_GRAIN * fmax(1, fabs(a->score[i])))
            return false;
    return true;
}

bool visit_events_read(const char *text, size_t n, uint64_t *out_accepted, uint64_t *out_duplicates)
{
    struct json *j = NULL;
    if (json_parse(text, n, "answer", &j, NULL) != ST_OK)
        return false;
    bool good = json_need_u64(j, "accepted", out_accepted, NULL) == ST_OK &&
                json_need_u64(j, "duplicates", out_duplicates, NULL) == ST_OK;
    json_free(j);
    return good;
}

void visit_error_text(const char *text, size_t n, struct errbuf *out)
{
    struct json *j = NULL;
    const char *error = NULL;
    if (json_parse(text, n, "answer", &j, NULL) == ST_OK)
        error = json_str(j, "error", NULL);
    (void)errbuf_set(out, ST_BAD_PEER, "%.*s", 300, error != NULL ? error : text);
    for (char *c = out->text; *c != '\0'; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    json_free(j);
}
