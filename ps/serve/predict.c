/* predict.c - see predict.h. */
#include "ps/serve/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/math/gemm.h"

enum status predict_init(struct predict *p, const struct model_view *view,
                         const struct state *state, struct errbuf *err)
{
    const size_t F = view->fields, D = view->floats;
    memset(p, 0, sizeof(*p));
    p->view = view;
    p->state = state;
    struct plan *plan = mem_zalloc(sizeof(*plan));
    const enum status st =
        model_new(&view->model->job, F, D, view->batch_max, &p->model, plan, err);
    if (st == ST_OK)
        plan_release(plan);
    free(plan);
    if (st != ST_OK)
        return st;
    batch_open(&p->batch, F, D, false, view->batch_max);
    p->key_end = mem_array(F + 1, sizeof(*p->key_end));
    p->shared = mem_array(F + 1, sizeof(*p->shared));
    p->number = mem_array(D + 1, sizeof(*p->number));
    p->shared_number = mem_array(D + 1, sizeof(*p->shared_number));
    p->span = mem_array(view->batch_max, sizeof(*p->span));
    p->unused = mem_array(view->model->plan.tables[0].dim, sizeof(*p->unused));
    mem_grow(&p->logits, &p->logits_cap, view->batch_max * view->tasks, sizeof(*p->logits));
    if (view->ranks)
        p->states = mem_array(view->batch_max * view->width, sizeof(*p->states));
    return ST_OK;
}

void predict_release(struct predict *p)
{
    model_free(p->model);
    if (p->model != NULL)
        batch_release(&p->batch);
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++)
        free(p->rows[t]);
    free(p->logits);
    free(p->states);
    free(p->absent);
    free(p->unused);
    free(p->key);
    free(p->key_end);
    free(p->shared);
    free(p->at);
    free(p->number);
    free(p->shared_number);
    free(p->own);
    free(p->span);
    memset(p, 0, sizeof(*p));
}

/* ---- cells to keys ------------------------------------------------------------------------------ */

/* Into p->own; how many. cell NULL: missing. */
static size_t keys_of(struct predict *p, size_t slot, const struct cell *cell, uint32_t *unknown)
{
    const struct encoder *e = p->view->encoder;
    const struct schema_field *f = &e->schema.field[e->schema.ids[slot]];
    const bool missing = cell == NULL || cell->missing;
    const size_t most = missing ? 1 : cell->n + 1;
    mem_grow(&p->own, &p->own_cap, most, sizeof(*p->own));
    if (missing && f->type == FIELD_IDS)
        return 0;
    if (missing) {
        p->own[0] = encoder_key_missing(e, slot);
        return 1;
    }
    const size_t n = encoder_cell_keys(e, slot, cell->text, cell->n, p->own, most);
    const struct encoder_vocab *v = &e->vocab[f->vocab];
    for (size_t i = 0; i < n; i++)
        unknown[slot] += v->min_count > 0 && p->own[i] == v->oov;
    return n;
}

static const struct cell *find(const struct cells *c, uint32_t field)
{
    return c->used > 0 ? cells_find(c, field) : NULL;
}

/* The text that an event puts into a history of that field; false: none. */
static bool history_text(const struct predict *p, const struct view_field *f,
                         const struct happening *h, const char **out, size_t *out_n)
{
    const struct item *item = state_item_at(p->state, h->item);
    if (f->of_label) {
        *out = h->positive ? "1" : "0";
        *out_n = 1;
        return true;
    }
    if (f->of == FIELD_UNKNOWN) {
        *out = item->head.id;
        *out_n = item->head.id_n;
    } else {
        const struct cell *cell = cells_find(&item->profile, f->of);
        if (cell == NULL || cell->missing)
            return false;
        *out = cell->text;
        *out_n = cell->n;
    }
    encoder_trim(out, out_n);
    return !schema_missing(&p->view->encoder->schema, *out, *out_n);
}

/* The newest events strictly before the time, at most the field's number, oldest first: common/data/history.h. */
static size_t history_keys(struct predict *p, size_t slot, const struct ask *ask)
{
    const struct encoder *e = p->view->encoder;
    const struct view_field *f = &p->view->id[slot];
    const struct schema_field *sf = &e->schema.field[e->schema.ids[slot]];
    const size_t events = ask->known != NULL ? ask->known->events : 0;
    const size_t max = sf->ids_max < events ? (size_t)sf->ids_max : events;
    size_t n = 0;
    mem_grow(&p->own, &p->own_cap, events + 1, sizeof(*p->own));
    for (size_t i = events; i-- > 0 && n < max;) {
        const struct happening *h = &ask->known->event[i];
        const char *text;
        size_t text_n;
        if (h->time >= ask->time || (f->positive && !h->positive) ||
            !history_text(p, f, h, &text, &text_n))
            continue;
        p->own[n++] = encoder_key_fitted(e, slot, encoder_key(e, slot, text, text_n));
    }
    for (size_t i = 0; i < n / 2; i++) {
        const uint64_t swap = p->own[i];
        p->own[i] = p->own[n - 1 - i];
        p->own[n - 1 - i] = swap;
    }
    return n;
}

/* ---- the user's part ---------------------------------------------------------------------------- */

static void keep(struct predict *p, size_t *used, size_t n)
{
    mem_grow(&p->key, &p->key_cap, *used + n + 1, sizeof(*p->key));
    memcpy(p->key + *used, p->own, n * sizeof(*p->key));
    *used += n;
}

/* What context, the user's id, history and profile say. Fields that they don't have are the candidates'. */
static void encode_user(struct predict *p, struct ask *ask)
{
    const struct model_view *v = p->view;
    size_t used = 0;
    for (size_t f = 0; f < v->fields; f++) {
        const struct view_field *field = &v->id[f];
        const struct cell *cell = find(&ask->context, field->field);
        const struct cell id = {
            .text = ask->user, .n = (uint32_t)ask->user_n, .missing = ask->user == NULL};
        if (cell == NULL && field->is_user)
            cell = &id;
        p->shared[f] = true;
        if (cell == NULL && field->is_history) {
            keep(p, &used, history_keys(p, f, ask));
        } else {
            if (cell == NULL && !field->is_item && ask->known != NULL)
                cell = find(&ask->known->profile, field->field);
            p->shared[f] = cell != NULL;
            if (cell != NULL)
                keep(p, &used, keys_of(p, f, cell, ask->unknown));
        }
        p->key_end[f] = used;
    }
    for (size_t j = 0; j < v->floats; j++) {
        const struct cell *cell = find(&ask->context, v->num[j].field);
        if (cell == NULL && ask->known != NULL)
            cell = find(&ask->known->profile, v->num[j].field);
        p->shared_number[j] = cell != NULL;
        p->number[j] = 0;
        if (cell != NULL && !cell->missing &&
            encoder_cell_float(v->encoder, j, cell->text, cell->n, &p->number[j]) != NULL)
            p->number[j] = 0;
    }
    mem_grow(&p->at, &p->at_cap, used + 1, sizeof(*p->at));
}

/* The user's keys join the batch when its first record here does. */
static void place_user(struct predict *p)
{
    const size_t used = p->view->fields > 0 ? p->key_end[p->view->fields - 1] : 0;
    memset(p->at, 0xff, used * sizeof(*p->at));
}

/* ---- records ------------------------------------------------------------------------------------ */

static void put_shared(struct predict *p, size_t f)
{
    for (size_t k = f > 0 ? p->key_end[f - 1] : 0; k < p->key_end[f]; k++) {
        if (p->at[k] == UINT32_MAX)
            p->at[k] = batch_key(&p->batch, p->key[k], 1);
        else
            batch_key_at(&p->batch, p->at[k], 1);
    }
}

static const struct cell *cell_of(const struct view_field *field, const struct candidate *c,
                                  const struct cell *id)
{
    if (field->is_item)
        return id;
    return c->item != NULL ? find(&c->item->profile, field->field) : NULL;
}

static void add_record(struct predict *p, struct ask *ask, const struct candidate *c)
{
    const struct model_view *v = p->view;
    const struct cell id = {.text = c->id, .n = (uint32_t)c->id_n, .missing = c->id == NULL};
    float *number = batch_record(&p->batch);
    for (size_t f = 0; f < v->fields; f++) {
        const struct cell *own = find(&c->own, v->id[f].field);
        if (own == NULL && p->shared[f]) {
            put_shared(p, f);
        } else {
            const size_t n =
                keys_of(p, f, own != NULL ? own : cell_of(&v->id[f], c, &id), ask->unknown);
            for (size_t k = 0; k < n; k++)
                (void)batch_key(&p->batch, p->own[k], 1);
        }
        batch_bag_end(&p->batch);
    }
    for (size_t j = 0; j < v->floats; j++) {
        const struct cell *own = find(&c->own, v->num[j].field);
        number[j] = p->number[j];
        if (own == NULL && !p->shared_number[j] && c->item != NULL)
            own = find(&c->item->profile, v->num[j].field);
        if (own != NULL && (own->missing || encoder_cell_float(v->encoder, j, own->text, own->n,
                                                               &number[j]) != NULL))
            number[j] = 0;
    }
    batch_record_end(&p->batch);
}

/* ---- scoring ------------------------------------------------------------------------------------ */

/* Rows of the batch's keys. Returns how many keys of the first table the model has never seen. */
static size_t gather(struct predict *p, const uint64_t *keys, size_t n, struct model_params *out)
{
    const struct plan *plan = &p->view->model->plan;
    size_t unknown = 0;
    if (n > p->rows_cap) {
        p->rows_cap = n + n / 2;
        for (size_t t = 0; t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE; t++)
            p->rows[t] = mem_realloc(p->rows[t], p->rows_cap * plan->tables[t].dim * sizeof(float));
    }
    for (size_t t = 0; t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE; t++)
        version_rows(p->version, (uint32_t)t, keys, n, p->rows[t], t == 0 ? &unknown : NULL);
    *out =
        (struct model_params){.dense = version_dense(p->version), .stat = version_stat(p->version)};
    memcpy(out->rows, p->rows, sizeof(p->rows));
    return unknown;
}

/* Rare: some key has no row. Whose fields they are in; the user's part once an ask, keys that stand for a rare or a
 * missing id not here. */
static void count_absent(struct predict *p)
{
    const struct batch *b = &p->batch;
    const struct encoder *e = p->view->encoder;
    const size_t F = b->fields;
    mem_grow(&p->absent, &p->absent_cap, b->unique, sizeof(*p->absent));
    for (size_t u = 0; u < b->unique; u++) {
        size_t absent = 0;
        version_rows(p->version, 0, &b->keys[u], 1, p->unused, &absent);
        p->absent[u] = absent > 0;
    }
    for (size_t s = 0; s < p->spans; s++) {
        const struct span *span = &p->span[s];
        for (size_t i = 0; i < span->n; i++)
            for (size_t f = 0; f < F; f++) {
                const struct encoder_vocab *v = &e->vocab[e->schema.field[e->schema.ids[f]].vocab];
                const uint32_t *bag = b->offsets + (span->first + i) * F + f;
                if (p->view->id[f].is_user && (i > 0 || span->from > 0))
                    continue;
                for (uint32_t k = bag[0]; k < bag[1]; k++) {
                    const uint32_t u = b->index[k];
                    span->ask->unknown[f] +=
                        p->absent[u] && b->keys[u] != v->oov && b->keys[u] != v->missing;
                }
            }
    }
}

static struct model_input input_of(const struct batch *b)
{
    return (struct model_input){
        .n = b->n,
        .unique = b->unique,
        .offsets = b->offsets,
        .index = b->index,
        .weight = b->weight,
        .floats = b->floats,
        .labels = b->labels,
        .record = b->record,
    };
}

static void flush(struct predict *p)
{
    struct model_params params;
    if (p->batch.n == 0)
        return;
    const size_t unknown = gather(p, p->batch.keys, p->batch.unique, &params);
    const struct model_input in = input_of(&p->batch);
    model_score(p->model, &in, &params, p->logits);
    const size_t T = p->view->tasks;
    for (size_t s = 0; s < p->spans; s++) {
        const struct span *span = &p->span[s];
        for (size_t i = 0; i < span->n * T; i++) {
            const float z = p->logits[i % T * in.n + span->first + i / T];
            span->ask->score[span->from * T + i] = 1.0 / (1.0 + exp(-(double)z));
        }
    }
    if (unknown > 0)
        count_absent(p);
    p->records += p->batch.n;
    batch_clear(&p->batch);
    p->spans = 0;
}

static void score_records(struct predict *p, struct ask *ask)
{
    encode_user(p, ask);
    for (size_t from = 0; from < ask->n;) {
        if (p->batch.n == p->batch.n_max)
            flush(p);
        const size_t room = p->batch.n_max - p->batch.n;
        const size_t n = ask->n - from < room ? ask->n - from : room;
        p->span[p->spans++] = (struct span){ask, from, n, p->batch.n};
        place_user(p);
        for (size_t i = 0; i < n; i++)
            add_record(p, ask, &ask->candidate[from + i]);
        from += n;
    }
}

/* ---- sequences ---------------------------------------------------------------------------------- */

/* The newest events at or before the time: what a record of data.records=sequences would be predicted from. */
static void add_history(struct predict *p, struct ask *ask)
{
    const struct model_view *v = p->view;
    size_t n = 0;
    if (ask->history != NULL) {
        n = keys_of(p, 0, ask->history, ask->unknown);
    } else if (ask->known != NULL) {
        const struct user *u = ask->known;
        mem_grow(&p->own, &p->own_cap, (size_t)u->events + 1, sizeof(*p->own));
        size_t first = u->events, kept = 0;
        while (first > 0 && kept < v->history_max) {
            const struct happening *h = &u->event[--first];
            kept += h->time <= ask->time && h->positive;
        }
        for (size_t i = first; i < u->events; i++) {
            const struct happening *h = &u->event[i];
            const struct item *item = state_item_at(p->state, h->item);
            if (h->time <= ask->time && h->positive)
                n += model_view_item_key(v, item->head.id, item->head.id_n, &p->own[n]);
        }
    }
    const struct encoder_vocab *vocab =
        &v->encoder->vocab[v->encoder->schema.field[v->encoder->schema.ids[1]].vocab];
    for (size_t k = 0; k < n; k++) {
        (void)batch_key(&p->batch, p->own[k], 1);
        ask->unknown[0] += ask->history == NULL && vocab->min_count > 0 && p->own[k] == vocab->oov;
    }
    for (size_t f = 0; f < v->fields; f++)
        batch_bag_end(&p->batch);
    batch_record_end(&p->batch);
}

void predict_states(struct predict *p, const struct version *v, struct ask *ask, size_t n,
                    float *out)
{
    struct model_params params;
    p->version = v;
    batch_clear(&p->batch);
    for (size_t i = 0; i < n; i++)
        add_history(p, &ask[i]);
    if (p->batch.unique == 0) {
        memset(out, 0, n * p->view->width * sizeof(*out));
        batch_clear(&p->batch);
        return;
    }
    (void)gather(p, p->batch.keys, p->batch.unique, &params);
    const struct model_input in = input_of(&p->batch);
    model_states(p->model, &in, &params, out);
    p->records += n;
    batch_clear(&p->batch);
}

static void score_items(struct predict *p, struct ask *ask, const float *state)
{
    const struct model_view *v = p->view;
    struct model_params params;
    mem_grow(&p->own, &p->own_cap, ask->n, sizeof(*p->own));
    mem_grow(&p->logits, &p->logits_cap, ask->n, sizeof(*p->logits));
    for (size_t i = 0; i < ask->n; i++) {
        const struct candidate *c = &ask->candidate[i];
        if (c->id == NULL || !model_view_item_key(v, c->id, c->id_n, &p->own[i]))
            p->own[i] = encoder_key_missing(v->encoder, v->item_slot);
    }
    if (gather(p, p->own, ask->n, &params) > 0) {
        const size_t dim = v->model->plan.tables[0].dim;
        for (size_t i = 0; i < ask->n; i++) {
            size_t absent = 0;
            version_rows(p->version, 0, &p->own[i], 1, p->rows[0] + i * dim, &absent);
            ask->unknown[1] += (uint32_t)absent;
        }
    }
    gemm_nt(&(struct gemm){.m = 1,
                           .n = ask->n,
                           .k = v->width,
                           .a = state,
                           .lda = v->width,
                           .b = params.rows[v->items_table],
                           .ldb = v->width,
                           .c = p->logits,
                           .ldc = ask->n,
                           .bias = v->bias_table >= 0 ? params.rows[v->bias_table] : NULL});
    for (size_t i = 0; i < ask->n; i++)
        ask->score[i] = (double)p->logits[i];
}

void predict_scores(struct predict *p, const struct version *v, struct ask *ask, size_t n)
{
    p->version = v;
    batch_clear(&p->batch);
    p->spans = 0;
    if (!p->view->ranks) {
        for (size_t i = 0; i < n; i++)
            score_records(p, &ask[i]);
        flush(p);
        return;
    }
    for (size_t from = 0; from < n; from += p->view->batch_max) {
        const size_t many = n - from < p->view->batch_max ? n - from : p->view->batch_max;
        predict_states(p, v, ask + from, many, p->states);
        for (size_t i = 0; i < many; i++)
            if (ask[from + i].n > 0)
                score_items(p, &ask[from + i], p->states + i * p->view->width);
    }
}
