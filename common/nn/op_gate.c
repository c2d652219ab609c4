/* op_gate.c - y = x * 2 sigmoid(t): columns are turned up to twice or down to nothing (FinalMLP, eq. 5).
 *
 * t is a gate of each row (as x), or one of all rows (fixed, (1, cols)). t = 0 lets x through as it is.
 * s = sigmoid(t) is kept:
 *
 *     dx = dy 2 s        dt = dy x 2 s (1 - s), summed over the rows where t is one of all
 */
#include <assert.h>

#include "common/nn/ops.h"

enum { GATE_X, GATE_T };

static void gate_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[GATE_X]), *t = graph_at(g, op->in[GATE_T]);
    const struct graph_tensor *s = graph_at(g, op->save[0]), *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run), gates = graph_rows_of(t, run);
    for (size_t r = 0; r < gates; r++)
        vec_sigmoid(s->own + r * s->ld, t->value + r * t->ld, t->cols);
    for (size_t r = 0; r < rows; r++) {
        real *row = y->own + r * y->ld;
        vec_mul(row, x->value + r * x->ld, s->value + (t->kind == ROWS_FIXED ? 0 : r * s->ld),
                x->cols, false);
        vec_scaled(row, 2, row, x->cols, false);
    }
}

static void gate_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[GATE_X]), *t = graph_at(g, op->in[GATE_T]);
    const struct graph_tensor *s = graph_at(g, op->save[0]), *y = graph_at(g, op->out);
    real *dx = graph_grad_in(g, op, GATE_X), *dt = graph_grad_in(g, op, GATE_T);
    real *slope = graph_at(g, op->save[1])->own; /* (1, cols): x s (1 - s) of a row */
    const size_t rows = graph_rows_of(y, run), cols = x->cols;
    const bool one = t->kind == ROWS_FIXED;
    for (size_t r = 0; r < rows; r++) {
        const real *row = x->value + r * x->ld, *gate = s->value + (one ? 0 : r * s->ld);
        real *dy = y->grad + r * y->ld; /* nobody reads it after this row */
        vec_scaled(dy, 2, dy, cols, false);
        for (size_t c = 0; c < cols; c++)
            slope[c] = row[c] * gate[c] * (1 - gate[c]);
        if (dt)
            vec_mul(dt + (one ? 0 : r * t->ld), dy, slope, cols, op->add[GATE_T] || (one && r > 0));
        if (dx)
            vec_mul(dx + r * x->ld, dy, gate, cols, op->add[GATE_X]);
    }
}

static const struct op_kind gate_kind = {
    .name = "gate",
    .forward = gate_forward,
    .backward = gate_backward,
};

uint32_t op_gate(struct graph *g, uint32_t x, uint32_t t)
{
    const struct graph_tensor tx = *graph_at(g, x), tt = *graph_at(g, t);
    assert(tx.cols == tt.cols && (tt.kind == tx.kind || (tt.kind == ROWS_FIXED && tt.rows == 1)));
    const uint32_t out = graph_slab(g, tx.kind, tx.rows, tx.cols);
    const uint32_t s = graph_slab(g, tt.kind, tt.rows, tt.cols);
    const uint32_t slope = graph_slab(g, ROWS_FIXED, 1, tx.cols);
    struct op *op = graph_op(g, &gate_kind, out);
    graph_save(g, op, 0, s);
    graph_save(g, op, 1, slope);
    graph_read(g, op, x);
    graph_read(g, op, t);
    return out;
}
