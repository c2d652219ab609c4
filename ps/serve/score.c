/* score.c - see score.h. */
#include "ps/serve/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/job_task.h"
#include "common/base/mem.h"
#include "common/data/dataset.h"
#include "common/nn/model.h"

#define BATCH 512u

struct score {
    const struct serve_model *m; /* borrowed */
    struct model *model;
    size_t *column; /* (F + D) where a slot's cell is in a record, or SCHEMA_NONE; owned */
    struct batch batch;
    uint64_t *cell; /* keys of one cell */
    size_t cell_cap, rows_cap;
    float *rows[PLAN_TABLES_MAX]; /* (unique, dim) */
    float *logits;                /* (T, BATCH) */
    size_t task;                  /* whose probability is told */
};

enum status score_new(const struct serve_model *m, struct score **out, struct errbuf *err)
{
    if (job_ranks(&m->job) || m->encoder->schema.weighted) {
        return errbuf_set(err, ST_USAGE, "this model's records are no rows of cells: %s",
                          job_ranks(&m->job) ? "it ranks items behind a history"
                                             : "its ids have weights");
    }
    struct score *s = mem_zalloc(sizeof(*s));
    struct plan plan;
    memset(&plan, 0, sizeof(plan));
    s->m = m;
    const size_t fields = m->encoder->schema.ids_used, floats = m->encoder->schema.floats_used;
    enum status st = model_new(&m->job, fields, floats, BATCH, &s->model, &plan, err);
    if (st != ST_OK) {
        free(s);
        return st;
    }
    plan_release(&plan);
    s->column = mem_array(fields + floats + 1, sizeof(*s->column));
    batch_open(&s->batch, fields, floats, false, BATCH);
    s->logits = mem_array(BATCH * model_tasks(s->model), sizeof(*s->logits));
    s->task = job_task(&m->job);
    for (size_t i = 0; i < fields; i++) {
        const uint64_t most = m->encoder->schema.field[m->encoder->schema.ids[i]].ids_max;
        s->cell_cap = most > s->cell_cap ? (size_t)most : s->cell_cap;
    }
    s->cell_cap = s->cell_cap > 0 ? s->cell_cap : 1;
    s->cell = mem_array(s->cell_cap, sizeof(*s->cell));
    *out = s;
    return ST_OK;
}

void score_free(struct score *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        free(s->rows[t]);
    }
    model_free(s->model);
    batch_release(&s->batch);
    free(s->column);
    free(s->cell);
    free(s->logits);
    free(s);
}

/* -- which cell is which field's -- */

static enum status find_columns(struct score *s, const char *const *fields, size_t n,
                                struct errbuf *err)
{
    const struct schema *schema = &s->m->encoder->schema;
    const size_t F = s->batch.fields;
    for (size_t i = 0; i < F + s->batch.floats_used; i++) {
        s->column[i] = SCHEMA_NONE;
    }
    for (size_t c = 0; c < n; c++) {
        bool known = false;
        for (size_t f = 0; f < schema->fields_used; f++) {
            const struct schema_field *x = &schema->field[f];
            if (strcmp(x->name, fields[c]) != 0) {
                continue;
            }
            known = true;
            if (x->slot != SCHEMA_NONE) {
                s->column[schema_is_id(x->type) ? x->slot : F + x->slot] = c;
            }
        }
        if (!known) {
            return errbuf_set(err, ST_USAGE, "%s is no field of the job", fields[c]);
        }
    }
    return ST_OK;
}

/* -- a batch -- */

static const char *cell_of(const struct score *s, const char *const *record, size_t slot)
{
    const char *text = s->column[slot] != SCHEMA_NONE ? record[s->column[slot]] : NULL;
    return text != NULL ? text : "";
}

static enum status add_record(struct score *s, const char *const *record, struct errbuf *err)
{
    const struct encoder *e = s->m->encoder;
    struct batch *b = &s->batch;
    for (size_t f = 0; f < b->fields; f++) {
        const char *text = cell_of(s, record, f);
        const size_t n = encoder_cell_keys(e, f, text, strlen(text), s->cell, s->cell_cap);
        for (size_t k = 0; k < n; k++) {
            batch_key(b, s->cell[k], 1);
        }
        batch_bag_end(b);
    }
    float *floats = batch_record(b);
    for (size_t d = 0; d < b->floats_used; d++) {
        const char *text = cell_of(s, record, b->fields + d);
        const char *wrong = encoder_cell_float(e, d, text, strlen(text), &floats[d]);
        if (wrong != NULL) {
            return errbuf_set(err, ST_USAGE, "field %s, \"%.40s\": %s",
                              e->schema.field[e->schema.floats[d]].name, text, wrong);
        }
    }
    batch_record_end(b);
    return ST_OK;
}

static void gather(struct score *s, const struct version *v)
{
    const struct plan *plan = &s->m->plan;
    const bool grown = s->batch.unique > s->rows_cap;
    s->rows_cap = grown ? s->batch.unique + s->batch.unique / 2 : s->rows_cap;
    for (uint32_t t = 0; t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE; t++) {
        if (grown) {
            s->rows[t] = mem_realloc(s->rows[t], s->rows_cap * plan->tables[t].dim * sizeof(float));
        }
        version_rows(v, t, s->batch.keys, s->batch.unique, s->rows[t], NULL);
    }
}

static enum status score_batch(struct score *s, const struct version *v, const char *const *cells,
                               size_t width, size_t n, float *out, struct errbuf *err)
{
    const struct batch *b = &s->batch;
    batch_clear(&s->batch);
    for (size_t i = 0; i < n; i++) {
        enum status st = add_record(s, cells + i * width, err);
        if (st != ST_OK) {
            return errbuf_wrap(err, st, "record %zu: ", i);
        }
    }
    gather(s, v);
    const struct model_input in = {.n = n,
                                   .unique = b->unique,
                                   .offsets = b->offsets,
                                   .index = b->index,
                                   .floats = b->floats_used > 0 ? b->floats : NULL};
    struct model_params params = {.dense = version_dense(v), .stat = version_stat(v)};
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        params.rows[t] = s->rows[t];
    }
    model_score(s->model, &in, &params, s->logits);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(1.0 / (1.0 + exp(-(double)s->logits[s->task * n + i])));
    }
    return ST_OK;
}

enum status score_records(struct score *s, const struct version *v, const char *const *fields,
                          size_t fields_n, const char *const *cells, size_t n, float *out,
                          struct errbuf *err)
{
    enum status st = find_columns(s, fields, fields_n, err);
    for (size_t at = 0; st == ST_OK && at < n; at += BATCH) {
        st = score_batch(s, v, cells + at * fields_n, fields_n, n - at < BATCH ? n - at : BATCH,
                         out + at, err);
    }
    return st;
}
