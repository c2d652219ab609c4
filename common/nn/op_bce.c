/* op_bce.c - mean binary cross-entropy of logits: max(z,0) - z y + log1p(e^-|z|), finite for every z.
 *
 * The gradient (sigmoid(z) - y) / n falls out of the same exponential, so forward makes both; run->loss is
 * the sum over the records, in double.
 */
#include <assert.h>

#include "common/nn/ops.h"

static void bce_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *z = graph_at(g, op->in[0]);
    const size_t n = graph_rows_of(z, run);
    real *dz = graph_at(g, op->save[0])->own; /* (n, 1) */
    run->loss += vec_bce(dz, z->value, run->in->labels, n, 1 / (real)n);
    run->count += n;
    for (size_t i = 0; i < n; i++)
        run->correct += (z->value[i] > 0) == (run->in->labels[i] > (real)0.5);
}

static void bce_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *z = graph_at(g, op->in[0]);
    const real *dz = graph_at(g, op->save[0])->value;
    vec_put(graph_grad_in(g, op, 0), dz, graph_rows_of(z, run), op->add[0]);
}

static const struct op_kind bce_kind = {
    .name = "bce",
    .forward = bce_forward,
    .backward = bce_backward,
    .loss = true,
};

void op_bce(struct graph *g, uint32_t z)
{
    assert(graph_at(g, z)->cols == 1 && graph_at(g, z)->kind == ROWS_BATCH);
    const uint32_t saved = graph_slab(g, ROWS_BATCH, 0, 1);
    struct op *op = graph_op(g, &bce_kind, GRAPH_NONE);
    graph_read(g, op, z);
    graph_save(g, op, 0, saved);
}
