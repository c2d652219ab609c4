/* service_experiment.c - the experiment on a node's way: who gets which variant, what was shown, what came of it. The
 * counting is online.h's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/option.h"
#include "ps/serve/service_int.h"

#define RECORDS_BYTES (256u << 20)
#define GAUGES_US     5000000u /* AUC is a walk over two million bins a variant */
#define ID_ROOM       64u
#define P_LEAST       1e-7 /* a probability of 0 has no logit */

/* ---- life --------------------------------------------------------------------------------------- */

enum status service_experiment_open(struct service *s, struct errbuf *err)
{
    const struct experiment *e = s->conf.experiment;
    if (e == NULL)
        return ST_OK;
    for (size_t v = 0; v < e->variants; v++)
        if (s->conf.variant_stream[v] >= s->streams)
            return errbuf_set(err, ST_INTERNAL, "variant %s has no stream", e->variant[v].name);
    s->conf.window_us = e->window_us;
    s->online = mem_zalloc(sizeof(*s->online));
    online_init(s->online, e, RECORDS_BYTES);
    return ST_OK;
}

void service_experiment_close(struct service *s)
{
    if (s->online != NULL)
        online_release(s->online);
    free(s->online);
    buffer_release(&s->gauges);
    pthread_mutex_destroy(&s->gauges_lock);
}

/* ---- a request's variant ------------------------------------------------------------------------ */

static bool is_there(struct service_worker *w, uint32_t stream, uint64_t version)
{
    const bool there = replica_enter(w->replica[stream], version) != NULL;
    replica_leave(w->replica[stream]);
    return there;
}

void service_assign(struct service_worker *w, struct service_request *r)
{
    struct service *s = w->service;
    const struct service_conf *c = &s->conf;
    char room[ID_ROOM];
    const char *unit;
    if (s->online == NULL || (r->kind != SERVICE_RANK && r->kind != SERVICE_RECOMMEND) ||
        json_u64(r->body, "version", 0) != 0 ||
        (unit = service_unit(r, room, sizeof(room))) == NULL)
        return;
    const int v = experiment_assign(c->experiment, unit);
    if (v < 0)
        return;
    if (!is_there(w, c->variant_stream[v], c->variant_version[v])) {
        atomic_fetch_add(&s->online->missing[v], 1);
        return;
    }
    r->stream = c->variant_stream[v];
    r->version = c->variant_version[v];
    r->experiment = c->experiment->name;
    r->variant = c->experiment->variant[v].name;
    r->propensity = c->experiment->variant[v].weight;
    r->variant_at = (uint32_t)v;
    r->unit = hash_bytes(unit, strlen(unit), 0);
}

/* ---- what was shown ----------------------------------------------------------------------------- */

float service_logit(const struct model_view *view, double score)
{
    if (view->ranks)
        return (float)score;
    const double p = fmin(fmax(score, P_LEAST), 1 - P_LEAST);
    return (float)log(p / (1 - p));
}

/* How often a user did before what each metric counts. */
static void before_of(const struct service *s, const struct service_work *w, double *out)
{
    const struct experiment *e = s->conf.experiment;
    const struct user *u =
        w->user.there ? state_user(&s->state, work_text(w, &w->user), w->user.n) : NULL;
    for (size_t m = 0; m < e->metrics; m++) {
        out[m] = 0;
        for (size_t i = 0; u != NULL && i < u->events; i++)
            out[m] += strcmp(state_type(&s->state, u->event[i].type), e->metric[m].event) == 0;
    }
}

const char *service_shown_id(const struct service *s, const struct service_work *w, size_t i,
                             size_t *n)
{
    const struct shown *x = &w->shown[i];
    if (x->number == UINT32_MAX) {
        *n = x->id.n;
        return work_text(w, &x->id);
    }
    const struct entry *e = &state_item_at(&s->state, x->number)->head;
    *n = e->id_n;
    return e->id;
}

size_t service_shown_items(const struct service_work *w)
{
    return w->shown_n < EXPOSURE_ITEMS_MAX ? w->shown_n : EXPOSURE_ITEMS_MAX;
}

/* shadow: (shown) its logits; NULL: the variant is the one that was shown. */
static void put_variant(struct service *s, const struct service_request *r, size_t variant,
                        const float *shadow)
{
    const struct service_work *w = r->work;
    struct served_item item[EXPOSURE_ITEMS_MAX];
    double before[AB_METRICS_MAX];
    struct served_put p = {.tag = s->online->tag[variant],
                           .time = r->now_us,
                           .unit = r->unit,
                           .item = item,
                           .befores = s->conf.experiment->metrics};
    memcpy(p.rec, w->rec, EXPOSURE_REC);
    for (; p.items < service_shown_items(w); p.items++) {
        size_t n;
        const char *id = service_shown_id(s, w, p.items, &n);
        item[p.items] =
            (struct served_item){.item = online_item(id, n),
                                 .logit = shadow != NULL ? shadow[p.items]
                                                         : service_logit(&s->stream[r->stream].view,
                                                                         w->shown[p.items].score)};
    }
    if (shadow == NULL && !online_has_unit(s->online, variant, r->unit)) {
        before_of(s, w, before);
        p.before = before;
    }
    online_put_served(&p, &s->state.frame);
}

void service_put_served(struct service *s, const struct service_request *r)
{
    const struct service_work *w = r->work;
    put_variant(s, r, r->variant_at, NULL);
    for (size_t v = 0; w->shadow != NULL && v < s->conf.experiment->variants; v++)
        if (!isnan(w->shadow[v * w->shown_n]))
            put_variant(s, r, v, w->shadow + v * w->shown_n);
}

/* ---- what came of it ---------------------------------------------------------------------------- */

void service_put_joined(struct service *s, const struct service_work *w, const struct happened *e)
{
    const char *rec = work_text(w, &e->rec), *type = work_text(w, &e->type);
    char text[64] = "";
    double value = 1;
    if (rec == NULL || e->rec.n != SERVICE_REC_ID || !online_knows(s->online, rec))
        return;
    if (e->has_value) {
        snprintf(text, sizeof(text), "%.*s", (int)e->value.n, work_text(w, &e->value));
        value = strtod(text, NULL); /* checked: a finite number */
    }
    const struct interaction *x = &s->interaction;
    const bool judged =
        x->labels <= 1 || interaction_task(x, type, e->type.n) == s->stream[0].view.judged;
    online_put_joined(s->online, rec, online_item(work_text(w, &e->item), e->item.n), type,
                      e->type.n, e->positive && judged, value, &s->state.frame);
}

/* ---- figures ------------------------------------------------------------------------------------ */

void service_experiment_get(struct service *s, struct service_request *r)
{
    const struct experiment *e = s->conf.experiment;
    if (r->id == NULL) {
        struct json *list = json_array();
        if (e != NULL)
            json_add_str(list, e->name);
        r->answer = json_object();
        json_set(r->answer, "experiments", list);
    } else if (e != NULL && strcmp(e->name, r->id) == 0) {
        r->answer = online_json(s->online);
    } else {
        service_answer_error(r, 404,
                             e == NULL ? "no experiment runs on this node (serve --ab FILE)"
                                       : "no such experiment; GET /v1/experiments lists them");
        return;
    }
    r->status = 200;
}

void service_experiment_tick(struct service *s, uint64_t now_us)
{
    if (s->online == NULL || now_us < s->gauges_us + GAUGES_US)
        return;
    struct buffer made = BUFFER_INIT;
    struct json *figures = online_json(s->online);
    online_metrics(figures, &made);
    json_free(figures);
    pthread_mutex_lock(&s->gauges_lock);
    struct buffer was = s->gauges;
    s->gauges = made;
    pthread_mutex_unlock(&s->gauges_lock);
    buffer_release(&was);
    s->gauges_us = now_us;
}

void service_experiment_metrics(struct service *s, struct buffer *out)
{
    pthread_mutex_lock(&s->gauges_lock);
    if (s->gauges.used > 0)
        buffer_put(out, s->gauges.data, s->gauges.used);
    pthread_mutex_unlock(&s->gauges_lock);
}
