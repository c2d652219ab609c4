/* op_bag_sum.c - z = bias + sum of weight * row over every occurrence of a record: the linear term.
 *
 * Rows have one number, so this is a gather of scalars; all bags of a record are one run of occurrences.
 * Backward: each occurrence adds weight * dz to its row, in the order of the batch; dbias = sum of dz.
 */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

static void bag_sum_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct model_input *in = run->in;
    const real *rows = graph_at(g, op->in[0])->value; /* (U, 1) */
    const real bias = op->in_used > 1 ? *graph_at(g, op->in[1])->value : 0;
    real *z = graph_at(g, op->out)->own; /* (n, 1) */
    const size_t fields = g->fields;
    for (size_t i = 0; i < in->n; i++) {
        real sum = bias;
        const size_t end = in->offsets[(i + 1) * fields];
        for (size_t o = in->offsets[i * fields]; o < end; o++)
            sum += in->weight ? in->weight[o] * rows[in->index[o]] : rows[in->index[o]];
        z[i] = sum;
    }
}

static void bag_sum_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct model_input *in = run->in;
    const real *dz = graph_at(g, op->out)->grad; /* (n, 1) */
    real *d_rows = graph_grad_in(g, op, 0);      /* (U, 1) */
    if (!op->add[0])
        memset(d_rows, 0, in->unique * sizeof(*d_rows));
    const size_t fields = g->fields;
    for (size_t i = 0; i < in->n; i++) {
        const size_t end = in->offsets[(i + 1) * fields];
        for (size_t o = in->offsets[i * fields]; o < end; o++)
            d_rows[in->index[o]] += in->weight ? in->weight[o] * dz[i] : dz[i];
    }
    if (op->in_used > 1) {
        const real sum = vec_sum(dz, in->n);
        vec_put(graph_grad_in(g, op, 1), &sum, 1, op->add[1]);
    }
}

static size_t bag_sum_flops(const struct graph *g, const struct op *op)
{
    (void)op;
    return 2 * g->fields;
}

static const struct op_kind bag_sum_kind = {
    .name = "bag_sum",
    .forward = bag_sum_forward,
    .backward = bag_sum_backward,
    .flops = bag_sum_flops,
};

uint32_t op_bag_sum(struct graph *g, uint32_t table, uint32_t bias)
{
    assert(graph_at(g, table)->home == HOME_TABLE && graph_at(g, table)->cols == 1);
    const uint32_t out = graph_slab(g, ROWS_BATCH, 0, 1);
    struct op *op = graph_op(g, &bag_sum_kind, out);
    graph_read(g, op, table);
    if (bias != GRAPH_NONE)
        graph_read(g, op, bias);
    return out;
}
