/* op_bce.c - binary cross-entropy of logits: max(z,0) - z y + log1p(e^-|z|), finite for every z.
 *
 * The gradient (sigmoid(z) - y) / n falls out of the same exponential, so forward makes both; run->loss is
 * the sum over the records, in double.
 *
 * Of several tasks, z (n, T), it is the sum of w_t BCE(z_t, y_t) over the labels that are there. It is divided by
 * the batch's records and not by a task's labels: a record then moves the weights alike in whatever batch, or slice
 * of bsp, it comes; a task with few labels counts less, and its weight says by how much it shall count more.
 */
#include <assert.h>

#include "common/base/job_task.h"
#include "common/nn/ops.h"

enum { BCE_DZ, BCE_LOGIT, BCE_LABEL };

static uint64_t right(const real *z, const real *labels, size_t n)
{
    uint64_t correct = 0;
    for (size_t i = 0; i < n; i++)
        correct += (z[i] > 0) == (labels[i] > (real)0.5);
    return correct;
}

/* One task of several: its labelled records are brought together, judged, and put back. */
static void task_forward(const struct graph *g, const struct op *op, struct graph_run *run,
                         size_t task)
{
    const struct graph_tensor *z = graph_at(g, op->in[0]), *dz = graph_at(g, op->save[BCE_DZ]);
    real *logit = graph_at(g, op->save[BCE_LOGIT])->own; /* (n, 1) */
    real *label = graph_at(g, op->save[BCE_LABEL])->own; /* (n, 1) */
    const size_t n = graph_rows_of(z, run);
    const real *given = run->in->labels + task * n, weight = g->task_weight[task];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (given[i] < 0)
            continue;
        logit[used] = z->value[i * z->ld + task];
        label[used++] = given[i];
    }
    if (task == g->task) {
        run->judged += used;
        run->correct += right(logit, label, used);
    }
    run->loss += (double)weight * vec_bce(logit, logit, label, used, weight / (real)n);
    for (size_t i = n; i-- > 0;)
        dz->own[i * dz->ld + task] = given[i] < 0 ? 0 : logit[--used];
}

static void bce_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *z = graph_at(g, op->in[0]);
    const size_t n = graph_rows_of(z, run);
    run->count += n;
    for (size_t t = 0; g->tasks > 1 && t < g->tasks; t++)
        task_forward(g, op, run, t);
    if (g->tasks > 1)
        return;
    real *dz = graph_at(g, op->save[BCE_DZ])->own; /* (n, 1) */
    run->loss += vec_bce(dz, z->value, run->in->labels, n, 1 / (real)n);
    run->judged += n;
    run->correct += right(z->value, run->in->labels, n);
}

static void bce_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *z = graph_at(g, op->in[0]), *dz = graph_at(g, op->save[BCE_DZ]);
    const size_t n = graph_rows_of(z, run);
    real *to = graph_grad_in(g, op, 0);
    if (g->tasks == 1) {
        vec_put(to, dz->value, n, op->add[0]);
        return;
    }
    for (size_t i = 0; i < n; i++)
        vec_put(to + i * z->ld, dz->value + i * dz->ld, g->tasks, op->add[0]);
}

static const struct op_kind bce_kind = {
    .name = "bce",
    .forward = bce_forward,
    .backward = bce_backward,
    .loss = true,
};

void op_bce(struct graph *g, uint32_t z)
{
    assert(graph_at(g, z)->cols == g->tasks && graph_at(g, z)->kind == ROWS_BATCH);
    const uint32_t dz = graph_slab(g, ROWS_BATCH, 0, g->tasks);
    const uint32_t logit = g->tasks > 1 ? graph_slab(g, ROWS_BATCH, 0, 1) : GRAPH_NONE;
    const uint32_t label = g->tasks > 1 ? graph_slab(g, ROWS_BATCH, 0, 1) : GRAPH_NONE;
    struct op *op = graph_op(g, &bce_kind, GRAPH_NONE);
    graph_read(g, op, z);
    graph_save(g, op, BCE_DZ, dz);
    if (g->tasks > 1) {
        graph_save(g, op, BCE_LOGIT, logit);
        graph_save(g, op, BCE_LABEL, label);
    }
}
