/* nn_case.h - a small batch, its parameters in one flat array, and their gradient: what the tests of nn share.
 *
 * Works in both number types. A case is made of a job-like description; its batch has empty bags, bags of
 * several keys, the same key twice in one bag and in several records, and, if asked for, weights and
 * floats. Values come from counters, so the float and the double build see the same case.
 *
 * Parameters lie in `w`: the rows of each table, then the dense table, with their gradient in `dw`
 * alike; so a test can walk along any direction of all parameters at once.
 */
#ifndef PENSTOCK_TESTS_UNIT_NN_CASE_H
#define PENSTOCK_TESTS_UNIT_NN_CASE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/math/gemm.h"
#include "common/math/vec.h"
#include "common/nn/graph.h"
#include "common/nn/model.h"
#include "common/nn/ops.h"

#define CASE_HIDDEN_MAX 4u

struct nn_case {
    /* -- set by the test before case_open -- */
    struct job job; /* model.* and train.seed */
    uint64_t hidden[CASE_HIDDEN_MAX], second[CASE_HIDDEN_MAX];
    uint64_t bottom[CASE_HIDDEN_MAX], gate_hidden[CASE_HIDDEN_MAX], attention[CASE_HIDDEN_MAX];
    struct job_field schema
        [6]; /* of the first fields: an id (din: the history), the item, the user; then labels */
    size_t tasks; /* labels; 1: none stands in the schema */
    uint64_t tower[CASE_HIDDEN_MAX];
    size_t n, fields, floats, unique;
    bool weights;
    size_t empty;  /* above 0: field empty - 1 has no ids in any record */
    double spread; /* parameters are moved by N(0, spread^2) from where the plan begins them */
    uint32_t (*build)(struct graph *g); /* draws a logit; NULL: the job's family */

    /* -- made by case_open; owned -- */
    struct model_input in;
    struct plan plan;
    struct model *model;
    struct graph *graph;
    struct model_params p;
    struct model_grads g;
    real *w, *dw; /* (used) */
    size_t used;
    real *stat, *dstat;
    real *logits; /* (T, n) */
    double loss;  /* mean */
    void *held[16];
    size_t held_used;
};

static inline void *case_hold(struct nn_case *c, size_t n, size_t each)
{
    c->held[c->held_used] = mem_array(n + 1, each);
    return c->held[c->held_used++];
}

/* A number in [0, below) that depends on (what, i) only. */
static inline size_t case_pick(uint64_t what, size_t i, size_t below)
{
    return (size_t)(rng_unit(what, i, 0) * (double)below);
}

static inline void case_batch(struct nn_case *c)
{
    uint32_t *offsets = case_hold(c, c->n * c->fields + 1, sizeof(*offsets));
    for (size_t b = 0; b < c->n * c->fields; b++) {
        const size_t many = case_pick(11, b, 5); /* 0: empty; 1, 1, 2, 3 occurrences */
        const bool none = c->empty > 0 && b % c->fields == c->empty - 1;
        offsets[b + 1] = offsets[b] + (uint32_t)(none ? 0 : many < 2 ? many : many - 1);
    }
    const size_t total = offsets[c->n * c->fields];
    uint32_t *index = case_hold(c, total, sizeof(*index));
    real *weight = case_hold(c, total, sizeof(*weight));
    for (size_t o = 0; o < total; o++) {
        /* Every third occurrence repeats the one before it: the same key twice in a bag. */
        index[o] = o % 3 == 2 ? index[o - 1] : (uint32_t)case_pick(12, o, c->unique);
        weight[o] = (real)(float)(rng_unit(13, o, 0) * 2 - 0.5);
    }
    real *floats = case_hold(c, c->n * c->floats, sizeof(*floats));
    for (size_t i = 0; i < c->n * c->floats; i++)
        floats[i] = (real)(float)(rng_unit(14, i, 0) * 2 - 1);
    real *labels = case_hold(c, c->n * c->tasks, sizeof(*labels));
    uint64_t *record = case_hold(c, c->n, sizeof(*record));
    /* Of several tasks some labels are missing. */
    for (size_t i = 0; i < c->n * c->tasks; i++) {
        const bool missing = c->tasks > 1 && case_pick(16, i, 4) == 0;
        labels[i] = missing ? (real)LABEL_MISSING : case_pick(15, i, 2) ? 1 : 0;
    }
    for (size_t i = 0; i < c->n; i++)
        record[i] = 1000 + 7 * i;
    c->in = (struct model_input){
        .n = c->n,
        .unique = c->unique,
        .offsets = offsets,
        .index = index,
        .weight = c->weights ? weight : NULL,
        .floats = c->floats ? floats : NULL,
        .labels = labels,
        .record = record,
        .epoch = 3,
    };
}

static inline size_t case_rows(const struct nn_case *c, const struct plan_table *t)
{
    return t->kind == PLAN_SPARSE ? c->unique : (size_t)t->blocks;
}

/* Beginning values of table t, moved a little (padding of dense blocks too: it must not matter). */
static inline void case_table(struct nn_case *c, uint32_t t, real *w, double spread)
{
    const struct plan_table *table = &c->plan.tables[t];
    float *row = mem_array(table->dim, 2 * sizeof(*row));
    float *noise = row + table->dim;
    for (size_t r = 0; r < case_rows(c, table); r++) {
        plan_init_row(&c->plan, t, r, row);
        rng_normal_fill(77 + t, r, noise, table->dim);
        for (size_t k = 0; k < table->dim; k++)
            w[r * table->dim + k] = (real)(float)((double)row[k] + spread * (double)noise[k]);
    }
    free(row);
}

static inline void case_params(struct nn_case *c)
{
    size_t offset[PLAN_TABLES_MAX] = {0}, stats = 0;
    for (uint32_t t = 0; t < c->plan.tables_used; t++) {
        const size_t floats = case_rows(c, &c->plan.tables[t]) * c->plan.tables[t].dim;
        offset[t] = c->used;
        if (c->plan.tables[t].kind == PLAN_STAT)
            stats = floats;
        else
            c->used += floats;
    }
    c->w = case_hold(c, c->used, sizeof(real));
    c->dw = case_hold(c, c->used, sizeof(real));
    c->stat = case_hold(c, stats, sizeof(real));
    c->dstat = case_hold(c, stats, sizeof(real));
    c->p.stat = c->stat;
    c->g.stat = c->dstat;
    for (uint32_t t = 0; t < c->plan.tables_used; t++) {
        real *w = c->w + offset[t], *dw = c->dw + offset[t];
        switch (c->plan.tables[t].kind) {
        case PLAN_SPARSE:
            c->p.rows[t] = w;
            c->g.rows[t] = dw;
            break;
        case PLAN_DENSE:
            c->p.dense = w;
            c->g.dense = dw;
            break;
        case PLAN_STAT: w = c->stat; break;
        }
        case_table(c, t, w, c->plan.tables[t].kind == PLAN_STAT ? 0.1 : c->spread);
    }
}

/* What a test starts from; it then changes what it wants. */
static inline struct nn_case case_default(int family)
{
    struct nn_case c = {
        .n = 5,
        .fields = 3,
        .unique = 7,
        .spread = 0.3,
        .hidden = {6, 5},
        .tasks = family == JOB_MULTITASK ? 3 : 1,
        .tower = {4},
    };
    c.job.model.family = family;
    c.job.model.embedding = 4;
    c.job.model.embedding_init = 0.1;
    c.job.model.hidden.used = 2;
    c.job.model.cross = 2;
    c.job.model.tower.used = 1;
    c.job.train.seed = 42;
    c.second[0] = 4;
    c.job.model.second.hidden.used = 1;
    c.bottom[0] = 3;
    c.job.model.dlrm.bottom.used = 1;
    c.gate_hidden[0] = 5;
    c.job.model.finalmlp.gate_hidden.used = 1;
    c.job.model.finalmlp.heads = 2;
    if (family == JOB_FINALMLP)
        c.hidden[1] = 4; /* two heads must divide it */
    c.job.model.finalnet.gate = JOB_FIELD_GATE_SUM;
    c.job.model.finalnet.teach = 0.7;
    c.attention[0] = 6;
    c.job.model.attention.used = 1;
    c.schema[0] = (struct job_field){.name = (char *)"id", .type = FIELD_ID};
    if (family == JOB_DIN)
        c.schema[0] = (struct job_field){
            .name = (char *)"liked", .type = FIELD_HISTORY, .of = (char *)"item", .max = 3};
    c.schema[1] = (struct job_field){.name = (char *)"item", .type = FIELD_ITEM};
    c.schema[2] = (struct job_field){.name = (char *)"user", .type = FIELD_USER};
    return c;
}

/* The job's lists are the case's arrays. */
static inline void case_lists(struct nn_case *c)
{
    c->job.model.hidden.item = c->hidden;
    c->job.model.second.hidden.item = c->second;
    c->job.model.dlrm.bottom.item = c->bottom;
    c->job.model.finalmlp.gate_hidden.item = c->gate_hidden;
    c->job.model.attention.item = c->attention;
    c->job.model.tower.item = c->tower;
    c->job.data.fields = c->schema;
    c->job.data.fields_used = c->fields < 3 ? c->fields : 3;
    static const char *const names[] = {"click", "cart", "buy"};
    static const double weights[] = {1, .5, 2};
    for (size_t t = 0; c->tasks > 1 && t < c->tasks; t++)
        c->schema[c->job.data.fields_used++] = (struct job_field){
            .name = (char *)(uintptr_t)names[t], .type = FIELD_LABEL, .weight = weights[t]};
}

/* The case stands at a fixed address from here on. */
static inline enum status case_open(struct nn_case *c, struct errbuf *err)
{
    case_lists(c);
    case_batch(c);
    c->logits = case_hold(c, c->n * c->tasks, sizeof(real));
    if (!c->build) {
        enum status st = model_new(&c->job, c->fields, c->floats, c->n, &c->model, &c->plan, err);
        if (st != ST_OK)
            return st;
    } else {
        gemm_init();
        vec_init();
        c->plan.seed = c->job.train.seed;
        c->graph = graph_new(&c->job, &c->plan, c->fields, c->floats, c->n);
        op_bce(c->graph, c->build(c->graph));
        enum status st = graph_seal(c->graph, err);
        if (st != ST_OK)
            return st;
    }
    case_params(c);
    return ST_OK;
}

static inline void case_close(struct nn_case *c)
{
    for (size_t i = 0; i < c->held_used; i++)
        free(c->held[i]);
    model_free(c->model);
    graph_free(c->graph);
    plan_release(&c->plan);
}

/* One training step at the present w: loss, logits (families only) and dw. */
static inline void case_step(struct nn_case *c)
{
    if (c->model) {
        struct model_loss loss;
        model_step(c->model, &c->in, &c->p, &c->g, c->logits, &loss);
        c->loss = loss.sum;
    } else {
        struct graph_run run = {
            .in = &c->in,
            .params = &c->p,
            .grads = &c->g,
            .train = true,
            .rows = {[ROWS_BATCH] = c->n, [ROWS_UNIQUE] = c->unique},
        };
        graph_bind(c->graph, &run);
        graph_forward(c->graph, &run);
        graph_backward(c->graph, &run);
        c->loss = run.loss;
    }
    c->loss /= (double)c->n;
}

/* dw of this step against direction number d, a unit vector over all of w. */
static inline double case_slope(const struct nn_case *c, const real *dw, uint64_t d, real *out_v)
{
    float *v = mem_array(c->used + 1, sizeof(*v));
    rng_normal_fill(500 + d, 0, v, c->used);
    double norm = 0, slope = 0;
    for (size_t i = 0; i < c->used; i++)
        norm += (double)v[i] * (double)v[i];
    for (size_t i = 0; i < c->used; i++) {
        const double unit = (double)v[i] / sqrt(norm);
        slope += (double)dw[i] * unit;
        if (out_v)
            out_v[i] = (real)unit;
    }
    free(v);
    return slope;
}

#endif
