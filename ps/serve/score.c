/* score.c - see score.h. */
#include "ps/serve/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/data/dataset.h"
#include "common/nn/model.h"

#define BATCH 512u

struct score {
    const struct serve_model *m; /* borrowed */
    struct model *model;
    size_t fields, floats;
    size_t *column; /* (F + D) where a slot's cell is in a record, or SCHEMA_NONE; owned */
    uint64_t *keys; /* distinct, in order of first occurrence */
    uint32_t *offsets, *index;    /* (BATCH * F + 1); (occurrences) */
    uint32_t *seen;               /* hash of places in keys + 1 */
    uint64_t *cell;               /* keys of one cell */
    float *number;                /* (BATCH, D) */
    float *rows[PLAN_TABLES_MAX]; /* (unique, dim) */
    float logits[BATCH];
    size_t unique, used, keys_cap, index_cap, rows_cap, seen_mask, cell_cap;
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
    s->fields = m->encoder->schema.ids_used;
    s->floats = m->encoder->schema.floats_used;
    enum status st = model_new(&m->job, s->fields, s->floats, BATCH, &s->model, &plan, err);
    if (st != ST_OK) {
        free(s);
        return st;
    }
    plan_release(&plan);
    s->column = mem_array(s->fields + s->floats + 1, sizeof(*s->column));
    s->offsets = mem_array(BATCH * s->fields + 1, sizeof(*s->offsets));
    s->number = mem_array(BATCH * s->floats + 1, sizeof(*s->number));
    s->seen_mask = 1023;
    s->seen = mem_array(s->seen_mask + 1, sizeof(*s->seen));
    for (size_t i = 0; i < s->fields; i++) {
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
    free(s->column);
    free(s->keys);
    free(s->offsets);
    free(s->index);
    free(s->seen);
    free(s->cell);
    free(s->number);
    free(s);
}

/* -- which cell is which field's -- */

static enum status find_columns(struct score *s, const char *const *fields, size_t n,
                                struct errbuf *err)
{
    const struct schema *schema = &s->m->encoder->schema;
    for (size_t i = 0; i < s->fields + s->floats; i++) {
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
                s->column[schema_is_id(x->type) ? x->slot : s->fields + x->slot] = c;
            }
        }
        if (!known) {
            return errbuf_set(err, ST_USAGE, "%s is no field of the job", fields[c]);
        }
    }
    return ST_OK;
}

/* -- a batch -- */

static void grow_seen(struct score *s)
{
    const size_t mask = 2 * s->seen_mask + 1;
    free(s->seen);
    s->seen = mem_array(mask + 1, sizeof(*s->seen));
    s->seen_mask = mask;
    for (size_t i = 0; i < s->unique; i++) {
        size_t at = (size_t)hash_u64(s->keys[i]) & mask;
        while (s->seen[at] != 0) {
            at = (at + 1) & mask;
        }
        s->seen[at] = (uint32_t)i + 1;
    }
}

static void add_key(struct score *s, uint64_t key)
{
    if (2 * s->unique > s->seen_mask) {
        grow_seen(s);
    }
    size_t at = (size_t)hash_u64(key) & s->seen_mask;
    while (s->seen[at] != 0 && s->keys[s->seen[at] - 1] != key) {
        at = (at + 1) & s->seen_mask;
    }
    if (s->seen[at] == 0) {
        mem_grow(&s->keys, &s->keys_cap, s->unique + 1, sizeof(*s->keys));
        s->keys[s->unique] = key;
        s->seen[at] = (uint32_t)++s->unique;
    }
    mem_grow(&s->index, &s->index_cap, s->used + 1, sizeof(*s->index));
    s->index[s->used++] = s->seen[at] - 1;
}

static const char *cell_of(const struct score *s, const char *const *record, size_t slot)
{
    const char *text = s->column[slot] != SCHEMA_NONE ? record[s->column[slot]] : NULL;
    return text != NULL ? text : "";
}

static enum status add_record(struct score *s, const char *const *record, size_t i,
                              struct errbuf *err)
{
    const struct encoder *e = s->m->encoder;
    for (size_t f = 0; f < s->fields; f++) {
        const char *text = cell_of(s, record, f);
        s->offsets[i * s->fields + f] = (uint32_t)s->used;
        const size_t n = encoder_cell_keys(e, f, text, strlen(text), s->cell, s->cell_cap);
        for (size_t k = 0; k < n; k++) {
            add_key(s, s->cell[k]);
        }
    }
    for (size_t d = 0; d < s->floats; d++) {
        const char *text = cell_of(s, record, s->fields + d);
        const char *wrong =
            encoder_cell_float(e, d, text, strlen(text), &s->number[i * s->floats + d]);
        if (wrong != NULL) {
            return errbuf_set(err, ST_USAGE, "field %s, \"%.40s\": %s",
                              e->schema.field[e->schema.floats[d]].name, text, wrong);
        }
    }
    return ST_OK;
}

static void gather(struct score *s, const struct version *v)
{
    const struct plan *plan = &s->m->plan;
    const bool grown = s->unique > s->rows_cap;
    s->rows_cap = grown ? s->unique + s->unique / 2 : s->rows_cap;
    for (uint32_t t = 0; t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE; t++) {
        if (grown) {
            s->rows[t] = mem_realloc(s->rows[t], s->rows_cap * plan->tables[t].dim * sizeof(float));
        }
        version_rows(v, t, s->keys, s->unique, s->rows[t], NULL);
    }
}

static enum status score_batch(struct score *s, const struct version *v, const char *const *cells,
                               size_t width, size_t n, float *out, struct errbuf *err)
{
    s->unique = s->used = 0;
    memset(s->seen, 0, (s->seen_mask + 1) * sizeof(*s->seen));
    for (size_t i = 0; i < n; i++) {
        enum status st = add_record(s, cells + i * width, i, err);
        if (st != ST_OK) {
            return errbuf_wrap(err, st, "record %zu: ", i);
        }
    }
    s->offsets[n * s->fields] = (uint32_t)s->used;
    gather(s, v);
    const struct model_input in = {.n = n,
                                   .unique = s->unique,
                                   .offsets = s->offsets,
                                   .index = s->index,
                                   .floats = s->floats > 0 ? s->number : NULL};
    struct model_params params = {.dense = version_dense(v), .stat = version_stat(v)};
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        params.rows[t] = s->rows[t];
    }
    model_score(s->model, &in, &params, s->logits);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(1.0 / (1.0 + exp(-(double)s->logits[i])));
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
