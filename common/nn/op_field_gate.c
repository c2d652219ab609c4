/* op_field_gate.c - FinalNet's field gate (Zhu et al. 2023): each field is scaled by a mix of all fields.
 *
 * x (rows, F d) has F vectors of d side by side; weight (F, F), bias (1, F). In each of the d coordinates
 * g = W x + b goes across the fields, and y = x * g, or x + x * g where `residual`. W begins at 0 and b at
 * 1, so y begins as x, or 2 x. g is kept; backward makes dg = dy * x over it:
 *
 *     dx = dy (g + residual) + W' dg        dW_ij = sum over rows of <dg_i, x_j>        db_i = sum of dg_i
 */
#include <assert.h>

#include "common/nn/ops.h"

enum { FG_X, FG_W, FG_B };

static struct vec_mixing field_mixing(const struct graph *g, const struct op *op)
{
    const size_t fields = graph_at(g, op->in[FG_W])->cols;
    return (struct vec_mixing){
        .vectors = fields,
        .d = graph_at(g, op->in[FG_X])->cols / fields,
        .w = graph_at(g, op->in[FG_W])->value,
        .bias = graph_at(g, op->in[FG_B])->value,
    };
}

static void field_gate_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[FG_X]), *y = graph_at(g, op->out);
    const struct graph_tensor *gate = graph_at(g, op->save[0]);
    const struct vec_mixing mixing = field_mixing(g, op);
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++) {
        const real *row = x->value + r * x->ld;
        real *gate_row = gate->own + r * gate->ld, *to = y->own + r * y->ld;
        vec_mix(gate_row, row, &mixing, false);
        if (op->param)
            vec_mul_add(to, row, gate_row, row, x->cols);
        else
            vec_mul(to, row, gate_row, x->cols, false);
    }
}

static void field_gate_weights(const struct graph *g, const struct op *op, size_t rows)
{
    const struct graph_tensor *x = graph_at(g, op->in[FG_X]);
    const struct graph_tensor *dg = graph_at(g, op->save[0]), *sums = graph_at(g, op->save[1]);
    const size_t fields = graph_at(g, op->in[FG_W])->cols, d = x->cols / fields;
    real *db = graph_grad_in(g, op, FG_B);
    const struct vec_matrix gate = {dg->value, dg->ld, rows, x->cols};
    const struct vec_matrix features = {x->value, x->ld, rows, x->cols};
    vec_mix_weights(graph_grad_in(g, op, FG_W), &gate, &features, fields, op->add[FG_W]);
    vec_column_sums(sums->own, &gate, false);
    for (size_t f = 0; f < fields; f++)
        db[f] = (op->add[FG_B] ? db[f] : 0) + vec_sum(sums->value + f * d, d);
}

static void field_gate_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[FG_X]), *y = graph_at(g, op->out);
    const struct graph_tensor *gate = graph_at(g, op->save[0]);
    struct vec_mixing mixing = field_mixing(g, op);
    mixing.transposed = true;
    mixing.bias = NULL;
    real *dx = graph_grad_in(g, op, FG_X);
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++) {
        const real *dy = y->grad + r * y->ld;
        real *gate_row = gate->own + r * gate->ld, *to = dx ? dx + r * x->ld : NULL;
        if (dx) {
            vec_mul(to, dy, gate_row, x->cols, op->add[FG_X]);
            if (op->param)
                vec_put(to, dy, x->cols, true);
        }
        vec_mul(gate_row, dy, x->value + r * x->ld, x->cols, false); /* g becomes dg */
        if (dx)
            vec_mix(to, gate_row, &mixing, true);
    }
    field_gate_weights(g, op, rows);
}

static size_t field_gate_flops(const struct graph *g, const struct op *op)
{
    return (2 * graph_at(g, op->in[FG_W])->cols + 1) * graph_at(g, op->in[FG_X])->cols;
}

static const struct op_kind field_gate_kind = {
    .name = "field_gate",
    .forward = field_gate_forward,
    .backward = field_gate_backward,
    .flops = field_gate_flops,
};

uint32_t op_field_gate(struct graph *g, uint32_t x, uint32_t weight, uint32_t bias, bool residual)
{
    const struct graph_tensor t = *graph_at(g, x), w = *graph_at(g, weight);
    assert(w.rows == w.cols && t.cols % w.cols == 0 && graph_at(g, bias)->cols == w.cols);
    const uint32_t out = graph_slab(g, t.kind, t.rows, t.cols);
    const uint32_t gate = graph_slab(g, t.kind, t.rows, t.cols);
    const uint32_t sums = graph_slab(g, ROWS_FIXED, 1, t.cols);
    struct op *op = graph_op(g, &field_gate_kind, out);
    graph_save(g, op, 0, gate);
    graph_save(g, op, 1, sums);
    graph_read(g, op, x);
    graph_read(g, op, weight);
    graph_read(g, op, bias);
    op->param = residual;
    return out;
}
