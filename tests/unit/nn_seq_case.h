/* nn_seq_case.h - a small batch of sequences over nn_case.h: what the tests of sequence families share.
 *
 * Histories are ragged: of one item (nothing to predict), of two, of the most, longer than that, one item many
 * times. Every record has a target and some earlier items, which training must not look at.
 */
#ifndef PENSTOCK_TESTS_UNIT_NN_SEQ_CASE_H
#define PENSTOCK_TESTS_UNIT_NN_SEQ_CASE_H

#include "common/nn/families.h"
#include "tests/unit/nn_case.h"

struct seq_case {
    /* -- set before seq_open -- */
    struct nn_case c;
    uint64_t dilations[3];
    size_t length[8];              /* items of record i: length[i % 8] */
    bool some;                     /* candidates: every other key; else all, in another order */
    void (*draw)(struct graph *g); /* NULL: the job's family */
    /* -- made by seq_open -- */
    uint64_t count, correct;
};

static inline struct seq_case seq_default(int family)
{
    struct seq_case s = {
        .c = {.n = 7, .fields = 3, .unique = 9, .spread = 0.3},
        .dilations = {1, 2},
        .length = {4, 2, 7, 1, 3, 9, 2, 5},
    };
    struct job *job = &s.c.job;
    job->data.records = JOB_SEQUENCES;
    job->data.sequence.max = 6;
    job->model.family = family;
    job->model.embedding = 4;
    job->model.embedding_init = 0.1;
    job->model.blocks = 1;
    job->model.heads = 1;
    job->model.kernel = 3;
    job->model.dilations.used = 1;
    job->model.scale_embedding = true;
    job->model.tied = true;
    job->train.seed = 42;
    return s;
}

static inline void seq_batch(struct seq_case *s)
{
    struct nn_case *c = &s->c;
    uint32_t *offsets = case_hold(c, 3 * c->n + 1, sizeof(*offsets));
    for (size_t i = 0; i < c->n; i++) {
        offsets[3 * i + 1] = offsets[3 * i] + (uint32_t)s->length[i % 8];
        offsets[3 * i + 2] = offsets[3 * i + 1] + 1;
        offsets[3 * i + 3] = offsets[3 * i + 2] + (uint32_t)(i % 3);
    }
    uint32_t *index = case_hold(c, offsets[3 * c->n], sizeof(*index));
    for (size_t o = 0; o < offsets[3 * c->n]; o++)
        index[o] = o % 4 == 3 ? index[o - 1] : (uint32_t)case_pick(12, o, c->unique);
    uint32_t *candidate = case_hold(c, c->unique, sizeof(*candidate));
    size_t used = 0;
    for (size_t u = 0; u < c->unique; u++)
        if (!s->some || u % 2 == 0)
            candidate[used++] = (uint32_t)(c->unique - 1 - u);
    uint64_t *record = case_hold(c, c->n, sizeof(*record));
    for (size_t i = 0; i < c->n; i++)
        record[i] = 1000 + 7 * i;
    c->in = (struct model_input){
        .n = c->n,
        .unique = c->unique,
        .offsets = offsets,
        .index = index,
        .record = record,
        .epoch = 3,
        .candidate = candidate,
        .candidates = used,
    };
}

static inline enum status seq_open(struct seq_case *s, struct errbuf *err)
{
    struct nn_case *c = &s->c;
    enum status st;
    c->job.model.dilations.item = s->dilations;
    seq_batch(s);
    c->logits = case_hold(c, c->n, sizeof(real));
    if (!s->draw) {
        st = model_new(&c->job, 3, 0, c->n, &c->model, &c->plan, err);
    } else {
        gemm_init();
        vec_init();
        c->plan.seed = c->job.train.seed;
        c->graph = graph_new(&c->job, &c->plan, 3, 0, c->n);
        s->draw(c->graph);
        st = graph_seal(c->graph, err);
    }
    if (st == ST_OK)
        case_params(c);
    return st;
}

/* One training step at the present w: loss (mean over the places) and dw. */
static inline void seq_step(struct seq_case *s)
{
    struct nn_case *c = &s->c;
    if (c->model) {
        struct model_loss loss;
        model_step(c->model, &c->in, &c->p, &c->g, NULL, &loss);
        c->loss = loss.sum / (double)loss.count;
        s->count = loss.count;
        s->correct = loss.correct;
        return;
    }
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
    s->count = run.count;
    s->correct = run.correct;
    c->loss = run.loss / (double)run.count;
}

#endif
