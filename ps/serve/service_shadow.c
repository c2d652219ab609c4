/* service_shadow.c - what a request showed, scored by the variants that nobody is shown: behind the answer, on the loop. */
#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/serve/service_int.h"

/* A ranking of just what was shown, in its order. */
static struct json *shadow_body(const struct service *s, const struct service_request *r)
{
    static const char *const same[] = {"user_id", "session_id", "scenario", "context"};
    const struct service_work *w = r->work;
    const struct json *wanted = r->kind == SERVICE_RANK ? json_get(r->body, "items") : NULL;
    struct json *body = json_object(), *items = json_array();
    for (size_t k = 0; k < sizeof(same) / sizeof(same[0]); k++)
        if (json_get(r->body, same[k]) != NULL)
            json_set(body, same[k], json_clone(json_get(r->body, same[k])));
    for (size_t i = 0; i < service_shown_items(w); i++) {
        size_t n;
        if (wanted != NULL)
            json_add(items, json_clone(json_at(wanted, w->shown[i].wanted)));
        else
            json_add_str(items, service_shown_id(s, w, i, &n));
    }
    json_set(body, "items", items);
    return body;
}

static bool score_shadow(struct service_worker *w, const struct service_request *r,
                         const struct json *body, size_t v, float *out)
{
    const struct service *s = w->service;
    struct service_request x = {.kind = SERVICE_RANK,
                                .stream = s->conf.variant_stream[v],
                                .version = s->conf.variant_version[v],
                                .shadow = true,
                                .now_us = r->now_us,
                                .body = body};
    struct service_request *list[1] = {&x};
    struct errbuf err = ERRBUF_INIT;
    const bool checked = service_check(w, &x, &err) == ST_OK;
    if (checked) {
        x.work->time = r->work->time;
        service_score(w, list, 1);
    }
    const bool good = checked && x.status == 200 && x.work->shown_n == service_shown_items(r->work);
    for (size_t i = 0; good && i < x.work->shown_n; i++)
        out[x.work->shown[i].wanted] =
            service_logit(&s->stream[x.stream].view, x.work->shown[i].score);
    json_free(x.answer);
    service_request_release(&x);
    return good;
}

void service_shadow(struct service_worker *w, struct service_request *r)
{
    struct service *s = w->service;
    const struct experiment *e = s->conf.experiment;
    struct service_work *work = r->work;
    if (r->variant == NULL || e->shown_used == e->variants || work->shown_n == 0)
        return;
    epoch_enter(&s->state.epoch, w->reader);
    struct json *body = shadow_body(s, r);
    epoch_leave(w->reader);
    work->shadow = mem_array(e->variants * work->shown_n, sizeof(*work->shadow));
    for (size_t v = 0; v < e->variants; v++) {
        float *out = work->shadow + v * work->shown_n;
        out[0] = NAN;
        if (e->variant[v].shadow && !score_shadow(w, r, body, v, out)) {
            out[0] = NAN;
            atomic_fetch_add(&s->online->unscored[v], 1);
        }
    }
    json_free(body);
}
