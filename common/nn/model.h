/* model.h - a model as the worker sees it: built once from a job, then forward and backward over views.
 *
 * model_new builds the static graph (one file a family, model_<family>.c) and the plan of its
 * parameters. The model owns activations and scratch, planned once for batch_max; parameters, gradients
 * and inputs are the caller's. After model_new nothing here allocates.
 *
 * A batch: n records; F id fields; field f of record i is the bag
 * index[offsets[i * F + f] .. offsets[i * F + f + 1]) of positions in the batch's list of U unique keys,
 * possibly empty, possibly with the same key twice; weight (or NULL = all 1) multiplies each occurrence's
 * row. A sparse table's rows are pulled for that list: rows[t] is (U, dim of table t), row u for key u.
 *
 * A sequence family (sasrec, lstm, gru, cnn: model_ranks) has records of F = 3 bags of items instead: bag 0 a
 * user's history, oldest first; bag 1 the target, bag 2 what came before bag 0. Training predicts each item of bag
 * 0 from those before it (m items make m - 1 places); model_rank predicts bag 1 from all of bag 0. At most
 * job.data.sequence.max inputs a record. T tasks (common/base/job_task.h) have T logits a record. Weights, floats and labels are not looked at.
 *
 * Not thread-safe; one model a thread. Deterministic: the same inputs give the same bits (one BLAS
 * thread, sums in a fixed order).
 */
#ifndef PENSTOCK_COMMON_NN_MODEL_H
#define PENSTOCK_COMMON_NN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/plan.h"
#include "common/nn/real.h"

struct model; /* opaque */

struct model_input {         /* all borrowed, for one call of model_step or model_score */
    size_t n;                /* records, 1 <= n <= batch_max */
    size_t unique;           /* U */
    const uint32_t *offsets; /* (n * F + 1) */
    const uint32_t *index;   /* (offsets[n * F]), each < U */
    const real *weight;      /* as index, or NULL */
    const real *floats;      /* (n, D) or NULL when D = 0 */
    const real *labels; /* (T, n): of task t from t * n on; 0, 1 or, of several, LABEL_MISSING */
    const uint64_t *record; /* (n) record numbers in the log: the counters of dropout */
    uint64_t epoch;         /* with the job's seed the key of dropout */
    /* Sequences only: what the loss and a rank are over, as distinct positions in the list of unique keys. */
    const uint32_t *candidate; /* (candidates) */
    size_t candidates;
};

struct model_loss {
    double sum;     /* over `count` */
    uint64_t count; /* records; of sequences the predicted places, may be 0 */
    /* Predictions that were right (on their side of 0.5; the target above all others), of so many: count, of several
     * tasks the records with a label of train.task. */
    uint64_t judged, correct;
};

struct model_params {                  /* all borrowed */
    const real *rows[PLAN_TABLES_MAX]; /* sparse table t: (U, dim) */
    const real *dense; /* the dense table flat: (blocks * DENSE_BLOCK), tensors at their blocks */
    const real *stat;  /* the stat table flat */
};

struct model_grads {             /* all borrowed; fully overwritten (padding with 0) */
    real *rows[PLAN_TABLES_MAX]; /* (U, dim): summed over all occurrences in the batch */
    real *dense;
    real *stat; /* not gradients: this batch's value of each averaged tensor */
};

/* fields: F, floats: D of the schema. plan: filled with what the model needs (its tables in order).
 * Of sequences room is made for batch_max * job.data.sequence.max inputs; pages are touched as far as batches go.
 * ST_USAGE when the family can't work with this schema. */
MUST_CHECK enum status model_new(const struct job *job, size_t fields, size_t floats,
                                 size_t batch_max, struct model **out, struct plan *out_plan,
                                 struct errbuf *err);
void model_free(struct model *m);
size_t model_bytes(const struct model *m); /* activations and scratch */
size_t
model_flops(const struct model *m); /* forward, one record, multiply and add counted as two */

/* Training: forward (dropout on, batch statistics), mean loss over the n records (sequences: over all
 * places), backward. out_logits: (T, n); sequences leave it alone. */
void model_step(struct model *m, const struct model_input *in, const struct model_params *p,
                struct model_grads *g, real *out_logits, struct model_loss *out_loss);
/* Evaluation: no dropout, running statistics; logits only. A record's logit does not depend on the
 * others of its batch beyond rounding. out_logits: (T, n). */
void model_score(struct model *m, const struct model_input *in, const struct model_params *p,
                 real *out_logits);

size_t model_tasks(const struct model *m); /* T; 1 of a sequence family */
/* Whether this is a sequence family: model_rank instead of model_score. */
bool model_ranks(const struct model *m);
/* The place of each record's target among in->candidate: 1 + those with a larger logit + half of those with the
 * same. What the record has seen (bags 0 and 2) is left out, but for the target. A target that is no candidate,
 * or a logit that is no number, comes last. out_rank: (n). Its scratch grows with the candidates, once.
 * out_loss, unless NULL: cross-entropy of the n targets over all candidates, seen ones too, as training with loss
 * ce has it; correct: the target above all others. NaN with a target that comes last as above. */
void model_rank(struct model *m, const struct model_input *in, const struct model_params *p,
                real *out_rank, struct model_loss *out_loss);

/* What a sequence family scores an item by: the width d of its state, the plan's sparse table with the items' rows
 * (dim d), and that of their bias, or -1. An item's logit is <state, row> + bias, as model_rank has it. */
struct model_items {
    size_t width;
    int table, bias;
};
struct model_items model_items(const struct model *m);
/* The state behind each record's history; zeros for one without. out_states: (n, d). Sequence families only. */
void model_states(struct model *m, const struct model_input *in, const struct model_params *p,
                  real *out_states);

#endif
