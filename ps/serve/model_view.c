/* model_view.c - see model_view.h. */
#include "ps/serve/model_view.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/nn/model.h"

static void view_id(struct model_view *v, struct fields *fields, size_t slot)
{
    const struct schema *s = &v->encoder->schema;
    const struct schema_field *f = &s->field[s->ids[slot]];
    struct view_field *out = &v->id[slot];
    out->field = fields_add(fields, f->name, f->type == FIELD_IDS ? f->sep : NULL, false);
    out->is_user = f->type == FIELD_USER;
    out->is_item = f->type == FIELD_ITEM;
    out->is_history = f->derived;
    out->of = FIELD_UNKNOWN;
    if (!f->derived)
        return;
    const struct schema_field *of = &s->field[f->of];
    out->of_label = f->of == s->label;
    out->of_slot = of->slot;
    out->positive = f->positive;
    if (!out->of_label && of->type != FIELD_ITEM)
        out->of = fields_add(fields, of->name, NULL, false);
    v->needs_negatives |= !f->positive;
    if (f->ids_max > v->history_max)
        v->history_max = (size_t)f->ids_max;
}

/* Where an item's rows are: what a sequence family scores by, else the first table of rows with more than one float. */
static void find_items(struct model_view *v, const struct model *m, const struct plan *plan)
{
    v->items_table = v->bias_table = -1;
    if (v->ranks) {
        const struct model_items items = model_items(m);
        v->items_table = items.table;
        v->bias_table = items.bias;
        v->width = items.width;
        return;
    }
    for (size_t t = plan->tables_used; t-- > 0 && v->item_slot != SCHEMA_NONE;)
        if (plan->tables[t].kind == PLAN_SPARSE && plan->tables[t].dim > 1) {
            v->items_table = (int)t;
            v->width = plan->tables[t].dim;
        }
}

/* The model is built once here to be held against the plan; each worker builds its own. */
static enum status check_model(struct model_view *v, struct errbuf *err)
{
    struct model *m = NULL;
    struct plan *plan = mem_zalloc(sizeof(*plan));
    enum status st = model_new(&v->model->job, v->fields, v->floats, 1, &m, plan, err);
    if (st == ST_OK) {
        char *mine = plan_text(plan), *theirs = plan_text(&v->model->plan);
        if (strcmp(mine, theirs) != 0)
            st = errbuf_set(err, ST_USAGE,
                            "%s: its plan is not that of the job's model: this program and the one "
                            "that trained are of different versions",
                            v->model->dir);
        free(mine);
        free(theirs);
        v->ranks = model_ranks(m);
        v->tasks = model_tasks(m);
        v->judged = v->ranks ? 0 : job_task(&v->model->job);
        for (size_t t = 0; t < v->tasks; t++)
            v->output[t] = v->ranks        ? "score"
                           : v->tasks == 1 ? "probability"
                                           : job_task_name(&v->model->job, t);
        if (st == ST_OK)
            find_items(v, m, &v->model->plan);
        plan_release(plan);
    }
    model_free(m);
    free(plan);
    return st;
}

static void add_inputs(struct model_view *v)
{
    const struct schema *s = &v->encoder->schema;
    v->input = mem_array(s->fields_used + 2, sizeof(*v->input));
    if (s->sequences) {
        v->input[v->inputs++] = (struct service_input){"history", FIELD_IDS};
        v->input[v->inputs++] = (struct service_input){"item", FIELD_ITEM};
        return;
    }
    for (size_t i = 0; i < s->fields_used; i++) {
        const struct schema_field *f = &s->field[i];
        if (f->slot != SCHEMA_NONE)
            v->input[v->inputs++] = (struct service_input){f->name, f->type};
    }
}

enum status model_view_init(struct model_view *v, struct replica *replica, size_t batch_max,
                            struct fields *fields, struct errbuf *err)
{
    memset(v, 0, sizeof(*v));
    v->replica = replica;
    v->model = replica_model(replica);
    v->encoder = v->model->encoder;
    struct schema *s = &v->model->encoder->schema;
    const struct job *job = &v->model->job;
    if (s->weighted)
        return errbuf_set(err, ST_USAGE,
                          "data.format: records of libsvm and libffm have no named cells that a "
                          "request could give; "
                          "they can't be served");
    /* Before any thread looks: what the encoder's file does not say about histories. */
    enum status st = s->sequences ? ST_OK : schema_derive(s, job, err);
    if (st != ST_OK)
        return st;
    v->fields = s->ids_used;
    v->floats = s->floats_used;
    v->item_slot = s->sequences ? 1 : s->item != SCHEMA_NONE ? s->field[s->item].slot : SCHEMA_NONE;
    v->id = mem_array(v->fields + 1, sizeof(*v->id));
    v->num = mem_array(v->floats + 1, sizeof(*v->num));
    for (size_t i = 0; i < v->fields && !s->sequences; i++)
        view_id(v, fields, i);
    for (size_t j = 0; j < v->floats; j++)
        v->num[j].field = fields_add(fields, s->field[s->floats[j]].name, NULL, true);
    if (s->sequences)
        v->history_max = (size_t)job->data.sequence.max;
    for (size_t i = 0; i < job->data.fields_used; i++) /* label, time, user of a log of sequences */
        if (job->data.fields[i].type != FIELD_SKIP)
            (void)fields_add(fields, job->data.fields[i].name, NULL, false);
    v->batch_max = s->sequences ? BATCH_HISTORIES : batch_max;
    st = check_model(v, err);
    add_inputs(v);
    if (st != ST_OK)
        model_view_release(v);
    return st;
}

void model_view_release(struct model_view *v)
{
    free(v->id);
    free(v->num);
    free(v->input);
    memset(v, 0, sizeof(*v));
}

bool model_view_item_key(const struct model_view *v, const char *id, size_t n, uint64_t *out)
{
    const struct encoder *e = v->encoder;
    encoder_trim(&id, &n);
    if (schema_missing(&e->schema, id, n))
        return false;
    *out = encoder_key_fitted(e, v->item_slot, encoder_key(e, v->item_slot, id, n));
    return true;
}

const char *model_view_fault(const struct model_view *v, const struct cell *cell)
{
    float unused;
    for (size_t j = 0; j < v->floats; j++)
        if (v->num[j].field == cell->field && !cell->missing)
            return encoder_cell_float(v->encoder, j, cell->text, cell->n, &unused);
    return NULL;
}
