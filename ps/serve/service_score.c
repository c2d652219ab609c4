/* service_score.c - RANK and INFER: many requests, one batch of records, one version. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ps/serve/service_int.h"

/* ---- answers ------------------------------------------------------------------------------------ */

/* 48 bits of time, 80 of chance and count, in base 32 without look-alikes: sorts by time. */
void service_new_rec(struct service *s, uint64_t now_us, char out[SERVICE_REC_ID + 1])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    const uint64_t ms = now_us / 1000, count = atomic_fetch_add(&s->rec, 1);
    uint32_t word[4];
    rng_philox(s->conf.seed, count, now_us, word);
    uint64_t low = ((uint64_t)word[0] << 32 | word[1]), high = word[2] & 0xffff;
    for (int i = SERVICE_REC_ID - 1; i >= 10; i--) {
        out[i] = digits[low & 31];
        low = low >> 5 | high << 59;
        high >>= 5;
    }
    for (int i = 9, shift = 0; i >= 0; i--, shift += 5)
        out[i] = digits[ms >> shift & 31];
    out[SERVICE_REC_ID] = '\0';
}

static void put_variant(const struct service_request *r, struct json *o)
{
    if (r->experiment != NULL)
        json_set_str(o, "experiment", r->experiment);
    if (r->variant != NULL) {
        json_set_str(o, "variant", r->variant);
        json_set_f64(o, "propensity", r->propensity);
    }
}

static struct json *unknown_of(const struct model_view *v, const uint32_t *unknown)
{
    struct json *o = json_object();
    const struct schema *s = &v->encoder->schema;
    for (size_t f = 0; f < v->fields; f++)
        if (unknown[f] > 0)
            json_set_u64(o, s->sequences ? (f == 0 ? "history" : "item") : s->field[s->ids[f]].name,
                         unknown[f]);
    return o;
}

void service_answer_items(struct service *s, struct service_request *r, uint32_t stream,
                          uint64_t version, const uint32_t *unknown, const char *source)
{
    struct service_work *w = r->work;
    const struct model_view *v = &s->stream[stream].view;
    struct json *o = json_object(), *list = json_array();
    uint64_t sum = 0;
    if (w->rec[0] == '\0')
        service_new_rec(s, r->now_us, w->rec);
    json_set_str(o, "rec_id", w->rec);
    json_set_u64(o, "snapshot_version", version);
    for (size_t i = 0; i < w->shown_n; i++) {
        const struct shown *x = &w->shown[i];
        struct json *one = json_object();
        json_set_str(one, "item_id",
                     x->number == UINT32_MAX ? work_text(w, &x->id)
                                             : state_item_at(&s->state, x->number)->head.id);
        json_set_f64(one, "score", x->score);
        if (w->outputs && x->all != NULL) {
            struct json *outputs = json_object();
            for (size_t t = 0; t < v->tasks; t++)
                json_set_f64(outputs, v->output[t], x->all[t]);
            json_set(one, "outputs", outputs);
        }
        json_add(list, one);
    }
    json_set(o, "items", list);
    json_set(o, "unknown", unknown_of(v, unknown));
    if (source != NULL)
        json_set_str(o, "source", source);
    put_variant(r, o);
    for (size_t f = 0; f < v->fields; f++)
        sum += unknown[f];
    if (sum > 0)
        atomic_fetch_add(&s->unknown, sum);
    r->answer = o;
    r->answered = version;
    r->status = 200;
    r->logs = w->log && !r->shadow && w->shown_n > 0 &&
              ((w->user.there && s->interaction.on) || r->variant != NULL);
}

/* ---- rank --------------------------------------------------------------------------------------- */

static size_t records_of(const struct service_request *r)
{
    return r->kind == SERVICE_INFER ? r->table->records : r->work->items;
}

static void fill_rank(struct service_worker *s, const struct service_request *r, struct ask *ask,
                      struct candidate *c)
{
    struct service_work *w = r->work;
    const struct state *state = &s->service->state;
    const bool user = w->user.there && !state_user_gone(state, work_text(w, &w->user), w->user.n);
    ask->user = user ? work_text(w, &w->user)
                     : NULL; /* of a deleted user the model's row is not used either */
    ask->user_n = user ? w->user.n : 0;
    ask->known = user ? state_user(state, ask->user, ask->user_n) : NULL;
    ask->context = (struct cells){w->cell, w->context};
    ask->time = w->time;
    for (size_t i = 0; i < w->items; i++) {
        const struct wanted *x = &w->item_list[i];
        c[i].id = work_text(w, &x->id);
        c[i].id_n = x->id.n;
        c[i].item = state_item(state, c[i].id, c[i].id_n);
        c[i].own = (struct cells){w->cell + x->cell, x->cells};
    }
    ask->candidate = c;
    ask->n = w->items;
}

/* Columns are the candidate's own cells; a user that a table names has no history here: it says all. A model of
 * sequences is asked record by record, for each has its own history. */
static void fill_infer(struct service_worker *s, const struct service_request *r, struct ask *ask,
                       struct candidate *c, struct cell *cell)
{
    const struct service_table *t = r->table;
    const struct service *service = s->service;
    const bool ranks = service->stream[r->stream].view.ranks;
    for (size_t k = 0; k < t->records; k++) {
        struct ask *one = ranks ? &ask[k] : ask;
        struct cell *own = cell + k * t->columns;
        for (size_t j = 0; j < t->columns; j++) {
            const struct service_cell *from = &t->cell[j * t->records + k];
            own[j] = (struct cell){
                .field = fields_find(&service->fields, t->name[j], strlen(t->name[j])),
                .text = from->text,
                .n = (uint32_t)from->n,
                .missing = from->text == NULL};
            if (ranks && strcmp(t->name[j], "history") == 0)
                one->history = &own[j];
            if (ranks && strcmp(t->name[j], "item") == 0) {
                c[k].id = from->text;
                c[k].id_n = from->n;
            }
        }
        c[k].own = ranks ? (struct cells){NULL, 0} : (struct cells){own, t->columns};
        one->time = (int64_t)r->now_us;
        if (ranks) {
            one->candidate = &c[k];
            one->n = 1;
        }
    }
    if (!ranks) {
        ask->candidate = c;
        ask->n = t->records;
    }
}

static int by_score(const void *a, const void *b)
{
    const struct top *x = a, *y = b;
    const bool nx = isnan(x->score), ny = isnan(y->score);
    if (nx || ny)
        return nx == ny ? (x->at > y->at) - (x->at < y->at) : nx - ny;
    return x->score > y->score ? -1 : x->score < y->score ? 1 : (x->at > y->at) - (x->at < y->at);
}

static void answer_rank(struct service_worker *s, struct service_request *r, const struct ask *ask,
                        uint64_t version)
{
    struct service_work *w = r->work;
    const struct model_view *view = &s->service->stream[r->stream].view;
    mem_grow(&s->top, &s->top_cap, ask->n, sizeof(*s->top));
    for (size_t i = 0; i < ask->n; i++)
        s->top[i] = (struct top){ask->score[i * view->tasks + view->judged], (uint32_t)i};
    qsort(s->top, ask->n, sizeof(*s->top), by_score);
    w->shown_n = w->n < ask->n ? w->n : ask->n;
    w->shown = mem_array(w->shown_n + 1, sizeof(*w->shown));
    for (size_t i = 0; i < w->shown_n; i++) {
        const struct wanted *x = &w->item_list[s->top[i].at];
        w->shown[i] = (struct shown){.id = x->id,
                                     .number = UINT32_MAX,
                                     .wanted = s->top[i].at,
                                     .score = s->top[i].score,
                                     .all = ask->score + s->top[i].at * view->tasks};
    }
    service_answer_items(s->service, r, r->stream, version, ask->unknown, NULL);
}

static void answer_infer(struct service *s, struct service_request *r, const struct ask *ask,
                         uint64_t version)
{
    const struct model_view *view = &s->stream[r->stream].view;
    for (size_t i = 0; i < r->table->records * view->tasks; i++)
        r->scores[i] = (float)(view->ranks ? ask[i].score[0] : ask->score[i]);
    r->answered = version;
    r->status = 200;
}

void service_rank(struct service_worker *s, uint32_t stream, const struct version *v,
                  struct service_request *const *r, size_t n)
{
    const struct model_view *view = &s->service->stream[stream].view;
    const size_t F = view->fields > 0 ? view->fields : 1;
    size_t records = 0, asks = 0, cells = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t many = records_of(r[i]);
        records += many;
        asks += r[i]->kind == SERVICE_INFER && view->ranks ? many : 1;
        cells += r[i]->kind == SERVICE_INFER ? many * r[i]->table->columns : 0;
    }
    mem_grow(&s->ask, &s->ask_cap, asks, sizeof(*s->ask));
    mem_grow(&s->candidate, &s->candidate_cap, records, sizeof(*s->candidate));
    mem_grow(&s->cell, &s->cell_cap, cells + 1, sizeof(*s->cell));
    mem_grow(&s->score, &s->score_cap, records * view->tasks, sizeof(*s->score));
    mem_grow(&s->unknown, &s->unknown_cap, asks * F, sizeof(*s->unknown));
    memset(s->ask, 0, asks * sizeof(*s->ask));
    memset(s->candidate, 0, records * sizeof(*s->candidate));
    memset(s->unknown, 0, asks * F * sizeof(*s->unknown));
    for (size_t i = 0, a = 0, c = 0, k = 0; i < n; i++) {
        const size_t many = records_of(r[i]);
        const size_t own = r[i]->kind == SERVICE_INFER && view->ranks ? many : 1;
        for (size_t j = 0; j < own; j++) {
            s->ask[a + j].score = s->score + (c + (own > 1 ? j : 0)) * view->tasks;
            s->ask[a + j].unknown = s->unknown + (a + j) * F;
        }
        if (r[i]->kind == SERVICE_INFER) {
            fill_infer(s, r[i], s->ask + a, s->candidate + c, s->cell + k);
            k += many * r[i]->table->columns;
        } else {
            fill_rank(s, r[i], s->ask + a, s->candidate + c);
        }
        a += own;
        c += many;
    }
    predict_scores(&s->predict[stream], v, s->ask, asks);
    atomic_fetch_add(&s->service->scored, records);
    for (size_t i = 0, a = 0; i < n; i++) {
        if (r[i]->kind == SERVICE_INFER)
            answer_infer(s->service, r[i], s->ask + a, version_cut(v));
        else
            answer_rank(s, r[i], s->ask + a, version_cut(v));
        a += r[i]->kind == SERVICE_INFER && view->ranks ? records_of(r[i]) : 1;
    }
}
