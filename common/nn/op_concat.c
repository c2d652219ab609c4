/* op_concat.c - matrices with the same rows side by side.
 *
 * Where it can, an input *is* columns of the result (graph_view), and its gradient columns of the result's
 * gradient: then nothing is done here. Features of the caller, tensors with other readers and tensors
 * that stand in a concat already are copied, and their gradients handed back.
 */
#include <assert.h>

#include "common/nn/ops.h"

static void concat_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run);
    size_t col = 0;
    for (uint32_t i = 0; i < op->in_used; i++) {
        const struct graph_tensor *x = graph_at(g, op->in[i]);
        for (size_t r = 0; r < rows && x->value != y->own + col; r++)
            vec_put(y->own + r * y->ld + col, x->value + r * x->ld, x->cols, false);
        col += x->cols;
    }
}

static void concat_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run);
    size_t col = 0;
    for (uint32_t i = 0; i < op->in_used; i++) {
        const struct graph_tensor *x = graph_at(g, op->in[i]);
        real *dx = graph_grad_in(g, op, i);
        for (size_t r = 0; r < rows && dx && dx != y->grad + col; r++)
            vec_put(dx + r * x->ld, y->grad + r * y->ld + col, x->cols, op->add[i]);
        col += x->cols;
    }
}

static const struct op_kind concat_kind = {
    .name = "concat",
    .forward = concat_forward,
    .backward = concat_backward,
};

uint32_t op_concat(struct graph *g, const uint32_t *parts, size_t parts_used)
{
    assert(parts_used > 0 && parts_used <= OP_IN_MAX);
    size_t cols = 0;
    for (size_t i = 0; i < parts_used; i++) {
        assert(graph_at(g, parts[i])->kind == graph_at(g, parts[0])->kind);
        cols += graph_at(g, parts[i])->cols;
    }
    const struct graph_tensor t = *graph_at(g, parts[0]);
    const uint32_t out = graph_slab(g, t.kind, t.rows, cols);
    struct op *op = graph_op(g, &concat_kind, out);
    size_t col = 0;
    for (size_t i = 0; i < parts_used; i++) {
        graph_read(g, op, parts[i]);
        (void)graph_view(g, parts[i], out, col);
        col += graph_at(g, parts[i])->cols;
    }
    return out;
}
