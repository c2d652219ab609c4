/* op_layer_norm.c - y = gamma (x - mean) / sqrt(var + eps) + beta, each row by its own mean and variance.
 *
 * The asynchronous-safe sibling of batch norm: a row depends on no other. mean and rstd of every row are
 * kept for backward:  dx = (g - mean(g) - xhat mean(g xhat)) rstd,  g = gamma dy.
 */
#include <string.h>

#include "common/nn/ops.h"

enum { LN_X, LN_GAMMA, LN_BETA };

static void layer_norm_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[LN_X]), *y = graph_at(g, op->out);
    const real *gamma = graph_at(g, op->in[LN_GAMMA])->value;
    const real *beta = graph_at(g, op->in[LN_BETA])->value;
    real *stat = graph_at(g, op->save[0])->own; /* (rows, 2): mean, rstd */
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++)
        vec_layer_norm(y->own + r * y->ld, x->value + r * x->ld, gamma, beta, x->cols, op->eps,
                       stat + 2 * r);
}

static void layer_norm_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[LN_X]), *y = graph_at(g, op->out);
    const real *gamma = graph_at(g, op->in[LN_GAMMA])->value;
    const real *stat = graph_at(g, op->save[0])->value;
    real *dgamma = graph_grad_in(g, op, LN_GAMMA), *dbeta = graph_grad_in(g, op, LN_BETA);
    if (!op->add[LN_GAMMA])
        memset(dgamma, 0, x->cols * sizeof(*dgamma));
    if (!op->add[LN_BETA])
        memset(dbeta, 0, x->cols * sizeof(*dbeta));
    real *dx = graph_grad_in(g, op, LN_X);
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++) {
        /* Over dy: nobody reads it after this row, and dx may have to be added elsewhere. */
        real *dy = y->grad + r * y->ld;
        vec_layer_norm_back(dy, dgamma, dbeta, dy, x->value + r * x->ld, gamma, x->cols,
                            stat + 2 * r);
        if (dx && dx + r * x->ld != dy)
            vec_put(dx + r * x->ld, dy, x->cols, op->add[LN_X]);
    }
}

static const struct op_kind layer_norm_kind = {
    .name = "layer_norm",
    .forward = layer_norm_forward,
    .backward = layer_norm_backward,
    .grad_in_place = true,
};

uint32_t op_layer_norm(struct graph *g, uint32_t x, uint32_t gamma, uint32_t beta, double eps)
{
    const struct graph_tensor t = *graph_at(g, x);
    const uint32_t out = graph_slab(g, t.kind, t.rows, t.cols);
    const uint32_t keep = graph_slab(g, t.kind, t.rows, 2);
    struct op *op = graph_op(g, &layer_norm_kind, out);
    graph_save(g, op, 0, keep);
    graph_read(g, op, x);
    graph_read(g, op, gamma);
    graph_read(g, op, beta);
    op->eps = (real)eps;
    return out;
}
