/* model.c - the table of families, and model.h over a graph.
 *
 * model_new lets the family draw its graph (which also appends the parameters to the plan), hangs the
 * loss on its logit and seals it; a sequence family draws its loss itself. A step is: bind the caller's arrays,
 * forward, backward.
 */
#include "common/nn/model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/math/gemm.h"
#include "common/nn/families.h"
#include "common/nn/ops.h"
#include "common/nn/rank.h"

struct model {
    struct graph *graph;    /* owned */
    uint32_t logit;         /* (n, T); GRAPH_NONE: it ranks */
    struct model_head head; /* of what ranks */
    struct rank rank;
};

/* A new family: one file model_<name>.c, its builder in families.h, its value in enum job_family, and a
 * row here. */
static const struct {
    int family;
    uint32_t (*build)(struct graph *g, struct errbuf *err);
} families[] = {
    {JOB_LR, model_lr_build},
    {JOB_FM, model_fm_build},
    {JOB_MLP, model_mlp_build},
    {JOB_DCNV2, model_dcnv2_build},
    {JOB_WIDEDEEP, model_widedeep_build},
    {JOB_DEEPFM, model_deepfm_build},
    {JOB_DLRM, model_dlrm_build},
    {JOB_FINALMLP, model_finalmlp_build},
    {JOB_FINALNET, model_finalnet_build},
    {JOB_DIN, model_din_build},
    {JOB_MULTITASK, model_multitask_build},
};

static const struct {
    int family;
    uint32_t (*build)(struct graph *g, struct model_head *out, struct errbuf *err);
} sequence_families[] = {
    {JOB_SASREC, model_sasrec_build},
    {JOB_LSTM, model_lstm_build},
    {JOB_GRU, model_gru_build},
    {JOB_CNN, model_cnn_build},
};

/* More tensors than a plan can hold: judged before building, so that building can't fail half-way. */
static enum status check_size(const struct job *job, size_t fields, size_t floats,
                              struct errbuf *err)
{
    if (fields + floats == 0)
        return errbuf_set(err, ST_USAGE,
                          "data.fields: a model needs at least one id or float field");
    const size_t layers = job->model.hidden.used + (size_t)job->model.cross +
                          job->model.second.hidden.used + job->model.dlrm.bottom.used +
                          2 * job->model.finalmlp.gate_hidden.used + job->model.attention.used +
                          job_tasks(job) * job->model.tower.used;
    if (layers > 256)
        return errbuf_set(err, ST_USAGE,
                          "model.hidden, model.cross and the like: %zu layers, at most 256",
                          layers);
    return ST_OK;
}

/* optimizer.tables may name what this model has. */
static enum status check_tables(const struct job *job, const struct plan *plan, struct errbuf *err)
{
    for (size_t i = 0; i < job->optimizer.tables_used; i++) {
        const char *name = job->optimizer.tables[i].name;
        const int at = plan_find(plan, name);
        if (at >= 0 && plan->tables[at].kind != PLAN_STAT)
            continue;
        char known[512] = "";
        for (size_t t = 0, n = 0; t < plan->tables_used && n < sizeof known; t++)
            if (plan->tables[t].kind != PLAN_STAT)
                n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n > 0 ? ", " : "",
                                      plan->tables[t].name);
        return errbuf_set(err, ST_USAGE,
                          "optimizer.tables[%zu].name: the model has no table %s to train (it has "
                          "%s)",
                          i, name, known);
    }
    return ST_OK;
}

static enum status model_build(struct graph *g, uint32_t *out_logit, struct model_head *out_head,
                               struct errbuf *err)
{
    const int family = g->job->model.family;
    for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++) {
        if (families[i].family != family)
            continue;
        if (g->job->data.records == JOB_SEQUENCES)
            return errbuf_set(
                err, ST_USAGE,
                "model.family: %s judges single records; data.records=sequences needs "
                "sasrec, lstm, gru or cnn",
                job_family_name(family));
        *out_logit = families[i].build(g, err);
        if (*out_logit == GRAPH_NONE)
            return ST_USAGE;
        if (graph_at(g, *out_logit)->cols != g->tasks)
            return errbuf_set(err, ST_USAGE, "data.fields: %zu of type label; %s learns one",
                              g->tasks, job_family_name(family));
        op_bce(g, *out_logit);
        return ST_OK;
    }
    for (size_t i = 0; i < sizeof(sequence_families) / sizeof(*sequence_families); i++) {
        if (sequence_families[i].family != family)
            continue;
        const enum status st = model_next_item_check(g, err);
        if (st != ST_OK)
            return st;
        return sequence_families[i].build(g, out_head, err) == GRAPH_NONE ? ST_USAGE : ST_OK;
    }
    return errbuf_set(err, ST_INTERNAL, "model.family: no builder for family %d", family);
}

enum status model_new(const struct job *job, size_t fields, size_t floats, size_t batch_max,
                      struct model **out, struct plan *out_plan, struct errbuf *err)
{
    enum status st = check_size(job, fields, floats, err);
    if (st != ST_OK)
        return st;
    gemm_init();
    vec_init();
    struct plan *plan = mem_zalloc(sizeof(*plan));
    plan->seed = job->train.seed;
    struct graph *g = graph_new(job, plan, fields, floats, batch_max);
    uint32_t logit = GRAPH_NONE;
    struct model_head head = {0};
    st = model_build(g, &logit, &head, err);
    if (st == ST_OK)
        st = check_tables(job, plan, err);
    if (st != ST_OK)
        goto free_graph;
    st = graph_seal(g, err);
    if (st != ST_OK)
        goto free_graph;
    struct model *m = mem_zalloc(sizeof(*m));
    m->graph = g;
    m->logit = logit;
    m->head = head;
    *out = m;
    *out_plan = *plan;
    free(plan);
    return ST_OK;
free_graph:
    graph_free(g);
    plan_release(plan);
    free(plan);
    return st;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    rank_release(&m->rank);
    graph_free(m->graph);
    free(m);
}

size_t model_bytes(const struct model *m)
{
    return m->graph->slab_bytes;
}

size_t model_flops(const struct model *m)
{
    return graph_flops(m->graph);
}

static struct graph_run run_of(const struct model_input *in, const struct model_params *p,
                               struct model_grads *g)
{
    return (struct graph_run){
        .in = in,
        .params = p,
        .grads = g,
        .train = g != NULL,
        .rows = {[ROWS_BATCH] = in->n, [ROWS_UNIQUE] = in->unique},
    };
}

/* (n, T) as (T, n). */
static void put_logits(const struct model *m, size_t n, real *out)
{
    const struct graph_tensor *z = graph_at(m->graph, m->logit);
    for (size_t t = 0; t < z->cols; t++)
        for (size_t i = 0; i < n; i++)
            out[t * n + i] = z->value[i * z->ld + t];
}

/* A batch of records without a place to predict: nothing to learn. */
static void no_gradients(const struct graph *g, const struct graph_run *run)
{
    for (size_t i = 0; i < g->tensors_used; i++) {
        const struct graph_tensor *t = &g->tensors[i];
        if (t->home == HOME_TABLE)
            memset(t->grad, 0, run->in->unique * t->cols * sizeof(real));
        else if (t->home == HOME_DENSE || t->home == HOME_STAT)
            memset(t->grad, 0, (size_t)t->blocks * DENSE_BLOCK * sizeof(real));
    }
}

void model_step(struct model *m, const struct model_input *in, const struct model_params *p,
                struct model_grads *g, real *out_logits, struct model_loss *out_loss)
{
    assert(in->n >= 1 && in->n <= m->graph->rows_max[ROWS_BATCH]);
    struct graph_run run = run_of(in, p, g);
    graph_bind(m->graph, &run);
    if (model_ranks(m) && run.rows[ROWS_TOKENS] == 0) {
        no_gradients(m->graph, &run);
    } else {
        graph_forward(m->graph, &run);
        if (!model_ranks(m))
            put_logits(m, in->n, out_logits);
        graph_backward(m->graph, &run);
    }
    *out_loss = (struct model_loss){.sum = run.loss,
                                    .count = run.count,
                                    .judged = model_ranks(m) ? run.count : run.judged,
                                    .correct = run.correct};
}

void model_score(struct model *m, const struct model_input *in, const struct model_params *p,
                 real *out_logits)
{
    assert(!model_ranks(m) && in->n >= 1 && in->n <= m->graph->rows_max[ROWS_BATCH]);
    struct graph_run run = run_of(in, p, NULL);
    graph_bind(m->graph, &run);
    graph_forward(m->graph, &run);
    put_logits(m, in->n, out_logits);
}

size_t model_tasks(const struct model *m)
{
    return m->graph->tasks;
}

bool model_ranks(const struct model *m)
{
    return m->logit == GRAPH_NONE;
}

void model_rank(struct model *m, const struct model_input *in, const struct model_params *p,
                real *out_rank, struct model_loss *out_loss)
{
    assert(model_ranks(m) && in->n >= 1 && in->n <= m->graph->rows_max[ROWS_BATCH]);
    struct graph_run run = run_of(in, p, NULL);
    graph_bind(m->graph, &run);
    if (run.rows[ROWS_TOKENS] > 0)
        graph_forward(m->graph, &run);
    rank_all(&m->rank, m->graph, &m->head, in, out_rank, out_loss);
}

struct model_items model_items(const struct model *m)
{
    assert(model_ranks(m));
    const struct model_head *h = &m->head;
    return (struct model_items){
        .width = graph_at(m->graph, h->h)->cols,
        .table = (int)graph_at(m->graph, h->items)->table,
        .bias = h->bias == GRAPH_NONE ? -1 : (int)graph_at(m->graph, h->bias)->table,
    };
}

void model_states(struct model *m, const struct model_input *in, const struct model_params *p,
                  real *out_states)
{
    assert(model_ranks(m) && in->n >= 1 && in->n <= m->graph->rows_max[ROWS_BATCH]);
    struct graph_run run = run_of(in, p, NULL);
    graph_bind(m->graph, &run);
    if (run.rows[ROWS_TOKENS] > 0)
        graph_forward(m->graph, &run);
    rank_states(m->graph, &m->head, 0, in->n, out_states);
}
