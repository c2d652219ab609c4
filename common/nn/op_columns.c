/* op_columns.c - columns [from, from + cols) of x, copied: one field of the features, for a gate. */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

static void columns_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run);
    for (size_t r = 0; r < rows; r++)
        vec_put(y->own + r * y->ld, x->value + r * x->ld + op->param, y->cols, false);
}

static void columns_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run);
    real *dx = graph_grad_in(g, op, 0);
    for (size_t r = 0; r < rows; r++) {
        real *row = dx + r * x->ld;
        if (!op->add[0])
            memset(row, 0, x->cols * sizeof(*row));
        vec_put(row + op->param, y->grad + r * y->ld, y->cols, true);
    }
}

static const struct op_kind columns_kind = {
    .name = "columns",
    .forward = columns_forward,
    .backward = columns_backward,
};

uint32_t op_columns(struct graph *g, uint32_t x, size_t from, size_t cols)
{
    const struct graph_tensor t = *graph_at(g, x);
    assert(cols > 0 && from + cols <= t.cols);
    const uint32_t out = graph_slab(g, t.kind, t.rows, cols);
    struct op *op = graph_op(g, &columns_kind, out);
    graph_read(g, op, x);
    op->param = from;
    return out;
}
