/* slices.h - bsp: this worker's slices of a step, each a batch of its own, and the sum of their gradients.
 *
 * Step [begin, end) of the epoch's order is cut into S slices (job_part_at); worker r of W has slices
 * [r S / W, (r + 1) S / W). They are pulled as one, by their distinct keys; the model steps through them one
 * by one, as S single workers would; then their gradients, each times its share of the step's records, are
 * summed as a pairwise tree (common/math/merge.h). An empty slice counts as nothing.
 */
#ifndef PENSTOCK_WORKER_SLICES_H
#define PENSTOCK_WORKER_SLICES_H

#include "common/data/dataset.h"
#include "common/math/merge.h"
#include "common/nn/model.h"
#include "worker/flight.h"

struct slices {            /* of one work */
    struct batch *batch;   /* (count) owned; n = 0: no records */
    size_t count;          /* 0: not bsp */
    struct merge keys;     /* of all of them */
    const uint64_t **list; /* (count) scratch, as n */
    size_t *n;
};

/* count 0: nothing is made. batch_max: records of a whole step of S slices. */
void slices_init(struct slices *s, const struct dataset *d, size_t count, size_t batch_max,
                 uint64_t S);
void slices_release(struct slices *s);
/* The batches are filled, or have n = unique = 0: find their distinct keys. */
void slices_merge_keys(struct slices *s);

struct slice_sum { /* compute thread's: gradients of the slices of one step */
    size_t count;
    float *row[PLAN_TABLES_MAX]; /* parameters of the slice under way; owned */
    size_t row_cap;
    struct slice_grads {
        float *row[PLAN_TABLES_MAX]; /* (its unique keys, dim) */
        float *dense, *stat;
        size_t row_cap;
    } * grads;          /* (count) owned */
    const float **list; /* (count) scratch */
};

void slice_sum_init(struct slice_sum *u, const struct plan *plan, size_t count);
void slice_sum_release(struct slice_sum *u);
/* Before slice i is stepped through: its rows out of the flight's, and where its gradients go. */
void slice_sum_begin(struct slice_sum *u, const struct plan *plan, const struct slices *s,
                     const struct flight *f, size_t i, struct model_params *p,
                     struct model_grads *g);
/* Slice i is one in so many of the step's records: its gradients, and averaged values, times share. */
void slice_sum_scale(struct slice_sum *u, const struct plan *plan, const struct slices *s, size_t i,
                     float share);
/* All slices with records are done: their sums, into the flight's gradients. */
void slice_sum_finish(struct slice_sum *u, const struct plan *plan, const struct slices *s,
                      struct flight *f);

#endif
