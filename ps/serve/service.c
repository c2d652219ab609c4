/* service.c - see service.h: life, what is scored with which version, figures. */
#include "ps/serve/service.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/data/joins.h"
#include "ps/serve/service_int.h"

#define PREPARE_AT_ONCE 65536u /* items: a first shelf of so many is made while somebody waits */

/* ---- side files --------------------------------------------------------------------------------- */

static enum status preset_row(struct service *s, const struct join *j, size_t row, bool items,
                              struct errbuf *err)
{
    struct cell cell[CELLS_MAX];
    const struct join_cell *at = &j->cell[row * (1 + j->columns)];
    const char *id = (const char *)j->text.data + at->at;
    const struct job *job = &s->stream[0].view.model->job;
    size_t used = 0;
    for (size_t f = 0; f < job->data.fields_used && used < CELLS_MAX; f++) {
        const struct job_field *field = &job->data.fields[f];
        const char *column =
            field->column != NULL && field->column[0] != '\0' ? field->column : field->name;
        for (size_t c = 0; c < j->columns; c++) {
            if (strcmp(j->name[c], column) != 0)
                continue;
            size_t n;
            const char *text = join_text(j, at, c, &n);
            cell[used++] =
                (struct cell){.field = fields_find(&s->fields, field->name, strlen(field->name)),
                              .name = field->name,
                              .name_n = (uint32_t)strlen(field->name),
                              .text = text,
                              .n = (uint32_t)n};
        }
    }
    const struct cells profile = {cell, used};
    struct errbuf unfit = ERRBUF_INIT;
    if (id_check(id, at->n, j->spec->file, &unfit) != ST_OK)
        return ST_OK; /* no request could name it */
    if (!items)
        return state_preset_user(&s->state, id, at->n, &profile, err);
    const struct item_put put = {id, at->n, profile, true};
    return state_preset_item(&s->state, &put, err);
}

/* A side file is of items (users) when the column that it hangs on is that of the item's (user's) field. */
static int kind_of(const struct job *job, const char *on)
{
    for (size_t i = 0; i < job->data.fields_used; i++) {
        const struct job_field *f = &job->data.fields[i];
        const char *column = f->column != NULL && f->column[0] != '\0' ? f->column : f->name;
        if (strcmp(column, on) == 0 && (f->type == FIELD_ITEM || f->type == FIELD_USER))
            return f->type;
    }
    return FIELD_SKIP;
}

static enum status read_joins(struct service *s, const char *dir, struct texts *joined,
                              struct errbuf *err)
{
    const struct model_view *v = &s->stream[0].view;
    const struct job *job = &v->model->job;
    struct joins js = {0};
    struct sources sources = {0};
    struct quarantine q;
    quarantine_init(&q, dir, job->data.bad_max);
    enum status st = joins_sources(&js, job, &sources, err);
    if (st == ST_OK)
        st = joins_load(&js, job, &v->encoder->schema, &sources, &q, err);
    for (size_t i = 0; i < js.used && st == ST_OK; i++) {
        const struct join *j = &js.item[i];
        const int kind = kind_of(job, j->spec->on);
        joined->item =
            mem_realloc(joined->item, (joined->used + j->columns + 1) * sizeof(*joined->item));
        for (size_t c = 0; c < j->columns; c++)
            joined->item[joined->used++] = mem_strdup(j->name[c]);
        for (size_t row = 0; row < j->rows && kind != FIELD_SKIP && st == ST_OK; row++)
            st = preset_row(s, j, row, kind == FIELD_ITEM, err);
    }
    joins_release(&js);
    sources_release(&sources);
    quarantine_release(&q);
    return st;
}

/* ---- life --------------------------------------------------------------------------------------- */

static void set_defaults(struct service_conf *c)
{
    c->batch_max = c->batch_max > 0 ? c->batch_max : 512;
    c->candidates_max = c->candidates_max > 0 ? c->candidates_max : 1000;
    c->n_max = c->n_max > 0 ? c->n_max : 500;
    c->history_max = c->history_max > 0 ? c->history_max : 200;
    c->users_max = c->users_max > 0 ? c->users_max : 10000000;
    c->items_max = c->items_max > 0 ? c->items_max : 10000000;
    c->seen_max = c->seen_max > 0 ? c->seen_max : 1000000;
    c->log_bytes = c->log_bytes > 0 ? c->log_bytes : 256u << 20;
    c->window_us = c->window_us > 0 ? c->window_us : 30ull * 60 * 1000000;
    c->compact_bytes = c->compact_bytes > 0 ? c->compact_bytes : 64u << 20;
    c->seed = c->seed != 0 ? c->seed : rng_os_u64();
}

static enum status open_state(struct service *s, struct errbuf *err)
{
    struct texts joined = {0};
    char *folder = s->conf.interactions != NULL ? mem_strdup(s->conf.interactions)
                                                : file_join(s->conf.state, "interactions");
    struct state_conf conf = {
        .dir = s->conf.state,
        .users_max = s->conf.users_max,
        .items_max = s->conf.items_max,
        .history_max = s->conf.history_max,
        .seen_max = s->conf.seen_max,
        .exposures_max = 256u << 20,
        .compact_bytes = s->conf.compact_bytes,
        .fields = &s->fields,
        .interaction = &s->interaction,
        .online = s->online,
    };
    for (size_t i = 0; i < s->streams; i++) {
        const struct model_view *v = &s->stream[i].view;
        conf.keep_negatives |= v->needs_negatives;
        if (v->history_max > conf.history_max)
            conf.history_max = v->history_max < 65535 ? v->history_max : 65535;
    }
    state_open(&s->state, &conf);
    enum status st = file_mkdirs(s->conf.state, err);
    if (st == ST_OK)
        st = read_joins(s, s->conf.state, &joined, err);
    if (st == ST_OK)
        st = interaction_open(&s->interaction, folder, &s->stream[0].view.model->job, &s->fields,
                              &joined, s->conf.log_bytes, err);
    if (st == ST_OK)
        st = state_replay(&s->state, err);
    for (size_t i = 0; i < joined.used; i++)
        free(joined.item[i]);
    free(joined.item);
    free(folder);
    return st;
}

enum status service_new(const struct service_conf *conf, struct replica *const *replicas,
                        size_t streams, struct service **out, struct errbuf *err)
{
    struct service *s = mem_zalloc(sizeof(*s));
    enum status st = ST_OK;
    assert(streams >= 1 && streams <= SERVICE_STREAMS_MAX);
    s->conf = *conf;
    set_defaults(&s->conf);
    pthread_mutex_init(&s->gauges_lock, NULL);
    s->conf.state = mem_strdup(conf->state);
    s->conf.interactions = conf->interactions != NULL ? mem_strdup(conf->interactions) : NULL;
    for (size_t i = 0; i < streams && st == ST_OK; i++) {
        st = model_view_init(&s->stream[i].view, replicas[i], s->conf.batch_max, &s->fields, err);
        s->streams += st == ST_OK;
    }
    s->category = fields_add(&s->fields, "category", NULL, false);
    if (st == ST_OK)
        st = service_experiment_open(s, err);
    if (st == ST_OK)
        st = open_state(s, err);
    for (size_t i = 0; i < s->streams && st == ST_OK; i++) {
        struct stream *one = &s->stream[i];
        shelves_init(&one->shelves, &one->view, &s->state);
        popular_init(&one->popular, &one->view, &s->state);
        popular_refresh(&one->popular, clock_wall_us());
    }
    if (st != ST_OK) {
        service_free(s);
        return st;
    }
    *out = s;
    return ST_OK;
}

void service_free(struct service *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->streams; i++) {
        shelves_release(&s->stream[i].shelves);
        popular_release(&s->stream[i].popular);
        model_view_release(&s->stream[i].view);
    }
    if (s->state.conf.dir != NULL)
        state_close(&s->state);
    service_experiment_close(s);
    interaction_close(&s->interaction);
    fields_release(&s->fields);
    free((void *)(uintptr_t)s->conf.state);
    free((void *)(uintptr_t)s->conf.interactions);
    free(s);
}

enum status service_worker_new(struct service *s, struct service_worker **out, struct errbuf *err)
{
    struct service_worker *w = mem_zalloc(sizeof(*w));
    enum status st = ST_OK;
    w->service = s;
    w->reader = epoch_join(&s->state.epoch);
    if (w->reader == NULL)
        st = errbuf_set(err, ST_AGAIN, "more than %u threads read the stores",
                        EPOCH_READERS_MAX - 1);
    for (size_t i = 0; i < s->streams && st == ST_OK; i++) {
        w->replica[i] = replica_join(s->stream[i].view.replica);
        if (w->replica[i] == NULL)
            st = errbuf_set(err, ST_AGAIN, "too many threads read the model");
        else
            st = predict_init(&w->predict[i], &s->stream[i].view, &s->state, err);
    }
    if (st != ST_OK) {
        service_worker_free(w);
        return st;
    }
    *out = w;
    return ST_OK;
}

void service_worker_free(struct service_worker *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < SERVICE_STREAMS_MAX; i++) {
        if (w->replica[i] != NULL)
            replica_part(w->replica[i]);
        predict_release(&w->predict[i]);
    }
    if (w->reader != NULL)
        epoch_part(w->reader);
    free(w->ask);
    free(w->candidate);
    free(w->cell);
    free(w->score);
    free(w->unknown);
    free(w->state);
    free(w->logit);
    free(w->number);
    free(w->top);
    free(w);
}

bool service_writes(enum service_kind kind)
{
    return kind >= SERVICE_EVENTS;
}

size_t service_inputs(const struct service *s, uint32_t stream, const struct service_input **out)
{
    *out = s->stream[stream].view.input;
    return s->stream[stream].view.inputs;
}

size_t service_outputs(const struct service *s, uint32_t stream, const char *const **out)
{
    *out = s->stream[stream].view.output;
    return s->stream[stream].view.tasks;
}

/* ---- reading requests --------------------------------------------------------------------------- */

void service_get(struct service_worker *s, struct service_request *r)
{
    const struct state *state = &s->service->state;
    const struct service_work *w = r->work;
    const bool of_user = r->kind == SERVICE_USER_GET;
    const struct user *u = of_user ? state_user(state, work_text(w, &w->item), w->item.n) : NULL;
    const struct item *i = of_user ? NULL : state_item(state, work_text(w, &w->item), w->item.n);
    if (u == NULL && (i == NULL || !i->known)) {
        service_answer_error(r, 404,
                             of_user ? "no such user on this node" : "no such item on this node");
        return;
    }
    r->answer = json_object();
    r->status = 200;
    json_set_str(r->answer, of_user ? "user_id" : "item_id", r->id);
    json_set(r->answer, "fields", cells_json(of_user ? &u->profile : &i->profile));
    if (!of_user) {
        json_set_bool(r->answer, "in_stock", i->in_stock);
        return;
    }
    struct json *history = json_array();
    for (size_t e = 0; e < u->events; e++) {
        struct json *one = json_object();
        json_set_str(one, "item_id", state_item_at(state, u->event[e].item)->head.id);
        json_set_str(one, "type", state_type(state, u->event[e].type));
        json_set_f64(one, "ts", (double)u->event[e].time / 1e6);
        json_add(history, one);
    }
    json_set(r->answer, "history", history);
}

/* ---- which version ------------------------------------------------------------------------------ */

static bool by_shelf(const struct service *s, const struct service_request *r)
{
    return r->kind == SERVICE_SIMILAR ||
           (r->kind == SERVICE_RECOMMEND && s->stream[r->stream].view.ranks);
}

/* The first request of this kind makes its shelf, where that is quick: outside of any entry. */
static void need_shelf(struct service_worker *w, const struct service_request *r)
{
    struct service *s = w->service;
    struct shelves *shelves = &s->stream[r->stream].shelves;
    epoch_enter(&s->state.epoch, w->reader);
    const bool there = shelves_find(shelves, r->work->version) != NULL;
    epoch_leave(w->reader);
    if (!there && atomic_load(&s->state.items.used) <= PREPARE_AT_ONCE)
        while (shelves_build(shelves, w->replica[r->stream]))
            ;
}

static bool alike(const struct service *s, const struct service_request *a,
                  const struct service_request *b)
{
    const bool ranks = a->kind == SERVICE_RANK || a->kind == SERVICE_INFER;
    return !b->work->done && a->stream == b->stream && a->work->version == b->work->version &&
           (ranks ? b->kind == SERVICE_RANK || b->kind == SERVICE_INFER : a->kind == b->kind) &&
           by_shelf(s, a) == by_shelf(s, b);
}

static void no_version(struct service *s, const struct service_request *first,
                       struct service_request *const *r, size_t n)
{
    (void)s;
    for (size_t i = 0; i < n; i++)
        service_answer_error(r[i], first->work->version != 0 ? 404 : 503,
                             first->work->version != 0
                                 ? "that version is not kept on this node (any more)"
                                 : "no version of the model is here yet; try again later");
}

/* Requests that are scored together: one entry, one version. */
static void score_group(struct service_worker *w, struct service_request *const *r, size_t n)
{
    struct service *s = w->service;
    const uint32_t stream = r[0]->stream;
    const struct shelf *shelf = NULL;
    uint64_t cut = r[0]->work->version;
    epoch_enter(&s->state.epoch, w->reader);
    if (by_shelf(s, r[0]))
        shelf = shelves_find(&s->stream[stream].shelves, cut);
    if (shelf != NULL)
        cut = shelf->cut;
    const struct version *v = replica_enter(w->replica[stream], cut);
    if (v == NULL && shelf != NULL && r[0]->work->version == 0) {
        /* The shelf's version is not kept any more, and the next shelf is not ready: popular items of what is shown. */
        replica_leave(w->replica[stream]);
        shelf = NULL;
        v = replica_enter(w->replica[stream], 0);
    }
    if (v == NULL) {
        no_version(s, r[0], r, n);
    } else if (r[0]->kind == SERVICE_RANK || r[0]->kind == SERVICE_INFER) {
        service_rank(w, stream, v, r, n);
    } else if (r[0]->kind == SERVICE_RECOMMEND) {
        service_recommend(w, stream, v, shelf, r, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            if (shelf != NULL)
                service_similar(w, shelf, r[i]);
            else
                service_answer_error(
                    r[i], 503, "the items of this version are being prepared; try again later");
        }
    }
    for (size_t i = 0; v != NULL && i < n; i++)
        r[i]->incarnation = version_incarnation(v);
    replica_leave(w->replica[stream]);
    epoch_leave(w->reader);
}

void service_score(struct service_worker *w, struct service_request *const *r, size_t n)
{
    struct service_request *group[256];
    for (size_t i = 0; i < n; i++) {
        size_t used = 0;
        assert(!service_writes(r[i]->kind) && r[i]->work != NULL);
        if (r[i]->work->done)
            continue;
        if (r[i]->kind == SERVICE_USER_GET || r[i]->kind == SERVICE_ITEM_GET) {
            epoch_enter(&w->service->state.epoch, w->reader);
            service_get(w, r[i]);
            epoch_leave(w->reader);
            continue;
        }
        if (by_shelf(w->service, r[i]))
            need_shelf(w, r[i]);
        for (size_t j = i; j < n && used < sizeof(group) / sizeof(*group); j++)
            if (r[j]->kind != SERVICE_USER_GET && r[j]->kind != SERVICE_ITEM_GET &&
                alike(w->service, r[i], r[j])) {
                group[used++] = r[j];
                r[j]->work->done = true;
            }
        score_group(w, group, used);
    }
}

bool service_prepare(struct service_worker *w)
{
    bool more = false;
    for (size_t i = 0; i < w->service->streams; i++)
        more |= shelves_build(&w->service->stream[i].shelves, w->replica[i]);
    return more;
}

/* ---- the writer's second, figures --------------------------------------------------------------- */

void service_tick(struct service *s, uint64_t now_us)
{
    state_tick(&s->state, now_us, s->conf.window_us);
    for (size_t i = 0; i < s->streams; i++)
        popular_refresh(&s->stream[i].popular, now_us);
    service_experiment_tick(s, now_us);
}

void service_stats(const struct service *s, struct service_stats *out)
{
    const struct state *x = &s->state;
    *out = (struct service_stats){
        .users = atomic_load(&x->users.alive),
        .items = atomic_load(&x->items.alive),
        .users_bytes = atomic_load(&x->users.bytes),
        .items_bytes = atomic_load(&x->items.bytes),
        .events = atomic_load(&x->events),
        .events_duplicate = atomic_load(&x->duplicates),
        .exposures = atomic_load(&x->exposed),
        .exposures_lost = atomic_load(&x->exposed_lost),
        .outcomes = atomic_load(&x->outcomes),
        .outcomes_late = atomic_load(&x->outcomes_late),
        .records_scored = atomic_load(&s->scored),
        .ids_unknown = atomic_load(&s->unknown),
        .journal_bytes = atomic_load(&x->journal_now),
        .journal_failures = atomic_load(&x->failures),
        .read_only = atomic_load(&x->read_only),
    };
}
