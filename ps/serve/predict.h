/* predict.h - from what is known of a user and of candidates to scores: the hot path.
 *
 * Any number of asks, each a user and candidates, become batches of at most view->batch_max records. The user's part of
 * a record is encoded once an ask. Cells go through common/feature and records through common/data's batch, as in training
 * and eval: the same object code. After warm-up nothing is allocated. One thread.
 *
 * A score is the model's probability, 1 / (1 + e^-z) in double as `penstock eval --predictions` prints it; of a model of
 * sequences the logit <state, row> + bias.
 */
#ifndef PENSTOCK_PS_SERVE_PREDICT_H
#define PENSTOCK_PS_SERVE_PREDICT_H

#include "common/data/dataset.h"
#include "common/nn/model.h"
#include "ps/serve/model_view.h"
#include "ps/serve/state.h"

struct candidate {
    const char *id; /* NULL: none */
    size_t id_n;
    const struct item *item; /* NULL: nothing is known */
    struct cells own;
};

struct ask {
    const char *user; /* NULL: none */
    size_t user_n;
    const struct user *known; /* NULL */
    struct cells context;
    int64_t time; /* history is what was before it */
    const struct candidate *candidate;
    size_t n;
    /* A model of sequences, INFER only: the history, instead of the user's. */
    const struct cell *history;
    /* -- set by predict_scores -- */
    double *score; /* (n, view->tasks) the caller's */
    uint32_t *
        unknown; /* (F) the caller's, zeroed: ids of the field that the model has never seen; F >= 1 */
};

struct predict {
    const struct model_view *view; /* borrowed */
    const struct state *state;     /* borrowed */
    struct model *model;
    struct batch batch;
    const struct version *version; /* of this call */
    float *rows[PLAN_TABLES_MAX];  /* (rows_cap, dim) owned */
    size_t rows_cap;
    float *logits; /* (tasks, batch_max) or of the candidates */
    size_t logits_cap;
    float *states;   /* (batch_max, width) sequences */
    uint8_t *absent; /* (unique) */
    size_t absent_cap;
    float *unused; /* a row of table 0 */
    /* -- the user's part, encoded -- */
    uint64_t *key; /* all fields, one behind the other */
    size_t key_cap;
    size_t *key_end; /* (F) */
    bool *shared;    /* (F) the field is the user's part; else a candidate's */
    uint32_t *at;    /* positions of the user's keys in this batch */
    size_t at_cap;
    float *number; /* (D) */
    bool *shared_number;
    uint64_t *own; /* keys of one cell */
    size_t own_cap;
    struct span { /* records of a batch that are of one ask */
        struct ask *ask;
        size_t from, n, first; /* candidates [from, from + n) are records [first, first + n) */
    } * span;                  /* (batch_max) */
    size_t spans;
    size_t records; /* scored since the start */
};

MUST_CHECK enum status predict_init(struct predict *p, const struct model_view *view,
                                    const struct state *state, struct errbuf *err);
void predict_release(struct predict *p);
/* Inside an entry of the replica (v) and of the state's epoch. */
void predict_scores(struct predict *p, const struct version *v, struct ask *ask, size_t n);
/* Sequences: the state behind each ask's history, at most view->batch_max of them. out: (n, width). */
void predict_states(struct predict *p, const struct version *v, struct ask *ask, size_t n,
                    float *out);

#endif
