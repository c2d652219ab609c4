/* op_add.c - y = a + b, or their mean. Backward hands dy, or half of it, to both. */
#include <assert.h>

#include "common/nn/ops.h"

static void add_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *a = graph_at(g, op->in[0]);
    const struct graph_tensor *b = graph_at(g, op->in[1]);
    const struct graph_tensor *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run);
    for (size_t r = 0; r < rows; r++)
        vec_sum_to(y->own + r * y->ld, a->value + r * a->ld, b->value + r * b->ld, y->cols);
    for (size_t r = 0; r < rows && op->scale != 1; r++)
        vec_scaled(y->own + r * y->ld, op->scale, y->value + r * y->ld, y->cols, false);
}

static void add_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run);
    for (uint32_t i = 0; i < 2; i++) {
        const struct graph_tensor *x = graph_at(g, op->in[i]);
        real *dx = graph_grad_in(g, op, i);
        if (!dx)
            continue;
        for (size_t r = 0; r < rows; r++)
            vec_scaled(dx + r * x->ld, op->scale, y->grad + r * y->ld, y->cols, op->add[i]);
    }
}

static const struct op_kind add_kind = {
    .name = "add",
    .forward = add_forward,
    .backward = add_backward,
};

static uint32_t add_scaled(struct graph *g, uint32_t a, uint32_t b, real scale)
{
    const struct graph_tensor ta = *graph_at(g, a), tb = *graph_at(g, b);
    assert(ta.kind == tb.kind && ta.cols == tb.cols && ta.rows == tb.rows);
    const uint32_t out = graph_slab(g, ta.kind, ta.rows, ta.cols);
    struct op *op = graph_op(g, &add_kind, out);
    graph_read(g, op, a);
    graph_read(g, op, b);
    op->scale = scale;
    return out;
}

uint32_t op_add(struct graph *g, uint32_t a, uint32_t b)
{
    return add_scaled(g, a, b, 1);
}

uint32_t op_mean(struct graph *g, uint32_t a, uint32_t b)
{
    return add_scaled(g, a, b, (real)0.5);
}
