/* service_write.c - the writer's thread: requests become frames, a group of them one fsync, then their answers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "ps/serve/service_int.h"

/* ---- lines of the interaction log --------------------------------------------------------------- */

struct line_of { /* what a line is made of, besides profiles */
    const char *user, *item;
    size_t user_n, item_n;
    int64_t time;
    struct cells own, context;
    const char *extra[EXTRAS];
};

static void put_line(const struct service *s, const struct line_of *l, struct buffer *out)
{
    static const struct cells none;
    const struct user *u = l->user != NULL ? state_user(&s->state, l->user, l->user_n) : NULL;
    const struct item *i = state_item(&s->state, l->item, l->item_n);
    struct interaction_row row = {
        .user = l->user,
        .item = l->item,
        .user_n = l->user_n,
        .item_n = l->item_n,
        .time = l->time,
        .sources = {&l->own, &l->context, u != NULL ? &u->profile : &none,
                    i != NULL ? &i->profile : &none},
    };
    memcpy(row.extra, l->extra, sizeof(row.extra));
    interaction_line(&s->interaction, &row, out);
}

/* ---- exposures ---------------------------------------------------------------------------------- */

struct rows { /* of one exposure, while its text may move */
    struct exposure_row row[EXPOSURE_ITEMS_MAX];
    size_t at[EXPOSURE_ITEMS_MAX];
    struct buffer text;
};

static void put_row(const struct service *s, const struct service_request *r, size_t i,
                    struct rows *rows)
{
    const struct service_work *w = r->work;
    const struct shown *x = &w->shown[i];
    char version[24], propensity[32], position[24], score[32];
    snprintf(version, sizeof(version), "%" PRIu64, r->answered);
    snprintf(propensity, sizeof(propensity), "%.9g", r->propensity);
    snprintf(position, sizeof(position), "%zu", i + 1);
    snprintf(score, sizeof(score), "%.9g", x->score);
    struct line_of l = {
        .user = work_text(w, &w->user), .user_n = w->user.n, .time = (int64_t)r->now_us};
    l.context = (struct cells){w->cell, w->context};
    if (x->number == UINT32_MAX) {
        const struct wanted *from = &w->item_list[x->wanted];
        l.item = work_text(w, &from->id);
        l.item_n = from->id.n;
        l.own = (struct cells){w->cell + from->cell, from->cells};
    } else {
        const struct item *item = state_item_at(&s->state, x->number);
        l.item = item->head.id;
        l.item_n = item->head.id_n;
    }
    l.extra[EXTRA_REC] = w->rec;
    l.extra[EXTRA_VERSION] = version;
    l.extra[EXTRA_EXPERIMENT] = r->experiment;
    l.extra[EXTRA_VARIANT] = r->variant;
    l.extra[EXTRA_PROPENSITY] = r->variant != NULL ? propensity : NULL;
    l.extra[EXTRA_POSITION] = position;
    l.extra[EXTRA_SCORE] = score;
    struct exposure_row *row = &rows->row[i];
    row->item = l.item;
    row->item_n = l.item_n;
    rows->at[i] = rows->text.used;
    put_line(s, &l, &rows->text);
    row->n = (uint32_t)(rows->text.used - rows->at[i]);
}

static void put_rows(struct service *s, const struct service_request *r)
{
    const struct service_work *w = r->work;
    struct rows *rows = mem_zalloc(sizeof(*rows));
    struct exposure_put put = {.time = r->now_us};
    const char *user = work_text(w, &w->user);
    memcpy(put.rec, w->rec, EXPOSURE_REC);
    registry_hash(user, w->user.n, &put.user_hash, &put.user_check);
    put.rows = w->shown_n < EXPOSURE_ITEMS_MAX ? w->shown_n : EXPOSURE_ITEMS_MAX;
    put.row = rows->row;
    for (size_t i = 0; i < put.rows; i++)
        put_row(s, r, i, rows);
    for (size_t i = 0; i < put.rows; i++)
        rows->row[i].text = (const char *)rows->text.data + rows->at[i];
    state_put_exposure(&s->state, &put);
    buffer_release(&rows->text);
    free(rows);
}

/* Whoever a variant was shown to counts, also one that no line can be of: a session, a job whose log isn't written. */
static void put_exposure(struct service *s, const struct service_request *r)
{
    struct errbuf err = ERRBUF_INIT;
    state_begin(&s->state);
    if (r->work->user.there && s->interaction.on)
        put_rows(s, r);
    if (r->variant != NULL)
        service_put_served(s, r);
    if (state_end(&s->state, &err) != ST_OK)
        log_warn("%s", err.text);
}

static void write_exposures(struct service *s, struct service_request *const *r, size_t n)
{
    size_t put = 0, lost = 0;
    for (size_t i = 0; i < n; i++) {
        const struct service_work *w = r[i]->work;
        if (service_writes(r[i]->kind) || !r[i]->logs ||
            (w->user.there && state_user_gone(&s->state, work_text(w, &w->user), w->user.n)))
            continue;
        if (s->state.exposures.bytes > 2 * s->state.conf.exposures_max) {
            lost++;
            continue;
        }
        put_exposure(s, r[i]);
        put++;
    }
    if (put > 0 && state_commit(&s->state, NULL) != ST_OK) {
        lost += put;
        put = 0;
    }
    atomic_fetch_add(&s->state.exposed, put);
    atomic_fetch_add(&s->state.exposed_lost, lost);
}

/* ---- events ------------------------------------------------------------------------------------- */

struct marks { /* rows of exposures that this group marks as done; unmarked if it fails */
    struct mark {
        struct exposure *exposure;
        size_t row, task;
    } * item;
    size_t used, cap;
};

struct events_put {
    struct service *s;
    const struct service_request *r;
    struct marks *marks;
    struct buffer lines, text;
    size_t accepted, duplicates, ignored, outcomes, late;
};

/* The line that an event adds to the interaction log, if it adds one. */
static void put_event_line(struct events_put *p, const struct happened *e)
{
    const struct service_work *w = p->r->work;
    const struct interaction *x = &p->s->interaction;
    const char *rec = e->rec.n == SERVICE_REC_ID ? work_text(w, &e->rec) : NULL,
               *item = work_text(w, &e->item);
    struct exposure *shown = rec != NULL ? exposures_find(&p->s->state.exposures, rec) : NULL;
    const size_t row = shown != NULL ? exposure_row_of(shown, item, e->item.n) : SIZE_MAX;
    char value[64];
    snprintf(value, sizeof(value), "%.*s", (int)e->value.n,
             e->has_value ? work_text(w, &e->value) : "");
    const size_t task = interaction_task(x, work_text(w, &e->type), e->type.n);
    const char *label[JOB_TASKS_MAX] = {NULL}; /* of the other tasks it says nothing */
    label[task] = e->has_value ? value : e->positive ? x->positive : x->negative;
    /* Of what was shown a row is written anyway: now if something came of it, else when its window closes. */
    if ((rec != NULL || x->labels == 0) && !e->positive)
        return;
    p->outcomes += rec != NULL;
    const uint64_t outcome = rec != NULL ? exposure_outcome(rec, item, e->item.n, task) : 0;
    if (row != SIZE_MAX) {
        if (shown->done[row] & 1u << task)
            return;
        mem_grow(&p->marks->item, &p->marks->cap, p->marks->used + 1, sizeof(*p->marks->item));
        p->marks->item[p->marks->used++] = (struct mark){shown, row, task};
        shown->done[row] |= (uint8_t)(1u << task);
        (void)state_see(&p->s->state, outcome);
        const struct exposure_row *r = &shown->put.row[row];
        if (x->labels <= 1)
            interaction_label(x, r->text, r->n, label, &p->lines);
        state_put_outcome(&p->s->state, rec, item, e->item.n, task);
        return;
    }
    p->late += rec != NULL;
    if (!x->on || (rec != NULL && !state_see(&p->s->state, outcome)))
        return;
    if (rec != NULL)
        state_put_outcome(&p->s->state, rec, item, e->item.n, task);
    struct line_of l = {.user = work_text(w, &e->user),
                        .user_n = e->user.n,
                        .item = item,
                        .item_n = e->item.n,
                        .time = e->time};
    char rec_text[SERVICE_REC_ID + 1] = "";
    l.context = (struct cells){w->cell + e->cell, e->cells};
    if (rec != NULL)
        memcpy(rec_text, rec, SERVICE_REC_ID);
    l.extra[EXTRA_REC] = rec != NULL ? rec_text : NULL;
    buffer_reset(&p->text);
    put_line(p->s, &l, &p->text);
    interaction_label(x, (const char *)p->text.data, p->text.used, label, &p->lines);
}

static bool same_user(const struct service_work *w, const struct happened *a,
                      const struct happened *b)
{
    return a->user.n == b->user.n &&
           memcmp(work_text(w, &a->user), work_text(w, &b->user), a->user.n) == 0;
}

/* All events from `from` on of the user of that one; marks them in put (events). One op a user: a frame has one lsn, and
 * a record that has it already passes a second op by. */
static enum status put_user(struct events_put *p, size_t from, bool *put, struct event_put *event,
                            struct errbuf *err)
{
    const struct service_work *w = p->r->work;
    const char *user = work_text(w, &w->event[from].user);
    const size_t user_n = w->event[from].user.n;
    const bool gone = state_user_gone(&p->s->state, user, user_n);
    size_t n = 0;
    for (size_t i = from; i < w->events; i++) {
        const struct happened *e = &w->event[i];
        if (put[i] || !same_user(w, &w->event[from], e))
            continue;
        put[i] = true;
        if (gone) {
            p->ignored++;
            continue;
        }
        const uint64_t id = hash_bytes(work_text(w, &e->id), e->id.n, 0);
        if (!state_see(&p->s->state, id)) {
            p->duplicates++;
            continue;
        }
        event[n++] = (struct event_put){.seen = id + (id == 0),
                                        .time = e->time,
                                        .positive = e->positive,
                                        .item = work_text(w, &e->item),
                                        .item_n = e->item.n,
                                        .type = work_text(w, &e->type),
                                        .type_n = e->type.n};
        if (p->s->online != NULL)
            service_put_joined(p->s, w, e);
        put_event_line(p, e);
    }
    p->accepted += n;
    return n > 0 ? state_put_events(&p->s->state, user, user_n, event, n, err) : ST_OK;
}

static enum status put_events(struct events_put *p, struct errbuf *err)
{
    const struct service_work *w = p->r->work;
    struct event_put *event = mem_array(w->events, sizeof(*event));
    bool *put = mem_array(w->events, sizeof(*put));
    enum status st = ST_OK;
    for (size_t i = 0; i < w->events && st == ST_OK; i++)
        if (!put[i])
            st = put_user(p, i, put, event, err);
    state_put_lines(&p->s->state, (const char *)p->lines.data, p->lines.used);
    free(event);
    free(put);
    buffer_release(&p->lines);
    buffer_release(&p->text);
    return st;
}

/* ---- the group ---------------------------------------------------------------------------------- */

static void answer_id(struct service_request *r, const char *key, int deleted)
{
    r->answer = json_object();
    json_set_str(r->answer, key, r->id);
    if (deleted >= 0)
        json_set_bool(r->answer, "deleted", deleted);
    r->status = 200;
}

static enum status put_one(struct service *s, struct service_request *r, struct marks *marks,
                           struct errbuf *err)
{
    struct service_work *w = r->work;
    const struct cells profile = {w->cell, w->cells};
    const char *id = work_text(w, &w->item);
    enum status st = ST_OK;
    state_begin(&s->state);
    switch (r->kind) {
    case SERVICE_USER_PUT:
        st = state_put_user(&s->state, id, w->item.n, &profile, err);
        answer_id(r, "user_id", -1);
        break;
    case SERVICE_USER_DELETE:
        answer_id(r, "user_id", state_user(&s->state, id, w->item.n) != NULL);
        state_put_user_gone(&s->state, id, w->item.n);
        break;
    case SERVICE_ITEM_PUT: {
        const struct item_put put = {id, w->item.n, profile, w->in_stock};
        st = state_put_item(&s->state, &put, err);
        answer_id(r, "item_id", -1);
        break;
    }
    case SERVICE_ITEM_DELETE: {
        const struct item *item = state_item(&s->state, id, w->item.n);
        answer_id(r, "item_id", item != NULL && item->known);
        if (item != NULL)
            st = state_put_item_gone(&s->state, id, w->item.n, err);
        break;
    }
    default: {
        struct events_put p = {.s = s, .r = r, .marks = marks};
        st = put_events(&p, err);
        r->answer = json_object();
        json_set_u64(r->answer, "accepted", p.accepted);
        json_set_u64(r->answer, "duplicates", p.duplicates);
        if (p.ignored > 0)
            json_set_u64(r->answer, "ignored", p.ignored);
        r->status = 202;
        w->n = p.accepted;
        atomic_fetch_add(&s->state.duplicates, p.duplicates);
        atomic_fetch_add(&s->state.outcomes, p.outcomes);
        atomic_fetch_add(&s->state.outcomes_late, p.late);
    }
    }
    return st == ST_OK ? state_end(&s->state, err) : st;
}

static void unmark(struct marks *m, size_t from)
{
    while (m->used > from) {
        m->used--;
        const struct mark *one = &m->item[m->used];
        one->exposure->done[one->row] &= (uint8_t) ~(1u << one->task);
    }
}

void service_write(struct service *s, struct service_request *const *r, size_t n)
{
    struct marks marks = {NULL, 0, 0};
    struct errbuf err = ERRBUF_INIT;
    write_exposures(s, r, n);
    for (size_t i = 0; i < n; i++) {
        if (!service_writes(r[i]->kind) || r[i]->kind == SERVICE_EXPERIMENT)
            continue;
        const size_t marked = marks.used;
        const size_t seen = s->state.new_seen;
        const enum status st = put_one(s, r[i], &marks, &err);
        if (st == ST_OK)
            continue;
        unmark(&marks, marked);
        state_unsee(&s->state, s->state.new_seen - seen);
        service_answer_error(r[i], 503, err.text);
    }
    const enum status st = state_commit(&s->state, &err);
    if (st != ST_OK)
        unmark(&marks, 0);
    for (size_t i = 0; i < n; i++) {
        if (!service_writes(r[i]->kind))
            continue;
        if (r[i]->kind == SERVICE_EXPERIMENT) {
            service_experiment_get(s, r[i]);
        } else if (st != ST_OK) {
            char text[sizeof(err.text) + 80];
            snprintf(text, sizeof(text), "nothing of this was kept, try again later: %s", err.text);
            service_answer_error(r[i], 503, text);
        } else if (r[i]->status == 202) {
            atomic_fetch_add(&s->state.events, r[i]->work->n);
        }
    }
    free(marks.item);
}
